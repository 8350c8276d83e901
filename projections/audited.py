"""Events as the read model of the audit keeps them: from its rows back to what was recorded."""

from typing import Any, Protocol

from msgspec import Raw

from mulligan.errors import Corrupt
from mulligan.events.codec import Codec, UnreadableEvent
from mulligan.events.envelope import EventRecord
from mulligan.model import stream_id

COLUMNS = "kind, key, version, type, schema_version, data"
"""What a row must have to be one of these."""

_codec = Codec()


class Row(Protocol):
    """A row of a table, by the names of its columns."""

    def __getitem__(self, name: str, /) -> Any:
        """Return a column's value."""


def record_of(row: Row) -> EventRecord:
    """Return the event of a row of ``rm_audit.event``, as it was stored."""
    return EventRecord(
        stream=stream_id(row["kind"], row["key"]),
        version=row["version"],
        type=row["type"],
        v=row["schema_version"],
        data=Raw(row["data"]),
    )


def event_of(record: EventRecord) -> Any:
    """Decode an event; raise Corrupt, naming the stream, for one that this release cannot read."""
    try:
        return _codec.event(record)
    except UnreadableEvent as error:
        raise Corrupt(f"event {record.version} of {record.stream}: {error}") from error
