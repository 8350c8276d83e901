"""One process of the region: the product's own parts on a simulated road, until it is killed."""

import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import anyio

from mulligan.commands.runner import Commands
from mulligan.errors import NotFound, Unavailable
from mulligan.log.appender import AppendLimits
from mulligan.log.etcd import Etcd
from mulligan.log.follower import Pace
from mulligan.log.memory import MemoryLog
from mulligan.log.regionlog import LogSettings
from mulligan.log.registry import Member, Membership, Registration, member_value
from mulligan.model import ClaimId, CredentialId, MachineId, RegionName
from mulligan.queries.claims import DueClaims
from mulligan.queries.rotations import LAST, Left, Progress
from mulligan.reconcile.claims import ClaimTimers
from mulligan.reconcile.machines import MachineReconciler
from mulligan.reconcile.rotation import Rotations
from mulligan.redfish.auth import Login
from mulligan.redfish.bmc import BmcClient
from mulligan.services.runtime import Parts, Runtime
from mulligan.services.work import Share

from .bmcs import TIMINGS, SimulatedChannel, SimulatedMedia
from .presence import SimulatedEtcd
from .projector import Projector
from .road import Clock, Ids, SimulatedRoad
from .tables import TableReads

REGION = RegionName("r")
SERVICES = "/lease/service/"
SERVICE = "all"
APPEND = AppendLimits(patience=2.5, attempt=1.2)


def log_settings(window: int) -> LogSettings:
    """Return settings that keep so many entries in memory."""
    return LogSettings(
        window_entries=window,
        load_entries=window,
        append=APPEND,
        pace=Pace(poll=2.0, retry=0.25, grace=0.5),
    )


class Process:
    """Lives, is killed and lives again; what it knows it keeps in ``commands`` only."""

    def __init__(self, world: Any, number: int) -> None:
        self.world = world
        self.name = f"process-{number}"
        self.number = number
        self.rng = random.Random(f"{world.plan.seed}/{self.name}")
        self.clock = Clock(self.rng, world.plan.skew)
        self.ids = Ids(self.rng, self.clock)
        self.road = SimulatedRoad(self.rng, world.plan.latency)
        self.commands: Commands | None = None
        self.log: MemoryLog | None = None
        self.scope: anyio.CancelScope | None = None
        self.lives = 0

    async def run(self) -> None:
        """Live again and again."""
        while True:
            self.lives += 1
            self.road = SimulatedRoad(self.rng, self.world.plan.latency)
            with anyio.CancelScope() as self.scope:
                try:
                    await self._live()
                except Unavailable as error:
                    self.world.trace.tell(self.name, f"could not start: {error.message}")
            self.commands = self.log = None
            await anyio.sleep(self.rng.uniform(0.2, 4.0))

    def kill(self) -> None:
        """Lose everything at once: nothing that it does from now on reaches anybody."""
        self.road.dead = True
        self.commands = self.log = None
        if self.scope is not None:
            self.scope.cancel()

    async def _live(self) -> None:
        world, road = self.world, self.road
        async with AsyncExitStack() as stack:
            log = await stack.enter_async_context(
                world.make.log(
                    REGION,
                    world.disk,
                    log_settings(world.plan.window),
                    self.clock,
                    road=road,
                    rng=self.rng,
                    ids=self.ids,
                )
            )
            reads = TableReads(world.tables, road)
            commands = world.make.commands(
                log, reads, reads, clock=self.clock, rng=self.rng, ids=self.ids
            )
            stack.callback(commands.close)
            await stack.enter_async_context(self._working(log, commands, reads))
            self.log, self.commands = log, commands
            world.trace.tell(self.name, f"lives for the {self.lives}. time")
            stack.callback(self._look_back, log)
            await anyio.sleep_forever()

    def _look_back(self, log: MemoryLog) -> None:
        if log.failure is not None:
            self.world.disk.violations.append(f"the log of {self.name} halted: {log.failure!r}")

    @asynccontextmanager
    async def _working(
        self, log: MemoryLog, commands: Commands, reads: TableReads
    ) -> AsyncIterator[None]:
        world, road = self.world, self.road
        etcd = cast("Etcd", SimulatedEtcd(world.leases, road))
        instance = f"{self.name}.{self.lives}"
        registration = Registration(
            etcd,
            f"{SERVICES}{SERVICE}/{instance}",
            member_value(Member(instance=instance, endpoint="")),
            rng=self.rng,
        )
        membership = Membership(etcd, SERVICES, rng=self.rng)
        share = Share(
            cast("Runtime", SimpleNamespace(instance=instance, service=SERVICE)),
            cast("Parts", SimpleNamespace(membership=membership)),
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(membership.run)
            for job in self._jobs(log, commands, reads, share, registration, instance):
                tasks.start_soon(job)
            async with registration.hold():
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()

    def _jobs(
        self,
        log: MemoryLog,
        commands: Commands,
        reads: TableReads,
        share: Share,
        registration: Registration,
        instance: str,
    ) -> Iterable[Callable[[], Any]]:
        world, fence, work = self.world, registration.fence, Work(commands, reads)
        timers = ClaimTimers(
            commands, mine=lambda: share.mine("claims"), fence=fence, find_due=work.due
        )
        yield timers.run
        changed: list[Callable[[], None]] = []
        if world.plan.machines:
            machines = MachineReconciler(
                commands, mine=share.mine, fence=fence, find_busy=work.busy
            )
            executor = world.make.executor(
                commands,
                instance=instance,
                mine=lambda key: share.mine(f"executor/{key}"),
                alive=share.alive,
                fence=fence,
                find_busy=work.busy,
                read_login=world.secrets.read,
                media=SimulatedMedia(),
                limiter=anyio.CapacityLimiter(100),
                timings=TIMINGS,
                client=self._client,
            )
            changed += [machines.shares_changed, executor.shares_changed]
            yield machines.run
            yield executor.run
        if world.plan.rotates:
            rotations = Rotations(
                commands,
                find_rotating=work.rotating,
                find_progress=work.progress,
                destroy=world.secrets.destroy,
                mine=share.mine,
                fence=fence,
            )
            changed.append(rotations.shares_changed)
            yield rotations.run

        def shares_changed() -> None:
            for one in changed:
                one()

        yield partial(share.watch, shares_changed)
        if self.number < world.plan.projectors:
            projector = Projector(world.tables, log, self.rng, self.road, fenced=world.make.fenced)
            yield projector.run

    def _client(self, *args: Any, **kw: Any) -> BmcClient:
        road = self.road
        channel = partial(
            SimulatedChannel, self.world.bmc_at, lambda: not (road.cut or road.dead), self.kill
        )
        return BmcClient(*args, **kw, channel=channel)


class Work:
    """What services ask the read models for, on tables in memory."""

    def __init__(self, commands: Commands, reads: TableReads) -> None:
        self._commands = commands
        self._reads = reads

    async def due(self, now: datetime) -> DueClaims:
        """As ``queries.claims.find_due``."""
        await self._reads.look()
        rows = [row for row in self._reads.rows("rm_claims.claim") if row["due_at"] is not None]
        rows.sort(key=lambda row: (row["due_at"], row["key"]))
        due = [ClaimId(row["key"]) for row in rows if row["due_at"] <= now]
        later = [row["due_at"] for row in rows if row["due_at"] > now]
        return DueClaims(claims=tuple(due), next_at=min(later, default=None))

    async def busy(self) -> list[str]:
        """As ``queries.machines.find_busy``, once it has all that is in the log now."""
        await self._caught_up("rm_machines", 30.0)
        return [row["key"] for row in self._reads.rows("rm_machines.machine") if row["busy"]]

    async def rotating(self) -> list[CredentialId]:
        """As ``queries.rotations.list_rotating``."""
        await self._caught_up("rm_images")
        rows = self._reads.rows("rm_images.credential")
        return [CredentialId(row["key"]) for row in rows if row["rotating"]]

    async def progress(self, credential: CredentialId, version: str) -> Progress:
        """As ``queries.rotations.progress``."""
        await self._caught_up("rm_machines")
        rows = [
            row
            for row in self._reads.rows("rm_machines.machine")
            if row["credential"] == credential and not row["deleted"]
        ]
        proven = [row for row in rows if row["password"] == version]
        tried = [r for r in rows if version in {r["password"], r["tried"]} and r["tried_at"]]
        tried.sort(key=lambda row: (-row["tried_at"].timestamp(), row["key"]))
        return Progress(
            machines=len(rows),
            proven=len(proven),
            running=sum(row["verb"] == "rotate" for row in rows),
            last=tuple("" if r in proven else r["tried_fault"] for r in tried[:LAST]),
            left=tuple(_left(row, proven) for row in rows if row not in proven),
        )

    async def _caught_up(self, schema: str, patience: float = 3.0) -> None:
        await self._reads.caught_up(schema, self._commands.position().seq, patience)


def _left(row: dict[str, Any], proven: list[dict[str, Any]]) -> Left:
    return Left(
        machine=MachineId(row["key"]),
        bmc=row["bmc"],
        verb=row["verb"],
        maintenance=row["maintenance"],
        tried=row["tried"],
        fault=row["tried_fault"],
        times=row["tried_times"],
        tried_at=row["tried_at"],
        beside=next((one["key"] for one in proven if one["bmc"] == row["bmc"]), ""),
    )


class Secrets:
    """BMC passwords by version; ``in_use`` tells whether some BMC still goes by one."""

    def __init__(self, in_use: Callable[[str], bool]) -> None:
        self.kept: dict[str, str] = {}
        self.lost: list[str] = []
        self._in_use = in_use

    async def read(self, credential: str, version: str) -> Login:
        """Return a login; raise NotFound for a destroyed one."""
        if version not in self.kept:
            raise NotFound("secret", version)
        return Login("root", self.kept[version])

    async def destroy(self, credential: str, version: str) -> None:
        """Destroy a login; note when that was one that is needed."""
        password = self.kept.pop(version, None)
        if password is not None and self._in_use(password):
            self.lost.append(version)
