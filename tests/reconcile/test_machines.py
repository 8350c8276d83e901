"""The reconciler and an executor bring a machine through its life; only the BMC is left out."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import anyio
import pytest

from mulligan.events.machine import Bmc, StepObserved
from mulligan.handlers import deployment, image, plans
from mulligan.handlers import operations as ops
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.credential import CreateCredential
from mulligan.handlers.decision import Command
from mulligan.handlers.enrolment import EnrolMachine
from mulligan.handlers.machine import Action, Machine
from mulligan.log.memory import MemoryDisk
from mulligan.log.protocol import Fence
from mulligan.model import (
    CommitId,
    CredentialId,
    ImageId,
    MachineId,
    Seq,
    new_id,
    stream_id,
    utc_now,
)
from mulligan.reconcile.machines import MachineReconciler
from tests.commands.region import Process, process, request, truth
from tests.handlers.given import MACHINE, claim_of

from .executors import Script, ScriptedExecutor, well

M1 = MachineId("m1")
OS = ImageId("os")


class Clock:
    """The time, moved by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


async def nobody() -> Iterable[str]:
    return ()


def reconciler(
    p: Process,
    disk: MemoryDisk,
    *,
    mine: Callable[[str], bool] = lambda key: True,
    find_busy: Callable[[], Awaitable[Iterable[str]]] = nobody,
) -> MachineReconciler:
    fence = disk.grant("control")
    return MachineReconciler(p.commands, mine=mine, fence=lambda: fence, find_busy=find_busy)


class Region:
    """One process with a reconciler and an executor at work."""

    def __init__(self, p: Process, disk: MemoryDisk, executor: ScriptedExecutor) -> None:
        self.p, self.disk, self.executor = p, disk, executor

    async def do(self, *commands: Command) -> None:
        for command in commands:
            await self.p.commands.execute(command, request())

    async def machine(self) -> Machine:
        state: Machine = (await self.p.commands.state(stream_id("machine", M1))).state
        return state

    async def rests(self) -> Machine:
        """Return the machine once it has no operation left."""
        with anyio.fail_after(5):
            while (machine := await self.machine()).operation is not None:
                await self.p.log.wait(Seq(self.p.log.head.seq + 1))
        return machine


@asynccontextmanager
async def region(
    script: Script = well, clock: Callable[[], datetime] = utc_now
) -> AsyncIterator[Region]:
    disk = MemoryDisk()
    async with process(disk, clock=clock) as p, anyio.create_task_group() as tasks:
        executor = ScriptedExecutor(p.commands, script)
        tasks.start_soon(reconciler(p, disk).run)
        tasks.start_soon(executor.run)
        r = Region(p, disk, executor)
        await r.do(*enrolment())
        yield r
        tasks.cancel_scope.cancel()


def enrolment() -> list[Command]:
    root = CredentialId("root")
    return [
        CreateCredential(credential=root, name="root", version="1"),
        image.CreateImage(image=OS, name="os", url="file:os.iso", sha256="0" * 64),
        EnrolMachine(machine=M1, name="m1", bmc=Bmc(address="https://m1", credential=root)),
    ]


def operation() -> CommitId:
    return CommitId(new_id())


async def test_a_machine_goes_through_its_life() -> None:
    async with region() as r:
        await r.do(ops.InspectMachine(machine=M1, operation=operation()))
        assert (await r.rests()).state == "manageable"
        await r.do(ops.ProvideMachine(machine=M1, operation=operation()))
        assert (await r.rests()).state == "available"
        claim = claim_of({M1: {MACHINE: 1}})
        await r.do(
            claim, deployment.DeployMachine(claim=claim.claim, image=OS, operation=operation())
        )
        machine = await r.rests()
        assert (machine.state, machine.claim) == ("active", claim.claim)
        await r.do(ReleaseClaim(claim=claim.claim))
        machine = await r.rests()
        assert (machine.state, machine.claim) == ("available", "")
        assert r.executor.steps == [
            *plans.INSPECT,
            *plans.clean(),
            *plans.deploy("iso", "power-on", user_data=False),
            *plans.clean(),
        ]
        assert r.p.log.failure is None


async def test_a_step_that_fails_once_is_tried_again_after_its_pause() -> None:
    clock = Clock()
    failures = [1]

    def script(machine: Machine, action: Action) -> StepObserved:
        if action.step == "inventory" and failures:
            failures.pop()
            long_ago = clock() - timedelta(minutes=1)
            return StepObserved(action=action.id, outcome="retry", at=long_ago, fault="busy")
        return well(machine, action)

    async with region(script, clock) as r:
        await r.do(ops.InspectMachine(machine=M1, operation=operation()))
        assert (await r.rests()).state == "manageable"
        assert r.executor.steps == ["check", "inventory", "inventory"]


async def test_attempts_run_out() -> None:
    def script(machine: Machine, action: Action) -> StepObserved:
        long_ago = utc_now() - timedelta(minutes=2)
        return StepObserved(
            action=action.id, outcome="retry", at=long_ago, fault="busy", message="503"
        )

    async with region(script) as r:
        await r.do(ops.InspectMachine(machine=M1, operation=operation()))
        machine = await r.rests()
        assert (machine.state, machine.failed) == ("failed", "inspect")
        assert machine.fault is not None and machine.fault.message == "tried 5 times, last: 503"
        assert r.executor.steps == ["check"] * plans.ATTEMPTS


async def test_what_will_not_heal_stops_at_once() -> None:
    def script(machine: Machine, action: Action) -> StepObserved:
        return StepObserved(
            action=action.id, outcome="fatal", at=utc_now(), fault="bad-credentials", message="401"
        )

    async with region(script) as r:
        await r.do(ops.InspectMachine(machine=M1, operation=operation()))
        machine = await r.rests()
        assert machine.fault is not None
        assert (machine.fault.fault, machine.fault.message) == ("bad-credentials", "401")
        assert r.executor.steps == ["check"]


async def test_an_operation_past_its_deadline_fails_and_says_what_it_waited_for() -> None:
    clock = Clock()
    async with region(lambda machine, action: None, clock) as r:
        await r.do(ops.InspectMachine(machine=M1, operation=operation()))
        with anyio.fail_after(5):
            while not r.executor.steps:
                await anyio.sleep(0.002)
        clock.ahead = plans.DEADLINES["inspect"]
        await touch(r)
        machine = await r.rests()
        assert machine.fault is not None and machine.fault.fault == "deadline"
        assert "executor-1 to finish check" in machine.fault.message


async def touch(r: Region) -> None:
    """Let the reconciler look: a takeover of shares makes it look at every busy machine."""

    async def busy() -> Iterable[str]:
        return (M1,)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reconciler(r.p, r.disk, find_busy=busy).run)
        await r.rests()
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("owned", [True, False])
async def test_a_reconciler_takes_over_its_own_share_alone(owned: bool) -> None:
    disk = MemoryDisk()

    async def busy() -> Iterable[str]:
        return (M1,)

    async with process(disk) as p, anyio.create_task_group() as tasks:
        for command in (*enrolment(), ops.InspectMachine(machine=M1, operation=operation())):
            await p.commands.execute(command, request())
        before = p.log.head.seq
        tasks.start_soon(reconciler(p, disk, mine=lambda key: owned, find_busy=busy).run)
        with anyio.move_on_after(5 if owned else 0.1):
            await p.log.wait(Seq(before + 1))
        assert (p.log.head.seq > before) is owned
        tasks.cancel_scope.cancel()


async def test_two_reconcilers_ask_for_each_step_once() -> None:
    async with region() as r:
        async with process(r.disk) as other, anyio.create_task_group() as tasks:
            tasks.start_soon(reconciler(other, r.disk).run)
            await r.do(ops.InspectMachine(machine=M1, operation=operation()))
            await r.rests()
            await r.do(ops.ProvideMachine(machine=M1, operation=operation()))
            await r.rests()
            tasks.cancel_scope.cancel()
        assert r.executor.steps == [*plans.INSPECT, *plans.clean()]


async def test_a_reconciler_without_its_lease_appends_nothing() -> None:
    disk = MemoryDisk()
    async with process(disk) as p, anyio.create_task_group() as tasks:
        lost = Fence(key="control", create_revision=1)
        tasks.start_soon(
            MachineReconciler(
                p.commands, mine=lambda key: True, fence=lambda: lost, find_busy=nobody
            ).run
        )
        for command in (*enrolment(), ops.InspectMachine(machine=M1, operation=operation())):
            await p.commands.execute(command, request())
        head = p.log.head.seq
        await anyio.sleep(0.1)
        assert p.log.head.seq == head
        tasks.cancel_scope.cancel()
    machine: Machine = truth(disk)[stream_id("machine", M1)].state
    assert machine.operation is not None and machine.operation.action is None
