"""How soon after a command's acknowledgement its first request is at the BMC, in a whole region."""

import time
from collections.abc import Sequence

import anyio

from benchmarks._bmc import PASSWORD, USER, Settings, SimulatedBmcs, simulated_bmcs, system_id
from benchmarks._loop import percentile
from benchmarks._region import running_region
from mulligan.client import Client
from mulligan.proto import v1

_WITHIN_S = 30.0


async def first_calls(count: int) -> dict[str, float]:
    """Inspect machines one after the other; return percentiles in ms, over ``count`` of each.

    ``new``: the executor has never spoken to that BMC and makes a client first; ``known``: it has.
    """
    settings = Settings(systems=count, ports=2)
    async with (
        running_region(()) as region,
        simulated_bmcs(settings) as bmcs,
        Client(region.context, secret=region.secret) as client,
    ):
        await _enrol(client, bmcs)
        new = [await _one(client, bmcs, number) for number in range(count)]
        known = [await _one(client, bmcs, number) for number in range(count)]
    return {
        "p50": percentile(new + known, 0.5),
        "p99": percentile(new + known, 0.99),
        **_named("new", new),
        **_named("known", known),
    }


def _named(name: str, sample: Sequence[float]) -> dict[str, float]:
    return {f"{name}_p50": percentile(sample, 0.5), f"{name}_p99": percentile(sample, 0.99)}


async def _enrol(client: Client, bmcs: SimulatedBmcs) -> None:
    login = v1.CreateCredentialRequest(name="bmc", username=USER, password=PASSWORD)
    await client.control.create_credential(login)
    for number in range(bmcs.systems):
        bmc = v1.Bmc(address=bmcs.address(number), credential="bmc", system=system_id(number))
        await client.control.enroll_machine(v1.EnrollMachineRequest(name=f"m-{number}", bmc=bmc))


async def _one(client: Client, bmcs: SimulatedBmcs, number: int) -> float:
    """Return the seconds from the acknowledgement of an inspection to its first request."""
    name = f"m-{number}"
    await bmcs.mark()
    await client.control.inspect_machine(v1.MachineRequest(machine=name))
    acknowledged = time.monotonic()
    with anyio.fail_after(_WITHIN_S):
        while not (load := await bmcs.load()).first_at:
            await anyio.sleep(0.005)
        while await _is_busy(client, name):
            await anyio.sleep(0.01)
    return max(load.first_at - acknowledged, 0.0)


async def _is_busy(client: Client, name: str) -> bool:
    found = await client.control.get_machine(v1.GetMachineRequest(machine=name))
    assert found.machine is not None
    return found.machine.operation is not None
