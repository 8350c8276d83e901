"""``mulligan replay``: a log through this version, to check it, or into a database to ask."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mulligan.cli.output import Column
from mulligan.cli.progress import Progress
from mulligan.cli.rebuild import COLUMNS as PROJECTIONS
from mulligan.cli.verbs import Session, verb
from mulligan.errors import Corrupt, FailedPrecondition, InvalidArgument, MulliganError

if TYPE_CHECKING:
    from mulligan.commands.findings import Differing, Findings
    from mulligan.log.offline import OfflineLog
    from mulligan.model import Seq
    from mulligan.projections.rebuild import Progress as Step

app = typer.Typer(rich_markup_mode=None)


def number(count: int) -> str:
    """Return a count, nothing for none."""
    return str(count or "")


COMMANDS = (
    Column("COMMAND", lambda one: one.command),
    Column("COMMITS", lambda one: str(one.commits)),
    Column("SAME", lambda one: str(one.same)),
    Column("DIFFER", lambda one: number(one.differ)),
    Column("NOT DECIDED", lambda one: number(one.without + one.rest)),
    Column("REWRITTEN", lambda one: number(one.rewritten), wide=True),
)


@dataclass(frozen=True)
class Replayed:
    """What ``-o json`` prints: of which log, what the check found, what was folded."""

    region: str
    log_id: str
    last: int
    release: str
    check: dict[str, Any] | None
    projections: list[dict[str, Any]] | None


@verb(app, "replay")
async def replay(
    session: Session,
    check: Annotated[
        bool,
        typer.Option("--check", help="Decide every command again; tell what would differ."),
    ] = False,
    into: Annotated[
        str,
        typer.Option("--into", metavar="DSN", help="Fold read models into this empty database."),
    ] = "",
    to: Annotated[
        str,
        typer.Option("--to", metavar="SEQ|TIME", help="Stop after this entry, or at this time."),
    ] = "",
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="FILE|ARCHIVE",
            help="Exported files or segments, or an archive's folder or URL; none: the region.",
        ),
    ] = None,
    since: Annotated[
        int, typer.Option("--since", help="Check decisions from this entry on.", min=1)
    ] = 1,
    show: Annotated[
        int, typer.Option("--show", help="Tell so many differences in full.", min=0, max=1000)
    ] = 20,
) -> None:
    """Put a log through this version: what would it decide otherwise, or what was true then."""
    if not check and not into:
        raise InvalidArgument("--check", "is missing, or --into DSN: say what to replay it for")
    log = await opened(session, source or [])
    if to:
        await log.end_at(to, "--to")
    if since > log.head.seq:
        raise InvalidArgument("--since", f"lies beyond the last entry, {log.head.seq}")
    found = await checked(session, log, since, show) if check else None
    steps = await folded(session, log, into) if into else None
    tell(session, log, found, steps)
    if found is not None and not found.sound:
        raise MulliganError(
            f"{found.differ} of {found.commits} decisions would differ, and {found.cannot_fold}"
            " events cannot be folded"
        )
    short = [step.name for step in steps or () if step.phase == "failed"]
    if short:
        raise Corrupt(f"not folded to the end: {', '.join(short)}")


async def opened(session: Session, source: Sequence[str]) -> "OfflineLog":
    """Return the log to replay: of files, an archive, or the region."""
    from mulligan.log.depot import open_depot
    from mulligan.log.offline import archived_log, exported_log

    if not source:
        return await fetched(session)
    places = [one for one in source if is_archive(one)]
    if not places:
        return await exported_log([Path(one) for one in source])
    if len(source) > 1:
        raise InvalidArgument("--from", f"{places[0]} is an archive: name it alone, or only files")
    return await archived_log(open_depot(places[0]))


def is_archive(place: str) -> bool:
    """Tell an archive from a file: it is a folder or a URL."""
    return "://" in place or Path(place).is_dir()


async def fetched(session: Session) -> "OfflineLog":
    """Return the region's log, which is fetched as it is read; this needs log.export."""
    from mulligan.log.offline import FetchedLog
    from mulligan.log.protocol import Head
    from mulligan.model import Seq
    from mulligan.proto.v1 import ExportLogRequest, GetLogStatusRequest

    service = session.client.log
    status = await service.get_log_status(GetLogStatusRequest())
    if status.head is None or not status.head.seq:
        raise FailedPrecondition("there is nothing in the log yet")

    async def fetch(first: "Seq", last: "Seq") -> AsyncIterator[bytes]:
        async for one in service.export_log(ExportLogRequest(first=first, last=last)):
            yield one.entry

    head = Head(seq=Seq(status.head.seq), hash=status.head_hash, log_id=status.log_id)
    return FetchedLog(status.head.region, head, fetch)


async def checked(session: Session, log: "OfflineLog", since: int, show: int) -> "Findings":
    """Decide everything again."""
    from anyio import to_thread

    from mulligan.commands.redeciding import Redeciding
    from mulligan.model import Seq

    deciding = Redeciding(since=Seq(since), report=show)
    last, began, commits = log.head.seq, time.monotonic(), 0
    with Progress(quiet=not session.out.err.isatty()) as progress:
        async with aclosing(log.read(Seq(1), last)) as batches:
            async for batch in batches:
                await to_thread.run_sync(deciding.take, batch)
                commits += sum(len(stored.entry.commits) for stored in batch)
                rate = commits / max(time.monotonic() - began, 0.001)
                seq = batch[-1].seq
                progress.show("check", f"entry {seq} of {last}, {rate:,.0f} commits/s", seq, last)
    return deciding.findings()


async def folded(session: Session, log: "OfflineLog", dsn: str) -> "list[Step]":
    """Fold the read models into a database; return the last step of each."""
    from mulligan.projections.replaying import replay as into

    finished: dict[str, Step] = {}
    with Progress(quiet=not session.out.err.isatty()) as progress:
        async with aclosing(into(log, dsn)) as steps:
            async for step in steps:
                rate = step.events / step.seconds if step.seconds else 0
                text = f"{step.phase} {step.seq}, {rate:,.0f} events/s"
                progress.show(step.name, text, step.seq, step.target or None)
                if step.finished:
                    finished[step.name] = step
    return [finished[name] for name in sorted(finished)]


def tell(
    session: Session, log: "OfflineLog", found: "Findings | None", steps: "list[Step] | None"
) -> None:
    """Print what came of it."""
    from mulligan import __version__

    out = session.out
    if not out.for_people:
        import msgspec

        one = Replayed(
            region=log.region,
            log_id=log.head.log_id,
            last=log.head.seq,
            release=__version__,
            check=msgspec.to_builtins(found) | {"sound": found.sound} if found else None,
            projections=msgspec.to_builtins(steps) if steps is not None else None,
        )
        out.one(one, ())
        return
    out.line(f"entries 1 to {log.head.seq} of {log.region}, with mulligan {__version__}")
    if found is not None:
        tell_findings(session, found)
    if steps is not None:
        out.rows(steps, PROJECTIONS, "no projections")


def tell_findings(session: Session, found: "Findings") -> None:
    """Print what the check found, for a person."""
    out = session.out
    out.rows(found.commands, COMMANDS, "no commits")
    for one in found.unfolded:
        out.line(f"entry {one.entry}, commit {one.commit}: {one.detail}")
    for differing in found.differing:
        for line in said(differing):
            out.line(line)
    untold = found.differ - len(found.differing)
    if untold > 0:
        out.line(f"and {untold} more that differ; --show tells more")
    parts = [f"{found.same} of {found.commits} decisions are the same"]
    if found.differ:
        parts.append(f"{found.differ} would differ")
    if found.rewritten:
        parts.append(f"{found.rewritten} say the same in another form")
    if found.without:
        parts.append(f"{found.without} were recorded without arguments and not decided again")
    if found.rest:
        parts.append(f"{found.rest} rest on events that cannot be folded")
    out.line("; ".join(parts))


def said(one: "Differing") -> list[str]:
    """Say how a decision differs."""
    whats = {
        "events": "would have other events",
        "nothing": "would change nothing",
        "refused": "would be refused",
        "crashed": "cannot be decided: this is a defect",
        "unknown": "is not known",
        "arguments": "cannot be made of what was recorded",
    }
    detail = f": {one.detail}" if one.detail else ""
    lines = [f"entry {one.entry}, commit {one.commit}, {one.command} {whats[one.kind]}{detail}"]
    for event in one.events:
        lines.append(f"  {event.type} (version {event.version} of {event.stream}) {event.what}")
        lines += [f"    {f.path}: {f.before or '-'} -> {f.after or '-'}" for f in event.fields]
    return lines
