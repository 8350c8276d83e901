"""Seeded lives of a small region: writers race, acknowledgements are lost, executors die.

Whatever happens, every operation comes to its end, nothing is overbooked, and no ``once`` step is
attempted a second time but by a successor that knows it.
"""

import random
import uuid
from collections.abc import Iterable
from contextlib import AsyncExitStack

import anyio
import pytest
from anyio.abc import TaskGroup

from mulligan.commands.shards import owner_of
from mulligan.errors import Conflict, Unavailable
from mulligan.events.codec import Codec
from mulligan.events.machine import ActionRequested, Bmc, StepAttempted, StepObserved
from mulligan.handlers import deployment, image
from mulligan.handlers import operations as ops
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.credential import CreateCredential
from mulligan.handlers.decision import Command
from mulligan.handlers.enrolment import EnrolMachine
from mulligan.handlers.machine import Action, Machine
from mulligan.handlers.provider import DoesNotFit, Provider
from mulligan.log.memory import Faults, MemoryDisk
from mulligan.log.verify import verify
from mulligan.model import (
    ClaimId,
    CommitId,
    CredentialId,
    ImageId,
    MachineId,
    Seq,
    stream_id,
)
from mulligan.reconcile.machines import MachineReconciler
from tests.commands.history import require_redecided
from tests.commands.region import Process, process, provide, request, take, truth, used
from tests.handlers.given import MACHINE, claim_of
from tests.reconcile.executors import ScriptedExecutor, well

from .virtual import clock, run

MACHINES = [MachineId(f"m{n}") for n in range(4)]
OS = ImageId("os")
ROOT = CredentialId("root")
BEFALLS = (
    "lost_ack", "lost_write", "late_write", "unavailable", "deaf", "twice", "broken_watch"
)  # fmt: skip
HOT = 6


class Life:
    """Everything that lives in the region, and the chance that rules it."""

    def __init__(self, seed: int, tasks: TaskGroup, processes: list[Process], disk: MemoryDisk):
        self.rng = random.Random(seed)
        self.tasks = tasks
        self.processes = processes
        self.disk = disk
        self.dead: set[str] = set()
        self.born = 0

    async def insist(self, command: Command) -> bool:
        """Ask until somebody answers; False when there is no room."""
        asked = request()
        for _ in range(500):
            p = self.rng.choice(self.processes)
            try:
                outcome = await p.commands.execute(command, asked)
                await self.seen_by_all(outcome.position.seq)
                return True
            except DoesNotFit:
                return False
            except (Unavailable, Conflict):
                await anyio.sleep(self.rng.uniform(0, 0.2))
        raise AssertionError(f"never answered: {command}")

    async def seen_by_all(self, seq: Seq) -> None:
        """Wait until every process knows: each decides, and refuses, by what it has seen."""
        for p in self.processes:
            await p.log.wait(seq)

    def operation(self) -> CommitId:
        """An id of the seed's: the pauses between attempts are drawn from it."""
        return CommitId(str(uuid.UUID(int=self.rng.getrandbits(128), version=4)))

    def give_birth(self) -> None:
        """Start an executor; whoever looks for it finds what the dead have left."""
        self.born += 1
        name = f"executor-{self.born}"
        self.tasks.start_soon(self._live, name)

    async def _live(self, name: str) -> None:
        with anyio.CancelScope() as scope:

            def script(machine: Machine, action: Action) -> StepObserved | None:
                fate = self.rng.random()
                if fate < 0.06 and self.born < 12:
                    self.disk.revoke(name)
                    self.dead.add(name)
                    scope.cancel()
                    return None
                if fate < 0.16:
                    return StepObserved(
                        action=action.id, outcome="retry", at=clock(), fault="busy", message="503"
                    )
                return well(machine, action)

            executor = ScriptedExecutor(
                self.rng.choice(self.processes).commands,
                script,
                name=name,
                dead=lambda owner: owner in self.dead,
                fence=self.disk.grant(name),
            )
            for machine in MACHINES:
                executor.add(machine)
            await executor.run()
        if name in self.dead:
            self.give_birth()

    async def machine(self, key: MachineId) -> Machine:
        state: Machine = (await self.processes[0].commands.state(stream_id("machine", key))).state
        return state

    async def rests(self, key: MachineId) -> Machine:
        """Return the machine when its operation is over; a failed one is tried again."""
        while True:
            machine = await self.machine(key)
            if machine.operation is None and machine.state != "failed":
                await self.seen_by_all(self.processes[0].log.head.seq)
                return machine
            if machine.state == "failed":
                await self.insist(ops.RetryMachine(machine=key, operation=self.operation()))
            await anyio.sleep(0.5)

    async def tend(self, key: MachineId) -> None:
        """Take a machine through its life and back into the pool."""
        bmc = Bmc(address=f"https://{key}", credential=ROOT)
        await self.insist(EnrolMachine(machine=key, name=key, bmc=bmc))
        await self.insist(ops.InspectMachine(machine=key, operation=self.operation()))
        await self.rests(key)
        await self.insist(ops.ProvideMachine(machine=key, operation=self.operation()))
        await self.rests(key)
        claim = claim_of({key: {MACHINE: 1}}, claim=f"claim-{key}")
        await self.insist(claim)
        deploy = deployment.DeployMachine(claim=claim.claim, image=OS, operation=self.operation())
        await self.insist(deploy)
        assert (await self.rests(key)).state == "active"
        await self.insist(ReleaseClaim(claim=claim.claim))
        await self.rests(key)

    async def crowd(self, who: int) -> None:
        """Claim what everybody wants, and give it back now and then."""
        for n in range(4):
            claim = f"crowd-{who}-{n}"
            if await self.insist(take(claim, "hot", amount=self.rng.randint(1, 3))):
                await anyio.sleep(self.rng.uniform(0, 3))
                if self.rng.random() < 0.7:
                    await self.insist(ReleaseClaim(claim=ClaimId(claim)))


async def live(seed: int) -> None:
    rng = random.Random(seed)
    disk = MemoryDisk(Faults(seed=seed))
    faults = Faults(
        seed=seed,
        delay=rng.randint(0, 4),
        **{name: rng.choice((0.0, 0.1)) for name in BEFALLS},
    )
    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(
                process(disk, clock=clock, checkpoint=0, rng=random.Random(seed + n))
            )
            for n in range(2)
        ]
        tasks = await stack.enter_async_context(anyio.create_task_group())
        region = Life(seed, tasks, processes, disk)
        await region.insist(CreateCredential(credential=ROOT, name="root", version="1"))
        await region.insist(
            image.CreateImage(image=OS, name="os", url="file:os.iso", sha256="0" * 64)
        )
        await region.insist(provide("hot", HOT))
        for n, p in enumerate(processes):
            tasks.start_soon(reconciler(p, disk, f"control-{n}").run)
        for _ in range(2):
            region.give_birth()
        disk.faults = faults
        with anyio.fail_after(3600):
            async with anyio.create_task_group() as clients:
                for machine in MACHINES:
                    clients.start_soon(region.tend, machine)
                for who in range(5):
                    clients.start_soon(region.crowd, who)
        disk.faults = Faults()
        disk.deliver_late()
        for p in processes:
            await p.log.wait(disk.mark().seq)
        tasks.cancel_scope.cancel()
        assert (await verify(processes[0].log)).sound
        require_redecided(disk)
        await require_sound(disk, processes)


def reconciler(p: Process, disk: MemoryDisk, name: str) -> MachineReconciler:
    fence = disk.grant(name)

    async def busy() -> Iterable[str]:
        return MACHINES

    return MachineReconciler(
        p.commands,
        mine=lambda key: owner_of(key, ("control-0", "control-1")) == name,
        fence=lambda: fence,
        find_busy=busy,
    )


async def require_sound(disk: MemoryDisk, processes: list[Process]) -> None:
    states = truth(disk)
    for key in MACHINES:
        machine: Machine = states[stream_id("machine", key)].state
        assert (machine.state, machine.claim, machine.operation) == ("available", "", None)
        held: Provider = states[stream_id("provider", key)].state
        assert (held.use, held.cordons) == ({}, {})
    assert used(disk, "hot") <= HOT
    attempts: dict[str, list[StepAttempted]] = {}
    outcomes: dict[str, int] = {}
    modes: dict[str, str] = {}
    codec = Codec()
    async for batch in processes[0].log.read(Seq(1), processes[0].log.head.seq):
        for record in (r for s in batch for c in s.entry.commits for r in c.events):
            match event := codec.event(record):
                case ActionRequested():
                    assert event.action not in modes
                    modes[event.action] = event.mode
                case StepAttempted():
                    attempts.setdefault(event.action, []).append(event)
                case StepObserved():
                    outcomes[event.action] = outcomes.get(event.action, 0) + 1
                case _:
                    continue
    assert all(count == 1 for count in outcomes.values()), "one outcome for each action"
    for action, tried in attempts.items():
        assert not tried[0].resumes
        assert all(later.resumes for later in tried[1:]), f"{modes[action]} sent twice"
        assert len({one.owner for one in tried}) == len(tried)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_befalls_a_region_its_operations_come_to_their_end(seed: int) -> None:
    run(live(seed))
