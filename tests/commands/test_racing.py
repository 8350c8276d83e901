"""Several processes decide on one faulty disk: nothing is overbooked, nothing happens twice.

With ``MULLIGAN_CASES`` set, one race is run for every 20 of them.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulligan.commands.runner import Outcome
from mulligan.errors import (
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from mulligan.handlers.claim_changes import MoveClaim, RescheduleClaim
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.decision import Command
from mulligan.handlers.project import CreateProject
from mulligan.handlers.provider import DoesNotFit
from mulligan.handlers.quota import OverQuota, SetQuota, TrackQuota
from mulligan.log.memory import Faults, MemoryDisk
from mulligan.model import ClaimId, ProjectId, ProviderId, Seq, utc_now

from .history import require_counted, require_never_exceeded, require_redecided
from .region import (
    GPU,
    Process,
    ReadModel,
    plain,
    process,
    provide,
    provider_stream,
    request,
    take,
    truth,
    used,
)

RACES = int(os.environ.get("MULLIGAN_CASES", "400")) // 20
COMPANY, WEB, SHOP = (ProjectId(key) for key in ("company", "web", "shop"))
HOUR = timedelta(hours=1)


def chance(most: float) -> st.SearchStrategy[float]:
    return st.sampled_from([0.0, most])


FAULTS = st.builds(
    Faults,
    seed=st.integers(0, 2**32),
    delay=st.integers(0, 5),
    lost_ack=chance(0.2),
    lost_write=chance(0.2),
    late_write=chance(0.2),
    unavailable=chance(0.1),
    deaf=chance(0.3),
    twice=chance(0.3),
    broken_watch=chance(0.1),
)


async def insist(processes: list[Process], command: Command, id: str = "") -> Outcome | None:
    """Ask one process after another, as a client does, until one of them answers."""
    asked = request(id)
    for n in range(200):
        try:
            return await processes[n % len(processes)].commands.execute(command, asked)
        except (DoesNotFit, FailedPrecondition, InvalidArgument, NotFound, OverQuota):
            return None
        except (Unavailable, Conflict):
            await asyncio.sleep(0.005)
    raise AssertionError(f"never answered: {command}")


async def settle(disk: MemoryDisk, processes: list[Process]) -> None:
    disk.faults = Faults()
    disk.deliver_late()
    for p in processes:
        await p.log.wait(disk.mark().seq)


async def require_exact(disk: MemoryDisk, processes: list[Process]) -> None:
    """What every process holds in memory is what the log folds to."""
    require_redecided(disk)
    expected = truth(disk)
    for p in processes:
        found = await p.commands.states(list(expected))
        assert {s: plain(k) for s, k in found.items()} == {s: plain(k) for s, k in expected.items()}


async def race(faults: Faults) -> None:
    disk = MemoryDisk()
    async with process(disk) as one, process(disk, checkpoint=0) as two:
        both = [one, two]
        for key, total in (("hot", 5), ("warm", 8)):
            await one.commands.execute(provide(key, total), request())
        await two.log.wait(one.log.head.seq)
        disk.faults = faults
        asked = [(f"c{n}", request().id) for n in range(8)]
        with anyio.fail_after(20):
            jobs = [
                insist(order, take(claim, "hot", "warm"), id)
                for claim, id in asked
                for order in (both, both[::-1])
            ]
            outcomes = await asyncio.gather(*jobs)
            await insist(both, ReleaseClaim(claim=ClaimId(next(c for c, _ in taken(disk)))))
            await insist(both, take("late", "hot"))
            await settle(disk, both)
        commits = {o.commit.id for o in outcomes if o is not None and o.commit is not None}
        assert len(commits) == 5, "as many claims as fit"
        for first, second in zip(outcomes[::2], outcomes[1::2], strict=True):
            assert (first and first.position) == (second and second.position)
        assert (used(disk, "hot"), used(disk, "warm")) == (5, 4)
        await require_exact(disk, both)


def taken(disk: MemoryDisk) -> list[tuple[str, object]]:
    return [
        (stream.partition("/")[2], known.state)
        for stream, known in ReadModel(disk).fold().items()
        if stream.startswith("claim/")
    ]


@settings(max_examples=RACES, deadline=None)
@given(FAULTS)
def test_no_interleaving_and_no_fault_overbooks_or_repeats(faults: Faults) -> None:
    asyncio.run(race(faults))


@pytest.mark.parametrize("seed", range(12))
async def test_a_request_decided_differently_at_two_processes_counts_once(seed: int) -> None:
    """The one that lands second, and what was decided on top of it, is decided again."""
    disk = MemoryDisk(Faults(seed=seed, delay=6))
    later = timedelta(minutes=1)
    async with process(disk) as one, process(disk, clock=lambda: utc_now() + later) as two:
        both = [one, two]
        for key in ("a", "b"):
            await one.commands.execute(provide(key, 3), request())
        for p in both:
            await p.log.wait(Seq(2))
            await p.commands.states([provider_stream("a"), provider_stream("b")])
        asked = request()
        outcomes = await asyncio.gather(
            one.commands.execute(take("x", "a"), asked),
            two.commands.execute(take("x", "b"), asked),
            one.commands.execute(take("on-a", "a"), request()),
            two.commands.execute(take("on-b", "b"), request()),
        )
        assert outcomes[0].position == outcomes[1].position
        await settle(disk, both)
        assert used(disk, "a") + used(disk, "b") == 3
        await require_exact(disk, both)


async def test_four_processes_on_one_provider_fill_it_exactly() -> None:
    disk = MemoryDisk(Faults(seed=1, delay=3))
    async with process(disk) as first:
        await first.commands.execute(provide("p", 12), request())
        async with process(disk) as a, process(disk) as b, process(disk) as c:
            everyone = [first, a, b, c]
            jobs = [
                insist(everyone[n % 4 :] + everyone[: n % 4], take(f"c{n}", "p")) for n in range(20)
            ]
            outcomes = await asyncio.gather(*jobs)
            await settle(disk, everyone)
            assert (len([o for o in outcomes if o]), used(disk, "p")) == (12, 12)
            await require_exact(disk, everyone)


@asynccontextmanager
async def company(
    faults: Faults, providers: dict[str, int], limit: int | None, turnaround: int = 0
) -> AsyncIterator[tuple[MemoryDisk, list[Process]]]:
    """Three processes; a company of two projects with a quota; providers of so many GPUs."""
    disk = MemoryDisk()
    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(process(disk, checkpoint=checkpoint))
            for checkpoint in (None, 0, 3)
        ]
        first = processes[0]
        setup: list[Command] = [
            CreateProject(project=COMPANY, name="company"),
            CreateProject(project=WEB, name="web", parent=COMPANY),
            CreateProject(project=SHOP, name="shop", parent=COMPANY),
            TrackQuota(project=COMPANY),
            SetQuota(project=COMPANY, limits={} if limit is None else {GPU: limit}, baseline={}),
            *(provide(key, total, turnaround) for key, total in providers.items()),
        ]
        for command in setup:
            await first.commands.execute(command, request())
        for p in processes:
            await p.log.wait(first.log.head.seq)
        disk.faults = faults
        yield disk, processes


async def one_wins(faults: Faults, providers: list[str], limit: int | None) -> None:
    async with company(faults, dict.fromkeys(providers, 1), limit) as (disk, processes):
        jobs = []
        for n in range(9):
            order = processes[n % 3 :] + processes[: n % 3]
            claim = take(f"c{n}", providers[n % len(providers)], project=(WEB, SHOP)[n % 2])
            jobs.append(insist(order, claim, request().id))
        with anyio.fail_after(20):
            outcomes = await asyncio.gather(*jobs)
            await settle(disk, processes)
        assert len([o for o in outcomes if o is not None]) == len(taken(disk)) == 1
        require_never_exceeded(disk)
        require_counted(disk)
        await require_exact(disk, processes)


@settings(max_examples=RACES, deadline=None)
@given(FAULTS)
def test_exactly_one_wins_the_last_machine(faults: Faults) -> None:
    asyncio.run(one_wins(faults, ["last"], limit=None))


@settings(max_examples=RACES, deadline=None)
@given(FAULTS)
def test_exactly_one_wins_the_last_of_a_quota_that_two_projects_share(faults: Faults) -> None:
    asyncio.run(one_wins(faults, ["a", "b", "c"], limit=1))


class Client:
    """Asks for this and that by chance, of whichever process answers."""

    def __init__(self, name: str, seed: int, processes: list[Process]) -> None:
        self.rng = random.Random(f"{name}/{seed}")
        self.name = name
        self.processes = processes
        self.claims: list[ClaimId] = []

    async def live(self, steps: int) -> None:
        for step in range(steps):
            command = self.wish(f"{self.name}-{step}")
            order = self.rng.sample(self.processes, len(self.processes))
            await insist(order, command, request().id)

    def wish(self, fresh: str) -> Command:
        rng = self.rng
        provider = ProviderId(rng.choice(("last", "pair", "many")))
        start = utc_now() + rng.choice((0, 0, 1, 3)) * HOUR
        end = rng.choice((None, start + rng.randint(1, 4) * HOUR))
        if not self.claims or rng.random() < 0.4:
            self.claims.append(ClaimId(fresh))
            project = rng.choice((WEB, SHOP))
            return take(fresh, provider, start=start, end=end, project=project)
        claim = rng.choice(self.claims)
        source = ProviderId(rng.choice(("last", "pair", "many")))
        reservation = rng.choice((None, start + HOUR / 2))
        wishes: list[Command] = [
            RescheduleClaim(claim=claim, end=end, open_end=end is None),
            RescheduleClaim(claim=claim, start=reservation, open_end=True),
            MoveClaim(claim=claim, source=source, target=provider),
            MoveClaim(claim=claim, source=provider, target=source),
            ReleaseClaim(claim=claim),
            SetQuota(project=COMPANY, limits={GPU: rng.randint(1, 6)}),
        ]
        return rng.choice(wishes)


async def lives(faults: Faults) -> None:
    providers = {"last": 1, "pair": 2, "many": 4}
    async with company(faults, providers, limit=4, turnaround=900) as (disk, processes):
        with anyio.fail_after(30):
            clients = [Client(f"client{n}", faults.seed, processes) for n in range(4)]
            await asyncio.gather(*(client.live(8) for client in clients))
            await settle(disk, processes)
        require_never_exceeded(disk)
        require_counted(disk)
        await require_exact(disk, processes)


@settings(max_examples=RACES, deadline=None)
@given(FAULTS)
def test_whatever_is_asked_at_once_no_capacity_and_no_quota_is_exceeded(faults: Faults) -> None:
    asyncio.run(lives(faults))
