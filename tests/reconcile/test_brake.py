"""Too much trouble in one failure domain applies its brake, and nothing else does."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest

from mulligan.config import Dsn
from mulligan.events.machine import Bmc, Power
from mulligan.handlers import actions, completion, observations
from mulligan.handlers import operations as ops
from mulligan.handlers.brake import Brake, ReleaseBrake, brake_stream
from mulligan.handlers.credential import CreateCredential
from mulligan.handlers.decision import Command
from mulligan.handlers.enrolment import DeleteMachine, EnrolMachine
from mulligan.handlers.machine import Machine
from mulligan.handlers.provider_commands import CreateProvider
from mulligan.log.memory import MemoryDisk
from mulligan.log.protocol import Fence, Fenced
from mulligan.model import (
    AccountId,
    ActionId,
    CommitId,
    CredentialId,
    MachineId,
    ProviderId,
    Seq,
    new_id,
    stream_id,
)
from mulligan.queries.database import Database
from mulligan.reconcile.brake import BrakeWatch, Threshold
from tests.commands.region import Process, process, request
from tests.projections.conftest import folded, until, working
from tests.reconcile.executors import well
from tests.reconcile.test_machines import Clock

USUAL = Threshold(percent=25, at_least=3, window=600)
RACK, OTHER = ProviderId(new_id()), ProviderId(new_id())
ROOT = CredentialId("root")
SECONDS = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("percent", "at_least", "failed", "total", "reached"),
    [
        (25, 3, 2, 2, False),
        (25, 3, 3, 3, True),
        (25, 3, 3, 12, True),
        (25, 3, 3, 13, False),
        (25, 3, 4, 13, True),
        (0, 1, 100, 100, False),
        (100, 1, 9, 10, False),
        (100, 1, 10, 10, True),
        (0.1, 1, 1, 1000, True),
        (0.1, 1, 1, 1001, False),
        (25, 3, 0, 0, False),
        (33.3, 1, 1, 3, True),
        (33.4, 1, 1, 3, False),
    ],
)
def test_the_threshold_is_a_share_and_a_number_of_machines(
    percent: float, at_least: int, failed: int, total: int, reached: bool
) -> None:
    threshold = Threshold(percent=percent, at_least=at_least, window=600)
    assert threshold.reached(failed, total) is reached


class Racks:
    """A region whose machines do as the test says; its brake is watched by ``watch``."""

    def __init__(self, p: Process, disk: MemoryDisk, reads: Database, clock: Clock) -> None:
        self.p, self.reads, self.clock = p, reads, clock
        self._fence = disk.grant("control")

    def watch(
        self, threshold: Threshold = USUAL, mine: Callable[[str], bool] = lambda key: True
    ) -> BrakeWatch:
        return BrakeWatch(
            self.p.commands, self.reads, threshold, mine=mine, fence=lambda: self._fence
        )

    async def do(self, *commands: Command) -> None:
        for command in commands:
            await self.p.commands.execute(command, request())

    async def machines(self, count: int, rack: str = RACK) -> list[MachineId]:
        """Enrol machines; none has been asked for anything."""
        made = [MachineId(new_id()) for _ in range(count)]
        for one in made:
            bmc = Bmc(address=f"https://b{one}", credential=ROOT)
            await self.do(
                EnrolMachine(machine=one, name=f"m{one}", bmc=bmc, parent=ProviderId(rack))
            )
        return made

    async def inspected(self, count: int, rack: str = RACK) -> list[MachineId]:
        made = await self.machines(count, rack)
        for one in made:
            operation = CommitId(new_id())
            await self.do(ops.InspectMachine(machine=one, operation=operation))
            while (await self.state(one)).operation is not None:
                await self._step(one, operation)
        return made

    async def _step(self, machine: MachineId, operation: CommitId) -> None:
        state = await self.state(machine)
        assert state.operation is not None
        if not state.operation.step:
            await self.do(completion.CompleteOperation(machine=machine, operation=operation))
            return
        action = ActionId(new_id())
        asked = actions.RequestAction(
            machine=machine,
            operation=operation,
            action=action,
            done=state.operation.done,
            attempt=1,
        )
        taken = actions.AttemptStep(
            machine=machine, operation=operation, action=action, owner="executor"
        )
        await self.do(asked, taken)
        in_hand = (await self.state(machine)).operation
        assert in_hand is not None and in_hand.action is not None
        seen = well(state, in_hand.action)
        await self.do(actions.ObserveStep(machine=machine, operation=operation, observed=seen))

    async def state(self, machine: MachineId) -> Machine:
        state: Machine = (await self.p.commands.state(stream_id("machine", machine))).state
        return state

    async def fail(
        self, machines: Iterable[MachineId], fault: str = "unreachable", verb: str = "clean"
    ) -> None:
        """Have an operation on each of the machines fail."""
        for one in machines:
            operation = CommitId(new_id())
            started: Command = ops.ProvideMachine(machine=one, operation=operation)
            if verb == "inspect":
                started = ops.InspectMachine(machine=one, operation=operation)
            if (await self.state(one)).state == "failed":
                started = ops.RetryMachine(machine=one, operation=operation)
            await self.do(started)
            running = (await self.state(one)).operation
            assert running is not None
            failing = completion.FailOperation(
                machine=one, operation=operation, step=running.step, fault=fault, message="it did"
            )
            await self.do(failing)

    async def see(self, machines: Iterable[MachineId], *powers: Power) -> None:
        """Have the machines be seen in one power after another."""
        for one in machines:
            for power in powers:
                await self.do(observations.ObservePower(machine=one, power=power))

    async def brake(self, domain: str = RACK) -> Brake | None:
        state: Brake | None = (await self.p.commands.state(brake_stream(domain))).state
        return state

    async def applied(self, domain: str = RACK) -> tuple[int, int] | None:
        """Return what the brake counted; None while it does not hold."""
        state = await self.brake(domain)
        if state is None or state.applied is None:
            return None
        return state.applied.failed, state.applied.total


@asynccontextmanager
async def region(database: Dsn) -> AsyncIterator[Racks]:
    disk, clock = MemoryDisk(), Clock()
    async with (
        process(disk, clock=clock) as p,
        working(disk, database) as worker,
        Database(database) as reads,
    ):
        racks = Racks(p, disk, reads, clock)
        await racks.do(CreateCredential(credential=ROOT, name="root", version="1"))
        for rack in (RACK, OTHER):
            await racks.do(CreateProvider(provider=rack, name=f"r{rack}", type="component"))
        await until(folded(worker, p.log.head.seq))
        yield racks


async def test_a_brake_is_applied_where_too_much_fails_and_only_there(database: Dsn) -> None:
    async with region(database) as racks:
        machines = await racks.inspected(6)
        others = await racks.inspected(3, OTHER)
        alone = await racks.inspected(3, "")
        watch = racks.watch()
        await racks.fail(machines[:2])
        await racks.fail(others[:2])
        await watch.check()
        assert await racks.applied() is None, "two of six are not three"
        await racks.fail(machines[2:3])
        await watch.check()
        assert await racks.applied() == (3, 6)
        assert await racks.applied(OTHER) is None
        assert await racks.applied("region") is None
        await racks.fail(machines[3:])
        await watch.check()
        assert await racks.applied() == (3, 6), "it is applied once"
        await racks.fail(alone)
        await watch.check()
        assert await racks.applied("region") == (3, 3), "those under no provider are one domain"


@pytest.mark.parametrize(
    ("verb", "fault"),
    [
        ("inspect", "unreachable"),
        ("clean", "aborted"),
        ("clean", "checksum-mismatch"),
        ("clean", "image-missing"),
    ],
)
async def test_what_is_not_a_machines_own_fault_does_not_count(
    database: Dsn, verb: str, fault: str
) -> None:
    async with region(database) as racks:
        machines = await racks.inspected(3)
        await racks.fail(machines, fault, verb)
        await racks.watch().check()
        assert await racks.applied() is None


async def test_lost_power_counts_and_power_that_is_not_known_does_not(database: Dsn) -> None:
    async with region(database) as racks:
        machines = await racks.inspected(6)
        watch = racks.watch()
        await racks.see(machines, "on", "unknown")
        await watch.check()
        assert await racks.applied() is None, "silence is not a loss"
        await racks.see(machines[:3], "off")
        await watch.check()
        assert await racks.applied() is None, "off after silence may have been a shutdown"
        await racks.see(machines[3:5], "on", "off")
        await racks.fail(machines[5:])
        await watch.check()
        assert await racks.applied() == (3, 6), "losses and failures are counted together"


async def test_what_is_longer_ago_than_the_window_does_not_count(database: Dsn) -> None:
    async with region(database) as racks:
        machines = await racks.inspected(4)
        watch = racks.watch()
        await racks.fail(machines[:2])
        racks.clock.ahead += 601 * SECONDS
        await racks.fail(machines[2:])
        await watch.check()
        assert await racks.applied() is None
        racks.clock.ahead += 598 * SECONDS
        await racks.fail(machines[:1])
        await watch.check()
        assert await racks.applied() == (3, 4)


async def test_what_was_before_a_release_does_not_count_again(database: Dsn) -> None:
    async with region(database) as racks:
        machines = await racks.inspected(6)
        watch = racks.watch()
        await racks.fail(machines[:4])
        await watch.check()
        assert await racks.applied() == (4, 6)
        await racks.do(ReleaseBrake(domain=RACK, by=AccountId("ann"), reason="the switch is back"))
        await watch.check()
        assert await racks.applied() is None
        await racks.fail(machines[4:])
        await watch.check()
        assert await racks.applied() is None, "two since the release"
        await racks.fail(machines[:1])
        await watch.check()
        assert await racks.applied() == (3, 6), "one that fails again is new trouble"


async def test_machines_that_are_gone_count_no_more(database: Dsn) -> None:
    async with region(database) as racks:
        machines = await racks.inspected(4)
        await racks.fail(machines[:3])
        await racks.do(DeleteMachine(machine=machines[0], force=True, reason="scrapped"))
        await racks.watch().check()
        assert await racks.applied() is None
        await racks.fail(machines[3:])
        await racks.watch().check()
        assert await racks.applied() == (3, 3)


async def test_a_region_without_a_brake_never_applies_one(database: Dsn) -> None:
    async with region(database) as racks:
        machines = await racks.inspected(3)
        await racks.fail(machines)
        await racks.watch(Threshold(percent=0, at_least=1, window=600)).check()
        assert await racks.brake() is None


async def test_each_instance_watches_its_own_domains(database: Dsn) -> None:
    async with region(database) as racks:
        await racks.fail(await racks.inspected(3))
        await racks.fail(await racks.inspected(3, OTHER))
        await racks.watch(mine=lambda key: key == f"brake/{OTHER}").check()
        assert await racks.applied() is None
        assert await racks.applied(OTHER) == (3, 3)


async def test_a_running_watch_applies_the_brake_when_the_last_straw_falls(database: Dsn) -> None:
    async with region(database) as racks:
        machines = await racks.inspected(3)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(racks.watch().run)
            await racks.fail(machines)
            with anyio.fail_after(10):
                while await racks.applied() is None:
                    await racks.p.log.wait(Seq(racks.p.log.head.seq + 1))
            tasks.cancel_scope.cancel()
        assert await racks.applied() == (3, 3)


async def test_a_watch_without_its_lease_applies_nothing_and_goes_on(database: Dsn) -> None:
    async with region(database) as racks:
        lost = Fence(key="control", create_revision=1)
        watch = BrakeWatch(
            racks.p.commands, racks.reads, USUAL, mine=lambda key: True, fence=lambda: lost
        )
        await racks.fail(await racks.inspected(3))
        with pytest.raises(Fenced):
            await watch.check()
        assert await racks.brake() is None
