"""What the log says happened to the machines, against what their BMCs were made to do."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec

from mulligan.client import Client
from mulligan.proto import v1

_OVER = frozenset({"claim.ended", "claim.released", "claim.cancelled"})
_READ_S = 600.0


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """``states`` counts the machines; the rest should be nought.

    ``repeated`` are the resets and inserts that BMCs applied beyond the ``once`` actions begun;
    ``begun_twice`` the actions that two executors began as if nobody had; ``leaked`` what is held
    for no live claim: capacity at a provider, or a machine.
    """

    states: dict[str, int]
    repeated: int
    begun_twice: int
    leaked: int
    once_actions: int
    events: int


class History:
    """Folds the log, event by event, into what the proof needs."""

    def __init__(self) -> None:
        self.events = 0
        self.systems: dict[str, str] = {}
        self.once: Counter[str] = Counter()
        self._modes: dict[str, str] = {}
        self._begun: Counter[str] = Counter()
        self._held: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._over: set[str] = set()

    async def read(self, client: Client) -> None:
        """Read the whole log; leave if its chain is broken."""
        async for step in client.log.verify_log(v1.VerifyLogRequest(), timeout=_READ_S):
            if step.bad_seq:
                raise SystemExit(f"the log is broken at {step.bad_seq}: {step.problem}")
        async for record in client.log.read_log(v1.ReadLogRequest(), timeout=_READ_S):
            for event in record.events:
                self._take(event.type, event.stream, json.loads(event.data))

    def _take(self, kind: str, stream: str, data: Mapping[str, Any]) -> None:
        self.events += 1
        key = stream.partition("/")[2]
        match kind:
            case "machine.enrolled":
                self.systems[key] = data["bmc"]["system"]
            case "machine.action_requested":
                self._modes[data["action"]] = data["mode"]
            case "machine.step_attempted" if not data.get("resumes"):
                self._begun[data["action"]] += 1
                self.once[key] += self._modes[data["action"]] == "once"
            case "provider.capacity_taken":
                self._held[key, data["claim"]].update(data["amounts"])
            case "provider.capacity_freed":
                self._held[key, data["claim"]].subtract(data["amounts"])
            case _ if kind in _OVER:
                self._over.add(key)

    @property
    def begun_twice(self) -> int:
        """Actions that were begun more than once without a look at what became of them."""
        return sum(count > 1 for count in self._begun.values())

    def leaked_capacity(self) -> int:
        """Return how many claims that are over hold something at a provider."""
        return sum(
            claim in self._over and any(held.values()) for (_, claim), held in self._held.items()
        )

    def is_over(self, claim: str) -> bool:
        """Tell whether a claim no longer holds anything."""
        return claim in self._over

    def repeated(self, applied: Mapping[str, Mapping[str, int]]) -> int:
        """Return how many writes BMCs applied beyond the ``once`` actions that were begun."""
        over = 0
        for machine, system in self.systems.items():
            writes = applied.get(system, {})
            count = sum(n for what, n in writes.items() if what.startswith(("reset:", "insert")))
            over += max(0, count - self.once[machine])
        return over


async def prove(client: Client, applied: Mapping[str, Mapping[str, int]]) -> Proof:
    """Read the log and the machines, and compare them with what the BMCs applied."""
    history = History()
    await history.read(client)
    states: Counter[str] = Counter()
    held = 0
    token = ""
    while True:
        page = v1.Page(size=1000, token=token)
        listed = await client.control.list_machines(v1.ListMachinesRequest(page=page))
        for machine in listed.machines:
            name = machine.state.name or ""
            states[name if machine.operation is None else f"{name}, busy"] += 1
            held += bool(machine.claim) and history.is_over(machine.claim)
        token = listed.next_page_token
        if not token:
            break
    return Proof(
        states=dict(states),
        repeated=history.repeated(applied),
        begun_twice=history.begun_twice,
        leaked=history.leaked_capacity() + held,
        once_actions=sum(history.once.values()),
        events=history.events,
    )
