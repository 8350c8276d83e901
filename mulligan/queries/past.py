"""The fleet as it was at an earlier position: what has changed since, folded from its events."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from mulligan.errors import FailedPrecondition, Unavailable
from mulligan.handlers.group import Group
from mulligan.handlers.kinds import KINDS
from mulligan.handlers.provider import Provider
from mulligan.model import GroupId, ProviderId, Seq
from mulligan.placement.fleet import Node
from mulligan.projections.audited import COLUMNS, event_of, record_of
from mulligan.queries.database import Database, Snapshot
from mulligan.queries.fork import Fork, snapshot_of
from mulligan.queries.states import decoder

MAX_STREAMS = 50_000
"""So many streams are folded back at most."""

_AT_ONCE = 500


async def fork_at(database: Database | Snapshot, seq: Seq, *, most: int = MAX_STREAMS) -> Fork:
    """Return the providers that changed after entry ``seq``, or whose groups did, as they were.

    Those made later are deleted in it. Pass a snapshot, and read the fork on it, where changes made
    between the two reads would matter. Raise FailedPrecondition when more than ``most`` streams
    have changed, Unavailable when a read model has not come as far as ``seq``.
    """
    async with snapshot_of(database) as snapshot:
        await _require(snapshot, seq)
        groups = await _changed(snapshot, "provider_group", seq, most)
        changed = await _changed(snapshot, "provider", seq, most)
        if len(groups) + len(changed) > most:
            raise FailedPrecondition(
                f"more than {most} providers and groups have changed since entry {seq}: the"
                " fleet of then cannot be shown"
            )
        return await _fold_back(snapshot, seq, groups, changed)


async def _require(snapshot: Snapshot, seq: Seq) -> None:
    rows = await snapshot.fetch(
        "SELECT name, seq FROM mulligan.projection WHERE schema = ANY($1::text[])",
        ["rm_providers", "rm_audit"],
    )
    reached = {row["name"]: row["seq"] for row in rows}
    for name in ("providers", "audit"):
        if reached.get(name, -1) < seq:
            raise Unavailable(f"the read model {name} has not come as far as entry {seq}")


async def _changed(snapshot: Snapshot, table: str, seq: Seq, most: int) -> list[str]:
    rows = await snapshot.fetch(
        f"SELECT key FROM rm_providers.{table} WHERE seq > $1 LIMIT $2", seq, most + 1
    )
    return [row["key"] for row in rows]


async def _fold_back(
    snapshot: Snapshot, seq: Seq, groups: Sequence[str], changed: Sequence[str]
) -> Fork:
    then: dict[str, Group] = await _folded(snapshot, "group", groups, seq)
    members = {GroupId(key): frozenset(then[key].members if key in then else ()) for key in groups}
    touched = {*changed, *(p for ids in members.values() for p in ids)}
    touched |= {
        row["provider"]
        for row in await snapshot.fetch(
            "SELECT provider FROM rm_providers.group_member WHERE group_ = ANY($1::text[])",
            list(groups),
        )
    }
    now = await _present(snapshot, touched)
    past: dict[str, Provider] = await _folded(snapshot, "provider", changed, seq)
    later = {*changed} - past.keys()
    steady = await _memberships(snapshot, touched, but=groups)
    nodes: dict[ProviderId, Node] = {}
    for key in sorted(touched & (now.keys() | past.keys())):
        one = ProviderId(key)
        provider = past[key] if key in past else now[key]
        if key in later:
            provider = replace(provider, deleted=True)
        were = {group for group, ids in members.items() if one in ids}
        nodes[one] = Node(provider=provider, groups=frozenset(steady.get(key, set()) | were))
    return Fork(nodes=nodes)


async def _folded(snapshot: Snapshot, kind: str, keys: Iterable[str], seq: Seq) -> dict[str, Any]:
    """Fold streams up to an entry; those that began later are left out."""
    evolve = KINDS[kind].evolve
    states: dict[str, Any] = {}
    ordered = sorted(keys)
    for first in range(0, len(ordered), _AT_ONCE):
        rows = await snapshot.fetch(
            f"SELECT {COLUMNS}, at FROM rm_audit.event"
            " WHERE key = ANY($1::text[]) AND kind = $2 AND seq <= $3 ORDER BY key, version",
            ordered[first : first + _AT_ONCE],
            kind,
            seq,
        )
        for row in rows:
            key = row["key"]
            states[key] = evolve(states.get(key), event_of(record_of(row)), row["at"])
    return states


async def _present(snapshot: Snapshot, keys: Collection[str]) -> dict[str, Provider]:
    decode = decoder(Provider)
    rows = await snapshot.fetch(
        "SELECT key, state FROM rm_providers.provider WHERE key = ANY($1::text[])", list(keys)
    )
    return {row["key"]: decode(row["state"]) for row in rows}


async def _memberships(
    snapshot: Snapshot, keys: Collection[str], *, but: Sequence[str]
) -> dict[str, set[GroupId]]:
    """Return the groups of providers now, apart from some."""
    rows = await snapshot.fetch(
        "SELECT provider, group_ FROM rm_providers.group_member"
        " WHERE provider = ANY($1::text[]) AND group_ <> ALL($2::text[])",
        list(keys),
        list(but),
    )
    found: dict[str, set[GroupId]] = {}
    for row in rows:
        found.setdefault(row["provider"], set()).add(GroupId(row["group_"]))
    return found
