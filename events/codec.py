"""Encode and decode events, commits and entries; bring old event versions up to date.

``decode_event`` returns the newest form of an event, whatever version is stored. An unknown type,
an unknown version or data that does not fit raises ``UnreadableEvent``, which halts its consumer:
events are never skipped.
"""

import types
import typing
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Protocol

import msgspec

from mulligan.events import (
    account,
    brake,
    checkpoint,
    claim,
    credential,
    denial,
    distance,
    group,
    image,
    key,
    machine,
    metadata,
    metadef,
    name,
    profile,
    project,
    provider,
    quota,
    region,
    serial,
    userdata,
)
from mulligan.events.envelope import Commit, Entry, EventRecord
from mulligan.model import Seq, StreamId

GENESIS_HASH = "0" * 64
"""``prev`` of the first entry."""


class Event(Protocol):
    """Any event struct."""

    TYPE: typing.ClassVar[str]


class UnreadableEvent(Exception):
    """A stored event that this version cannot read, and where it is."""


_MODULES = (
    account, brake, checkpoint, claim, credential, denial, distance, group, image, key, machine,
    metadata, metadef, name, profile, project, provider, quota, region, serial, userdata,
)  # fmt: skip

KIND_OF_MODULE = {m.__name__.rpartition(".")[2]: m for m in _MODULES}


def _members(union: Any) -> tuple[type[Event], ...]:
    if isinstance(union, types.UnionType):
        return typing.get_args(union)
    return (union,)


EVENT_TYPES: Mapping[str, type[Event]] = {
    cls.TYPE: cls for module in _MODULES for cls in _members(module.Event)
}

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""(type, v) -> a function from the data of version v to that of version v + 1."""


def schema_version(event_type: str, upcasters: Mapping[tuple[str, int], Upcaster]) -> int:
    """Return the newest schema version of a type: one more than its upcasters."""
    version = 1
    while (event_type, version) in upcasters:
        version += 1
    return version


class Codec:
    """Turns event structs into records and back.

    ``types`` and ``upcasters`` default to the product's own; tests pass others to show that old
    logs stay readable.
    """

    def __init__(
        self,
        types: Mapping[str, type[Event]] = EVENT_TYPES,
        upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
    ) -> None:
        self._upcasters = upcasters
        self._newest = {t: schema_version(t, upcasters) for t in types}
        self._decoders = {t: msgspec.json.Decoder(cls) for t, cls in types.items()}
        self._types = types
        self._encode = msgspec.json.Encoder().encode

    @property
    def own(self) -> bool:
        """Whether it reads the product's own events, as the codec of any process does."""
        return self._types is EVENT_TYPES and self._upcasters is UPCASTERS

    def record(self, stream: StreamId, version: int, event: Event) -> EventRecord:
        """Encode ``event`` as the ``version``-th of ``stream``."""
        return EventRecord(
            stream=stream,
            version=version,
            type=event.TYPE,
            v=self._newest[event.TYPE],
            data=msgspec.Raw(self._encode(event)),
        )

    def event(self, record: EventRecord) -> Event:
        """Decode a record; raise UnreadableEvent naming the stream, version and cause."""
        decoder = self._decoders.get(record.type)
        if decoder is None:
            raise UnreadableEvent(
                f"{_where(record)}: unknown event type; a newer Mulligan wrote it"
            )
        try:
            if record.v == self._newest[record.type]:
                return decoder.decode(record.data)
            return self._upcast(record)
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
            raise UnreadableEvent(f"{_where(record)}: {error}") from error

    def newest(self, record: EventRecord) -> EventRecord:
        """Return a record as it would be written now; raise UnreadableEvent.

        One that is so already, or that only a newer release knows, is returned as it is.
        """
        if self._newest.get(record.type, record.v) <= record.v:
            return record
        return self.record(record.stream, record.version, self.event(record))

    def _upcast(self, record: EventRecord) -> Event:
        if not 1 <= record.v < self._newest[record.type]:
            raise UnreadableEvent(f"{_where(record)}: unknown schema version {record.v}")
        data = msgspec.json.decode(record.data)
        for version in range(record.v, self._newest[record.type]):
            data = self._upcasters[record.type, version](data)
        return msgspec.convert(data, self._types[record.type])


def _where(record: EventRecord) -> str:
    return f"event {record.type} v{record.v} (version {record.version} of {record.stream})"


_encoder = msgspec.json.Encoder()
_entry_decoder = msgspec.json.Decoder(Entry)


def encode_commit(commit: Commit) -> bytes:
    """Return the commit's JSON."""
    return _encoder.encode(commit)


def encode_entry(seq: Seq, prev: str, at: str, commits: list[bytes]) -> bytes:
    """Assemble an entry's JSON from commits already encoded; ``at`` is RFC 3339."""
    return b'{"seq":%d,"prev":"%b","at":"%b","commits":[%b]}' % (
        seq,
        prev.encode(),
        at.encode(),
        b",".join(commits),
    )


def decode_entry(value: bytes) -> Entry:
    """Read an entry; raise UnreadableEvent when the bytes are no entry."""
    try:
        return _entry_decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableEvent(f"log entry is unreadable: {error}") from error


def entry_hash(value: bytes) -> str:
    """Return the link of the chain: sha256 over the entry's stored bytes, in hex."""
    return sha256(value).hexdigest()
