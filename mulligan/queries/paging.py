"""Pages by key: each begins behind the last row of the one before, however the table changes."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from mulligan.errors import InvalidArgument
from mulligan.queries.database import Database, Record
from mulligan.queries.states import decoder

MAX_PAGE = 1000
T = TypeVar("T")
S = TypeVar("S")
P = TypeVar("P", bound=msgspec.Struct)


class PageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Up to ``size`` rows (1 to 1000) after ``token``, which is empty for the first page."""

    size: int = 100
    token: str = ""


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Rows, and the token of the next page, empty on the last one."""

    items: tuple[T, ...]
    next_token: str = ""


class Object(msgspec.Struct, Generic[S], frozen=True, kw_only=True):
    """A folded state with its stream's version and the times of its first and latest commit."""

    state: S
    version: int
    created_at: datetime
    updated_at: datetime


class _Token(msgspec.Struct, frozen=True, array_like=True):
    after: tuple[int, str]
    query: str


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A list of one table, by age: ``where`` filters it with ``args`` from $1 on."""

    table: str
    columns: str
    where: Sequence[str]
    args: Sequence[Any]
    newest_first: bool = False


async def page(
    database: Database, listing: Listing, request: PageRequest, read: Callable[[Record], T]
) -> Page[T]:
    """Return a page; raise InvalidArgument for a size or token that does not fit."""
    if not 1 <= request.size <= MAX_PAGE:
        raise InvalidArgument("page.size", f"{request.size} is not between 1 and {MAX_PAGE}")
    after = _after(request.token, listing)
    rows = await database.fetch(
        _sql(listing, after is not None), *listing.args, *(after or ()), request.size + 1
    )
    shown, more = rows[: request.size], len(rows) > request.size
    token = _token(shown[-1], listing) if more else ""
    return Page(items=tuple(read(row) for row in shown), next_token=token)


def _sql(listing: Listing, follows: bool) -> str:
    conditions = list(listing.where)
    count = len(listing.args)
    compare, order = ("<", "DESC") if listing.newest_first else (">", "ASC")
    if follows:
        conditions.append(f"(t.created_seq, t.key) {compare} (${count + 1}, ${count + 2})")
        count += 2
    return (
        f"SELECT t.key, t.created_seq, {listing.columns} FROM {listing.table} t"
        f" WHERE {' AND '.join(conditions) or 'true'}"
        f" ORDER BY t.created_seq {order}, t.key {order} LIMIT ${count + 1}"
    )


def encode_token(place: msgspec.Struct) -> str:
    """Return where a list goes on, as a page token."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()


def decode_token(text: str, place: type[P]) -> P:
    """Return where a page token says that its list goes on; raise InvalidArgument for no token."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=place)
    except (ValueError, msgspec.MsgspecError) as error:
        raise InvalidArgument("page.token", "this is no page token; leave it empty") from error


def _digest(listing: Listing) -> str:
    text = repr((listing.table, listing.where, listing.args))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _token(row: Record, listing: Listing) -> str:
    token = _Token(after=(row["created_seq"], row["key"]), query=_digest(listing))
    return encode_token(token)


def _after(text: str, listing: Listing) -> tuple[int, str] | None:
    if not text:
        return None
    token = decode_token(text, _Token)
    if token.query != _digest(listing):
        raise InvalidArgument("page.token", "the token belongs to a list with another filter")
    return token.after


OBJECT_COLUMNS = "t.version, t.created_at, t.updated_at, t.state"


def reader(state: type[S]) -> Callable[[Record], Object[S]]:
    """Return what reads a row of ``OBJECT_COLUMNS``."""
    decode = decoder(state)

    def read(row: Record) -> Object[S]:
        return Object(
            state=decode(row["state"]),
            version=row["version"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )

    return read


class Filters:
    """Collects conditions and their arguments; a None leaves its condition out."""

    def __init__(self, *always: str) -> None:
        self.where = list(always)
        self.args: list[Any] = []

    def add(self, condition: str, value: Any) -> None:
        """Add a condition in which ``$$`` stands for the value."""
        if value is not None:
            self.args.append(value)
            self.where.append(condition.replace("$$", f"${len(self.args)}"))

    def listing(
        self, table: str, columns: str = OBJECT_COLUMNS, *, newest_first: bool = False
    ) -> Listing:
        """Return the list of the rows that pass."""
        return Listing(
            table=table,
            columns=columns,
            where=tuple(self.where),
            args=tuple(self.args),
            newest_first=newest_first,
        )
