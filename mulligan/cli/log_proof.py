"""``mulligan log export|verify|checkpoint|checkpoints|keys``: proof that nothing was changed."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from mulligan.cli.iam import jwk
from mulligan.cli.output import Column
from mulligan.cli.progress import Progress
from mulligan.cli.verbs import Session, verb
from mulligan.errors import Corrupt, FailedPrecondition, InvalidArgument
from mulligan.quantities import format_span, format_time

if TYPE_CHECKING:
    from mulligan.log.export_file import Header
    from mulligan.log.verify import FileVerdict
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


@dataclass(frozen=True)
class Proof:
    """What was proven of exported files; ``vouched`` is 0 where no signature vouches."""

    region: str
    log_id: str
    first: int
    last: int
    commits: int
    head_hash: str
    vouched: int
    kid: str
    signed_at: datetime | None
    trusted_keys: bool


def verify_offline(
    session: Session, files: Sequence[Path], keys: Path | None, expect: Sequence[str]
) -> None:
    """Check exported segments; raise Corrupt for whatever is wrong with them."""
    from mulligan.log.export_file import parse_note
    from mulligan.log.verify import verify_files

    expected = {}
    for text in expect:
        note = parse_note(text)
        if note is None:
            raise InvalidArgument("--expect", f"{text!r} is not SEQ:HASH, the hash 64 hex digits")
        expected[note[0]] = note[1]
    trusted = read_keys(keys) if keys is not None else None
    with Progress(quiet=not session.out.err.isatty()) as progress:

        def show(seq: int) -> None:
            if seq % 500 == 0:
                progress.show("verify", f"entry {seq}")

        verdict = verify_files(files, trusted, expected, show)
    if keys is not None and verdict.vouched is None and not expected:
        raise Corrupt(
            f"entries {verdict.first} to {verdict.last} are chained, but none of the trusted keys"
            " vouches for them: there is no signed checkpoint; make one with"
            " `mulligan log checkpoint` and export again"
        )
    tell(session, verdict, trusted=keys is not None)


def tell(session: Session, verdict: "FileVerdict", *, trusted: bool) -> None:
    """Print what was proven."""
    signed = verdict.vouched.signed if verdict.vouched is not None else None
    if not session.out.for_people:
        proof = Proof(
            region=verdict.region,
            log_id=verdict.log_id,
            first=verdict.first,
            last=verdict.last,
            commits=verdict.commits,
            head_hash=verdict.hash,
            vouched=signed.seq if signed else 0,
            kid=signed.kid if signed else "",
            signed_at=signed.at if signed else None,
            trusted_keys=trusted,
        )
        session.out.one(proof, ())
        return
    session.out.line(
        f"entries {verdict.first} to {verdict.last} of {verdict.region} are intact,"
        f" {verdict.commits} commits; head {verdict.hash}"
    )
    if signed is None:
        session.out.line("no signed checkpoint vouches for them: they are chained, not yet signed")
        return
    by = "which you trust" if trusted else "trusting the keys in the file itself"
    session.out.line(
        f"vouched for up to entry {signed.seq}, signed {format_time(signed.at)} with key"
        f" {signed.kid}, {by}"
    )
    tail = verdict.last - signed.seq
    span = format_span(max(0.0, (verdict.at - signed.at).total_seconds()))
    if tail:
        session.out.line(f"the last {tail}, of {span}, are chained, not yet signed")


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


def read_keys(file: Path) -> "list[LogKey]":
    """Read the keys to trust; raise InvalidArgument for what is no set of Ed25519 keys."""
    import msgspec

    from mulligan.log.vouching import LogKey

    class Jwk(msgspec.Struct, kw_only=True):
        kty: str
        crv: str
        kid: str
        x: str
        retired_at: datetime | None = None

    class Jwks(msgspec.Struct):
        keys: list[Jwk]

    try:
        found = msgspec.json.decode(file.read_bytes(), type=Jwks).keys
    except OSError as error:
        raise InvalidArgument("--keys", f"{file} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgument("--keys", f"{file} is no JSON Web Key Set: {error}") from error
    keys = [
        LogKey(kid=one.kid, x=one.x, retired_at=one.retired_at)
        for one in found
        if (one.kty, one.crv) == ("OKP", "Ed25519")
    ]
    if not keys:
        raise InvalidArgument("--keys", f"{file} holds no Ed25519 key")
    return keys
