"""``mulligan status``: is everything well, and if not, what to do."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from mulligan.cli.machine_view import operation_shown, state_shown
from mulligan.cli.output import Column, Format, Output
from mulligan.cli.quantities import format_bytes, format_span, format_time
from mulligan.cli.verbs import Session, verb
from mulligan.cli.wait import failure_of
from mulligan.errors import MulliganError, NotFound, PermissionDenied

if TYPE_CHECKING:
    from mulligan.proto.v1 import (
        ArchiveStatus,
        Brake,
        Credential,
        Endpoint,
        LogStatus,
        Machine,
        Projection,
    )

app = typer.Typer(rich_markup_mode=None)

LONG = 600.0
"""Seconds after which an operation without a deadline is worth a look."""
LONG_ROTATION = 3600.0
"""Seconds after which a rotation of a BMC password is worth a look."""
LAGGING = 5.0
"""Seconds of lag that are worth a look."""
FILLING = 0.6
"""The part of etcd's quota in use from which on it is time to do something."""
SERVICES = ("iam", "meta", "resource", "control", "log", "projector", "executor", "archiver")


@dataclass
class Status:
    """Everything that ``status`` prints; ``problems`` say what to do next."""

    region: str = ""
    services: "list[Endpoint]" = field(default_factory=list)
    log: "LogStatus | None" = None
    archive: "ArchiveStatus | None" = None
    projections: "list[Projection]" = field(default_factory=list)
    machines: "list[Machine]" = field(default_factory=list)
    brakes: "list[Brake]" = field(default_factory=list)
    rotating: "list[Credential]" = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


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


@verb(app, "status")
async def status(session: Session) -> None:
    """Show services, the log, projections, and machines in trouble."""
    found = await gather(session)
    found.problems += problems_of(found, datetime.now(UTC))
    if session.out.for_people:
        print_status(session.out, found)
    elif session.out.form is Format.NAME:
        session.out.rows(found.services, ENDPOINTS)
    else:
        session.out.one(found, ())


async def gather(session: Session) -> Status:
    """Ask each service for its part; what cannot be had becomes a problem."""
    from mulligan.proto.v1 import (
        GetArchiveStatusRequest,
        GetLogStatusRequest,
        ListBrakesRequest,
        ListProjectionsRequest,
    )

    client = session.client
    found = Status(services=await client.endpoints(), region=client.region)
    present = {endpoint.service for endpoint in found.services}

    async def log() -> None:
        found.log = await client.log.get_log_status(GetLogStatusRequest(), timeout=5)

    async def archive() -> None:
        request = GetArchiveStatusRequest()
        found.archive = await client.archiver.get_archive_status(request, timeout=5)

    async def projections() -> None:
        request = ListProjectionsRequest()
        answer = await client.projector.list_projections(request, timeout=5)
        found.projections = answer.projections

    async def machines() -> None:
        found.machines = await troubled(session)

    async def brakes() -> None:
        found.brakes = (await client.control.list_brakes(ListBrakesRequest(), timeout=5)).brakes

    async def rotations() -> None:
        found.rotating = await rotating(session)

    parts = (
        ("log", log),
        ("archiver", archive),
        ("projector", projections),
        ("control", machines),
        ("control", brakes),
        ("control", rotations),
    )
    for service, part in parts:
        if service not in present:
            continue
        try:
            await part()
        except (PermissionDenied, NotFound):
            continue  # not for this account to see
        except MulliganError as error:
            found.problems.append(f"{service} does not answer: {error.message}")
    return found


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


def is_late(machine: "Machine", now: datetime) -> bool:
    """Tell whether a machine's operation is past its deadline, or has run for long without one."""
    operation = machine.operation
    if operation is None:
        return False
    if operation.deadline is not None:
        return now > operation.deadline
    return age_of(machine, now) > LONG


def age_of(machine: "Machine", now: datetime) -> float:
    """Return for how many seconds a machine has been failed or in its operation."""
    since = machine.updated_at
    if machine.fault is not None and machine.fault.since is not None:
        since = machine.fault.since
    if machine.operation is not None and machine.operation.started_at is not None:
        since = machine.operation.started_at
    return max(0.0, (now - since).total_seconds()) if since else 0.0


def problems_of(found: Status, now: datetime) -> list[str]:
    """Return what is wrong, each with what to do about it."""
    from mulligan.proto.v1 import MachineState

    problems: list[str] = []
    present = {endpoint.service for endpoint in found.services}
    problems += [
        f"no {service} service is registered; start it with `mulligan serve {service}`"
        for service in SERVICES
        if service not in present
    ]
    if found.log is not None and found.log.failure:
        problems.append(f"the log halted: {found.log.failure}; run `mulligan log verify`")
    problems += store_problems(found)
    for one in found.projections:
        if one.status == "building":
            problems.append(
                f"projection {one.name} is being built as version {one.building_version}, entry "
                f"{one.building_seq} of {one.building_target}; its reads are stale until then"
            )
        elif one.status != "live":
            problems.append(
                f"projection {one.name} is {one.status} at {one.seq}: {one.problem}; its reads are "
                f"stale. See `mulligan projection show {one.name}`"
            )
        elif one.lag_seconds > LAGGING:
            problems.append(f"projection {one.name} lags by {format_span(one.lag_seconds)}")
    for brake in found.brakes:
        domain = brake.domain_name or brake.domain
        problems.append(
            f"the brake is on in {domain}: {brake.failed} of {brake.total} machines failed within "
            f"{format_span(brake.window)}; find out why, then `mulligan brake release {domain}`"
        )
    for login in found.rotating:
        since = login.rotation.started_at if login.rotation is not None else None
        if since is not None and (now - since).total_seconds() > LONG_ROTATION:
            problems.append(
                f"the rotation of {login.name} has gone on for"
                f" {format_span((now - since).total_seconds())}; see"
                f" `mulligan credential show {login.name}`"
            )
    for machine in found.machines:
        called = machine.name or machine.uuid
        if machine.state is MachineState.FAILED:
            problems.append(failure_of(machine, called))
        else:
            problems.append(
                f"{called} has been in {operation_shown(machine)} for "
                f"{format_span(age_of(machine, now))}; see `mulligan machine why {called}`"
            )
    return problems


def archive_shown(archive: "ArchiveStatus") -> str:
    """Return how far the archive is, in one line."""
    copied = f" at {format_time(archive.copied_at)}" if archive.copied_at else ""
    return (
        f"sealed up to {archive.sealed}, copied up to {archive.copied}{copied}; etcd uses"
        f" {format_bytes(archive.store_used_bytes)} of {format_bytes(archive.store_quota_bytes)}"
    )


def store_problems(found: Status) -> list[str]:
    """Return what is wrong with etcd's space and the archive."""
    problems = []
    log, archive = found.log, found.archive
    if log is not None and log.store_quota_bytes:
        share = log.store_used_bytes / log.store_quota_bytes
        if share > FILLING:
            problems.append(
                f"etcd uses {format_bytes(log.store_used_bytes)} of its quota of"
                f" {format_bytes(log.store_quota_bytes)}; at the quota it refuses to write. See"
                " `mulligan archive status`, lower archive.keep_bytes, or raise etcd's quota"
            )
    if archive is not None and archive.problem:
        problems.append(
            f"the archiver does not get on: {archive.problem}; see `mulligan archive status`"
        )
    return problems


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
        out.line(f"problem: {problem}")
    if not found.problems:
        out.line("all is well")
