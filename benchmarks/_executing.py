"""The real executor on a log of its own, without the rest of a region: a step for every machine."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, ClassVar

import anyio
import msgspec

from benchmarks._bmc import PASSWORD, USER, SimulatedBmcs, system_id
from benchmarks._etcd import running_etcd
from mulligan.commands.runner import Commands, EarlierCommit, Request
from mulligan.events import machine as ev
from mulligan.events.codec import Codec
from mulligan.events.credential import CredentialCreated
from mulligan.events.envelope import Actor
from mulligan.events.machine import Bmc, StepObserved
from mulligan.handlers.actions import RequestAction
from mulligan.handlers.decision import Change, Command, States
from mulligan.log.etcd import Etcd
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.protocol import Stored
from mulligan.log.registry import Registration
from mulligan.model import (
    ActionId,
    CommitId,
    CredentialId,
    MachineId,
    RegionName,
    Seq,
    StreamId,
    new_id,
    stream_id,
    utc_now,
)
from mulligan.redfish.auth import Login
from mulligan.redfish.executor import Executor

_ACTOR = Actor(account="benchmark")
_CREDENTIAL = CredentialId(new_id())
_AT_ONCE = 64
_ROUND_S = 600.0


class _NoState(msgspec.Struct, frozen=True):
    """A stream as a read model has it that has read nothing yet."""

    version: int = 0
    state: Any = None
    seq: Seq = Seq(0)
    created_at: datetime | None = None
    updated_at: datetime | None = None


class _EmptyModels:
    """Read models that know nothing: all there is to know is in the log's tail."""

    async def load(self, streams: Iterable[StreamId]) -> Mapping[StreamId, _NoState]:
        return dict.fromkeys(streams, _NoState())

    async def find_commit(self, commit: CommitId) -> tuple[EarlierCommit | None, Seq]:
        return None, Seq(0)


class _BringIn(Command, frozen=True, kw_only=True):
    """Enrol a machine and start one long operation on it, made of ``steps``."""

    NAME: ClassVar = "benchmark.bring_in"
    machine: MachineId
    bmc: Bmc
    operation: CommitId
    steps: tuple[str, ...]

    def reads(self, states: States) -> list[StreamId]:
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        stream = stream_id("machine", self.machine)
        enrolled = ev.MachineEnrolled(machine=self.machine, name=self.machine, bmc=self.bmc)
        started = ev.OperationStarted(
            operation=self.operation,
            verb="inspect",
            steps=self.steps,
            deadline=now + timedelta(hours=1),
            then="manageable",
        )
        return [Change(stream, enrolled), Change(stream, started)]


class _BringLogin(Command, frozen=True, kw_only=True):
    NAME: ClassVar = "benchmark.bring_login"

    def reads(self, states: States) -> list[StreamId]:
        return [stream_id("credential", _CREDENTIAL)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        created = CredentialCreated(credential=_CREDENTIAL, name="bmc", version="1")
        return [Change(stream_id("credential", _CREDENTIAL), created)]


class Bench:
    """Machines whose steps are asked for by ``request`` and done by ``execute``, one a machine."""

    def __init__(self, commands: Commands, bmcs: SimulatedBmcs, steps: Sequence[str]) -> None:
        self._commands = commands
        self._bmcs = bmcs
        self._steps = tuple(steps)
        self._codec = Codec()
        self._done = 0
        self._asked = 0
        self._all_done = anyio.Event()
        self.machines = {MachineId(new_id()): CommitId(new_id()) for _ in range(bmcs.systems)}
        self.open = False
        self.executor: Executor | None = None

    def on_entry(self, stored: Stored) -> None:
        """Count the steps that are done; one that failed ends the benchmark."""
        for commit in stored.entry.commits:
            for record in commit.events:
                if record.type != StepObserved.TYPE:
                    continue
                event = self._codec.event(record)
                assert isinstance(event, StepObserved)
                if event.outcome != "done":
                    raise SystemExit(f"a step failed: {event.message}")
                self._done += 1
                if self._done == self.bmcs_count:
                    self._all_done.set()

    @property
    def bmcs_count(self) -> int:
        """How many machines there are."""
        return len(self.machines)

    async def bring_in(self) -> None:
        """Enrol every machine."""
        await self._run(_BringLogin())
        await self._each(
            [
                _BringIn(
                    machine=machine,
                    bmc=Bmc(
                        address=self._bmcs.address(number),
                        credential=_CREDENTIAL,
                        system=system_id(number),
                    ),
                    operation=operation,
                    steps=self._steps,
                )
                for number, (machine, operation) in enumerate(self.machines.items())
            ]
        )

    async def request(self) -> None:
        """Ask for the next step of every machine; the executor does not look yet."""
        self.open = False
        await self._each(
            [
                RequestAction(
                    machine=machine,
                    operation=operation,
                    action=ActionId(new_id()),
                    done=self._asked,
                    attempt=1,
                )
                for machine, operation in self.machines.items()
            ]
        )
        self._asked += 1

    async def execute(self) -> None:
        """Have the executor do what was asked, and return when all of it is in the log."""
        assert self.executor is not None
        self._done, self._all_done = 0, anyio.Event()
        self.open = True
        self.executor.shares_changed()
        with anyio.fail_after(_ROUND_S):
            await self._all_done.wait()

    async def find_busy(self) -> Iterable[str]:
        """Return every machine once they are the executor's."""
        return self.machines if self.open else ()

    async def read_login(self, credential: str, version: str) -> Login:
        """Return the one login."""
        return Login(USER, PASSWORD)

    async def _each(self, commands: Sequence[Command]) -> None:
        slots = anyio.Semaphore(_AT_ONCE)

        async def one(command: Command) -> None:
            async with slots:
                await self._run(command)

        async with anyio.create_task_group() as tasks:
            for command in commands:
                tasks.start_soon(one, command)

    async def _run(self, command: Command) -> None:
        await self._commands.execute(command, Request(id=CommitId(new_id()), actor=_ACTOR))


@asynccontextmanager
async def executing(
    bmcs: SimulatedBmcs, steps: Sequence[str], limiter: anyio.CapacityLimiter
) -> AsyncIterator[Bench]:
    """Run the executor on an etcd of its own, with every machine brought in."""
    models = _EmptyModels()
    with running_etcd() as settings:
        async with Etcd(settings) as etcd, EtcdLog.open(etcd, RegionName("bench")) as log:
            commands = Commands(log, models, models, clock=utc_now)
            registration = Registration(etcd, "/mulligan/bench/lease/service/executor/1", b"{}")
            bench = Bench(commands, bmcs, steps)
            stop = log.listen(bench.on_entry)
            async with registration.hold(), anyio.create_task_group() as tasks:
                await registration.acquired()
                bench.executor = Executor(
                    commands,
                    instance="executor-1",
                    mine=lambda key: bench.open,
                    alive=lambda instance: instance == "executor-1",
                    fence=registration.fence,
                    find_busy=bench.find_busy,
                    read_login=bench.read_login,
                    media=None,
                    limiter=limiter,
                )
                tasks.start_soon(bench.executor.run)
                await bench.bring_in()
                yield bench
                tasks.cancel_scope.cancel()
            stop()
            commands.close()
