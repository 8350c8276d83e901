"""Our log, as the comparison of event stores uses it."""

import gc
import time

import uvloop

from benchmarks._appending import Timed, in_flight, new_commit
from mulligan.log.etcd import Etcd, EtcdSettings
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.protocol import ReadSet
from mulligan.model import RegionName, Seq
from mulligan.services.process import GC_THRESHOLDS

_REGION = RegionName("bench")


def append(settings: EtcdSettings, at_once: int, count: int) -> Timed:
    """Append commits, so many at once, each on condition that its stream has not moved."""
    return uvloop.run(_append(settings, at_once, count))


async def _append(settings: EtcdSettings, at_once: int, count: int) -> Timed:
    gc.set_threshold(*GC_THRESHOLDS)  # as every service does
    commits = [new_commit() for _ in range(count)]
    async with Etcd(settings) as etcd, EtcdLog.open(etcd, _REGION) as log:

        async def command() -> None:
            commit = commits.pop()
            streams = frozenset({commit.events[0].stream})
            await log.append(commit, read=ReadSet(at=log.head.seq, streams=streams))

        return await in_flight(command, at_once, count)


def read(settings: EtcdSettings) -> tuple[int, float]:
    """Read every commit, decoded and its chain checked; return how many, and the seconds."""
    return uvloop.run(_read(settings))


async def _read(settings: EtcdSettings) -> tuple[int, float]:
    async with Etcd(settings) as etcd, EtcdLog.open(etcd, _REGION) as log:
        began, found = time.perf_counter(), 0
        async for batch in log.read(Seq(1), log.head.seq):
            found += sum(len(stored.entry.commits) for stored in batch)
        return found, time.perf_counter() - began
