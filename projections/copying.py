"""Journal rows in the binary form of COPY: a count of fields, then each with its length before it.

Nothing needs to be escaped, and Postgres reads it in half the time of the text form. What comes
again and again is encoded once. Described under «Binary Format» of COPY in the Postgres manual.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from struct import Struct

import msgspec

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

_count = Struct("!h").pack
_length = Struct("!i").pack
_int = Struct("!ii").pack
_bigint = Struct("!iq").pack

EMPTY = _length(0)
"""A text of no characters."""


def row_start(columns: int) -> bytes:
    """Begin a row of so many columns."""
    return _count(columns)


def text(value: str) -> bytes:
    """Write a text; a sign stands for NUL, which Postgres cannot store."""
    if "\0" in value:
        value = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    encoded = value.encode()
    return _length(len(encoded)) + encoded


@lru_cache(maxsize=4096)
def label(value: str) -> bytes:
    """Write a text that comes again and again."""
    return text(value)


def integer(value: int) -> bytes:
    """Write an ``int``."""
    return _int(4, value)


@lru_cache(maxsize=4096)
def bigint(value: int) -> bytes:
    """Write a ``bigint``: most are small, or come several times in a row."""
    return _bigint(8, value)


def timestamp(at: datetime) -> bytes:
    """Write a ``timestamptz``: microseconds since 2000. A time without a zone is in UTC."""
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    since = at - _EPOCH
    return _bigint(8, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def json(data: msgspec.Raw) -> tuple[bytes, msgspec.Raw]:
    """Write a JSON document as it is, in two pieces."""
    return _length(len(memoryview(data))), data


def whole(rows: Iterable[bytes]) -> bytes:
    """Make rows into what COPY reads."""
    return b"".join((_HEADER, *rows, _TRAILER))
