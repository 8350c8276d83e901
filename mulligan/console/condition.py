"""How a region is, part by part: each is asked at once, and what does not answer is told of."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import msgspec

from mulligan.commands.shards import owner_of
from mulligan.console.source import Source
from mulligan.errors import MulliganError, NotFound, PermissionDenied
from mulligan.proto.v1 import (
    ArchiveStatus,
    Brake,
    Credential,
    Endpoint,
    GetArchiveStatusRequest,
    GetLogStatusRequest,
    ListBrakesRequest,
    ListCredentialsRequest,
    ListMachinesRequest,
    ListProjectionsRequest,
    LogStatus,
    Machine,
    MachineState,
    Page,
    Projection,
)

if TYPE_CHECKING:
    from mulligan.client.client import Client

PART_S = 3.0
"""Seconds that each part may take."""
AT_MOST = 500
"""Machines in trouble that are looked at."""
BUSY = (
    MachineState.INSPECTING,
    MachineState.CLEANING,
    MachineState.DEPLOYING,
    MachineState.RESCUING,
    MachineState.RESTORING,
)
SHARED = ("control", "executor")
"""Services whose instances divide the machines among them."""
LEADING = {
    "resource": {"claim-timers": "claims' times", "claim-migration": "moves off failed providers"},
    "log": {"checkpoints": "checkpoints"},
    "archiver": {"archive": "the archive"},
}
"""What one instance of a service does for all: the key that it is chosen by, and what it is."""


class Condition(msgspec.Struct, kw_only=True):
    """What the parts of a region answered; ``silent`` says which did not, and why."""

    region: str = ""
    at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    services: list[Endpoint] = []
    log: LogStatus | None = None
    archive: ArchiveStatus | None = None
    projections: list[Projection] = []
    machines: list[Machine] = []
    brakes: list[Brake] = []
    rotating: list[Credential] = []
    silent: dict[str, str] = {}

    @property
    def head(self) -> int:
        """Return the newest entry; 0 where the log did not answer."""
        return self.log.head.seq if self.log is not None and self.log.head else 0


async def condition_of(source: Source, *, troubles: bool = True) -> Condition:
    """Ask the parts of the present region, all at once; with ``troubles``, for machines as well.

    Raise Unavailable when not even the Catalog answers.
    """
    client = source.present
    found = Condition(services=await client.endpoints(), region=client.region)
    present = {one.service for one in found.services}
    parts = _parts(client, found)
    if troubles:
        parts += _troubles(client, found)

    async def ask(service: str, part: Callable[[], Awaitable[None]]) -> None:
        try:
            await part()
        except (PermissionDenied, NotFound):
            pass  # not for this account to see
        except MulliganError as error:
            found.silent[service] = error.message

    async with anyio.create_task_group() as tasks:
        for service, part in parts:
            if service in present:
                tasks.start_soon(ask, service, part)
    return found


Parts = list[tuple[str, Callable[[], Awaitable[None]]]]


def _parts(client: "Client", found: Condition) -> Parts:
    async def log() -> None:
        found.log = await client.log.get_log_status(GetLogStatusRequest(), timeout=PART_S)

    async def archive() -> None:
        request = GetArchiveStatusRequest()
        found.archive = await client.archiver.get_archive_status(request, timeout=PART_S)

    async def projections() -> None:
        request = ListProjectionsRequest()
        answer = await client.projector.list_projections(request, timeout=PART_S)
        found.projections = list(answer.projections)

    return [("log", log), ("archiver", archive), ("projector", projections)]


def _troubles(client: "Client", found: Condition) -> Parts:
    async def machines() -> None:
        request = ListMachinesRequest(states=[MachineState.FAILED, *BUSY], page=Page(size=AT_MOST))
        answer = await client.control.list_machines(request, timeout=PART_S)
        found.machines = list(answer.machines)

    async def brakes() -> None:
        answer = await client.control.list_brakes(ListBrakesRequest(), timeout=PART_S)
        found.brakes = list(answer.brakes)

    async def rotations() -> None:
        request = ListCredentialsRequest(page=Page(size=AT_MOST))
        answer = await client.control.list_credentials(request, timeout=PART_S)
        found.rotating = [one for one in answer.credentials if one.rotation is not None]

    return [("control", machines), ("control", brakes), ("control", rotations)]


def shares_of(services: Iterable[Endpoint], machines: Iterable[str]) -> Counter[str]:
    """Return how many machines each instance looks after, as the instances divide them."""
    shares: Counter[str] = Counter()
    uuids = list(machines)
    listed = list(services)
    for service in SHARED:
        instances = [one.instance for one in listed if one.service == service]
        if instances:
            shares.update(owner_of(uuid, instances) for uuid in uuids)
    return shares


def leads_of(services: Iterable[Endpoint]) -> dict[str, str]:
    """Return what each instance does for all instances of its service, as they choose it."""
    listed = list(services)
    found: dict[str, list[str]] = {}
    for service, duties in LEADING.items():
        instances = [one.instance for one in listed if one.service == service]
        for key, what in duties.items():
            found.setdefault(owner_of(key, instances), []).append(what)
    return {instance: ", ".join(duties) for instance, duties in found.items() if instance}
