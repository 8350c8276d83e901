"""Identifiers and positions that every layer shares.

Ids are UUID strings in canonical lower-case form; positions count log entries of one region.
Neither is ever a bare ``str`` or ``int`` in a signature.
"""

import os
import re
import time
import uuid
from datetime import UTC, datetime
from typing import NewType, Self

import msgspec

RegionName = NewType("RegionName", str)
Seq = NewType("Seq", int)
"""Number of a log entry, dense from 1; 0 is the position before the first entry."""
StreamId = NewType("StreamId", str)
"""``<kind>/<key>``, such as ``claim/6f1c…``; the kind names the module in ``events``."""
CommitId = NewType("CommitId", str)
"""The id of a command, which is the ``request_id`` its sender gave (a UUID)."""

AccountId = NewType("AccountId", str)
ProjectId = NewType("ProjectId", str)
ProviderId = NewType("ProviderId", str)
GroupId = NewType("GroupId", str)
ClaimId = NewType("ClaimId", str)
MachineId = NewType("MachineId", str)
ImageId = NewType("ImageId", str)
UserDataId = NewType("UserDataId", str)
CredentialId = NewType("CredentialId", str)
MetadefId = NewType("MetadefId", str)
ActionId = NewType("ActionId", str)
ResourceClass = NewType("ResourceClass", str)

POSITION_HEADER = "mulligan-position"
"""Metadata of every call: the highest position its caller has seen, as ``region:seq``."""

AT_HEADER = "mulligan-at"
"""Metadata of a reading call: the entry, by number or time, as of which it is to be answered."""

MAX_AMOUNT = 2**63 - 1
"""Amounts are signed 64-bit integers in base units."""


class Position(msgspec.Struct, frozen=True, order=True):
    """A place in one region's log: everything up to and including entry ``seq``."""

    region: RegionName
    seq: Seq

    def __str__(self) -> str:
        return f"{self.region}:{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``region:seq``; raise ValueError when it is anything else."""
        region, colon, seq = text.rpartition(":")
        if not colon or not region or not seq.isdecimal():
            raise ValueError(f"{text!r} is not a position; write it as region:number")
        return cls(RegionName(region), Seq(int(seq)))


def stream_id(kind: str, key: str) -> StreamId:
    """Name the stream of one object."""
    return StreamId(f"{kind}/{key}")


def stream_kind(stream: StreamId) -> str:
    """Return the kind part of a stream id."""
    return stream.partition("/")[0]


def stream_key(stream: StreamId) -> str:
    """Return the key part of a stream id."""
    return stream.partition("/")[2]


def is_uuid(text: str) -> bool:
    """Tell whether ``text`` is a UUID in canonical lower-case form."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def slug(name: str) -> str:
    """Return the URI-clean form of a well-formed name, by which it is looked up."""
    return re.sub(r"[ _]+", "-", name).lower()


def new_id() -> str:
    """Make a UUIDv7 (RFC 9562): ordered by time, random in its lower 74 bits."""
    return id_of(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10)) >> 6)


def id_of(millis: int, tail: int) -> str:
    """Return the UUIDv7 of a time, in milliseconds since 1970, with these 74 lower bits."""
    value = (millis & (2**48 - 1)) << 80 | 0x7 << 76 | (tail >> 62) << 64
    text = f"{value | 0b10 << 62 | tail & (2**62 - 1):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def utc_now() -> datetime:
    """Return the present as an aware UTC time; only shells call it, never handlers."""
    return datetime.now(UTC)
