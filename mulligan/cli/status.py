"""``mulligan status``: is everything well, and if not, what to do."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.machine_view import state_shown
from mulligan.cli.output import Column, Format, Output
from mulligan.cli.verbs import RegionsOption, Session, verb
from mulligan.diagnosis.backups import backup_shown
from mulligan.diagnosis.etcd_members import members_shown
from mulligan.diagnosis.leading import leads_of
from mulligan.diagnosis.machines import age_of, operation_shown
from mulligan.diagnosis.problem import exit_code
from mulligan.quantities import format_bytes, format_span, format_time

if TYPE_CHECKING:
    from mulligan.diagnosis.found import Status
    from mulligan.proto.v1 import ArchiveStatus

app = typer.Typer(rich_markup_mode=None)

ENDPOINTS = (
    Column("SERVICE", lambda endpoint: endpoint.service),
    Column("INSTANCE", lambda endpoint: endpoint.instance),
    Column("ADDRESS", lambda endpoint: endpoint.address),
    Column("REGION", lambda endpoint: endpoint.region),
    Column("VERSION", lambda endpoint: endpoint.version),
)
PROJECTIONS = (
    Column("PROJECTION", lambda one: one.name),
    Column("VERSION", lambda one: str(one.version)),
    Column("SEQ", lambda one: str(one.seq)),
    Column("LAG", lambda one: f"{one.lag} ({format_span(one.lag_seconds)})" if one.lag else "0"),
    Column("STATUS", lambda one: one.status),
    Column("PROBLEM", lambda one: one.problem),
)
MACHINES = (
    Column("MACHINE", lambda machine: machine.name or machine.uuid),
    Column("STATE", state_shown),
    Column("OPERATION", operation_shown),
    Column("SINCE", lambda machine: format_span(age_of(machine, datetime.now(UTC)))),
)


@verb(app, "status", watched=True)
async def status(
    session: Session,
    by_code: Annotated[
        bool,
        typer.Option("--exit-code", help="Exit with 10 for warnings, 11 for what is critical."),
    ] = False,
    regions: RegionsOption = "",
) -> None:
    """Show services, the log, projections, machines in trouble, and what to do, worst first.

    With --regions there is one line a region.
    """
    if regions:
        from mulligan.cli.status_regions import status_of_regions

        problems = await status_of_regions(session, regions)
        if by_code and problems:
            raise typer.Exit(exit_code(problems))
        return
    found = await looked_at(session)
    if session.out.for_people:
        print_status(session.out, found)
    elif session.out.form is Format.NAME:
        session.out.rows(found.services, ENDPOINTS)
    else:
        session.out.one(found, ())
    if by_code and found.problems:
        raise typer.Exit(exit_code(found.problems))


async def looked_at(session: Session) -> "Status":
    """Ask a region how it is, and find what is wrong with it."""
    from mulligan.diagnosis.backups import notes_of
    from mulligan.diagnosis.checks import problems_of
    from mulligan.diagnosis.gathered import gather

    found = await gather(session.client)
    found.problems = problems_of(found, datetime.now(UTC))
    found.notes = notes_of(found)
    return found


def archive_shown(archive: "ArchiveStatus") -> str:
    """Return how far the archive is, in one line."""
    copied = f" at {format_time(archive.copied_at)}" if archive.copied_at else ""
    return (
        f"sealed up to {archive.sealed}, copied up to {archive.copied}{copied}; etcd uses"
        f" {format_bytes(archive.store_used_bytes)} of {format_bytes(archive.store_quota_bytes)}"
    )


def print_status(out: Output, found: "Status") -> None:
    """Print the status for people."""
    leads = leads_of(found)
    leading = Column("LEADS", lambda endpoint: leads.get(endpoint.instance, ""))
    out.rows(found.services, (*ENDPOINTS, leading), "no services are registered")
    if found.log is not None:
        out.line(f"\nlog: {found.region}:{found.head} {found.log.failure or 'intact'}")
    if found.archive is not None:
        out.line(f"archive: {archive_shown(found.archive)}")
        for backup in found.archive.backups:
            out.line(f"backup: {backup_shown(backup, found.at)}")
    if members := members_shown(found):
        out.line(f"etcd: {members}")
    if found.projections:
        out.line("")
        out.rows(found.projections, PROJECTIONS)
    if found.machines:
        out.line("")
        out.rows(found.machines, MACHINES)
    out.line("")
    for note in found.notes:
        out.line(f"note: {note.subject}: {note.what}")
        out.line(f"  next: {note.next}")
    for problem in found.problems:
        out.line(f"{problem.severity}: {problem.subject}: {problem.what}")
        out.line(f"  next: {problem.next}")
    if not found.problems:
        out.line("all is well")
