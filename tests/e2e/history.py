"""What a region's log says happened, as plain facts, read by nothing but JSON."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from mulligan.client import Client
from mulligan.proto import v1

POWER_STEPS = frozenset({"power_on", "power_off", "reset"})
_OPEN_END = datetime.max.replace(tzinfo=UTC)


class Fact(NamedTuple):
    """One event of the log, in order."""

    seq: int
    commit: str
    stream: str
    type: str
    data: Mapping[str, Any]


async def read_history(client: Client) -> list[Fact]:
    """Return every event of the log; fail unless its chain is intact."""
    checked = v1.VerifyLogProgress()
    async for checked in client.log.verify_log(v1.VerifyLogRequest()):
        assert not checked.bad_seq, checked.problem
    assert checked.verified == checked.total > 0
    facts = []
    async for record in client.log.read_log(v1.ReadLogRequest()):
        assert record.position is not None
        for event in record.events:
            data = json.loads(event.data)
            facts.append(Fact(record.position.seq, record.commit, event.stream, event.type, data))
    return facts


async def read_models_differ(client: Client) -> dict[str, str]:
    """Build every read model again from the log; return those that differ from the live ones."""
    ends: dict[str, v1.RebuildProgress] = {}
    request = v1.RebuildProjectionsRequest(verify=True)
    async for step in client.projector.rebuild_projections(request, timeout=60):
        ends[step.name] = step
    assert ends
    return {name: step.detail for name, step in ends.items() if step.phase != "equal"}


def overbooked(facts: Iterable[Fact]) -> dict[tuple[str, str], int]:
    """Return, by provider and class, the peak use above the total that was ever planned."""
    totals: dict[tuple[str, str], int] = {}
    changes: defaultdict[tuple[str, str], Counter[datetime]] = defaultdict(Counter)
    over: dict[tuple[str, str], int] = {}
    for fact in facts:
        match fact.type:
            case "provider.inventories_set":
                for name, inventory in fact.data["inventories"].items():
                    totals[fact.stream, name] = inventory["total"]
            case "provider.capacity_taken" | "provider.capacity_freed":
                sign = 1 if fact.type == "provider.capacity_taken" else -1
                for name, amount in fact.data["amounts"].items():
                    key = (fact.stream, name)
                    changes[key][_time(fact.data["start"])] += sign * amount
                    changes[key][_time(fact.data.get("end"))] -= sign * amount
                    if _peak(changes[key]) > totals[key]:
                        over[key] = _peak(changes[key])
    return over


def _time(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else _OPEN_END


def _peak(changes: Mapping[datetime, int]) -> int:
    used = peak = 0
    for at in sorted(changes):
        used += changes[at]
        peak = max(peak, used)
    return peak


def attempted_twice(facts: Iterable[Fact]) -> list[str]:
    """Return the actions that were begun more than once as if nobody had begun them."""
    begun = Counter(
        fact.data["action"]
        for fact in facts
        if fact.type == "machine.step_attempted" and not fact.data.get("resumes")
    )
    return [action for action, count in begun.items() if count > 1]


def may_have_sent(facts: Iterable[Fact]) -> dict[str, Counter[str]]:
    """Return, by Redfish system id, how many resets and media inserts the log accounts for."""
    facts = list(facts)
    systems = {
        fact.stream: fact.data["bmc"]["system"] for fact in facts if fact.type == "machine.enrolled"
    }
    steps = {
        fact.data["action"]: fact.data["step"]
        for fact in facts
        if fact.type == "machine.action_requested"
    }
    allowed: dict[str, Counter[str]] = {system: Counter() for system in systems.values()}
    for fact in facts:
        if fact.type != "machine.step_attempted" or fact.data.get("resumes"):
            continue
        step = steps[fact.data["action"]]
        if step in POWER_STEPS:
            allowed[systems[fact.stream]]["Reset"] += 1
        elif step == "insert_media":
            allowed[systems[fact.stream]]["InsertMedia"] += 1
    return allowed


def was_sent(writes: Mapping[tuple[str, str], int]) -> dict[str, Counter[str]]:
    """Return, by Redfish system id, how many resets and media inserts the emulator served."""
    sent: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (method, path), count in writes.items():
        action = path.rpartition(".")[2]
        if method == "POST" and action in {"Reset", "InsertMedia"}:
            sent[path.split("/")[4]][action] += count
    return sent
