"""What every event log promises, on the in-memory twin and on a real etcd over TLS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest

from mulligan.errors import AlreadyExists, Conflict, Corrupt, Exhausted, InvalidArgument
from mulligan.events.codec import GENESIS_HASH, decode_entry, entry_hash
from mulligan.log.appender import AppendLimits
from mulligan.log.etcd import Etcd
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.keys import Keys
from mulligan.log.memory import MemoryDisk, MemoryLog
from mulligan.log.protocol import Fence, Fenced, Stored, TailTooShort
from mulligan.log.regionlog import LogSettings, RegionLog
from mulligan.log.verify import verify
from mulligan.model import CommitId, RegionName, Seq, StreamId, new_id

from .commits import commit, read, stored, write
from .conftest import EtcdServer

Open = Callable[..., AbstractAsyncContextManager[RegionLog]]


class Place:
    """Where a test's logs are kept: ``open`` opens one more of them, ``lease`` makes a fence."""

    open: Open

    async def lease(self) -> Fence:
        raise NotImplementedError

    async def expire(self, fence: Fence) -> None:
        raise NotImplementedError


class InMemory(Place):
    def __init__(self) -> None:
        self.disk = MemoryDisk()

    def open(self, **settings: Any) -> AbstractAsyncContextManager[RegionLog]:
        return MemoryLog.open(RegionName("r"), self.disk, LogSettings(**settings))

    async def lease(self) -> Fence:
        return self.disk.grant("lease/1")

    async def expire(self, fence: Fence) -> None:
        self.disk.revoke(fence.key)


class InEtcd(Place):
    def __init__(self, server: EtcdServer) -> None:
        self._server = server
        self._region = RegionName(new_id())

    @asynccontextmanager
    async def open(self, **settings: Any) -> AsyncIterator[RegionLog]:
        async with (
            Etcd(self._server.settings) as etcd,
            EtcdLog.open(etcd, self._region, LogSettings(**settings)) as log,
        ):
            yield log

    async def lease(self) -> Fence:
        key = Keys(self._region).lease("machine-shard/1")
        async with Etcd(self._server.settings) as etcd:
            lease = await etcd.lease_grant(30)
            return Fence(key=key, create_revision=await etcd.put(key, b"me", lease=lease))

    async def expire(self, fence: Fence) -> None:
        async with Etcd(self._server.settings) as etcd:
            found = await etcd.get(fence.key)
            assert found
            await etcd.lease_revoke(found.lease)


@pytest.fixture(params=["memory", "etcd"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "memory":
        return InMemory()
    return InEtcd(request.getfixturevalue("shared_etcd"))


async def test_a_new_log_is_empty(place: Place) -> None:
    async with place.open() as log:
        assert (log.head.seq, log.head.hash, log.failure) == (0, GENESIS_HASH, None)


async def test_an_append_returns_its_position_and_is_at_the_head(place: Place) -> None:
    async with place.open() as log:
        first, second = await write(log, "claim/a"), await write(log, "claim/b")
        assert (first.seq, second.seq, log.head.seq) == (1, 2, 2)
        assert not first.repeat


async def test_what_is_read_back_is_what_was_appended_and_chained(place: Place) -> None:
    async with place.open() as log:
        acked = [await write(log, "claim/a", "provider/b") for _ in range(5)]
        entries = [entry async for batch in log.read(Seq(1), Seq(5)) for entry in batch]
        assert [entry.entry.commits[0] for entry in entries] == [a.commit for a in acked]
        prev = GENESIS_HASH
        for entry in entries:
            assert entry.entry.prev == prev
            prev = entry_hash(entry.value)
        assert prev == log.head.hash
        assert (await verify(log)).sound


async def test_appends_that_wait_together_share_an_entry(place: Place) -> None:
    async with place.open() as log:
        acks = await asyncio.gather(*(write(log, f"claim/{n}") for n in range(200)))
        assert len({a.seq for a in acks}) < 20
        assert len(await stored(log)) == 200


async def test_an_append_after_a_stale_read_conflicts(place: Place) -> None:
    async with place.open() as log:
        await write(log, "claim/a")
        with pytest.raises(Conflict):
            await log.append(commit("claim/a"), read=read(0, "claim/a"))
        await log.append(commit("claim/b"), read=read(0, "claim/b"))


async def test_of_two_appends_on_the_same_state_the_second_conflicts_once_the_first_landed(
    place: Place,
) -> None:
    async with place.open() as log:
        results = await asyncio.gather(
            log.append(commit("claim/a"), read=read(0, "claim/a")),
            log.append(commit("claim/a"), read=read(0, "claim/a")),
            return_exceptions=True,
        )
        assert [type(r).__name__ for r in results] == ["Acked", "Conflict"]


async def test_an_optimistic_append_lands_with_what_it_assumes(place: Place) -> None:
    async with place.open() as log:
        a, b, c = (commit("quota/q", version=n) for n in (1, 2, 3))
        acks = await asyncio.gather(
            log.append(a, read=read(0, "quota/q")),
            log.append(b, read=read(0, "quota/q", assumes=(a.id,))),
            log.append(c, read=read(0, "quota/q", assumes=(a.id, b.id))),
        )
        assert len({ack.seq for ack in acks}) == 1
        assert [i for _, i in await stored(log)] == [a.id, b.id, c.id]


async def test_an_optimistic_append_conflicts_if_what_it_assumes_did_not_land(place: Place) -> None:
    async with place.open() as log:
        await write(log, "quota/q")
        a, b = commit("quota/q"), commit("quota/q")
        results = await asyncio.gather(
            log.append(a, read=read(0, "quota/q")),
            log.append(b, read=read(1, "quota/q", assumes=(a.id,))),
            return_exceptions=True,
        )
        assert all(isinstance(result, Conflict) for result in results)
        assert log.head.seq == 1


async def test_a_repeat_returns_the_first_result(place: Place) -> None:
    async with place.open() as log:
        one = commit("claim/a", digest="d")
        first = await log.append(one, read=read(0, "claim/a"))
        again = await log.append(one, read=read(0, "claim/a"))
        assert (again.seq, again.repeat) == (first.seq, True)
        assert log.find(one.id) == again
        assert log.find(CommitId("other")) is None


async def test_repeats_in_flight_share_one_outcome(place: Place) -> None:
    async with place.open() as log:
        one = commit("claim/a", digest="d")
        acks = await asyncio.gather(*(log.append(one, read=read(0, "claim/a")) for _ in range(10)))
        assert {a.seq for a in acks} == {1}
        assert len(await stored(log)) == 1


async def test_a_request_id_cannot_be_used_for_another_payload(place: Place) -> None:
    async with place.open() as log:
        one = commit("claim/a", digest="d")
        other = commit("claim/b", id=one.id, digest="e")
        _, refused = await asyncio.gather(
            log.append(one, read=read(0)), log.append(other, read=read(0)), return_exceptions=True
        )
        assert isinstance(refused, AlreadyExists)
        with pytest.raises(AlreadyExists, match="request id"):
            await log.append(other, read=read(0))


async def test_a_repeat_at_another_process_is_found(place: Place) -> None:
    async with place.open() as here, place.open() as there:
        one = commit("claim/a", digest="d")
        results = await asyncio.gather(
            here.append(one, read=read(0)), there.append(one, read=read(0))
        )
        assert {r.seq for r in results} == {1}
        assert sorted(r.repeat for r in results) == [False, True]


async def test_a_failed_fence_fails_only_its_own_command(place: Place) -> None:
    async with place.open() as log:
        fence = await place.lease()
        await log.append(commit("machine/a"), read=read(0), fence=fence)
        await place.expire(fence)
        good, bad, more = await asyncio.gather(
            log.append(commit("claim/a"), read=read(0)),
            log.append(commit("machine/a"), read=read(1), fence=fence),
            log.append(commit("claim/b"), read=read(0)),
            return_exceptions=True,
        )
        assert isinstance(bad, Fenced)
        assert not isinstance(good, BaseException) and not isinstance(more, BaseException)
        assert (good.seq, more.seq) == (2, 2)


async def test_two_writers_make_one_dense_log(place: Place) -> None:
    async with place.open() as here, place.open() as there:
        await asyncio.gather(
            *(
                write(log, f"claim/{i}-{n}")
                for n, log in enumerate((here, there))
                for i in range(150)
            )
        )
        top = Seq(max(here.head.seq, there.head.seq))
        with anyio.fail_after(5):
            await asyncio.gather(here.wait(top), there.wait(top))
        assert here.head == there.head
        ids = [i for _, i in await stored(here)]
        assert len(ids) == len(set(ids)) == 300
        assert (await verify(there)).commits == 300


async def test_a_race_lost_on_the_same_stream_conflicts(place: Place) -> None:
    async with place.open() as here, place.open() as there:
        results = await asyncio.gather(
            here.append(commit("claim/a"), read=read(0, "claim/a")),
            there.append(commit("claim/a"), read=read(0, "claim/a")),
            return_exceptions=True,
        )
        assert sorted(type(r).__name__ for r in results) == ["Acked", "Conflict"]


async def test_a_race_lost_on_other_streams_is_appended_again_as_it_is(place: Place) -> None:
    async with place.open() as here, place.open() as there:
        acks = await asyncio.gather(
            here.append(commit("claim/a"), read=read(0, "claim/a")),
            there.append(commit("claim/b"), read=read(0, "claim/b")),
        )
        assert sorted(a.seq for a in acks) == [1, 2]


async def test_listeners_hear_each_entry_once_in_order_before_the_ack(place: Place) -> None:
    async with place.open() as here, place.open() as there:
        heard: list[Stored] = []
        stop = here.listen(heard.append)
        for n, log in enumerate((here, there, here, there, there)):
            ack = await write(log, f"claim/{n}")
            with anyio.fail_after(5):
                await here.wait(ack.seq)
            assert heard[-1].seq == ack.seq
        stop()
        await write(here, "claim/a")
        assert [s.seq for s in heard] == [1, 2, 3, 4, 5]
        assert all(decode_entry(s.value) == s.entry for s in heard)


async def test_since_returns_a_streams_events_after_a_position(place: Place) -> None:
    async with place.open() as log:
        for stream in ("claim/a", "claim/b", "claim/a"):
            await write(log, stream)
        assert [touch.seq for touch in log.since(StreamId("claim/a"), Seq(0))] == [1, 3]
        assert [touch.seq for touch in log.since(StreamId("claim/a"), Seq(1))] == [3]
        assert list(log.since(StreamId("claim/none"), Seq(0))) == []


async def test_the_window_forgets_what_is_old(place: Place) -> None:
    async with place.open(window_entries=3) as log:
        acks = [await write(log, "claim/a") for _ in range(5)]
        with pytest.raises(TailTooShort):
            log.since(StreamId("claim/a"), Seq(1))
        assert [touch.seq for touch in log.since(StreamId("claim/a"), Seq(2))] == [3, 4, 5]
        assert log.find(acks[0].commit.id) is None
        with pytest.raises(Conflict):
            await log.append(commit("claim/b"), read=read(1, "claim/b"))


async def test_a_log_opened_later_knows_the_recent_past(place: Place) -> None:
    async with place.open() as log:
        acks = [await write(log, "claim/a") for _ in range(9)]
        async with place.open(load_entries=4) as late:
            assert late.head == log.head
            assert late.find(acks[8].commit.id) is not None
            assert late.find(acks[4].commit.id) is None
            assert (await write(late, "claim/b")).seq == 10


async def test_a_tail_goes_from_old_entries_to_new_ones_without_a_seam(place: Place) -> None:
    async with place.open() as log:
        for _ in range(20):
            await write(log, "claim/a")
        async with place.open(load_entries=5) as late, anyio.create_task_group() as tasks:
            tasks.start_soon(_write_many, log, 20)
            seen: list[int] = []
            async with aclosing(late.tail(Seq(3))) as tail:
                async for batch in tail:
                    seen += [s.seq for s in batch]
                    if seen[-1] >= 40:
                        break
            assert seen == list(range(4, 41))


async def _write_many(log: RegionLog, count: int) -> None:
    for _ in range(count):
        await write(log, "claim/a")


async def test_a_tail_from_another_chain_is_corrupt(place: Place) -> None:
    async with place.open() as log:
        await write(log, "claim/a")
        await write(log, "claim/a")
        for after, after_hash in ((1, "f" * 64), (9, None)):
            with pytest.raises(Corrupt):
                async with aclosing(log.tail(Seq(after), after_hash)) as tail:
                    async for _ in tail:
                        break


async def test_a_commit_too_large_for_an_entry_is_refused(place: Place) -> None:
    async with place.open(append=AppendLimits(entry_bytes=2000)) as log:
        with pytest.raises(InvalidArgument):
            await write(log, *(f"claim/{n}" for n in range(40)))
        await asyncio.gather(*(write(log, f"claim/{n}") for n in range(40)))
        async for batch in log.read(Seq(1), log.head.seq):
            assert all(len(s.value) <= 2000 for s in batch)


async def test_a_full_queue_turns_appends_away(place: Place) -> None:
    async with place.open(append=AppendLimits(waiting=10)) as log:
        results = await asyncio.gather(
            *(write(log, f"claim/{n}") for n in range(15)), return_exceptions=True
        )
        assert [type(r) for r in results[10:]] == [Exhausted] * 5
        assert len(await stored(log)) == 10


async def test_an_append_that_nobody_waits_for_any_more_is_not_sent(place: Place) -> None:
    async with place.open() as log:
        given_up = asyncio.create_task(write(log, "claim/a"))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        await write(log, "claim/b")
        assert len(await stored(log)) == 1


async def test_entries_are_never_dated_before_the_one_ahead(place: Place) -> None:
    async with place.open() as here, place.open() as there:
        for log in (here, there) * 3:
            await write(log, f"claim/{new_id()}")
        times = [s.entry.at async for b in here.read(Seq(1), here.head.seq) for s in b]
        assert times == sorted(times)
