"""How many members of etcd there are, and who of them is away: asked of a real cluster."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from mulligan.log.etcd import Etcd, ListedMember, StoreStatus
from mulligan.log.etcd_members import PATIENCE_S, Answers, MemberWatch, judged

from .cluster import Cluster, ClusterMember

LISTED = [
    ListedMember(id=1, name="m1", addresses=("10.0.0.1:2379",), learner=False),
    ListedMember(id=2, name="m2", addresses=("10.0.0.2:2379",), learner=False),
    ListedMember(id=3, name="", addresses=(), learner=True),
]


def status(member: int, leader: int = 1) -> StoreStatus:
    return StoreStatus("3.4.23", 1, 1, leader, 1, member)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("members"), certificates)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


@asynccontextmanager
async def watched(cluster: Cluster, first: ClusterMember) -> AsyncIterator[MemberWatch]:
    settings = cluster.settings(first)
    async with Etcd(settings) as etcd:
        watch = MemberWatch(etcd, settings)
        await watch.look()
        yield watch


async def away(watch: MemberWatch) -> dict[str, str]:
    """Look, which may not take long, and return who is away and why."""
    with anyio.fail_after(2 * PATIENCE_S + 3):
        await watch.look()
    return {one.name: one.problem for one in watch.members if one.problem}


async def until_away(watch: MemberWatch, count: int) -> None:
    with anyio.fail_after(20):
        while len(await away(watch)) != count:
            await asyncio.sleep(0.05)


async def test_who_is_away_is_named_and_everybody_is_well_again_with_it(cluster: Cluster) -> None:
    leader, (lost, kept) = cluster.leader(), cluster.followers()
    async with watched(cluster, lost) as watch:
        assert [(one.name, one.problem) for one in watch.members] == [
            ("m0", ""), ("m1", ""), ("m2", ""),
        ]  # fmt: skip
        assert [one.name for one in watch.members if one.leads] == [leader.name]
        lost.kill()
        found = await away(watch)
        assert set(found) == {lost.name}
        assert "cannot be reached" in found[lost.name]
        kept.freeze()
        try:
            await until_away(watch, 3)  # who is left has no leader
        finally:
            kept.thaw()
        await asyncio.to_thread(cluster.start)
        await until_away(watch, 0)


def test_a_member_is_known_by_its_id_whatever_address_it_answers_at() -> None:
    answers: Answers = {
        "10.0.0.1:2379": status(1),
        "127.0.0.1:2379": status(2),
        "10.0.0.2:2379": "silence",
    }
    first, second = judged(LISTED[:2], answers)
    assert (first.problem, second.problem) == ("", "")
    assert (first.leads, second.leads) == (True, False)


def test_another_members_answer_is_none() -> None:
    _, second = judged(LISTED[:2], {"10.0.0.1:2379": status(1), "10.0.0.2:2379": status(1)})
    assert second.problem == "another member answers at 10.0.0.2:2379"


def test_a_member_that_never_started_is_told_as_that() -> None:
    never, *_ = judged(LISTED, {"10.0.0.1:2379": status(1), "10.0.0.2:2379": status(2)})
    assert (never.name, never.problem) == ("", "it was added and has never started")
