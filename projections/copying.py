"""Rows in the binary form of COPY, written by hand: a journal's rows are many, and all alike.

The form is described under «Binary Format» of COPY in the Postgres manual.
"""

import struct
from datetime import UTC, datetime, timedelta

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
TRAILER = struct.pack("!h", -1)

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_int8 = struct.Struct("!iq").pack
_length = struct.Struct("!i").pack
_count = struct.Struct("!h").pack


def row(fields: int) -> bytes:
    """Begin a row of ``fields`` fields."""
    return _count(fields)


def int8(value: int) -> bytes:
    """Write a bigint."""
    return _int8(8, value)


def text(value: str) -> bytes:
    """Write a text, with U+FFFD for the NUL that Postgres cannot store."""
    data = value.encode()
    if b"\0" in data:
        data = data.replace(b"\0", b"\xef\xbf\xbd")
    return _length(len(data)) + data


def raw(data: bytes) -> bytes:
    """Write a text from UTF-8 that holds no NUL, such as JSON."""
    return _length(len(data)) + data


def timestamptz(value: datetime) -> bytes:
    """Write an aware time."""
    return _int8(8, (value - _EPOCH) // _MICROSECOND)
