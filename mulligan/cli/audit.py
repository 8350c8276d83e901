"""``mulligan audit``: who did what and who was denied what."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from mulligan.cli.naming import name_fields
from mulligan.cli.output import Column, plain
from mulligan.cli.verbs import Bundle, Session, verb
from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.quantities import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mulligan.proto.v1 import AuditRecord, ListAuditRequest

app = typer.Typer(rich_markup_mode=None)

NEWEST = 100
SHOWN = 3
"""A table names so many of the objects of a record."""


@dataclass(frozen=True, kw_only=True)
class Which(Bundle):
    """Which records."""

    account: Annotated[
        str, typer.Option("--account", help="Only what it did: name, UUID or service:NAME.")
    ] = ""
    project: Annotated[str, typer.Option("--project", help="Only what was done in it.")] = ""
    since: Annotated[str, typer.Option("--from", metavar="T", help="Not before, as -7d.")] = ""
    until: Annotated[str, typer.Option("--to", metavar="T", help="Before, as now.")] = ""
    denied: Annotated[bool, typer.Option("--denied", help="Only what was denied.")] = False
    done: Annotated[bool, typer.Option("--done", help="Only what was done.")] = False
    command: Annotated[str, typer.Option("--command", help="Only one, as claim.make.")] = ""


@dataclass
class Row:
    """A record as people read it, names in place of UUIDs."""

    record: "AuditRecord"
    objects: "list[Touched]"


@dataclass
class Touched:
    """An object that a command touched."""

    kind: str
    key: str


COLUMNS = (
    Column("TIME", lambda row: format_time(row.record.at)),
    Column("ACCOUNT", lambda row: row.record.account or "unknown"),
    Column("PROJECT", lambda row: row.record.project),
    Column("OUTCOME", lambda row: row.record.outcome),
    Column("COMMAND", lambda row: row.record.command),
    Column("WHAT", lambda row: what(row)),
    Column("ENTRY", lambda row: str(row.record.position.seq) if row.record.position else ""),
    Column("CREDENTIAL", lambda row: row.record.credential, wide=True),
    Column("COMMIT", lambda row: row.record.commit, wide=True),
    Column("TRACE", lambda row: row.record.traceparent, wide=True),
)


@verb(app, "audit", reads=True)
async def audit(
    session: Session,
    which: Which,
    limit: Annotated[int, typer.Option("--limit", help="At most so many; none: 100.", min=0)] = 0,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    export: Annotated[
        str,
        typer.Option("--export", metavar="FILE", help="Write JSON Lines, oldest first; -: print."),
    ] = "",
) -> None:
    """Show who did what and who was denied what, newest first.

    Tenants see what was done in their project, its owners also what was denied there.
    """
    request = asked(which, datetime.now(UTC))
    if export:
        await save(session, request, limit, export)
        return
    atmost = 0 if everything else limit or NEWEST
    records = [record async for record in found(session, request, atmost)]
    if not session.out.for_people:
        session.out.rows(records, ())
        return
    rows = [Row(record, [touched(text) for text in record.objects]) for record in records]
    await name_fields(session, rows, "record.account", "record.project", "objects.key")
    session.out.rows(rows, COLUMNS, "nothing was done or denied")
    if any(record.outcome == "denied" for record in records):
        session.out.note(
            "attempts that were denied alike within 5 s are one line, with their count"
        )
    if len(records) == atmost:
        session.out.note(f"the newest {atmost}; see more with --limit or --all")


def asked(which: Which, now: datetime) -> "ListAuditRequest":
    """Return the request that the options ask for."""
    from mulligan.proto.v1 import ListAuditRequest

    if which.denied and which.done:
        raise InvalidArgument("--denied", "does not go with --done: leave both out for both")
    return ListAuditRequest(
        account=which.account,
        project=which.project,
        from_=parse_time(which.since, now, "--from") if which.since else None,
        to=parse_time(which.until, now, "--to") if which.until else None,
        outcome="denied" if which.denied else "done" if which.done else "",
        command=which.command,
    )


def found(
    session: Session, request: "ListAuditRequest", limit: int
) -> "AsyncIterator[AuditRecord]":
    """Yield the records of all pages, or the first ``limit`` of them."""
    from mulligan.client.paging import every

    return every(session.client.log.list_audit, request, lambda answer: answer.records, limit=limit)


async def save(session: Session, request: "ListAuditRequest", limit: int, file: str) -> None:
    """Write records as JSON Lines, oldest first, whole or not at all; ``-`` prints them."""
    from mulligan.log.export_file import written_whole

    request.oldest_first = True
    request.to = request.to or datetime.now(UTC)  # what comes meanwhile is for the next export
    if file == "-":
        await write(session, request, limit, session.out.out)
        return
    try:
        with written_whole(Path(file)) as opened:
            count = await write(session, request, limit, Encoded(opened))
    except OSError as error:
        raise FailedPrecondition(f"{file} cannot be written: {error.strerror}") from error
    session.out.note(f"wrote {count} records to {file}")


async def write(
    session: Session, request: "ListAuditRequest", limit: int, out: "IO[str] | Encoded"
) -> int:
    """Write one line a record as they come, and return how many."""
    count = 0
    async for record in found(session, request, limit):
        out.write(json.dumps(plain(record), ensure_ascii=False) + "\n")
        count += 1
    return count


class Encoded:
    """Text that goes to a binary file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, text: str) -> None:
        """Write text as UTF-8."""
        self._file.write(text.encode())


def touched(stream: str) -> Touched:
    """Return the object of a stream."""
    kind, _, key = stream.partition("/")
    return Touched(kind, key)


def what(row: Row) -> str:
    """Return what was touched, or why it was denied, how often and to whom."""
    record = row.record
    if record.outcome == "denied":
        parts = [record.reason, record.permission]
        parts += [f"from {record.peer}"] if record.peer else []
        parts += [f"{record.count} times"] if record.count > 1 else []
        return " ".join(filter(None, parts))
    shown = [f"{one.kind}/{one.key}" for one in row.objects[:SHOWN]]
    more = len(row.objects) - len(shown)
    return " ".join(shown) + (f" and {more} more" if more else "")
