"""What is asked of which service; each part puts its answer where it belongs."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import anyio

from mulligan.client.paging import every
from mulligan.diagnosis.machines import is_late
from mulligan.errors import DeadlineExceeded, Unavailable

if TYPE_CHECKING:
    from mulligan.client.client import Client
    from mulligan.diagnosis.found import Status
    from mulligan.proto.v1 import Machine, MachineState

Part = Callable[[float], Awaitable[None]]
"""Asks, with so many seconds for it; raises what the service answers, or TimeoutError."""

KEPT = 500
"""Machines in trouble that are kept of those that failed, and of those that are late."""
UNREAD = 100
"""Machines whose BMC cannot be read that are looked at."""
LISTING = 1.1
"""How much longer than one call a list of many pages may take; what came by then counts."""


def parts(client: "Client", found: "Status") -> list[tuple[str, Part]]:
    """Return what is asked about the log, the archive and the read models."""
    from mulligan.proto.v1 import (
        GetArchiveStatusRequest,
        GetLogStatusRequest,
        ListProjectionsRequest,
    )

    async def log(timeout: float) -> None:
        found.log = await client.log.get_log_status(GetLogStatusRequest(), timeout=timeout)

    async def archive(timeout: float) -> None:
        request = GetArchiveStatusRequest()
        found.archive = await client.archiver.get_archive_status(request, timeout=timeout)

    async def projections(timeout: float) -> None:
        request = ListProjectionsRequest()
        answer = await client.projector.list_projections(request, timeout=timeout)
        found.projections = answer.projections

    return [("log", log), ("archiver", archive), ("projector", projections)]


def troubles(client: "Client", found: "Status") -> list[tuple[str, Part]]:
    """Return what is asked about machines, brakes, rotations and quotas."""
    from mulligan.client.deeds import PASSING
    from mulligan.proto.v1 import (
        ListBrakesRequest,
        ListCredentialsRequest,
        ListMachinesRequest,
        ListQuotasRequest,
        MachineState,
        Page,
    )

    async def failed(timeout: float) -> None:
        await _keep(client, found, [MachineState.FAILED], lambda one: True, timeout)

    async def late(timeout: float) -> None:
        await _keep(client, found, list(PASSING), lambda one: is_late(one, found.at), timeout)

    async def unread(timeout: float) -> None:
        request = ListMachinesRequest(health="unknown", page=Page(size=UNREAD))
        answer = await client.control.list_machines(request, timeout=timeout)
        found.unread, found.more_unread = answer.machines, bool(answer.next_page_token)

    async def brakes(timeout: float) -> None:
        answer = await client.control.list_brakes(ListBrakesRequest(), timeout=timeout)
        found.brakes = answer.brakes

    async def rotations(timeout: float) -> None:
        pages = every(
            partial(client.control.list_credentials, timeout=timeout),
            ListCredentialsRequest(),
            lambda answer: answer.credentials,
        )
        found.rotating = [one async for one in pages if one.rotation is not None]

    async def quotas(timeout: float) -> None:
        answer = await client.resource.list_quotas(ListQuotasRequest(), timeout=timeout)
        found.quotas = answer.quotas

    return [
        ("control", failed),
        ("control", late),
        ("control", unread),
        ("control", brakes),
        ("control", rotations),
        ("resource", quotas),
    ]


async def _keep(
    client: "Client",
    found: "Status",
    states: "Iterable[MachineState]",
    wanted: "Callable[[Machine], bool]",
    timeout: float,
) -> None:
    """Keep the machines in trouble among those in some states, as far as there is time."""
    from mulligan.proto.v1 import ListMachinesRequest

    kept: dict[str, Machine] = {}
    answered = False
    pages = every(
        partial(client.control.list_machines, timeout=timeout),
        ListMachinesRequest(states=list(states)),
        lambda answer: answer.machines,
    )
    try:
        with anyio.fail_after(LISTING * timeout):
            async for machine in pages:
                answered = True
                if wanted(machine):
                    kept[machine.uuid] = machine
                if len(kept) >= KEPT:
                    found.more_machines = True
                    break
    except (TimeoutError, DeadlineExceeded, Unavailable):
        if not answered:
            raise
        found.more_machines = True
    found.machines += kept.values()
