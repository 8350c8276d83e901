"""``mulligan log export|verify|checkpoint|checkpoints|keys``: proof that nothing was changed."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from mulligan.cli.iam import jwk
from mulligan.cli.output import Column
from mulligan.cli.progress import Progress
from mulligan.cli.verbs import Session, verb
from mulligan.errors import Corrupt, FailedPrecondition, InvalidArgument
from mulligan.quantities import format_time

if TYPE_CHECKING:
    from mulligan.log.export_file import Header
    from mulligan.log.vouching import LogKey
    from mulligan.proto.v1 import ExportedEntry, Key, LogAncestor, VerifyLogProgress

app = typer.Typer(rich_markup_mode=None)

FirstOption = Annotated[int, typer.Option("--from", help="Entry to begin at.", min=0)]
LastOption = Annotated[int, typer.Option("--to", help="Entry to end at; 0: the head.", min=0)]

CHECKPOINTS = (
    Column("ENTRY", lambda one: str(one.seq)),
    Column("SIGNED", lambda one: format_time(one.at)),
    Column("KEY", lambda one: one.kid),
    Column("NOTE", lambda one: f"{one.seq}:{one.hash}"),
    Column("LOG", lambda one: one.log_id, wide=True),
    Column("SIGNATURE", lambda one: one.signature, wide=True),
)


@verb(app, "export")
async def export(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")],
    first: FirstOption = 1,
    last: LastOption = 0,
) -> None:
    """Write entries byte for byte into a file that `log verify --file` checks anywhere."""
    from mulligan.log.export_file import written_whole
    from mulligan.proto.v1 import ExportLogRequest, GetLogKeysRequest, GetLogStatusRequest

    log = session.client.log
    status = await log.get_log_status(GetLogStatusRequest())
    first, last = max(1, first), last or (status.head.seq if status.head else 0)
    if first > last:
        raise InvalidArgument("--from", f"lies after the last entry to export, {last}")
    keys = (await log.get_log_keys(GetLogKeysRequest())).keys
    entries = log.export_log(ExportLogRequest(first=first, last=last))
    region = status.head.region if status.head else ""
    try:
        with written_whole(file) as opened:
            known = [log_key(key) for key in keys]
            header = Opening(region, status.log_id, first, last, known, status.ancestors)
            digest = await copy(session, opened, header, entries)
    except OSError as error:
        raise FailedPrecondition(f"{file} cannot be written: {error.strerror}") from error
    session.out.tell(f"wrote entries {first} to {last} to {file}; note {last}:{digest} elsewhere")


@dataclass(frozen=True)
class Opening:
    """What is known of an export before its first entry."""

    region: str
    log_id: str
    first: int
    last: int
    keys: "Sequence[LogKey]"
    ancestors: "Sequence[LogAncestor]" = ()

    def header(self, entry: bytes) -> "Header":
        """Return the file's header, given its first entry."""
        from mulligan.events.codec import UnreadableEvent, decode_entry
        from mulligan.log.export_file import Header
        from mulligan.log.identity import Ancestor
        from mulligan.model import Seq

        try:
            prev = decode_entry(entry).prev
        except UnreadableEvent as error:
            raise Corrupt(f"log entry {self.first} cannot be read: {error}") from error
        return Header(
            region=self.region,
            log_id=self.log_id,
            first=Seq(self.first),
            last=Seq(self.last),
            prev=prev,
            keys=tuple(self.keys),
            seeded=tuple(
                Ancestor(region=one.region, log_id=one.log_id, seq=Seq(one.seq), hash=one.hash)
                for one in self.ancestors
            ),
        )


async def copy(
    session: Session,
    file: BinaryIO,
    opening: Opening,
    entries: "AsyncIterator[ExportedEntry]",
) -> str:
    """Write entries as they come, and return the hash of the last."""
    from mulligan.log.export_file import Writer

    writer: Writer | None = None
    total = opening.last - opening.first + 1
    with Progress(quiet=not session.out.err.isatty()) as progress:
        async for one in entries:
            if writer is None:
                writer = Writer(file, opening.header(one.entry))
            writer.write(one.seq, one.entry)
            done = one.seq - opening.first + 1
            if done % 500 == 0:
                progress.show("export", f"{done}/{total} entries", done, total)
    if writer is None:
        raise Corrupt(f"the log gave none of the entries {opening.first} to {opening.last}")
    return writer.finish()


@verb(app, "verify")
async def verify(
    session: Session,
    first: FirstOption = 1,
    last: LastOption = 0,
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", help="Check exported segments, in order, without a connection."),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", help="Trust these log keys only, as `log keys` prints them."),
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option("--expect", metavar="SEQ:HASH", help="An entry as it was noted elsewhere."),
    ] = None,
) -> None:
    """Walk the hash chain and check the signed checkpoints; fail where something is wrong."""
    if file:
        from mulligan.cli.offline_proof import verify_offline

        verify_offline(session, file, keys, expect or [])
        return
    if keys is not None or expect:
        raise InvalidArgument("--file", "is missing: --keys and --expect go with exported files")
    newest = await verify_online(session, max(1, first), last)
    if not session.out.for_people:
        session.out.one(newest, ())
        return
    session.out.line(f"{newest.verified} entries are intact; head {newest.head_hash}")
    if newest.vouched is not None:
        signed = f"signed {format_time(newest.vouched.at)} with key {newest.vouched.kid}"
        session.out.line(f"vouched for up to entry {newest.vouched.seq}, {signed}")


async def verify_online(session: Session, first: int, last: int) -> "VerifyLogProgress":
    """Let the service walk the chain; raise Corrupt where it breaks."""
    from mulligan.proto.v1 import VerifyLogProgress, VerifyLogRequest

    newest = VerifyLogProgress()
    with Progress(quiet=not session.out.err.isatty()) as progress:
        async for newest in session.client.log.verify_log(VerifyLogRequest(first=first, last=last)):
            text = f"{newest.verified}/{newest.total} entries"
            progress.show("verify", text, newest.verified, newest.total or None)
            if newest.bad_seq:
                raise Corrupt(f"the chain breaks at entry {newest.bad_seq}: {newest.problem}")
    return newest


@verb(app, "checkpoint")
async def checkpoint(session: Session) -> None:
    """Sign the head now; note it elsewhere, and no copy can be cut before it unnoticed."""
    from mulligan.proto.v1 import SignCheckpointRequest

    answer = await session.client.log.sign_checkpoint(SignCheckpointRequest())
    session.out.one(answer.checkpoint, CHECKPOINTS)


@verb(app, "checkpoints", reads=True)
async def checkpoints(
    session: Session,
    limit: Annotated[int, typer.Option("--limit", help="At most so many; 0: all.", min=0)] = 20,
) -> None:
    """List signed checkpoints, newest first."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListCheckpointsRequest

    pages = every(
        session.client.log.list_checkpoints,
        ListCheckpointsRequest(),
        lambda answer: answer.checkpoints,
        limit=limit,
    )
    session.out.rows([one async for one in pages], CHECKPOINTS, "none signed yet")


@verb(app, "keys")
async def keys_of_the_log(session: Session) -> None:
    """Print the keys that checkpoints are signed with as a JSON Web Key Set (RFC 7517)."""
    from mulligan.proto.v1 import GetLogKeysRequest

    keys = (await session.client.log.get_log_keys(GetLogKeysRequest())).keys
    found = [jwk(key) | retirement(key) for key in keys]
    session.out.line(json.dumps({"keys": found}, indent=2))


def retirement(key: "Key") -> dict[str, str]:
    """Return what a JSON Web Key says besides of a key that signs no more."""
    until = key.honoured_until
    return {"retired_at": until.isoformat()} if until is not None else {}


def log_key(key: "Key") -> "LogKey":
    """Return a key as an export names it."""
    from mulligan.log.vouching import LogKey

    return LogKey(kid=key.kid, x=key.x, retired_at=key.honoured_until)
