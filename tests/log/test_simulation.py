"""Seeded runs of several writers on one faulty disk: whatever happens, the log stays a log."""

import asyncio
from collections.abc import Sequence

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from mulligan.errors import Conflict, Unavailable
from mulligan.log.appender import AppendLimits
from mulligan.log.follower import Pace
from mulligan.log.memory import Faults, MemoryDisk, MemoryLog
from mulligan.log.protocol import Acked, Stored
from mulligan.log.regionlog import LogSettings
from mulligan.log.store import Raw
from mulligan.log.verify import verify
from mulligan.model import RegionName, Seq, StreamId

from .commits import commit, read, stored, write

QUICK = LogSettings(
    append=AppendLimits(patience=0.5), pace=Pace(poll=0.02, retry=0.005, grace=0.02)
)


def chance(most: float) -> st.SearchStrategy[float]:
    return st.sampled_from([0.0, most / 4, most])


FAULTS = st.builds(
    Faults,
    seed=st.integers(0, 2**32),
    delay=st.integers(0, 5),
    lost_ack=chance(0.3),
    lost_write=chance(0.3),
    late_write=chance(0.3),
    unavailable=chance(0.2),
    deaf=chance(0.5),
    twice=chance(0.5),
    broken_watch=chance(0.2),
)


async def count_up(log: MemoryLog, stream: str, times: int) -> list[Acked]:
    """Add events to a stream, each deciding its version on the state it sees, as handlers do."""
    acks: list[Acked] = []
    while len(acks) < times:
        at = log.head.seq
        one = commit(stream, version=len(log.since(StreamId(stream), Seq(0))) + 1, digest=f"{at}")
        while True:
            try:
                acks.append(await log.append(one, read=read(at, stream)))
                break
            except Conflict:
                break
            except Unavailable:
                await asyncio.sleep(0.01)
    return acks


async def run(faults: Faults) -> None:
    disk = MemoryDisk(faults)
    heard: list[Stored] = []
    calm = Faults(seed=faults.seed)
    disk.faults = calm
    async with (
        MemoryLog.open(RegionName("r"), disk, QUICK) as one,
        MemoryLog.open(RegionName("r"), disk, QUICK) as two,
        MemoryLog.open(RegionName("r"), disk, QUICK) as three,
    ):
        one.listen(heard.append)
        disk.faults = faults
        jobs = [
            count_up(log, stream, 4)
            for log in (one, two, three)
            for stream in ("quota/hot", f"claim/{id(log)}")
        ]
        with anyio.fail_after(30):
            acked = [ack for acks in await asyncio.gather(*jobs) for ack in acks]
            disk.faults = calm
            disk.deliver_late()
            await one.wait(disk.mark().seq)
        found = await stored(one)
        assert len(found) == len({i for _, i in found}), "a commit stands in the log twice"
        assert {(a.seq, a.commit.id) for a in acked} <= set(found), "an acked commit is lost"
        assert [s.seq for s in heard] == list(range(1, len(disk.entries) + 1))
        assert (await verify(one)).sound
        for stream in {e.stream for s in heard for c in s.entry.commits for e in c.events}:
            versions = [t.event.version for t in one.since(stream, Seq(0))]
            assert versions == list(range(1, len(versions) + 1)), "two decisions on one state"
        assert one.failure is two.failure is three.failure is None


@settings(max_examples=25, deadline=None)
@given(FAULTS)
def test_no_fault_loses_doubles_or_reorders_a_commit(faults: Faults) -> None:
    asyncio.run(run(faults))


class CountedDisk(MemoryDisk):
    """A disk that counts the watches begun on it."""

    watches = 0

    def subscribe(self) -> asyncio.Queue[Sequence[Raw] | None]:
        self.watches += 1
        return super().subscribe()


async def test_a_silent_watch_is_replaced_though_lost_races_keep_the_view_at_the_head() -> None:
    disk = CountedDisk()
    async with (
        MemoryLog.open(RegionName("r"), disk, QUICK) as here,
        MemoryLog.open(RegionName("r"), disk, QUICK) as there,
    ):
        await count_up(here, "claim/a", 1)
        begun = disk.watches
        disk.faults = Faults(deaf=1.0)
        with anyio.fail_after(5):
            while disk.watches == begun:
                await asyncio.gather(
                    *(count_up(log, f"claim/{id(log)}", 1) for log in (here, there))
                )


class DeafRoad:
    """A way to the disk on which no doorbell is heard."""

    async def there(self) -> None:
        await asyncio.sleep(0)

    async def back(self) -> None:
        await asyncio.sleep(0)

    async def hears(self) -> bool:
        return False


async def test_a_writer_that_missed_entries_which_were_pruned_since_reads_them_and_goes_on() -> (
    None
):
    disk = MemoryDisk()
    seldom = LogSettings(pace=Pace(poll=3600))
    async with (
        MemoryLog.open(RegionName("r"), disk, seldom) as here,
        MemoryLog.open(RegionName("r"), disk, seldom, road=DeafRoad()) as there,
    ):
        await write(there, "claim/a")
        for _ in range(5):
            await write(here, "claim/b")
        disk.seal(Seq(5))  # of the missed entries, 2 to 4 are in the archive only
        assert there.head.seq == 1
        with anyio.fail_after(5):
            assert (await write(there, "claim/c")).seq == 7
        assert there.failure is None
        assert [seq for seq, _ in await stored(there)] == [1, 2, 3, 4, 5, 6, 7]
