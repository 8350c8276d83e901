"""``mulligan diff``: what differs between two moments."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.log import stream_key
from mulligan.cli.output import Output
from mulligan.cli.verbs import Session, verb
from mulligan.errors import InvalidArgument
from mulligan.quantities import format_time, parse_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import ObjectChange

app = typer.Typer(rich_markup_mode=None)

_SPAN = re.compile(r"[0-9.]+[a-z].*")
SIGNS = {"created": "+", "changed": "~", "deleted": "-"}


@verb(app, "diff")
async def diff(
    session: Session,
    start: Annotated[str, typer.Argument(metavar="T1", help="SEQ, TIME, or 2h for two hours ago.")],
    end: Annotated[str, typer.Argument(metavar="[T2]", help="The same; left out: now.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="Only such objects, as machine.")] = "",
    stream: Annotated[str, typer.Option("--stream", help="Only one, KIND/UUID or KIND/NAME.")] = "",
    limit: Annotated[int, typer.Option("--limit", help="The most objects to show.", min=1)] = 1000,
) -> None:
    """Show what differs between two moments, object by object."""
    from mulligan.proto.v1 import DiffLogRequest

    now = datetime.now(UTC)
    if stream:
        found_kind, slash, key = stream.partition("/")
        if not slash or not key:
            raise InvalidArgument(
                "--stream", f"{stream!r} is not KIND/UUID, such as machine/node-1"
            )
        stream = f"{found_kind}/{await stream_key(session, found_kind, key)}"
    request = DiffLogRequest(
        from_=moment(start, now, "T1"),
        to=moment(end, now, "T2") if end else "",
        kind=kind,
        stream=stream,
        limit=limit,
    )
    found = 0
    more = False
    async for change in session.client.log.diff_log(request):
        found, more = found + 1, change.more
        session.out.record(change, shown(change))
    told(session.out, found, more)


def told(out: Output, found: int, more: bool) -> None:
    """Say what the changes alone do not: that there are none, or more than were asked for."""
    if more:
        out.note(f"there is more than these {found}: narrow it down, or raise --limit")
    elif not found:
        out.note("nothing differs")


def moment(text: str, now: datetime, field: str) -> str:
    """Return a position, or a time as people write it, in the form that calls take.

    ``2h`` is two hours ago, as ``-2h`` is, which a command line takes for an option.
    """
    if text.isdecimal():
        return text
    ago = f"-{text}" if _SPAN.fullmatch(text) else text
    return parse_time(ago, now, field).isoformat()


def shown(change: "ObjectChange") -> str:
    """Return an object's change: a line, then one a value that differs."""
    kind, _, key = change.stream.partition("/")
    called = f"{kind} {change.name}  {key}" if change.name else f"{kind} {key}"
    last = f"#{change.last.seq}" if change.last else ""
    events = f"{change.events} event{'s' if change.events != 1 else ''}"
    head = f"{SIGNS.get(change.change, '~')} {called}  {change.change}"
    lines = [f"{head}  ({events}, last {last} {format_time(change.last_at)})"]
    for field in change.fields:
        before, after = field.before or "(none)", field.after or "(none)"
        line = f"{field.path}: {field.after}" if change.change == "created" else ""
        lines.append(f"    {line or f'{field.path}: {before} -> {after}'}")
    return "\n".join(lines)
