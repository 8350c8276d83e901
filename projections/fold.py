"""The fold: log entries in, final row states out, all in memory and without a clock."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from mulligan.events.codec import Codec, Event, UnreadableEvent
from mulligan.events.envelope import EventRecord
from mulligan.log.protocol import Stored
from mulligan.model import Seq
from mulligan.projections.schema import ReadModel, StateTable

Occurrence = tuple[Seq, datetime, str, str, EventRecord, Event | UnreadableEvent]
"""Entry number, commit time, stream kind, stream key, the record and what it decodes to."""


class Poison(Exception):
    """An event that a read model cannot fold; it halts before the entry ``seq``."""

    def __init__(self, seq: Seq, message: str) -> None:
        super().__init__(message)
        self.seq = seq


class Held:
    """One row being folded. Mutable, for it is touched once an event."""

    __slots__ = ("created_at", "created_seq", "seq", "state", "updated_at", "version")

    def __init__(
        self, version: int, seq: Seq, created_seq: Seq, created_at: datetime, state: Any
    ) -> None:
        self.version = version
        self.seq = seq
        self.created_seq = created_seq
        self.created_at = created_at
        self.updated_at = created_at
        self.state = state


def occurrences(batch: Iterable[Stored], kinds: frozenset[str], codec: Codec) -> list[Occurrence]:
    """Return the events of the ``kinds``; one that cannot be read stands as its error."""
    found: list[Occurrence] = []
    for stored in batch:
        seq = stored.seq
        for commit in stored.entry.commits:
            at = commit.at
            for record in commit.events:
                kind, _, key = record.stream.partition("/")
                if kind in kinds:
                    found.append((seq, at, kind, key, record, _decoded(codec, record)))
    return found


def _decoded(codec: Codec, record: EventRecord) -> Event | UnreadableEvent:
    try:
        return codec.event(record)
    except UnreadableEvent as error:
        return error


class TableFold:
    """The rows of one table, by key. Rows that are not there yet begin with their first event."""

    def __init__(self, table: StateTable) -> None:
        self.table = table
        self.held: dict[str, Held] = {}
        self._types = table.types
        self._key = table.key
        self._evolve = table.evolve

    def row_key(self, occurrence: Occurrence) -> str | None:
        """Return the row that an event touches, or None."""
        _, _, kind, key, record, event = occurrence
        if kind != self.table.kind or isinstance(event, UnreadableEvent):
            return None
        if self._types and record.type not in self._types:
            return None
        return self._key(key, event) if self._key else key

    def fold(self, seq: Seq, at: datetime, key: str, record: EventRecord, event: Event) -> None:
        """Fold one event of the table's kind; raise whatever the fold raises."""
        if self._types and record.type not in self._types:
            return
        if self._key is not None:
            key = self._key(key, event)
        row = self.held.get(key)
        if row is None:
            self._check_version(record, 0)
            self.held[key] = Held(record.version, seq, seq, at, self._evolve(None, event, at))
            return
        self._check_version(record, row.version)
        row.state = self._evolve(row.state, event, at)
        row.version = record.version
        row.seq = seq
        row.updated_at = at

    def _check_version(self, record: EventRecord, folded: int) -> None:
        if self._key is None and record.version != folded + 1:
            raise ValueError(f"version {folded} was folded before it")


class ModelFold:
    """All the tables of one read model."""

    def __init__(self, model: ReadModel) -> None:
        self.model = model
        self.tables = tuple(TableFold(table) for table in model.tables)
        self._by_kind = {
            kind: tuple(t for t in self.tables if t.table.kind == kind) for kind in model.kinds
        }

    def fold(self, batch: Sequence[Occurrence]) -> None:
        """Fold the events in order; raise Poison, the rows then being of no use."""
        by_kind = self._by_kind
        for occurrence in batch:
            seq, at, kind, key, record, event = occurrence
            tables = by_kind.get(kind)
            if tables is None:
                continue
            try:
                if isinstance(event, UnreadableEvent):
                    raise event
                for table in tables:
                    table.fold(seq, at, key, record, event)
            except Exception as error:
                raise Poison(seq, _problem(seq, record, error)) from error


def _problem(seq: Seq, record: EventRecord, error: Exception) -> str:
    if isinstance(error, UnreadableEvent):
        return f"entry {seq}: {error}"
    return (
        f"entry {seq}: event {record.type} (version {record.version} of {record.stream}):"
        f" {type(error).__name__}: {error}"
    )
