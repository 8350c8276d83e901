"""Starts and ends are noted once, in order, with the time that was planned and the time it was."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio
from freezegun import freeze_time
from msgspec.structs import replace

from mulligan.errors import Unavailable
from mulligan.events.claim import ClaimEnded, ClaimEnding, ClaimStarted
from mulligan.events.codec import Codec
from mulligan.handlers.claim import MakeClaim
from mulligan.handlers.claim_changes import RescheduleClaim
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.log.memory import MemoryDisk
from mulligan.model import ClaimId, Seq, utc_now
from mulligan.projections.claims import due_at
from mulligan.queries.claims import DueClaims
from mulligan.reconcile.claims import ClaimTimers
from tests.commands.region import GPU, Process, ReadModel, process, provide, request
from tests.handlers.given import claim_of

BEGAN = utc_now().replace(microsecond=0)
HOUR = timedelta(hours=1)


WORDS: dict[type, str] = {ClaimStarted: "start", ClaimEnding: "notice", ClaimEnded: "end"}


def wall_time() -> datetime:
    """What the wall clock says, frozen or not, as a datetime that can be encoded."""
    return type(BEGAN).fromtimestamp(time.time(), UTC)


class Clock:
    """The time, moved by hand."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> datetime:
        return self.now


class DueSource:
    """The read model of claims at some checkpoint, and how often it was asked."""

    def __init__(self, disk: MemoryDisk, limit: int = 1000) -> None:
        self.model = ReadModel(disk)
        self.limit = limit
        self.away = 0
        self.asked = 0

    async def __call__(self, now: datetime) -> DueClaims:
        self.asked += 1
        if self.away:
            self.away -= 1
            raise Unavailable("Postgres is away", 0.0)
        claims = [k.state for s, k in self.model.fold().items() if s.startswith("claim/")]
        timed = sorted((at, c.id) for c in claims if (at := due_at(c)) is not None)
        return DueClaims(
            claims=tuple([claim for at, claim in timed if at <= now][: self.limit]),
            next_at=next((at for at, _ in timed if at > now), None),
        )


def reserve(claim: str, start: float, end: float | None, notice: float = 0) -> MakeClaim:
    """Reserve a GPU from one hour to another, counted from the beginning."""
    made = claim_of(
        {"p": {GPU: 1}},
        claim=claim,
        start=BEGAN + start * HOUR,
        end=None if end is None else BEGAN + end * HOUR,
    )
    return replace(made, ending_notice=int(notice * 3600))


async def noted(p: Process) -> list[tuple[str, str, timedelta, timedelta]]:
    """What the log tells of starts and ends: which, whose, planned and late by."""
    codec, found = Codec(), []
    async for batch in p.log.read(Seq(1), p.log.head.seq):
        for record in (r for s in batch for c in s.entry.commits for r in c.events):
            event = codec.event(record)
            if isinstance(event, ClaimStarted | ClaimEnding | ClaimEnded):
                what = WORDS[type(event)]
                claim = record.stream.partition("/")[2]
                found.append((what, claim, event.planned - BEGAN, event.actual - event.planned))
    return found


async def short(p: Process, count: int) -> list[tuple[str, str]]:
    """Wait for so many notes, and return what and whose."""
    with anyio.fail_after(5):
        while len(found := await noted(p)) < count:
            await anyio.sleep(0.005)
    await anyio.sleep(0.06)
    found = await noted(p)
    return [(what, claim) for what, claim, _, _ in found]


class Region:
    """A process with a provider, a clock and read models; timers are started by the test."""

    def __init__(self, p: Process, disk: MemoryDisk, clock: Clock) -> None:
        self.p, self.disk, self.clock = p, disk, clock
        self.due = DueSource(disk)
        self.mine = True

    async def make(self, *claims: MakeClaim) -> None:
        for claim in claims:
            await self.p.commands.execute(claim, request())

    def timers(self) -> ClaimTimers:
        fence = self.disk.grant("timers")
        return ClaimTimers(
            self.p.commands, mine=lambda: self.mine, fence=lambda: fence, find_due=self.due
        )


@asynccontextmanager
async def region() -> AsyncIterator[Region]:
    disk, clock = MemoryDisk(), Clock()
    async with process(disk, clock=clock) as p:
        await p.commands.execute(provide("p", 100), request())
        yield Region(p, disk, clock)


@asynccontextmanager
async def keeping(*timers: ClaimTimers) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        for one in timers:
            tasks.start_soon(one.run)
        yield
        tasks.cancel_scope.cancel()


def every_two(claims: Sequence[str]) -> list[tuple[str, str]]:
    return [(what, claim) for claim in claims for what in ("start", "end")]


async def test_after_an_outage_all_is_noted_once_and_in_the_order_it_was_planned() -> None:
    async with region() as r:
        await r.make(reserve("b", 2, 5), reserve("a", 1, 3), reserve("c", 3, 4), reserve("d", 4, 9))
        r.clock.now = BEGAN + 6 * HOUR
        async with keeping(r.timers()):
            assert await short(r.p, 7) == [
                ("start", "a"),
                ("start", "b"),
                ("end", "a"),
                ("start", "c"),
                ("end", "c"),
                ("start", "d"),
                ("end", "b"),
            ]
        late = {(what, claim): late for what, claim, _, late in await noted(r.p)}
        assert (late["start", "a"], late["end", "b"]) == (5 * HOUR, 1 * HOUR)


async def test_a_backlog_larger_than_a_batch_keeps_its_order() -> None:
    async with region() as r:
        r.due.limit = 2
        names = [f"c{n}" for n in range(6)]
        await r.make(*(reserve(name, 2 * n + 1, 2 * n + 2) for n, name in enumerate(names)))
        r.clock.now = BEGAN + 100 * HOUR
        async with keeping(r.timers()):
            assert await short(r.p, 12) == every_two(names)


async def test_back_to_back_the_end_comes_before_the_start() -> None:
    async with region() as r:
        await r.make(reserve("first", 1, 2), reserve("next", 2, 3))
        r.clock.now = BEGAN + 2 * HOUR
        async with keeping(r.timers()):
            assert await short(r.p, 3) == [("start", "first"), ("end", "first"), ("start", "next")]


async def test_nothing_is_noted_before_its_time_nor_after_a_release() -> None:
    async with region() as r:
        await r.make(reserve("soon", 1, 2), reserve("gone", 1, 2), reserve("open", 0, None))
        await r.p.commands.execute(ReleaseClaim(claim=ClaimId("gone")), request())
        async with keeping(r.timers()):
            with anyio.fail_after(5):
                while not r.due.asked:
                    await anyio.sleep(0.002)
            assert await short(r.p, 0) == []
        r.clock.now = BEGAN + 3 * HOUR
        async with keeping(r.timers()):
            assert await short(r.p, 2) == every_two(["soon"])


async def test_a_read_model_that_has_not_caught_up_costs_no_punctuality() -> None:
    async with region() as r:
        r.due.model.checkpoint = 1
        async with keeping(r.timers()):
            with anyio.fail_after(5):
                while not r.due.asked:
                    await anyio.sleep(0.002)
            soon = timedelta(milliseconds=50) / HOUR
            await r.make(reserve("c", soon, 2 * soon))
            r.clock.now = BEGAN + HOUR / 2
            assert await short(r.p, 2) == every_two(["c"])


async def test_a_stale_read_model_makes_nothing_happen_twice() -> None:
    async with region() as r:
        await r.make(reserve("c", 1, 2))
        r.due.model.checkpoint = r.p.log.head.seq
        r.clock.now = BEGAN + 3 * HOUR
        async with keeping(r.timers()):
            assert await short(r.p, 2) == every_two(["c"])
            asked = r.due.asked
            with anyio.fail_after(5):
                while r.due.asked < asked + 3:
                    await anyio.sleep(0.005)
        assert len(await noted(r.p)) == 2


async def test_two_keepers_note_everything_once() -> None:
    async with region() as r:
        names = [f"c{n}" for n in range(5)]
        await r.make(*(reserve(name, 1 + n, 1.5 + n) for n, name in enumerate(names)))
        r.clock.now = BEGAN + 20 * HOUR
        async with keeping(r.timers(), r.timers()):
            assert await short(r.p, 10) == every_two(names)


async def test_an_instance_that_is_not_the_keeper_notes_nothing() -> None:
    async with region() as r:
        await r.make(reserve("c", 1, 2))
        r.clock.now = BEGAN + 3 * HOUR
        r.mine = False
        async with keeping(r.timers()):
            assert await short(r.p, 0) == []
            assert r.due.asked == 0


async def test_the_keeper_outlives_an_outage_of_the_read_model() -> None:
    async with region() as r:
        await r.make(reserve("c", 1, 2))
        r.clock.now = BEGAN + 3 * HOUR
        r.due.away = 1
        async with keeping(r.timers()):
            assert await short(r.p, 2) == every_two(["c"])


async def test_an_end_is_announced_once_and_again_when_it_moves() -> None:
    async with region() as r:
        await r.make(reserve("c", 0, 4, notice=1))
        r.clock.now = BEGAN + 3 * HOUR
        async with keeping(r.timers()):
            assert await short(r.p, 1) == [("notice", "c")]
        longer = RescheduleClaim(claim=ClaimId("c"), end=BEGAN + 8 * HOUR)
        await r.p.commands.execute(longer, request())
        r.clock.now = BEGAN + 7.5 * HOUR
        async with keeping(r.timers()):
            assert await short(r.p, 2) == [("notice", "c"), ("notice", "c")]
        noted_at = [(planned, late) for what, _, planned, late in await noted(r.p)]
        assert noted_at == [(3 * HOUR, 0 * HOUR), (7 * HOUR, HOUR / 2)]


async def test_an_end_that_has_come_is_not_announced_any_more() -> None:
    async with region() as r:
        await r.make(reserve("c", 1, 4, notice=1))
        r.clock.now = BEGAN + 5 * HOUR
        async with keeping(r.timers()):
            assert await short(r.p, 2) == every_two(["c"])


async def test_a_lease_shorter_than_its_notice_is_announced_at_its_start() -> None:
    async with region() as r:
        await r.make(reserve("c", 1, 1.25, notice=1))
        r.clock.now = BEGAN + 1.1 * HOUR
        async with keeping(r.timers()):
            assert await short(r.p, 2) == [("start", "c"), ("notice", "c")]


async def test_after_a_week_with_nothing_running_each_timer_fires_once() -> None:
    disk = MemoryDisk()
    with freeze_time(BEGAN, real_asyncio=True) as wall:
        async with process(disk, clock=wall_time) as p:
            await p.commands.execute(provide("p", 100), request())
            for claim in (reserve("a", 1, 30, notice=1), reserve("b", 24, 24 * 30, notice=1)):
                await p.commands.execute(claim, request())
        wall.tick(timedelta(days=7))
        for _ in range(2):  # the keeper comes back twice
            async with (
                process(disk, clock=wall_time) as p,
                keeping(Region(p, disk, Clock()).timers()),
            ):
                expected = [("start", "a"), ("start", "b"), ("end", "a")]
                assert await short(p, 3) == expected
        late = {(what, claim): late for what, claim, _, late in await noted(p)}
        assert late["end", "a"] == timedelta(days=7) - 30 * HOUR
