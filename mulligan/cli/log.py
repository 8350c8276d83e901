"""``mulligan log``: what happened, and proof that nothing was changed since."""

from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli import log_proof
from mulligan.cli.naming import name_fields
from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb
from mulligan.errors import InvalidArgument, NotFound
from mulligan.quantities import format_bytes, format_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import LogRecord

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

KindOption = Annotated[str, typer.Option("--kind", help="Only streams of a kind, such as claim.")]
TypeOption = Annotated[str, typer.Option("--type", help="Only events such as claim.made.")]
StreamOption = Annotated[str, typer.Option("--stream", help="Only one, such as machine/<uuid>.")]
AccountOption = Annotated[str, typer.Option("--account", help="Only what this account did.")]


def record_shown(record: "LogRecord", *, data: bool = False) -> str:
    """Return a commit: one line, then a line an event."""
    place = f"#{record.position.seq}" if record.position else ""
    head = "  ".join(filter(None, (place, format_time(record.at), record.command, record.account)))
    lines = [head]
    for event in record.events:
        line = f"    {event.type}  {event.stream} v{event.version}"
        lines.append(f"{line}  {event.data}" if data else line)
    return "\n".join(lines)


async def print_record(session: Session, record: "LogRecord", *, data: bool) -> None:
    """Print a commit, to people with the name of who made it."""
    await name_fields(session, [record], "account")
    session.out.record(record, record_shown(record, data=data))


@verb(app, "tail", reads=True)
async def tail(
    session: Session,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on for ever.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="Entries back from the head.")] = 10,
    data: Annotated[bool, typer.Option("--data", help="Print the events' data.")] = False,
    kind: KindOption = "",
    event_type: TypeOption = "",
    stream: StreamOption = "",
    account: AccountOption = "",
) -> None:
    """Print the newest entries of the log, and with -f those to come."""
    from mulligan.proto.v1 import GetLogStatusRequest, LogFilter, ReadLogRequest, WatchLogRequest

    log = session.client.log
    head = (await log.get_log_status(GetLogStatusRequest())).head
    seq = head.seq if head else 0
    chosen = LogFilter(kind=kind, type=event_type, stream=stream, account=account)
    first = max(1, seq - max(0, lines) + 1)
    if lines > 0 and seq:
        async for record in log.read_log(ReadLogRequest(first=first, last=seq, filter=chosen)):
            await print_record(session, record, data=data)
    if follow:
        async for record in log.watch_log(WatchLogRequest(after=seq, filter=chosen)):
            await print_record(session, record, data=data)


@verb(app, "show", reads=True)
async def show(
    session: Session,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="KIND/UUID or KIND/NAME.")],
    first: Annotated[int, typer.Option("--from", help="Entry to begin at.")] = 1,
    last: Annotated[int, typer.Option("--to", help="Entry to end at; 0: the head.")] = 0,
) -> None:
    """Print the history of one object, with its events' data."""
    from mulligan.proto.v1 import LogFilter, ReadLogRequest

    kind, slash, key = stream.partition("/")
    if not slash or not key:
        raise InvalidArgument("STREAM", f"{stream!r} is not KIND/UUID, such as machine/node-1")
    chosen = LogFilter(stream=f"{kind}/{await stream_key(session, kind, key)}")
    found = False
    request = ReadLogRequest(first=max(1, first), last=max(0, last), filter=chosen)
    async for record in session.client.log.read_log(request):
        found = True
        await print_record(session, record, data=True)
    if not found:
        raise NotFound("stream", chosen.stream)


async def stream_key(session: Session, kind: str, key: str) -> str:
    """Return the key of a stream, looking up the UUID when a name stands for it."""
    from mulligan.model import is_uuid
    from mulligan.proto.v1 import ResolveRequest

    if is_uuid(key):
        return key
    request = ResolveRequest(kind=kind, names=[key], project=session.chosen.context.project)
    try:
        names = (await session.client.meta.resolve(request)).names
    except InvalidArgument:  # streams such as key/1 and region/local have no names
        return key
    return names[0].uuid if names else key


STATUS = (
    Column("HEAD", lambda log: str(log.head.seq) if log.head else "0"),
    Column("REGION", lambda log: log.head.region if log.head else ""),
    Column("HASH", lambda log: log.head_hash),
    Column("LOG", lambda log: log.log_id),
    Column("STORE", lambda log: format_bytes(log.store_bytes) if log.store_bytes else ""),
    Column("FAILURE", lambda log: log.failure),
)


@verb(app, "stats", reads=True)
async def stats(session: Session) -> None:
    """Show the head, the log's identity and size."""
    from mulligan.proto.v1 import GetLogStatusRequest

    session.out.one(await session.client.log.get_log_status(GetLogStatusRequest()), STATUS)


app.add_typer(log_proof.app)
