"""Machines at work: deployed and given back again and again, by an operator and a tenant."""

import anyio

from mulligan.proto import v1
from tests.crash.load import Caller, Told
from tests.crash.record import SILENCES
from tests.e2e.fleet import IMAGE, Fleet

RESTS_WITHIN = 180.0
LOOK_EVERY = 0.3


async def live(operator: Caller, tenant: Caller, fleet: Fleet, name: str) -> None:
    """Enrol a machine, then deploy it and give it back until told to stop; it ends available."""
    enrol = v1.EnrollMachineRequest(name=name, bmc=fleet.bmc(name))
    await operator.settle("control.enroll_machine", enrol)
    await operator.settle("control.inspect_machine", v1.MachineRequest(machine=name))
    await rests(operator, name, v1.MachineState.MANAGEABLE)
    await operator.settle("control.provide_machine", v1.MachineRequest(machine=name))
    await rests(operator, name, v1.MachineState.AVAILABLE)
    await work(operator, tenant, name)


async def work(operator: Caller, tenant: Caller, name: str) -> None:
    """Deploy an available machine and give it back until told to stop."""
    rounds = 0
    while not tenant.stop.is_set():
        rounds += 1
        machine = v1.Allocation(provider=name, amounts={"machine": 1})
        try:
            made = await tenant.settle(
                "resource.claim_exact", v1.ClaimExactRequest(allocations=[machine])
            )
        except Told:  # its cordon of the cleaning is lifted only when that is over
            await anyio.sleep(LOOK_EVERY)
            continue
        deploy = v1.DeployMachineRequest(claim=made.claim.uuid, image=IMAGE)
        await tenant.settle("control.deploy_machine", deploy)
        await rests(tenant, name, v1.MachineState.ACTIVE)
        await tenant.settle("control.release_machine", v1.MachineRequest(machine=name))
        await rests(operator, name, v1.MachineState.AVAILABLE)


async def rests(caller: Caller, name: str, state: v1.MachineState) -> None:
    """Return once a machine rests in ``state``; fail if it rests as failed, or takes too long."""
    found: v1.Machine | None = None
    with anyio.move_on_after(RESTS_WITHIN):
        while True:
            try:
                request = v1.GetMachineRequest(machine=name)
                found = (await caller.client.control.get_machine(request)).machine
            except SILENCES:
                continue
            assert found is not None
            at_rest = found.operation is None
            if at_rest and found.state is state:
                return
            fault = found.fault.message if found.fault else ""
            assert not (at_rest and found.state is v1.MachineState.FAILED), f"{name}: {fault}"
            await anyio.sleep(LOOK_EVERY)
    raise AssertionError(f"{name} does not rest as {state.name} in {RESTS_WITHIN} s: {found}")
