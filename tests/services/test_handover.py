"""Two executors and two reconcilers of one region: one of each leaves, or dies, under work."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from copy import copy
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from subprocess import Popen
from typing import NamedTuple

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from benchmarks._bmc import PASSWORD, USER, Settings, SimulatedBmcs, simulated_bmcs, system_id
from mulligan.client import Client
from mulligan.config import Address
from mulligan.embedded.ports import free_ports
from mulligan.embedded.ready import all_serving
from mulligan.log.registry import TTL
from mulligan.proto import v1
from tests.e2e.history import attempted_twice, may_have_sent, read_history
from tests.e2e.region import RunningRegion, until

pytestmark = pytest.mark.timeout(120)

MACHINES = 18
PAIR = ("control", "executor")
ON_SIGTERM = timedelta(seconds=2)
ON_SIGKILL = timedelta(seconds=TTL + 2)  # etcd looks for dead leases twice a second


class Fact(NamedTuple):
    """One event of a machine: ``owner`` is set for a step that was begun."""

    at: datetime
    machine: str
    type: str
    owner: str
    resumes: bool


class Chronicle:
    """What happens to machines, as it happens."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.facts: list[Fact] = []
        self.begun = anyio.Event()
        self._bell = anyio.Event()

    async def run(self) -> None:
        """Follow the log for ever."""
        head = (await self._client.log.get_log_status(v1.GetLogStatusRequest())).head
        assert head is not None
        self.begun.set()
        request = v1.WatchLogRequest(after=head.seq, filter=v1.LogFilter(kind="machine"))
        async for record in self._client.log.watch_log(request, timeout=60):
            assert record.at is not None
            for event in record.events:
                data = msgspec.json.decode(event.data)
                machine, at = event.stream.partition("/")[2], record.at.astimezone(UTC)
                owner, resumes = data.get("owner", ""), data.get("resumes", False)
                self.facts.append(Fact(at, machine, event.type, owner, resumes))
            bell, self._bell = self._bell, anyio.Event()
            bell.set()

    async def ended(self, machine: str, after: int) -> None:
        """Return when an operation of the machine ends that is not among the first facts."""
        while not any(
            fact.machine == machine and fact.type == "machine.operation_completed"
            for fact in self.facts[after:]
        ):
            assert not any(
                fact.machine == machine and fact.type == "machine.operation_failed"
                for fact in self.facts[after:]
            ), "no operation fails"
            await self._bell.wait()

    def taken_by(self, pid: int) -> set[str]:
        """Return the machines of which a process began a step."""
        return {fact.machine for fact in self.facts if f"executor-{pid}-" in fact.owner}

    def longest_pause(self, machines: set[str], since: datetime) -> timedelta:
        """Return how long one of these machines was at most without anybody at work on it.

        Between the begin of a step and its outcome somebody is, unless another one resumes it.
        """
        longest = timedelta(0)
        by_machine: defaultdict[str, list[Fact]] = defaultdict(list)
        for fact in self.facts:
            by_machine[fact.machine].append(fact)
        for machine in machines:
            facts = by_machine[machine]
            for one, following in pairwise(facts):
                begun = one.type == "machine.step_attempted" and not following.resumes
                if begun or one.type == "machine.operation_completed" or following.at < since:
                    continue
                longest = max(longest, following.at - max(one.at, since))
        return longest


class World(NamedTuple):
    """Simulated machines of a region; ``machines`` are their UUIDs."""

    region: RunningRegion
    bmcs: SimulatedBmcs
    admin: Client
    machines: list[str]


@pytest.fixture(scope="module")
async def world(region: RunningRegion) -> AsyncIterator[World]:
    """Machines that are enrolled and no more."""
    admin = region.client(patience=60)
    async with simulated_bmcs(Settings(systems=MACHINES, power=0.2)) as bmcs:
        login = v1.CreateCredentialRequest(name="relay", username=USER, password=PASSWORD)
        await admin.control.create_credential(login)
        machines: list[str] = []
        for number in range(MACHINES):
            bmc = v1.Bmc(address=bmcs.address(number), credential="relay", system=system_id(number))
            asked = v1.EnrollMachineRequest(name=f"relay-{number}", bmc=bmc)
            enrolled = (await admin.control.enroll_machine(asked)).machine
            assert enrolled is not None
            machines.append(enrolled.uuid)
        yield World(region, bmcs, admin, machines)
    for machine in machines:
        await admin.control.delete_machine(v1.DeleteMachineRequest(machine=machine))


@asynccontextmanager
async def at_work(world: World) -> AsyncIterator[Chronicle]:
    """Keep all machines busy while the block runs, and tell what happens to them."""
    chronicle, stop = Chronicle(world.admin), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(chronicle.run)
        await chronicle.begun.wait()
        async with anyio.create_task_group() as working:
            for number, machine in enumerate(world.machines):
                working.start_soon(work_on, world, chronicle, machine, number, stop)
            try:
                yield chronicle
            finally:
                stop.set()
        tasks.cancel_scope.cancel()


async def work_on(
    world: World, chronicle: Chronicle, machine: str, number: int, stop: anyio.Event
) -> None:
    """Inspect the machine again and again, and switch every third one on and off between times."""
    rng, control = random.Random(number), world.admin.control
    while not stop.is_set():
        after = len(chronicle.facts)
        await control.inspect_machine(v1.MachineRequest(machine=machine))
        await chronicle.ended(machine, after)
        for target in (v1.PowerTarget.ON, v1.PowerTarget.OFF) if number % 3 == 0 else ():
            if stop.is_set():
                return
            after = len(chronicle.facts)
            await control.power_machine(v1.PowerMachineRequest(machine=machine, target=target))
            await chronicle.ended(machine, after)
        await anyio.sleep(rng.uniform(0.5, 2.0))


class Pair(NamedTuple):
    """A further reconciler and executor of the region."""

    control: Popen[bytes]
    executor: Popen[bytes]


@asynccontextmanager
async def second_pair(region: RunningRegion, place: Path) -> AsyncIterator[Pair]:
    """Run another mulligan-control and mulligan-executor beside the region's own."""
    *ports, media = [Address(f"127.0.0.1:{port}") for port in free_ports(3)]
    beside = copy(region)
    listen = replace(region.config.listen, control=ports[0], executor=ports[1])
    beside.config = replace(region.config, listen=listen)
    more = {
        "MULLIGAN_LISTEN_CONTROL": str(ports[0]),
        "MULLIGAN_LISTEN_EXECUTOR": str(ports[1]),
        "MULLIGAN_MEDIA_LISTEN": str(media),
        "MULLIGAN_MEDIA_BASE_URL": f"https://{media}",
        "MULLIGAN_MEDIA_CACHE_DIR": str(place / f"cache-{media.port}"),
    }
    pair = Pair(*(region.spawn("serve", name, **more) for name in PAIR))
    try:
        await all_serving(beside.config, 30)
        yield pair
    finally:
        for process in pair:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()


async def shares_work(chronicle: Chronicle, pair: Pair) -> set[str]:
    """Return the machines that the pair's executor works on, once there are some."""
    pid = pair.executor.pid

    async def has_some() -> bool:
        return len(chronicle.taken_by(pid)) >= 2

    await until(has_some, "the second executor takes its share", 20)
    return chronicle.taken_by(pid)


async def taken_over(chronicle: Chronicle, pair: Pair, machines: set[str], within: float) -> None:
    """Return when others have begun steps of all of these machines."""
    before = len(chronicle.facts)

    async def all_taken() -> bool:
        others = {
            fact.machine
            for fact in chronicle.facts[before:]
            if fact.owner and f"executor-{pair.executor.pid}-" not in fact.owner
        }
        return machines <= others

    await until(all_taken, "others take its machines", within)


async def no_step_was_sent_twice(world: World) -> None:
    facts = await read_history(world.admin)
    assert attempted_twice(facts) == []
    allowed = may_have_sent(facts)
    counts = await world.bmcs.counts()
    assert counts, "some machines were switched"
    for system, applied in counts.items():
        resets = sum(count for what, count in applied.items() if what.startswith("reset:"))
        assert resets <= allowed[system]["Reset"], f"{system} was reset more than the log tells"


async def test_an_executor_told_to_stop_hands_over_without_a_pause(
    world: World, place: Path
) -> None:
    async with second_pair(world.region, place) as pair, at_work(world) as chronicle:
        began = datetime.now(UTC)
        machines = await shares_work(chronicle, pair)
        left = datetime.now(UTC)
        usual = chronicle.longest_pause(set(world.machines), began)  # little, if we have the host
        for process in pair:
            process.terminate()
        await taken_over(chronicle, pair, machines, 20)
        assert chronicle.longest_pause(machines, left) < ON_SIGTERM + usual
        for process in pair:
            assert await anyio.to_thread.run_sync(process.wait, 15) == 0
        load = await world.bmcs.load()
        assert load.sessions <= MACHINES, "those of the one that left were deleted"
    await no_step_was_sent_twice(world)


async def test_the_work_of_a_killed_executor_goes_on_within_its_lease(
    world: World, place: Path
) -> None:
    async with second_pair(world.region, place) as pair, at_work(world) as chronicle:
        machines = await shares_work(chronicle, pair)
        died = datetime.now(UTC)
        for process in pair:
            process.kill()
        await taken_over(chronicle, pair, machines, 40)
        pause = chronicle.longest_pause(machines, died)
        assert timedelta(seconds=1) < pause < ON_SIGKILL
    await no_step_was_sent_twice(world)
