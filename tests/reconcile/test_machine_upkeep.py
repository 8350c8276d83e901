"""What the reconciler does of itself: keeps power, ends cordons, and heeds brakes."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest

from mulligan.events.machine import Power, StepObserved
from mulligan.handlers import observations, plans, upkeep
from mulligan.handlers import operations as ops
from mulligan.handlers.actions import ObserveStep
from mulligan.handlers.brake import REGION_DOMAIN, ApplyBrake, ReleaseBrake
from mulligan.handlers.machine import Action, Machine
from mulligan.model import AccountId, Seq
from mulligan.reconcile.machine_plan import waiting_for
from mulligan.reconcile.machines import MachineReconciler, why_braked
from tests.reconcile.executors import Script, well
from tests.reconcile.test_machines import M1, Clock, Region, operation, region

ANN = AccountId("ann")
MINUTE = timedelta(minutes=1)


async def busy() -> Iterable[str]:
    return (M1,)


@asynccontextmanager
async def seeing_to_it(r: Region) -> AsyncIterator[None]:
    """Have a reconciler at work that finds the machine when it looks for what there is to do."""
    fence = r.disk.grant("seeing to it")
    worker = MachineReconciler(
        r.p.commands, mine=lambda key: True, fence=lambda: fence, find_busy=busy
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        yield
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def available(script: Script = well) -> AsyncIterator[tuple[Region, Clock]]:
    """A region whose machine was cleaned: it is off, and can be claimed."""
    clock = Clock()
    async with region(script, clock) as r:
        await r.do(ops.InspectMachine(machine=M1, operation=operation()))
        await r.rests()
        await r.do(ops.ProvideMachine(machine=M1, operation=operation()))
        await r.rests()
        r.executor.steps.clear()
        yield r, clock


async def becomes(r: Region, holds: Callable[[Machine], bool]) -> Machine:
    """Return the machine once it is as wanted."""
    with anyio.fail_after(5):
        while not holds(machine := await r.machine()):
            await r.p.log.wait(Seq(r.p.log.head.seq + 1))
    return machine


def rests_in(power: Power) -> Callable[[Machine], bool]:
    return lambda machine: machine.operation is None and machine.power == power


async def seen(r: Region, power: Power) -> None:
    await r.do(observations.ObservePower(machine=M1, power=power))


async def looked_at(r: Region) -> Machine:
    """Return the machine after a reconciler has looked at it as it is now, and acted."""
    looks, fence = 0, r.disk.grant("another control")

    def mine(key: str) -> bool:
        nonlocal looks
        looks += 1
        return True

    async with anyio.create_task_group() as tasks:
        another = MachineReconciler(r.p.commands, mine=mine, fence=lambda: fence, find_busy=busy)
        tasks.start_soon(another.run)
        with anyio.fail_after(5):
            for wanted in (1, 2):  # a machine's looks follow one another: then the first is over
                another.shares_changed()
                while looks < wanted:
                    await anyio.sleep(0.002)
        tasks.cancel_scope.cancel()
    return await r.machine()


def in_hand(machine: Machine) -> Action | None:
    """Return the action that an executor has taken and not answered."""
    action = machine.operation.action if machine.operation is not None else None
    return action if action is not None and action.owner else None


async def answered(r: Region, machine: Machine) -> None:
    """Have the action in hand go well."""
    operation, action = machine.operation, in_hand(machine)
    assert operation is not None and action is not None
    seen = well(machine, action)
    await r.do(ObserveStep(machine=machine.id, operation=operation.id, observed=seen))


async def test_a_machine_is_brought_back_when_it_leaves_its_power() -> None:
    async with available() as (r, _):
        await r.do(ops.PowerMachine(machine=M1, target="on", operation=operation()))
        await becomes(r, rests_in("on"))
        await r.do(upkeep.KeepPower(machine=M1, power="on"))
        await seen(r, "off")
        await becomes(r, rests_in("on"))
        assert r.executor.steps == ["power_on", "power_on"]


async def test_a_machine_is_brought_back_once_within_ten_minutes() -> None:
    async with available() as (r, clock):
        await r.do(upkeep.KeepPower(machine=M1, power="on"))
        await becomes(r, rests_in("on"))
        await seen(r, "off")
        machine = await looked_at(r)
        assert rests_in("off")(machine)
        assert "it is off and is to be kept on; it is seen to again at" in waiting_for(machine)
        clock.ahead += 9 * MINUTE
        assert rests_in("off")(await looked_at(r))
        clock.ahead += MINUTE
        await looked_at(r)
        await becomes(r, rests_in("on"))
        assert r.executor.steps == ["power_on", "power_on"]


@pytest.mark.parametrize("desired", ["on", "off"])
@pytest.mark.parametrize("power", ["unknown", "powering_on", "powering_off"])
async def test_nothing_is_done_about_power_that_is_not_settled(desired: str, power: Power) -> None:
    async with available() as (r, _):
        await seen(r, power)
        await r.do(upkeep.KeepPower(machine=M1, power=desired))  # type: ignore[arg-type]
        machine = await looked_at(r)
        assert (machine.operation, machine.enforced_at, r.executor.steps) == (None, None, [])


async def test_a_machine_that_nobody_wants_kept_is_left_alone() -> None:
    async with available() as (r, _):
        await r.do(upkeep.KeepPower(machine=M1, power="off"))
        await r.do(upkeep.KeepPower(machine=M1, power=""))
        await seen(r, "on")
        assert (await looked_at(r)).operation is None
        assert not r.executor.steps


async def test_a_machine_in_maintenance_is_brought_back_after_it() -> None:
    async with available() as (r, _):
        await r.do(
            upkeep.CordonMachine(machine=M1, by=ANN, reason="fans", maintenance=True),
            upkeep.KeepPower(machine=M1, power="on"),
        )
        machine = await looked_at(r)
        assert machine.operation is None
        assert waiting_for(machine) == (
            "the end of its maintenance: it is off and is to be kept on"
        )
        await r.do(upkeep.UncordonMachine(machine=M1, by=ANN))
        await becomes(r, rests_in("on"))
        assert r.executor.steps == ["power_on"]


async def test_a_cordon_ends_when_its_time_is_over_and_no_sooner() -> None:
    async with available() as (r, clock):
        until = clock() + 5 * MINUTE
        await r.do(upkeep.CordonMachine(machine=M1, by=ANN, reason="fans", until=until))
        clock.ahead += 4 * MINUTE
        assert (await looked_at(r)).cordon is not None
        clock.ahead += MINUTE
        await looked_at(r)
        await becomes(r, lambda machine: machine.cordon is None)


async def test_maintenance_stops_an_operation_between_two_steps() -> None:
    def script(machine: Machine, action: Action) -> StepObserved | None:
        return None if action.step == "check" else well(machine, action)

    async with region(script) as r:
        await r.do(ops.InspectMachine(machine=M1, operation=operation()))
        machine = await becomes(r, lambda m: in_hand(m) is not None)
        await r.do(upkeep.CordonMachine(machine=M1, by=ANN, reason="fans", maintenance=True))
        await answered(r, machine)
        machine = await looked_at(r)
        assert machine.operation is not None
        assert (machine.operation.step, machine.operation.action) == ("inventory", None)
        assert waiting_for(machine) == "the end of its maintenance, by ann: fans"
        await r.do(upkeep.UncordonMachine(machine=M1, by=ANN))
        assert (await r.rests()).state == "manageable"


# -- brakes --------------------------------------------------------------------------------------


def brake(domain: str = REGION_DOMAIN) -> ApplyBrake:
    return ApplyBrake(domain=domain, failed=3, total=6, window=600)


async def test_a_brake_holds_what_writes_and_says_so_until_it_is_released() -> None:
    async with available() as (r, _):
        await r.do(brake())
        await r.do(ops.PowerMachine(machine=M1, target="on", operation=operation()))
        machine = await looked_at(r)
        assert machine.operation is not None and machine.operation.action is None
        why = await why_braked(r.p.commands, machine)
        assert waiting_for(machine, why) == (
            "the brake of its failure domain to be released: 3 of 6 machines failed or lost"
            " power within 10 min"
        )
        assert not r.executor.steps
        async with seeing_to_it(r):
            await r.do(ReleaseBrake(domain=REGION_DOMAIN, by=ANN, reason="the switch is back"))
            await r.rests()
        assert r.executor.steps == ["power_on"]


async def test_a_brake_lets_be_read() -> None:
    async with available() as (r, _):
        await r.do(ops.ManageMachine(machine=M1), brake())
        await r.do(ops.InspectMachine(machine=M1, operation=operation()))
        assert (await r.rests()).state == "manageable"
        assert r.executor.steps == ["check", "inventory"]


async def test_a_brake_elsewhere_holds_nothing() -> None:
    async with available() as (r, _):
        await r.do(brake("another-rack"))
        await r.do(ops.PowerMachine(machine=M1, target="on", operation=operation()))
        await r.rests()
        assert r.executor.steps == ["power_on"]


async def test_an_operation_under_way_goes_no_further_than_its_step_when_a_brake_is_applied() -> (
    None
):
    held: list[Machine] = []

    def script(machine: Machine, action: Action) -> StepObserved | None:
        if action.step == "power_off" and not held:
            held.append(machine)
            return None
        return well(machine, action)

    async with region(script) as r:
        await r.do(ops.InspectMachine(machine=M1, operation=operation()))
        await r.rests()
        await r.do(ops.ProvideMachine(machine=M1, operation=operation()))
        machine = await becomes(r, lambda m: bool(held) and in_hand(m) is not None)
        await r.do(brake())
        await answered(r, machine)
        before = list(r.executor.steps)
        machine = await looked_at(r)
        assert machine.operation is not None and machine.operation.action is None
        assert machine.operation.step != "power_off"
        assert r.executor.steps == before
        async with seeing_to_it(r):
            await r.do(ReleaseBrake(domain=REGION_DOMAIN, by=ANN, reason="looked at"))
            assert (await r.rests()).state == "available"


async def test_an_operation_that_a_brake_holds_fails_at_its_deadline() -> None:
    async with available() as (r, clock):
        await r.do(brake())
        await r.do(ops.PowerMachine(machine=M1, target="on", operation=operation()))
        await looked_at(r)
        clock.ahead += plans.DEADLINES["power"]
        await looked_at(r)
        machine = await r.rests()
        assert machine.state == "available"
        assert machine.fault is not None and machine.fault.fault == "held"
        assert "the brake of its failure domain to be released" in machine.fault.message


async def test_power_that_is_to_be_kept_waits_for_the_brake() -> None:
    async with available() as (r, _):
        await r.do(brake(), upkeep.KeepPower(machine=M1, power="on"))
        machine = await looked_at(r)
        assert machine.operation is None
        why = waiting_for(machine, await why_braked(r.p.commands, machine))
        assert why.startswith("the brake of its failure domain to be released")
        assert why.endswith("it is off and is to be kept on")
        async with seeing_to_it(r):
            await r.do(ReleaseBrake(domain=REGION_DOMAIN, by=ANN, reason="looked at"))
            await becomes(r, rests_in("on"))
        assert r.executor.steps == ["power_on"]
