"""Live projection: how far the read models are behind a log that somebody writes all the time.

The projector's worker is a process of its own, as in a region; this one appends a believable past
at a steady rate. A lag runs from when an entry is written to when its rows can be read, and is
taken for each entry and read model; the slowest read model counts.
"""

import argparse
import gc
import multiprocessing
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import uvloop

from benchmarks._appending import Timed, paced
from benchmarks._etcd import running_etcd
from benchmarks._loop import machine, percentile
from benchmarks._traffic import Traffic
from mulligan.embedded.postgres import EmbeddedPostgres
from mulligan.events.envelope import Commit
from mulligan.log.etcd import Etcd, EtcdSettings
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.protocol import ReadSet
from mulligan.model import RegionName
from mulligan.projections import building, checkpoint
from mulligan.projections.models import READ_MODELS
from mulligan.projections.postgres import connected
from mulligan.projections.status import Batch
from mulligan.projections.worker import Worker
from mulligan.services.process import GC_THRESHOLDS

_REGION = RegionName("bench")
_PATIENCE_S = 120.0
_EVENTS_PER_S, _LAG_MS = 5_000, 100.0


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker did: each read model's events and lags, and when the last rows were in."""

    events: dict[str, int]
    lags: dict[str, list[float]]
    batches: int
    ended: float
    cpu: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=int, default=6_000, help="events/s that are appended")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--machines", type=int, default=2_000)


def run(args: argparse.Namespace) -> dict[str, Any]:
    taken_on = machine()
    commits = list(Traffic(args.machines).commits(int(args.rate * args.seconds)))
    events = sum(len(commit.events) for commit in commits)
    with _postgres() as dsn, running_etcd() as settings:
        context = multiprocessing.get_context("spawn")
        ready, results = context.Event(), context.Queue()
        worker = context.Process(
            target=_worker_process,
            args=(settings, dsn, len(commits), ready, results),
            daemon=True,
        )
        worker.start()
        if not ready.wait(_PATIENCE_S):
            raise SystemExit("the worker did not start")
        began = time.time()
        appended = uvloop.run(_append(settings, commits, args.seconds))
        folded = msgspec.msgpack.decode(results.get(timeout=_PATIENCE_S), type=Folded)
        worker.join()
    figures = {**_figures(folded, appended, events, began), "machine": taken_on}
    _print(figures)
    return figures


@contextmanager
def _postgres() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="mulligan-bench-") as home:
        server = EmbeddedPostgres(Path(home) / "postgres")
        server.start()
        try:
            yield str(server.create_database("bench"))
        finally:
            server.stop()


async def _append(settings: EtcdSettings, commits: Sequence[Commit], seconds: float) -> Timed:
    """Append the commits in their order, evenly over so many seconds."""
    gc.set_threshold(*GC_THRESHOLDS)  # as every service does
    waiting = iter(commits)
    async with Etcd(settings) as etcd, EtcdLog.open(etcd, _REGION) as log:

        async def command() -> None:
            # Nobody else writes, and the log keeps the order of one process's commits.
            read = ReadSet(at=log.head.seq, streams=frozenset())
            await log.append(next(waiting), read=read)

        return await paced(command, len(commits) / seconds, len(commits))


def _worker_process(
    settings: EtcdSettings, dsn: str, commits: int, ready: Any, results: Any
) -> None:
    gc.set_threshold(*GC_THRESHOLDS)
    results.put(msgspec.msgpack.encode(uvloop.run(_fold(settings, dsn, commits, ready))))


async def _fold(settings: EtcdSettings, dsn: str, commits: int, ready: Any) -> Folded:
    """Run the projector's worker until every read model holds all the commits."""
    events: dict[str, int] = defaultdict(int)
    lags: dict[str, list[float]] = defaultdict(list)
    arrived, batches = 0, 0

    def on_batch(name: str, batch: Batch) -> None:
        nonlocal batches
        batches += 1
        events[name] += batch.events
        lags[name].extend(batch.lags)

    async with Etcd(settings) as etcd, EtcdLog.open(etcd, _REGION) as log:

        def count(stored: Any) -> None:
            nonlocal arrived
            arrived += len(stored.entry.commits)

        log.listen(count)
        await _prepare(dsn, log.head.log_id)
        worker = Worker(log, dsn, on_batch=on_batch)
        with anyio.fail_after(_PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(worker.run)
                while not _all_live(worker):
                    await anyio.sleep(0.02)
                ready.set()
                spent = time.process_time()
                while arrived < commits or not _all_live(worker):
                    await anyio.sleep(0.02)
                ended, spent = time.time(), time.process_time() - spent
                tasks.cancel_scope.cancel()
    return Folded(events=events, lags=lags, batches=batches, ended=ended, cpu=spent)


async def _prepare(dsn: str, log_id: str) -> None:
    async with connected(dsn) as connection:
        await checkpoint.prepare(connection)
        for model in READ_MODELS:
            await building.create_empty(connection, model, log_id)


def _all_live(worker: Worker) -> bool:
    statuses = worker.status().values()
    if worker.problem:
        raise SystemExit(f"the worker cannot work: {worker.problem}")
    if halted := [one for one in statuses if one.status == "halted"]:
        raise SystemExit(f"read model {halted[0].name} halted: {halted[0].problem}")
    return all(one.status == "live" and not one.lag_entries for one in statuses)


def _figures(folded: Folded, appended: Timed, events: int, began: float) -> dict[str, Any]:
    p99 = {name: percentile(lags, 0.99) for name, lags in folded.lags.items()}
    slowest = max(p99, key=lambda name: p99[name])
    rate = round(events / (folded.ended - began))
    return {
        "live_events_per_s": rate,
        "lag_p50_ms": percentile(folded.lags[slowest], 0.5),
        "lag_p99_ms": p99[slowest],
        "slowest_read_model": slowest,
        "lag_p99_ms_by_read_model": p99,
        "events": events,
        "batches": folded.batches,
        "worker_cpu_share": round(folded.cpu / (folded.ended - began), 2),
        "append": appended.figures(),
        "goals": {
            f"{_EVENTS_PER_S} events/s": rate >= _EVENTS_PER_S,
            f"p99 lag under {_LAG_MS:g} ms": p99[slowest] < _LAG_MS,
        },
    }


def _print(figures: dict[str, Any]) -> None:
    met = ", ".join(f"{goal}: {'met' if ok else 'missed'}" for goal, ok in figures["goals"].items())
    print(
        f"{figures['live_events_per_s']:,} events/s folded live; lag p50"
        f" {figures['lag_p50_ms']} p99 {figures['lag_p99_ms']} ms"
        f" ({figures['slowest_read_model']}); {met}",
        file=sys.stderr,
    )
