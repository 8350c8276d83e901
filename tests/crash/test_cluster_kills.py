"""A region on an etcd of three members, whose leader, members and quorum are lost under load."""

import os
import random
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import anyio
import pytest

from tests.crash.arena import Arena
from tests.crash.killer import GAP, LONG_FREEZE, Killer
from tests.crash.saying import say
from tests.crash.test_kills import SEED
from tests.e2e.region import RunningRegion, short_folder
from tests.log.cluster import Cluster, ClusterMember
from tests.log.conftest import make_certificates

pytestmark = [pytest.mark.crash, pytest.mark.timeout(0)]

KILLS = int(os.environ.get("MULLIGAN_CLUSTER_KILLS", "60"))
SERVICES_TOO = 0.4
"""How often it is a process of the region rather than a member of the cluster."""


class ClusterKiller(Killer):
    """Strikes the members of a cluster as well as the region's processes."""

    def __init__(self, region: RunningRegion, rng: random.Random, cluster: Cluster) -> None:
        parts = ("postgres", "resource", "control", "projector", "executor", "iam", "log")
        super().__init__(region, rng, parts)
        self._cluster = cluster

    async def _strike(self) -> None:
        if self._rng.random() < SERVICES_TOO:
            await super()._strike()
            return
        leader = await anyio.to_thread.run_sync(self._cluster.leader)
        others = [one for one in self._cluster.members if one is not leader]
        match self._rng.choice(("leader", "follower", "pause leader", "pause follower", "quorum")):
            case "leader":
                await self._lose(leader, what="kill leader")
            case "follower":
                await self._lose(self._rng.choice(others), what="kill follower")
            case "pause leader":
                await self._pause(leader, "pause leader")
            case "pause follower":
                await self._pause(self._rng.choice(others), "pause follower")
            case _:
                await self._lose(leader, self._rng.choice(others), what="kill quorum")

    async def _lose(self, *members: ClusterMember, what: str) -> None:
        for member in members:
            member.kill()
            self.blows[what] += 1
        await anyio.sleep(self._rng.uniform(*GAP))
        await anyio.to_thread.run_sync(self._cluster.start)

    async def _pause(self, member: ClusterMember, what: str) -> None:
        long = self._rng.random() < 0.3
        member.freeze()
        try:
            self.blows[what] += 1
            await anyio.sleep(self._rng.uniform(*(LONG_FREEZE if long else GAP)))
        finally:
            member.thaw()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    found = Cluster(tmp_path, make_certificates(certificates))
    try:
        found.start()
        yield found
    finally:
        found.kill()


def settings_of(cluster: Cluster, certificates: Path) -> Mapping[str, str]:
    """Return the variables that have a region use this etcd rather than one of its own."""
    endpoints = ",".join(one.endpoint.removeprefix("https://") for one in cluster.members)
    return {
        "MULLIGAN_ETCD_EMBEDDED": "false",
        "MULLIGAN_ETCD_ENDPOINTS": endpoints,
        "MULLIGAN_ETCD_CA": str(certificates / "ca.pem"),
        "MULLIGAN_ETCD_CERT": str(certificates / "client.pem"),
        "MULLIGAN_ETCD_KEY": str(certificates / "client.key"),
    }


async def test_nothing_is_lost_when_members_and_quorum_of_the_etcd_cluster_are(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say(capsys, f"{KILLS} kills around a cluster with MULLIGAN_SEED={SEED}")
    settings = settings_of(cluster, tmp_path / "certificates")
    with short_folder() as folder:
        async with (
            RunningRegion(folder, settings=settings) as region,
            Arena(region, folder, SEED, 3) as arena,
        ):
            killer = ClusterKiller(region, arena.rng, cluster)
            while killer.kills < KILLS:
                kills = min(30, KILLS - killer.kills)
                await arena.round(partial(killer.run, kills))
                say(capsys, f"{killer.kills} kills, {arena.counts()}, {killer.slowest_s:.1f} s")
    say(capsys, str(dict(sorted(killer.blows.items()))))
