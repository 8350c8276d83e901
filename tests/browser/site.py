"""A region with machines in every state, for a browser to look at."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mulligan.client import Client
from mulligan.proto import v1
from tests.e2e.fleet import Fleet, rests
from tests.e2e.region import RunningRegion

RACKS = ("rack-1", "rack-2", "rack-3")
MACHINES = 24


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[tuple[RunningRegion, Fleet]]:
    """Run a region with an emulated fleet in three racks; some machines are claimed."""
    async with RunningRegion(folder, "east") as region:
        fleet = Fleet(region, folder / "yard", MACHINES, slowest=1)
        async with fleet.emulator:
            await furnish(region, fleet)
            yield region, fleet


async def furnish(region: RunningRegion, fleet: Fleet) -> None:
    """Enrol the fleet, and bring parts of it to various states."""
    admin = region.client()
    await fleet.prepare(admin)
    row = v1.CreateProviderRequest(name="hall-a", type="component")
    await admin.resource.create_provider(row)
    for number, rack in enumerate(RACKS):
        made = v1.CreateProviderRequest(name=rack, type="component", parent="hall-a")
        await admin.resource.create_provider(made)
        await fleet.enrol(admin, fleet.names[number::3], rack)
    ready = fleet.names[:16]
    await fleet.provide(admin, ready, within=120)
    inspected = fleet.names[16:20]
    for name in inspected:
        await admin.control.inspect_machine(v1.MachineRequest(machine=name))
    for name in inspected:
        await rests(admin, name, v1.MachineState.MANAGEABLE, 120)
    await deploy(await region.tenant("physics", "rita"), ready[:6])
    await admin.control.cordon_machine(
        v1.CordonMachineRequest(machine=ready[7], reason="fan replaced on Monday")
    )
    with suppress(Exception):  # which of them is refused does not matter to a picture
        await admin.control.retire_machine(v1.RetireMachineRequest(machine=inspected[-1]))


async def deploy(tenant: Client, names: Sequence[str]) -> None:
    """Claim machines one by one and deploy most of them."""
    now = datetime.now(UTC)
    for number, name in enumerate(names):
        window = v1.Window(end=now + timedelta(hours=4 + 3 * number))
        exact = v1.ClaimExactRequest(
            name=f"run-{number + 1}",
            allocations=[v1.Allocation(provider=name, amounts={"machine": 1})],
            window=window,
        )
        claim = (await tenant.resource.claim_exact(exact)).claim
        assert claim is not None
        if number < 4:
            await tenant.control.deploy_machine(
                v1.DeployMachineRequest(claim=claim.uuid, image="tiny")
            )
    for name in names[:4]:
        await rests(tenant, name, v1.MachineState.ACTIVE, 120)
