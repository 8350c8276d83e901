"""A region in memory whose BMCs have accounts: executors, both reconcilers and a secret store."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta

import anyio
from anyio.abc import TaskGroup, TaskStatus

from mulligan.events.machine import Bmc
from mulligan.handlers import operations as ops
from mulligan.handlers.credential import CreateCredential, Credential
from mulligan.handlers.decision import Command
from mulligan.handlers.enrolment import EnrolMachine, plain_address
from mulligan.handlers.machine import Machine
from mulligan.handlers.rotation import StartRotation
from mulligan.log.memory import MemoryDisk
from mulligan.master_key import MasterKeys
from mulligan.model import (
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
from mulligan.queries.rotations import LAST, Left, Progress
from mulligan.reconcile.machines import MachineReconciler
from mulligan.reconcile.rotation import Rotations
from mulligan.redfish.auth import Login
from mulligan.redfish.executor import Executor
from mulligan.secrets import MemorySecretKv, SecretStore
from tests.commands.region import Process, process, request
from tests.redfish.account_bmc import AccountBmc
from tests.redfish.conftest import QUICK

LAB = CredentialId("01900000-0000-7000-8000-00000000000a")
KIND = "bmc"


class Lab:
    """Machines by name; ``owner`` is the executor that all of them belong to now."""

    def __init__(self, p: Process, disk: MemoryDisk, tasks: TaskGroup) -> None:
        self.p = p
        self.owner = "a"
        self.alive = {"a", "b"}
        self.kv = MemorySecretKv()
        self.store = SecretStore(RegionName("lab"), MasterKeys([b"k" * 32]), self.kv)
        self.ahead = timedelta()
        self.executors: dict[str, Executor] = {}
        self.destroyed: list[str] = []
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._disk = disk
        self._tasks = tasks
        self.rotations = self.new_rotations()

    def now(self) -> datetime:
        return utc_now() + self.ahead

    # -- processes ---------------------------------------------------------------------------

    def new_rotations(self) -> Rotations:
        """Return what sees rotations through, as a process that has just started has it."""
        fence = self._disk.grant(f"rotations-{new_id()}")
        return Rotations(
            self.p.commands,
            find_rotating=self.rotating,
            find_progress=self.progress,
            destroy=self.destroy,
            mine=lambda key: True,
            fence=lambda: fence,
        )

    async def start(self, name: str) -> None:
        """Run an executor until it is killed."""
        await self._tasks.start(self._work, name)

    async def _work(self, name: str, *, task_status: TaskStatus[None]) -> None:
        fence = self._disk.grant(name)
        executor = self.executors[name] = Executor(
            self.p.commands,
            instance=name,
            mine=lambda key: self.owner == name,
            alive=lambda instance: instance in self.alive,
            fence=lambda: fence,
            find_busy=self.busy,
            read_login=self.login,
            media=None,
            limiter=anyio.CapacityLimiter(20),
            timings=QUICK,
        )
        with anyio.CancelScope() as scope:
            self._scopes[name] = scope
            task_status.started()
            await executor.run()

    def kill(self, name: str, heir: str) -> None:
        """End an executor at once, its lease too; another one has its machines then."""
        self._disk.revoke(name)
        self._scopes[name].cancel()
        self.alive.discard(name)
        self.owner = heir
        self.executors[heir].shares_changed()

    # -- what they ask for -------------------------------------------------------------------

    async def busy(self) -> Iterable[str]:
        return [machine.id for machine in self.machines()]

    async def login(self, credential: str, version: str) -> Login:
        secret = await self.store.get(KIND, credential, version)
        user, _, password = secret.reveal().decode().partition("\0")
        return Login(user, password)

    async def destroy(self, credential: str, version: str) -> None:
        await self.store.retire(KIND, credential, version)
        self.destroyed.append(version)

    async def rotating(self) -> list[CredentialId]:
        states = [known.state for known in self.p.model.fold().values()]
        return [s.id for s in states if isinstance(s, Credential) and s.goal and not s.deleted]

    async def progress(self, credential: CredentialId, version: str) -> Progress:
        """As the query tells it; a test of the services compares the query itself."""
        uses = [m for m in self.machines() if m.bmc.credential == credential]
        proven = [m for m in uses if m.passwords == (version,)]
        ends = [("", m.proven_at) for m in proven] + [
            (m.unrotated.fault, m.unrotated.at)
            for m in uses
            if m.unrotated is not None and m.unrotated.version == version
        ]
        newest = sorted(ends, key=lambda end: str(end[1]), reverse=True)
        return Progress(
            machines=len(uses),
            proven=len(proven),
            running=sum(m.operation is not None and m.operation.verb == "rotate" for m in uses),
            last=tuple(fault for fault, _ in newest[:LAST]),
            left=tuple(_left(m, proven) for m in uses if m not in proven),
        )

    def machines(self) -> list[Machine]:
        states = [known.state for known in self.p.model.fold().values()]
        return [s for s in states if isinstance(s, Machine) and not s.deleted]

    # -- what tests do -----------------------------------------------------------------------

    async def do(self, *commands: Command) -> None:
        for command in commands:
            await self.p.commands.execute(command, request())

    async def prepare(self, bmc: AccountBmc) -> None:
        """Store the login."""
        version = await self.store.put(KIND, LAB, f"{bmc.user}\0{bmc.password}".encode())
        await self.do(CreateCredential(credential=LAB, name="lab", version=version))

    async def enrol(self, name: str, bmc: AccountBmc, *, inspect: bool = True) -> None:
        """Enrol a machine under its name as its id."""
        machine = MachineId(name)
        where = Bmc(address=bmc.address, credential=LAB, system="one" if "/" not in name else "")
        await self.do(EnrolMachine(machine=machine, name=name, bmc=where))
        if inspect:
            await self.do(ops.InspectMachine(machine=machine, operation=CommitId(new_id())))
            await self.until(lambda: self.machine(name).operation is None)

    async def rotate(self, password: str, user: str = "admin") -> str:
        """Start a rotation to this password; return its version."""
        version = await self.store.put(KIND, LAB, f"{user}\0{password}".encode())
        await self.do(StartRotation(credential=LAB, version=version, given=True))
        return version

    def machine(self, name: str) -> Machine:
        state: Machine = self.p.model.fold()[stream_id("machine", name)].state
        return state

    def credential(self) -> Credential:
        state: Credential = self.p.model.fold()[stream_id("credential", LAB)].state
        return state

    async def until(self, holds: Callable[[], bool], within: float = 15.0) -> None:
        """Return once something holds; it is looked at after each entry of the log."""
        with anyio.fail_after(within):
            while not holds():
                seq = self.p.log.head.seq
                await self.p.log.wait(Seq(seq + 1))

    async def see_through(self, step: Callable[[], Awaitable[object]] | None = None) -> None:
        """Have the rotation looked at after each entry, until it is over."""
        with anyio.fail_after(20):
            while self.credential().goal:
                seq = self.p.log.head.seq
                await (step or self.rotations.check)()
                if self.p.log.head.seq == seq and self.credential().goal:
                    await self.p.log.wait(Seq(seq + 1))

    async def takes(self, version: str, bmc: AccountBmc) -> bool:
        """Tell whether a version is in the store and holds what the BMC takes."""
        return (await self.login(LAB, version)).password == bmc.password

    def written(self) -> bytes:
        """Return everything in the log."""
        return b"".join(entry.value for entry in self._disk.entries.values())


def _left(machine: Machine, proven: list[Machine]) -> Left:
    trouble = machine.unrotated
    address = plain_address(machine.bmc.address)
    beside = [m.id for m in proven if plain_address(m.bmc.address) == address]
    return Left(
        machine=machine.id,
        bmc=address,
        verb=machine.operation.verb if machine.operation is not None else "",
        maintenance=machine.cordon is not None and machine.cordon.maintenance,
        tried=trouble.version if trouble is not None else "",
        fault=trouble.fault if trouble is not None else "",
        times=trouble.failures if trouble is not None else 0,
        tried_at=trouble.at if trouble is not None else None,
        beside=beside[0] if beside else "",
    )


def streams(*names: str) -> list[StreamId]:
    return [stream_id("machine", name) for name in names]


@asynccontextmanager
async def lab(*bmcs: AccountBmc) -> AsyncIterator[Lab]:
    """Run two executors and the reconciler on one machine for each BMC: m0, m1, …"""
    disk = MemoryDisk()
    control = disk.grant("control")
    holder: list[Lab] = []

    def clock() -> datetime:
        return holder[0].now() if holder else utc_now()

    async with AsyncExitStack() as stack:
        for bmc in bmcs:
            await bmc.start()
            stack.push_async_callback(bmc.stop)
        p = await stack.enter_async_context(process(disk, clock=clock))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        it = Lab(p, disk, tasks)
        holder.append(it)
        reconciler = MachineReconciler(
            p.commands, mine=lambda key: True, fence=lambda: control, find_busy=it.busy
        )
        tasks.start_soon(reconciler.run)
        for name in ("a", "b"):
            await it.start(name)
        await it.prepare(bmcs[0])
        for number, bmc in enumerate(bmcs):
            await it.enrol(f"m{number}", bmc)
        yield it
        tasks.cancel_scope.cancel()
