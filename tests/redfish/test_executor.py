"""Executors that share machines: one drains, dies or gives a machine away while a step runs."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskStatus
from msgspec.structs import replace

from mulligan.errors import Unavailable
from mulligan.events.codec import Codec
from mulligan.events.machine import Bmc, StepAttempted
from mulligan.handlers import operations as ops
from mulligan.handlers import plans
from mulligan.handlers.credential import CreateCredential
from mulligan.handlers.decision import Command
from mulligan.handlers.enrolment import EnrolMachine
from mulligan.handlers.machine import Machine
from mulligan.log.memory import MemoryDisk
from mulligan.log.protocol import Stored
from mulligan.model import CommitId, CredentialId, MachineId, Seq, new_id, stream_id
from mulligan.reconcile.machines import MachineReconciler
from mulligan.redfish.auth import Login
from mulligan.redfish.bmc import Timings
from mulligan.redfish.executor import Executor
from tests.commands.region import Process, process, request
from tests.redfish.conftest import QUICK
from tests.redfish.scripted_bmc import RESET, ScriptedBmc, stall

M1, ROOT = MachineId("m1"), CredentialId("root")
PATIENT = replace(QUICK, read=30, slow=30)


class Worker:
    """One executor, and how to end it as a process ends."""

    def __init__(self, executor: Executor, scope: anyio.CancelScope) -> None:
        self.executor = executor
        self._scope = scope
        self.ended = anyio.Event()

    async def stop(self) -> None:
        """Cancel it and wait until it has closed what it had open."""
        self._scope.cancel()
        await self.ended.wait()


class ScarceDisk(MemoryDisk):
    """A disk that has no space for the next ``refusals`` writes."""

    refusals = 0

    @property
    def full(self) -> bool:
        refused = self.refusals > 0
        self.refusals -= refused
        return refused

    @full.setter
    def full(self, value: bool) -> None:
        self.refusals = int(value)


class Lab:
    """A machine, in a region in memory; ``owner`` is the executor whose machine it is."""

    def __init__(self, p: Process, bmc: ScriptedBmc, disk: ScarceDisk, timings: Timings) -> None:
        self.p = p
        self.bmc = bmc
        self.owner = "a"
        self.alive = {"a", "b"}
        self.workers: dict[str, Worker] = {}
        self.began: list[str] = []
        """Who began steps, in order."""
        self.loses_next = False
        """Whether the next login that is read is not found out, and the machine is b's by then."""
        self.disk = disk
        self._timings = timings
        self._codec = Codec()
        p.log.listen(self._on_entry)

    async def work(self, name: str, *, task_status: TaskStatus[None]) -> None:
        """Run the executor of that name until it is stopped."""
        fence = self.disk.grant(name)
        executor = Executor(
            self.p.commands,
            instance=name,
            mine=lambda key: self.owner == name,
            alive=lambda instance: instance in self.alive,
            fence=lambda: fence,
            find_busy=self._busy,
            read_login=self._login,
            media=None,
            limiter=anyio.CapacityLimiter(10),
            timings=self._timings,
        )
        with anyio.CancelScope() as scope:
            worker = self.workers[name] = Worker(executor, scope)
            task_status.started()
            await executor.run()
        worker.ended.set()

    async def _busy(self) -> Iterable[str]:
        return (M1,)

    async def _login(self, credential: str, version: str) -> Login:
        if self.loses_next:
            self.loses_next = False
            self.give_to("b")
            raise Unavailable("the store of logins is away")
        return Login(self.bmc.user, self.bmc.password)

    def _on_entry(self, stored: Stored) -> None:
        for commit in stored.entry.commits:
            for record in commit.events:
                if record.type == StepAttempted.TYPE:
                    event = self._codec.event(record)
                    assert isinstance(event, StepAttempted)
                    self.began.append(event.owner)

    def give_to(self, name: str) -> None:
        """Change whose machine it is, as all executors hear at once."""
        self.owner = name
        for worker in self.workers.values():
            worker.executor.shares_changed()

    async def do(self, *commands: Command) -> None:
        for command in commands:
            await self.p.commands.execute(command, request())

    async def power(self, target: plans.PowerTarget) -> None:
        await self.do(ops.PowerMachine(machine=M1, target=target, operation=CommitId(new_id())))

    async def rests(self) -> Machine:
        with anyio.fail_after(10):
            while True:
                known = await self.p.commands.state(stream_id("machine", M1))
                machine: Machine = known.state
                if machine.operation is None:
                    return machine
                await self.p.log.wait(Seq(self.p.log.head.seq + 1))

    async def asked(self, method: str, path: str) -> None:
        """Return when the BMC has been asked so."""
        with anyio.fail_after(10):
            while not self.bmc.count(method, path):
                await anyio.sleep(0.01)


@asynccontextmanager
async def lab(bmc: ScriptedBmc, timings: Timings = QUICK) -> AsyncIterator[Lab]:
    disk = ScarceDisk()
    control = disk.grant("control")
    async with process(disk) as p, anyio.create_task_group() as tasks:
        it = Lab(p, bmc, disk, timings)
        reconciler = MachineReconciler(
            p.commands, mine=lambda key: True, fence=lambda: control, find_busy=it._busy
        )
        tasks.start_soon(reconciler.run)
        for name in ("a", "b"):
            await tasks.start(it.work, name)
        await it.do(
            CreateCredential(credential=ROOT, name="root", version="1"),
            EnrolMachine(machine=M1, name="m1", bmc=Bmc(address=bmc.address, credential=ROOT)),
            ops.InspectMachine(machine=M1, operation=CommitId(new_id())),
        )
        assert (await it.rests()).state == "manageable"
        yield it
        tasks.cancel_scope.cancel()


async def test_a_step_cut_short_by_the_end_of_its_executor_is_found_done_by_the_next(
    bmc: ScriptedBmc,
) -> None:
    async with lab(bmc, PATIENT) as it:
        bmc.script("POST", RESET, stall(20, apply=True))
        await it.power("on")
        await it.asked("POST", RESET)
        leaving = it.workers["a"]
        with anyio.fail_after(3):
            it.give_to("b")
            await leaving.executor.drain(0.1)
            await leaving.stop()
        assert it.bmc.count("POST", RESET) == 1
        it.alive = {"b"}
        it.give_to("b")
        machine = await it.rests()
        assert (machine.power, machine.fault) == ("on", None)
        assert it.bmc.count("POST", RESET) == 1, "it was looked for, not sent again"


async def test_a_step_under_way_is_finished_by_its_executor_and_the_next_one_is_anothers(
    bmc: ScriptedBmc,
) -> None:
    async with lab(bmc, PATIENT) as it:
        it.began.clear()
        bmc.script("POST", RESET, stall(0.3, apply=True))
        await it.power("on")
        await it.asked("POST", RESET)
        it.give_to("b")
        assert (await it.rests()).power == "on"
        assert it.began == ["a"]
        await it.power("off")
        assert (await it.rests()).power == "off"
        assert it.began == ["a", "b"]
        with anyio.fail_after(5):
            while len(bmc.tokens) > 1:  # the first one's session is deleted
                await anyio.sleep(0.01)


async def test_an_executor_that_leaves_begins_nothing_more(bmc: ScriptedBmc) -> None:
    async with lab(bmc) as it:
        it.began.clear()
        with anyio.fail_after(1):
            await it.workers["a"].executor.drain(10)
        await it.power("on")
        it.give_to("b")
        assert (await it.rests()).power == "on"
        assert it.began == ["b"]
        await it.workers["a"].stop()
        await it.workers["b"].stop()
        assert not bmc.tokens, "no session stays"


async def test_an_outcome_waits_while_the_log_has_no_space_and_no_step_is_tried_again(
    bmc: ScriptedBmc,
) -> None:
    async with lab(bmc, PATIENT) as it:
        it.began.clear()
        bmc.script("POST", RESET, stall(0.2, apply=True))
        await it.power("on")
        await it.asked("POST", RESET)
        it.disk.refusals = 1
        assert (await it.rests()).power == "on"
        assert (it.began, it.disk.refusals) == (["a"], 0)


async def test_a_step_is_settled_by_who_claimed_it_though_the_machine_is_anothers_by_then(
    bmc: ScriptedBmc,
) -> None:
    async with lab(bmc) as it:
        it.began.clear()
        it.give_to("b")
        it.give_to("a")  # without the client that it had
        it.loses_next = True
        await it.power("on")
        assert (await it.rests()).power == "on"
        assert it.began == ["a", "a", "b"], "a finds that it was not done; only then b does it"
        assert bmc.count("POST", RESET) == 1
