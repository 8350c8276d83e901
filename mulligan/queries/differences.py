"""What differs between two positions of the log, object by object."""

from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from mulligan.handlers.kinds import KINDS
from mulligan.model import Seq, StreamId, stream_id
from mulligan.projections.audited import event_of, record_of
from mulligan.queries.database import Database, Record, Snapshot

_AT_ONCE = 200
_PREFETCH = 500
_PATIENCE = 60.0
"""Seconds that one look at the events between the two may take."""

Builtins = Mapping[str, Any]


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """One value that differs: its path, and what it was and is, in JSON; empty for nothing."""

    path: str
    before: str
    after: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A stream with events between the two positions, and its state at each; None: none yet.

    ``account`` and ``project`` are of who acted last.
    """

    stream: StreamId
    before: Any
    after: Any
    events: int
    first: Seq
    last: Seq
    last_at: datetime
    account: str
    project: str

    @property
    def change(self) -> str:
        """What became of it: created, changed or deleted."""
        if getattr(self.after, "deleted", False) and not getattr(self.before, "deleted", False):
            return "deleted"
        return "created" if self.before is None else "changed"


class _Touched(msgspec.Struct, frozen=True):
    kind: str
    key: str
    events: int
    first: Seq
    last: Seq


async def differences(
    database: Database,
    after: Seq,
    until: Seq,
    *,
    kind: str = "",
    stream: str = "",
    without: Collection[str] = (),
) -> AsyncGenerator[Difference, None]:
    """Yield every stream that has events in (after, until], by kind and key.

    ``without`` leaves kinds out. The caller has seen to it that the read model of events has come
    as far as ``until``. Memory: 200 streams' states, and the list of the streams touched.
    """
    async with database.snapshot() as snapshot:
        touched = await _touched(snapshot, after, until, kind, stream, without)
        remaining = iter(touched)
        while batch := list(islice(remaining, _AT_ONCE)):
            async with aclosing(_folded(snapshot, batch, after, until)) as folded:
                async for difference in folded:
                    yield difference


async def _touched(
    snapshot: Snapshot, after: Seq, until: Seq, kind: str, stream: str, without: Collection[str]
) -> Sequence[_Touched]:
    wanted_kind, _, wanted_key = stream.partition("/")
    rows = await snapshot.fetch(
        "SELECT kind, key, count(*) AS events, min(seq) AS first, max(seq) AS last"
        " FROM rm_audit.event WHERE seq > $1 AND seq <= $2"
        " AND ($3 = '' OR kind = $3) AND ($4 = '' OR (kind = $4 AND key = $5))"
        " AND kind <> ALL($6::text[]) GROUP BY kind, key ORDER BY kind, key",
        after,
        until,
        kind,
        wanted_kind,
        wanted_key,
        sorted(without),
        deadline=_PATIENCE,
    )
    return [_Touched(r["kind"], r["key"], r["events"], r["first"], r["last"]) for r in rows]


async def _folded(
    snapshot: Snapshot, touched: Sequence[_Touched], after: Seq, until: Seq
) -> AsyncGenerator[Difference, None]:
    """Fold the streams from their first events; all of a batch in one read."""
    by_stream = {(one.kind, one.key): one for one in touched}
    cursor = snapshot.connection.cursor(
        "SELECT e.seq, e.kind, e.key, e.version, e.type, e.schema_version, e.data, e.at,"
        " e.account, e.project FROM rm_audit.event e"
        " JOIN unnest($1::text[], $2::text[]) AS w (kind, key) ON e.key = w.key AND e.kind = w.kind"
        " WHERE e.seq <= $3 ORDER BY e.kind, e.key, e.version",
        [one.kind for one in touched],
        [one.key for one in touched],
        until,
        prefetch=_PREFETCH,
        timeout=_PATIENCE,
    )
    before = state = last = None
    async for row in cursor:
        if last is not None and (last["kind"], last["key"]) != (row["kind"], row["key"]):
            yield _difference(by_stream, last, before, state)
            before = state = None
        state = KINDS[row["kind"]].evolve(state, event_of(record_of(row)), row["at"])
        if row["seq"] <= after:
            before = state
        last = row
    if last is not None:
        yield _difference(by_stream, last, before, state)


def _difference(
    touched: Mapping[tuple[str, str], _Touched], last: Record, before: Any, after: Any
) -> Difference:
    one = touched[last["kind"], last["key"]]
    return Difference(
        stream=stream_id(one.kind, one.key),
        before=before,
        after=after,
        events=one.events,
        first=one.first,
        last=one.last,
        last_at=last["at"],
        account=last["account"],
        project=last["project"],
    )


def field_changes(before: Any, after: Any) -> Sequence[FieldChange]:
    """Return the values that differ between two states of a stream, by path.

    Objects are walked into, lists of which both sides have the same length too; None is nothing.
    """
    return list(_changes("", _plain(before), _plain(after)))


def _plain(state: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(state)) if state is not None else {}


def _changes(path: str, before: Any, after: Any) -> Iterator[FieldChange]:
    if before == after:
        return
    if isinstance(before, dict | None) and isinstance(after, dict | None) and (before or after):
        old, new = before or {}, after or {}
        for key in sorted({*old, *new}):
            yield from _changes(f"{path}.{key}" if path else key, old.get(key), new.get(key))
        return
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _changes(f"{path}[{index}]", old, new)
        return
    yield FieldChange(path=path, before=_json(before), after=_json(after))


def _json(value: Any) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()
