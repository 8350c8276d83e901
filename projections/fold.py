"""The fold: log entries in, final row states out, all in memory and without a clock."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from mulligan.events.codec import Codec, Event, UnreadableEvent
from mulligan.events.envelope import EventRecord
from mulligan.log.protocol import Stored
from mulligan.model import Seq
from mulligan.projections.schema import ReadModel, StateTable

Occurrence = tuple[Seq, datetime, str, EventRecord, Event | UnreadableEvent]
"""Entry number, commit time, stream key, the record and what it decodes to."""

Occurrences = Mapping[str, Sequence[Occurrence]]
"""Events by stream kind, in the order of the log; kinds share no rows, so that order is enough."""


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


def occurrences(batch: Iterable[Stored], kinds: frozenset[str], codec: Codec) -> Occurrences:
    """Return the events of the ``kinds``; one that cannot be read stands as its error."""
    found: dict[str, list[Occurrence]] = {kind: [] for kind in kinds}
    decode = codec.event
    event: Event | UnreadableEvent
    for stored in batch:
        seq = stored.seq
        for commit in stored.entry.commits:
            at = commit.at
            for record in commit.events:
                kind, _, key = record.stream.partition("/")
                if kind not in found:
                    continue
                try:
                    event = decode(record)
                except UnreadableEvent as error:
                    event = error
                found[kind].append((seq, at, key, record, event))
    return found


def before(events: Occurrences, seq: Seq) -> Occurrences:
    """Return the events of the entries before ``seq``."""
    return {kind: [one for one in found if one[0] < seq] for kind, found in events.items()}


class TableFold:
    """The rows of one table, by key. Rows that are not there yet begin with their first event."""

    def __init__(self, table: StateTable) -> None:
        self.table = table
        self.held: dict[str, Held] = {}
        self._types = table.types
        self._key = table.key
        self._evolve = table.evolve

    def row_keys(self, events: Occurrences) -> set[str]:
        """Return the keys of the rows that the events touch."""
        return {key for _, key in self.touched(events)}

    def touched(self, events: Occurrences) -> Iterator[tuple[Seq, str]]:
        """Yield which entry touches which row."""
        found = events.get(self.table.kind, ())
        if self._key is None:
            for seq, _, key, _, _ in found:
                yield seq, key
            return
        for seq, _, key, record, event in found:
            if not isinstance(event, UnreadableEvent) and record.type in self._types:
                yield seq, self._key(key, event)

    def fold(self, events: Sequence[Occurrence]) -> None:
        """Fold events of the table's kind, in order; raise Poison, which voids the rows."""
        held, evolve, types, key_of = self.held, self._evolve, self._types, self._key
        for seq, at, key, record, event in events:
            try:
                if type(event) is UnreadableEvent:
                    raise event
                if types and record.type not in types:
                    continue
                if key_of is not None:
                    key = key_of(key, event)
                row = held.get(key)
                if row is None:
                    if key_of is None and record.version != 1:
                        raise _skipped(0)
                    held[key] = Held(record.version, seq, seq, at, evolve(None, event, at))
                    continue
                if key_of is None and record.version != row.version + 1:
                    raise _skipped(row.version)
                row.state = evolve(row.state, event, at)
                row.version = record.version
                row.seq = seq
                row.updated_at = at
            except Exception as error:
                raise Poison(seq, _problem(seq, record, error)) from error


def _skipped(folded: int) -> ValueError:
    return ValueError(f"version {folded} was folded before it")


class ModelFold:
    """All the tables of one read model."""

    def __init__(self, model: ReadModel) -> None:
        self.model = model
        self.tables = tuple(TableFold(table) for table in model.tables)

    def fold(self, events: Occurrences) -> None:
        """Fold the events; raise the earliest Poison, which voids the rows."""
        poisons = []
        for table in self.tables:
            try:
                table.fold(events.get(table.table.kind, ()))
            except Poison as poison:
                poisons.append(poison)
        if poisons:
            raise min(poisons, key=lambda poison: poison.seq)


def _problem(seq: Seq, record: EventRecord, error: Exception) -> str:
    if isinstance(error, UnreadableEvent):
        return f"entry {seq}: {error}"
    return (
        f"entry {seq}: event {record.type} (version {record.version} of {record.stream}):"
        f" {type(error).__name__}: {error}"
    )
