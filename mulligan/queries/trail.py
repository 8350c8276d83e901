"""Who did what and who was denied what, in pages by time; and the log's signed checkpoints."""

import hashlib
from datetime import datetime
from typing import Any

import msgspec

from mulligan.errors import InvalidArgument
from mulligan.events.checkpoint import CheckpointSigned
from mulligan.events.codec import Codec
from mulligan.handlers.checkpoint import STREAM
from mulligan.model import Seq
from mulligan.projections.commands import SEPARATOR
from mulligan.queries.audit import latest_events
from mulligan.queries.database import Database, Record
from mulligan.queries.paging import MAX_PAGE, Page, PageRequest, decode_token, encode_token

_COLUMNS = (
    "seq, n, at, account, project, credential, command, id, objects, traceparent, reason,"
    " permission, peer, count"
)


class RecordRow(msgspec.Struct, frozen=True, kw_only=True):
    """A commit, or ``count`` attempts that were denied for one reason, the last of them at ``at``.

    ``count`` is 0 for a commit. ``command`` is the method of what was denied.
    """

    seq: Seq
    at: datetime
    account: str
    project: str
    credential: str
    command: str
    commit: str
    objects: tuple[str, ...]
    traceparent: str
    reason: str
    permission: str
    peer: str
    count: int


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which records: from ``since`` on, before ``until``; a None or an empty text means any.

    ``denied`` None means both what was done and what was denied.
    """

    account: str = ""
    project: str = ""
    since: datetime | None = None
    until: datetime | None = None
    denied: bool | None = None
    command: str = ""
    oldest_first: bool = False


class _Place(msgspec.Struct, frozen=True, array_like=True):
    at: datetime
    seq: int
    n: int
    query: str


async def list_records(database: Database, wanted: Wanted, request: PageRequest) -> Page[RecordRow]:
    """Return a page by time; raise InvalidArgument for a size or token that does not fit.

    Pages stay in step whatever is added meanwhile: each begins behind the last record before it.
    """
    if not 1 <= request.size <= MAX_PAGE:
        raise InvalidArgument("page.size", f"{request.size} is not between 1 and {MAX_PAGE}")
    conditions, args = _conditions(wanted)
    place = _place_of(request.token, wanted)
    compare, order = (">", "ASC") if wanted.oldest_first else ("<", "DESC")
    if place is not None:
        args += [place.at, place.seq, place.n]
        last = len(args)
        conditions.append(f"(at, seq, n) {compare} (${last - 2}, ${last - 1}, ${last})")
    # The limit stands in the text: a plan for any limit would rather sort all than follow an index.
    rows = await database.fetch(
        f"SELECT {_COLUMNS} FROM rm_commands.command WHERE {' AND '.join(conditions) or 'true'}"
        f" ORDER BY at {order}, seq {order}, n {order} LIMIT {request.size + 1}",
        *args,
    )
    shown = rows[: request.size]
    token = _token(shown[-1], wanted) if len(rows) > request.size else ""
    return Page(items=tuple(_read(row) for row in shown), next_token=token)


def _conditions(wanted: Wanted) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    args: list[Any] = []
    for condition, value in (
        ("account = ", wanted.account),
        ("project = ", wanted.project),
        ("command = ", wanted.command),
        ("at >= ", wanted.since),
        ("at < ", wanted.until),
    ):
        if value:
            args.append(value)
            conditions.append(f"{condition}${len(args)}")
    if wanted.project:
        conditions.append("project <> ''")  # as the index says it
    if wanted.denied is not None:
        conditions.append("count > 0" if wanted.denied else "count = 0")
    return conditions, args


def _read(row: Record) -> RecordRow:
    return RecordRow(
        seq=Seq(row["seq"]),
        at=row["at"],
        account=row["account"],
        project=row["project"],
        credential=row["credential"],
        command=row["command"],
        commit=row["id"],
        objects=tuple(row["objects"].split(SEPARATOR)) if row["objects"] else (),
        traceparent=row["traceparent"],
        reason=row["reason"],
        permission=row["permission"],
        peer=row["peer"],
        count=row["count"],
    )


def _digest(wanted: Wanted) -> str:
    return hashlib.sha256(msgspec.json.encode(wanted)).hexdigest()[:8]


def _token(row: Record, wanted: Wanted) -> str:
    place = _Place(at=row["at"], seq=row["seq"], n=row["n"], query=_digest(wanted))
    return encode_token(place)


def _place_of(token: str, wanted: Wanted) -> _Place | None:
    if not token:
        return None
    place = decode_token(token, _Place)
    if place.query != _digest(wanted) or place.at.tzinfo is None:
        raise InvalidArgument("page.token", "the token belongs to a list with another filter")
    return place


class CheckpointRow(msgspec.Struct, frozen=True, kw_only=True):
    """A signed checkpoint and its number among them."""

    version: int
    signed: CheckpointSigned


async def list_checkpoints(database: Database, request: PageRequest) -> Page[CheckpointRow]:
    """Return a page of checkpoints, the newest first; raise as ``list_records`` does."""
    if not 1 <= request.size <= MAX_PAGE:
        raise InvalidArgument("page.size", f"{request.size} is not between 1 and {MAX_PAGE}")
    if request.token and not (request.token.isascii() and request.token.isdecimal()):
        raise InvalidArgument("page.token", "this is no page token; leave it empty")
    before = min(int(request.token[:18]), 2**31 - 1) if request.token else None
    codec = Codec()
    found = await latest_events(database, STREAM, request.size + 1, before)
    rows: list[CheckpointRow] = []
    for row in found[: request.size]:
        event = codec.event(row.record)
        assert isinstance(event, CheckpointSigned), "the stream holds nothing else"
        rows.append(CheckpointRow(version=row.version, signed=event))
    token = str(rows[-1].version) if len(found) > request.size else ""
    return Page(items=tuple(rows), next_token=token)
