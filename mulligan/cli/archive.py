"""``mulligan archive``: what of the log lies in sealed segments, and proof of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli import archive_restore
from mulligan.cli.offline_proof import read_keys, say_vouched
from mulligan.cli.output import Column
from mulligan.cli.progress import Progress
from mulligan.cli.verbs import Session, verb
from mulligan.diagnosis.backups import backup_shown
from mulligan.errors import Corrupt, InvalidArgument
from mulligan.quantities import format_bytes, format_time

if TYPE_CHECKING:
    from mulligan.log.holding import Holding, Proven
    from mulligan.log.vouching import LogKey
    from mulligan.proto.v1 import ArchiveStatus, VerifyArchiveProgress

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

SEGMENTS = (
    Column("FIRST", lambda one: str(one.first)),
    Column("LAST", lambda one: str(one.last)),
    Column("FROM", lambda one: format_time(one.first_at)),
    Column("TO", lambda one: format_time(one.last_at)),
    Column("EVENTS", lambda one: str(one.events)),
    Column("ENTRIES", lambda one: format_bytes(one.raw_bytes)),
    Column("FILE", lambda one: format_bytes(one.bytes)),
    Column("IN ETCD", lambda one: "no" if one.pruned else "yes"),
    Column("NAME", lambda one: one.name),
    Column("SHA256", lambda one: one.sha256, wide=True),
    Column("KEY", lambda one: one.kid, wide=True),
    Column("LOCATION", lambda one: one.location, wide=True),
)


@verb(app, "list")
async def list_segments(
    session: Session,
    limit: Annotated[int, typer.Option("--limit", help="At most so many; 0: all.", min=0)] = 0,
) -> None:
    """List sealed segments, the oldest first."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListSegmentsRequest

    pages = every(
        session.client.archiver.list_segments,
        ListSegmentsRequest(),
        lambda answer: answer.segments,
        limit=limit,
    )
    found = [one async for one in pages]
    session.out.rows(found, SEGMENTS, "nothing is sealed yet; `mulligan archive seal` does it now")


@verb(app, "status")
async def status(session: Session) -> None:
    """Show how far the log is sealed, copied and pruned, and how full etcd is."""
    from mulligan.proto.v1 import GetArchiveStatusRequest

    tell(session, await session.client.archiver.get_archive_status(GetArchiveStatusRequest()))


@verb(app, "seal")
async def seal(session: Session) -> None:
    """Seal all that is in the log now, rather than when a segment is full."""
    from mulligan.proto.v1 import ArchiveStatus, SealArchiveRequest

    answer = await session.client.archiver.seal_archive(SealArchiveRequest())
    tell(session, answer.status or ArchiveStatus())


def tell(session: Session, found: "ArchiveStatus") -> None:
    """Print the status of the archive."""
    if not session.out.for_people:
        session.out.one(found, (Column("LOCATION", lambda one: one.location),))
        return
    head = found.head.seq if found.head else 0
    session.out.line(f"archive at {found.location}")
    session.out.line(
        f"sealed up to entry {found.sealed} of {head}, in {found.segments} segments,"
        f" {format_bytes(found.bytes)}"
    )
    copied = f", known whole at {format_time(found.copied_at)}" if found.copied_at else ""
    session.out.line(f"copied up to entry {found.copied}{copied}")
    session.out.line(f"pruned from etcd up to entry {found.pruned}")
    session.out.line(
        f"etcd has {format_bytes(found.store_used_bytes)} in use, of a file of"
        f" {format_bytes(found.store_bytes)} and a quota of"
        f" {format_bytes(found.store_quota_bytes)}"
    )
    for backup in found.backups:
        session.out.line(f"backup of {backup_shown(backup, datetime.now(UTC))}")
    if found.problem:
        session.out.line(f"problem: {found.problem}")


@verb(app, "verify")
async def verify(
    session: Session,
    first: Annotated[int, typer.Option("--from", help="Entry to begin at.", min=0)] = 0,
    last: Annotated[int, typer.Option("--to", help="Entry to end at; 0: the last.", min=0)] = 0,
    location: Annotated[
        str, typer.Option("--location", help="Check the archive at a folder or URL, offline.")
    ] = "",
    keys: Annotated[
        Path | None,
        typer.Option("--keys", help="Trust these log keys only, as `log keys` prints them."),
    ] = None,
) -> None:
    """Read segments back and check digests, chain, signatures and checkpoints."""
    if location:
        if first or last:
            raise InvalidArgument("--location", "is checked as a whole: leave --from and --to out")
        await verify_offline(session, location, read_keys(keys) if keys is not None else None)
        return
    if keys is not None:
        raise InvalidArgument("--location", "is missing: --keys goes with it")
    newest = await verify_online(session, first, last)
    if not session.out.for_people:
        session.out.one(newest, (Column("HASH", lambda one: one.hash),))
        return
    session.out.line(f"{newest.verified} entries in segments are intact; the last is {newest.hash}")
    if newest.vouched is not None:
        signed = f"signed {format_time(newest.vouched.at)} with key {newest.vouched.kid}"
        session.out.line(f"vouched for up to entry {newest.vouched.seq}, {signed}")


async def verify_online(session: Session, first: int, last: int) -> "VerifyArchiveProgress":
    """Let the archiver read segments back; raise Corrupt at the first bad entry."""
    from mulligan.proto.v1 import VerifyArchiveProgress, VerifyArchiveRequest

    newest = VerifyArchiveProgress()
    request = VerifyArchiveRequest(first=first, last=last)
    with Progress(quiet=not session.out.err.isatty()) as progress:
        async for newest in session.client.archiver.verify_archive(request):
            text = f"{newest.verified}/{newest.total} entries"
            progress.show("verify", text, newest.verified, newest.total or None)
            if newest.bad_seq:
                raise Corrupt(f"the archive is bad at entry {newest.bad_seq}: {newest.problem}")
    return newest


@dataclass(frozen=True)
class ArchiveProof:
    """What was proven of an archive at hand, for programs."""

    location: str
    region: str
    log_id: str
    segments: int
    sealed: int
    last: int
    commits: int
    hash: str
    vouched: int
    kid: str
    signed_at: datetime | None
    trusted_keys: bool


async def verify_offline(session: Session, location: str, keys: "Sequence[LogKey] | None") -> None:
    """Check a whole archive without its region; raise Corrupt for whatever is wrong with it."""
    from mulligan.config import Location
    from mulligan.log.depot import open_depot
    from mulligan.log.holding import prove, survey

    try:
        depot = open_depot(Location.parse(location).below(Path.cwd()))
    except ValueError as error:
        raise InvalidArgument("--location", str(error)) from error
    holding = await survey(depot)
    if not holding.pieces:
        raise InvalidArgument("--location", f"nothing is archived at {location} yet")
    with Progress(quiet=not session.out.err.isatty()) as progress:

        def show(seq: int) -> None:
            progress.show("verify", f"entry {seq}/{holding.last}", seq, holding.last)

        proven = await prove(depot, holding, keys=keys, progress=show)
    if keys is not None and proven.vouched is None:
        raise Corrupt(
            f"entries 1 to {proven.last} are chained, but none of the trusted keys vouches for"
            " them: there is no signed checkpoint; make one with `mulligan log checkpoint`"
        )
    told(session, holding, proven, trusted=keys is not None)


def told(session: Session, holding: "Holding", proven: "Proven", *, trusted: bool) -> None:
    """Print what was proven of an archive at hand."""
    signed = proven.vouched.signed if proven.vouched is not None else None
    sealed = holding.segments[-1].last if holding.segments else 0
    if not session.out.for_people:
        proof = ArchiveProof(
            location=holding.location,
            region=holding.owner.region,
            log_id=holding.owner.log_id,
            segments=len(holding.segments),
            sealed=sealed,
            last=proven.last,
            commits=proven.commits,
            hash=proven.hash,
            vouched=signed.seq if signed else 0,
            kid=signed.kid if signed else "",
            signed_at=signed.at if signed else None,
            trusted_keys=trusted,
        )
        session.out.one(proof, (Column("LOCATION", lambda one: one.location),))
        return
    session.out.line(
        f"entries 1 to {proven.last} of {holding.owner.region} are intact, {proven.commits}"
        f" commits, sealed up to {sealed} in {len(holding.segments)} segments; the last is"
        f" {proven.hash}"
    )
    say_vouched(session.out, signed, trusted=trusted, where="archive")


app.add_typer(archive_restore.app)
