"""The log on a cluster of three, whose leader, followers and quorum are lost under load."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from mulligan.errors import Unavailable
from mulligan.log.etcd import Etcd
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.protocol import Acked
from mulligan.log.verify import verify
from mulligan.model import RegionName, Seq, new_id

from .cluster import Cluster, ClusterMember
from .commits import commit, stored, write
from .test_etcd_faults import repeat_until_acknowledged

BACK_AFTER = 10.0
"""Seconds within which every process appends again after a member is lost."""


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), certificates)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


@pytest.fixture
async def cluster(members: Cluster) -> Cluster:
    """The cluster with all of its members, whatever the test before did to it."""
    await asyncio.to_thread(members.start)
    return members


@asynccontextmanager
async def opened(cluster: Cluster, *first: ClusterMember) -> AsyncIterator[list[EtcdLog]]:
    """Open a new region's log once for each of ``first``, which it talks to while it can."""
    region = RegionName(new_id())
    async with AsyncExitStack() as stack:
        logs = []
        for member in first:
            etcd = await stack.enter_async_context(Etcd(cluster.settings(member)))
            logs.append(await stack.enter_async_context(EtcdLog.open(etcd, region)))
        yield logs


class Load:
    """Clients that append through every log, each repeating a commit until it is acknowledged."""

    def __init__(self, logs: list[EtcdLog]) -> None:
        self.acked: dict[EtcdLog, list[Acked]] = {log: [] for log in logs}
        self._going = True

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Append until the block ends; what is then under way is waited for."""
        async with anyio.create_task_group() as tasks:
            for log in self.acked:
                for _ in range(4):
                    tasks.start_soon(self._client, log)
            try:
                yield
            finally:
                self._going = False

    async def _client(self, log: EtcdLog) -> None:
        while self._going:
            one = commit(f"claim/{new_id()}", digest="d")
            self.acked[log].append(await repeat_until_acknowledged(log, one))

    async def go_on(self, count: int = 100) -> None:
        """Return once each log has acknowledged ``count`` more commits, which may not take long."""
        goals = {log: len(acked) + count for log, acked in self.acked.items()}
        with anyio.fail_after(BACK_AFTER):
            while any(len(self.acked[log]) < goal for log, goal in goals.items()):
                await asyncio.sleep(0.01)

    async def check(self) -> None:
        """Every log holds what was acknowledged, nothing twice and nothing else, and is sound."""
        acked = {(a.seq, a.commit.id) for acks in self.acked.values() for a in acks}
        top = Seq(max(seq for seq, _ in acked))
        for log in self.acked:
            with anyio.fail_after(5):
                await log.wait(top)
            found = await stored(log)
            assert len(found) == len({i for _, i in found}), "a commit stands in the log twice"
            assert acked == set(found)
            assert (await verify(log)).sound
            assert log.failure is None


async def test_appends_go_on_and_nothing_is_lost_when_the_leader_is_killed(
    cluster: Cluster,
) -> None:
    leader, follower = cluster.leader(), cluster.followers()[0]
    async with opened(cluster, leader, follower) as logs:
        load = Load(logs)
        async with load.run():
            await load.go_on()
            leader.kill()
            await load.go_on()
            await asyncio.to_thread(cluster.start)
            await load.go_on()
        await load.check()


async def test_appends_and_tail_go_on_when_the_leader_is_paused_with_its_connections_open(
    cluster: Cluster,
) -> None:
    leader, follower = cluster.leader(), cluster.followers()[0]
    async with opened(cluster, leader, follower) as logs:
        load = Load(logs)
        async with tailed(logs[0]) as seen, load.run():
            await load.go_on()
            leader.freeze()
            try:
                await load.go_on(300)
                with anyio.fail_after(BACK_AFTER):
                    while seen[-1] < logs[1].head.seq - 50:
                        await asyncio.sleep(0.01)
            finally:
                leader.thaw()
            await load.go_on()
        await load.check()
        assert seen == list(range(1, len(seen) + 1))


async def test_a_tail_goes_on_when_the_follower_that_it_watches_is_killed(
    cluster: Cluster,
) -> None:
    leader, follower = cluster.leader(), cluster.followers()[0]
    async with opened(cluster, follower, leader) as (reader, writer), tailed(reader) as seen:
        await write(writer, "claim/a")
        with anyio.fail_after(BACK_AFTER):
            await reader.wait(Seq(1))
            follower.kill()
            for _ in range(20):
                await write(writer, "claim/a")
            await reader.wait(Seq(21))
            while len(seen) < 21:
                await asyncio.sleep(0.01)
        assert seen == list(range(1, 22))


async def test_appends_fail_soon_without_a_quorum_and_work_again_with_one(
    cluster: Cluster,
) -> None:
    leader, follower = cluster.leader(), cluster.followers()[0]
    last = next(m for m in cluster.members if m not in (leader, follower))
    async with opened(cluster, last) as (log,):
        first = await write(log, "claim/a")
        leader.kill()
        follower.kill()
        one = commit("claim/b", digest="d")
        for _ in range(2):
            with anyio.fail_after(4), pytest.raises(Unavailable):
                await write(log, "claim/c")
        await asyncio.to_thread(cluster.start)
        with anyio.fail_after(BACK_AFTER):
            second = await repeat_until_acknowledged(log, one)
        found = await stored(log)
        assert {(a.seq, a.commit.id) for a in (first, second)} <= set(found)
        assert len(found) == len({i for _, i in found})
        assert (await verify(log)).sound


@asynccontextmanager
async def tailed(log: EtcdLog) -> AsyncIterator[list[int]]:
    """Follow the log from its beginning and list the entries seen."""
    seen: list[int] = []

    async def follow() -> None:
        async with aclosing(log.tail(Seq(0))) as tail:
            async for batch in tail:
                seen.extend(one.seq for one in batch)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        yield seen
        tasks.cancel_scope.cancel()
