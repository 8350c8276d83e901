"""``mulligan status``: is everything well, and if not, what to do."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.machine_view import operation_shown, state_shown
from mulligan.cli.output import Column, Format, Output
from mulligan.cli.status_checks import (
    Seen,
    Status,
    age_of,
    critical,
    exit_code,
    is_late,
    problems_of,
    warning,
)
from mulligan.cli.verbs import RegionsOption, Session, verb
from mulligan.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    MulliganError,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from mulligan.quantities import format_bytes, format_span, format_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import ArchiveStatus, Credential, Endpoint, Machine, Region

app = typer.Typer(rich_markup_mode=None)

PART_S = 1.5
"""Seconds that each part has to answer; all are asked at once."""

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

        problems = await status_of_regions(session, regions, gather)
        if by_code and problems:
            raise typer.Exit(exit_code(problems))
        return
    found = await gather(session)
    found.problems = problems_of(found, datetime.now(UTC))
    if session.out.for_people:
        print_status(session.out, found)
    elif session.out.form is Format.NAME:
        session.out.rows(found.services, ENDPOINTS)
    else:
        session.out.one(found, ())
    if by_code and found.problems:
        raise typer.Exit(exit_code(found.problems))


async def gather(session: Session) -> Status:
    """Ask every part at once, each with its deadline; what cannot be had becomes a problem."""
    import anyio

    client = session.client
    found = Status(services=await client.endpoints(), region=client.region)
    present = {endpoint.service for endpoint in found.services}

    async def ask(service: str, part: Callable[[], Awaitable[None]]) -> None:
        try:
            with anyio.fail_after(PART_S):
                await part()
        except (PermissionDenied, NotFound):
            return  # not for this account to see
        except TimeoutError:
            what = f"no answer within {PART_S:g} s"
            found.problems.append(critical(service, what, _NEXT_LOG))
        except MulliganError as error:
            what = f"it does not answer: {error.message}"
            found.problems.append(critical(service, what, _NEXT_LOG))

    await _be_known(session)
    async with anyio.create_task_group() as tasks:
        for service, part in _parts(session, found):
            if service in present:
                tasks.start_soon(ask, service, part)
        for endpoint in found.services:
            tasks.start_soon(_instance, session, endpoint, found)
        tasks.start_soon(_peers, session, found)
    return found


async def _be_known(session: Session) -> None:
    """Log in before parts are asked, so that nobody is taken for slow because that takes time."""
    import anyio

    from mulligan.proto.v1 import WhoAmIRequest

    try:
        with anyio.fail_after(PART_S):
            await session.client.iam.who_am_i(WhoAmIRequest(), timeout=PART_S)
    except (Unavailable, DeadlineExceeded, TimeoutError):
        return  # iam's silence is told of like any other's


_NEXT_LOG = "see its log; start it again if it hangs"


def _parts(
    session: Session, found: Status
) -> tuple[tuple[str, Callable[[], Awaitable[None]]], ...]:
    """Return what is asked of which service."""
    from mulligan.proto.v1 import (
        GetArchiveStatusRequest,
        GetLogStatusRequest,
        ListBrakesRequest,
        ListProjectionsRequest,
        ListQuotasRequest,
    )

    client = session.client

    async def log() -> None:
        found.log = await client.log.get_log_status(GetLogStatusRequest(), timeout=PART_S)

    async def archive() -> None:
        request = GetArchiveStatusRequest()
        found.archive = await client.archiver.get_archive_status(request, timeout=PART_S)

    async def projections() -> None:
        request = ListProjectionsRequest()
        answer = await client.projector.list_projections(request, timeout=PART_S)
        found.projections = answer.projections

    async def machines() -> None:
        found.machines = await troubled(session)

    async def brakes() -> None:
        answer = await client.control.list_brakes(ListBrakesRequest(), timeout=PART_S)
        found.brakes = answer.brakes

    async def rotations() -> None:
        found.rotating = await rotating(session)

    async def quotas() -> None:
        answer = await client.resource.list_quotas(ListQuotasRequest(), timeout=PART_S)
        found.quotas = answer.quotas

    return (
        ("log", log),
        ("archiver", archive),
        ("projector", projections),
        ("control", machines),
        ("control", brakes),
        ("control", rotations),
        ("resource", quotas),
    )


async def _instance(session: Session, endpoint: "Endpoint", found: Status) -> None:
    """Ask one instance what it says of itself."""
    import anyio

    from mulligan.proto.v1 import GetInstanceRequest

    view = session.client.instance(endpoint.address, patience=PART_S)
    asked = datetime.now(UTC)
    try:
        with anyio.fail_after(PART_S):
            said = await view.catalog.get_instance(GetInstanceRequest(), timeout=PART_S)
    except (PermissionDenied, NotFound, FailedPrecondition):
        return  # not for this account to see, or a release that does not know the question
    except (MulliganError, TimeoutError) as error:
        why = error.message if isinstance(error, MulliganError) else f"no answer in {PART_S:g} s"
        what = f"{endpoint.address} does not answer: {why}"
        then = f"see its log; mulligan serve {endpoint.service}"
        found.problems.append(critical(endpoint.instance, what, then))
        return
    middle = asked + (datetime.now(UTC) - asked) / 2
    skew = (said.now - middle).total_seconds() if said.now is not None else 0.0
    found.instances.append(Seen(said, skew))


async def _peers(session: Session, found: Status) -> None:
    """Look whether the regions that this one knows answer at all."""
    import anyio

    from mulligan.proto.v1 import ListRegionsRequest

    try:
        with anyio.fail_after(PART_S):
            answer = await session.client.meta.list_regions(ListRegionsRequest(), timeout=PART_S)
            async with anyio.create_task_group() as tasks:
                for region in answer.regions:
                    if not region.home and region.addresses:
                        tasks.start_soon(_peer, region, found)
    except (MulliganError, TimeoutError):
        return  # meta's silence is told elsewhere, and a release may not know of regions


async def _peer(region: "Region", found: Status) -> None:
    import anyio

    for address in region.addresses:
        host, _, port = address.rpartition(":")
        try:
            with anyio.fail_after(PART_S / 2):
                stream = await anyio.connect_tcp(host.strip("[]"), int(port))
            await stream.aclose()
        except (OSError, ValueError, TimeoutError):
            continue
        return
    what = f"region {region.name} does not answer at {', '.join(region.addresses)}"
    found.problems.append(warning(region.name, what, f"mulligan region list; see {region.name}"))


async def troubled(session: Session) -> "list[Machine]":
    """Return the machines that are failed, or in an operation for long."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListMachinesRequest, MachineState

    states = [
        MachineState.INSPECTING,
        MachineState.CLEANING,
        MachineState.DEPLOYING,
        MachineState.RESCUING,
        MachineState.RESTORING,
        MachineState.FAILED,
    ]
    control = session.client.control
    request = ListMachinesRequest(states=states)
    now = datetime.now(UTC)
    pages = every(control.list_machines, request, lambda page: page.machines)
    return [
        machine
        async for machine in pages
        if machine.state is MachineState.FAILED or is_late(machine, now)
    ]


async def rotating(session: Session) -> "list[Credential]":
    """Return the BMC logins whose password is being rotated."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListCredentialsRequest

    control = session.client.control
    pages = every(control.list_credentials, ListCredentialsRequest(), lambda page: page.credentials)
    return [one async for one in pages if one.rotation is not None]


def archive_shown(archive: "ArchiveStatus") -> str:
    """Return how far the archive is, in one line."""
    copied = f" at {format_time(archive.copied_at)}" if archive.copied_at else ""
    return (
        f"sealed up to {archive.sealed}, copied up to {archive.copied}{copied}; etcd uses"
        f" {format_bytes(archive.store_used_bytes)} of {format_bytes(archive.store_quota_bytes)}"
    )


def print_status(out: Output, found: Status) -> None:
    """Print the status for people."""
    out.rows(found.services, ENDPOINTS, "no services are registered")
    if found.log is not None:
        head = found.log.head.seq if found.log.head else 0
        out.line(f"\nlog: {found.region}:{head} {found.log.failure or 'intact'}")
    if found.archive is not None:
        out.line(f"archive: {archive_shown(found.archive)}")
    if found.projections:
        out.line("")
        out.rows(found.projections, PROJECTIONS)
    if found.machines:
        out.line("")
        out.rows(found.machines, MACHINES)
    out.line("")
    for problem in found.problems:
        out.line(f"{problem.severity}: {problem.subject}: {problem.what}")
        out.line(f"  next: {problem.next}")
    if not found.problems:
        out.line("all is well")
