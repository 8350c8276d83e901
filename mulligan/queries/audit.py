"""Events by stream and by the chain they belong to."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from mulligan.events.envelope import EventRecord
from mulligan.model import CommitId, Seq, StreamId, stream_key, stream_kind
from mulligan.projections.audited import record_of
from mulligan.queries.database import Database, Record

_COLUMNS = (
    "seq, kind, key, version, type, schema_version, data, commit_id, at, account, project, command,"
    " causation, correlation"
)


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its place and its cause; ``record`` is what ``events.codec`` decodes.

    ``correlation`` is the id of the request that began the chain, this one's own at its beginning.
    """

    seq: Seq
    record: EventRecord
    commit: CommitId
    at: datetime
    account: str
    project: str
    command: str
    causation: str
    correlation: str

    @property
    def type(self) -> str:
        """The event's type."""
        return self.record.type

    @property
    def version(self) -> int:
        """The event's number in its stream."""
        return self.record.version


def _read(row: Record) -> EventRow:
    return EventRow(
        seq=Seq(row["seq"]),
        record=record_of(row),
        commit=CommitId(row["commit_id"]),
        at=row["at"],
        account=row["account"],
        project=row["project"],
        command=row["command"],
        causation=row["causation"],
        correlation=row["correlation"],
    )


async def stream_events(
    database: Database, stream: StreamId, after: int = 0, limit: int = 1000
) -> Sequence[EventRow]:
    """Return the events of a stream after version ``after``, the oldest first."""
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM rm_audit.event WHERE key = $1 AND kind = $2 AND version > $3"
        " ORDER BY version LIMIT $4",
        stream_key(stream),
        stream_kind(stream),
        after,
        limit,
    )
    return [_read(row) for row in rows]


async def latest_events(
    database: Database,
    stream: StreamId,
    limit: int = 100,
    before: int | None = None,
    since: datetime | None = None,
) -> Sequence[EventRow]:
    """Return the newest events of a stream, the newest first.

    If given, only those before a version, and those from ``since`` on.
    """
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM rm_audit.event WHERE key = $1 AND kind = $2"
        " AND version < coalesce($4, 2147483647) AND at >= coalesce($5, '-infinity'::timestamptz)"
        " ORDER BY version DESC LIMIT $3",
        stream_key(stream),
        stream_kind(stream),
        limit,
        before,
        since,
    )
    return [_read(row) for row in rows]


async def latest_time(database: Database, stream: StreamId, type_: str) -> datetime | None:
    """Return when the newest event of a type happened in a stream; None for never."""
    rows = await database.fetch(
        "SELECT at FROM rm_audit.event WHERE key = $1 AND kind = $2 AND type = $3"
        " ORDER BY version DESC LIMIT 1",
        stream_key(stream),
        stream_kind(stream),
        type_,
    )
    return rows[0]["at"] if rows else None


async def chain_events(
    database: Database, correlation: CommitId, limit: int = 1000
) -> Sequence[EventRow]:
    """Return the events that one request led to, in the order of the log."""
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM rm_audit.event WHERE correlation = $1"
        " ORDER BY seq, kind, key, version LIMIT $2",
        correlation,
        limit,
    )
    return [_read(row) for row in rows]
