"""Read models: folded live by the worker, then rebuilt from the log's first entry and compared."""

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop

from benchmarks._etcd import running_etcd
from benchmarks._traffic import Traffic
from mulligan.embedded.postgres import EmbeddedPostgres
from mulligan.events.codec import GENESIS_HASH, encode_commit, encode_entry
from mulligan.events.envelope import Commit
from mulligan.log.etcd import Etcd
from mulligan.log.etcdlog import EtcdLog, EtcdStore
from mulligan.log.store import HeadRecord, Slot, Won
from mulligan.log.view import link
from mulligan.model import RegionName, Seq
from mulligan.projections.models import READ_MODELS
from mulligan.projections.rebuild import Rebuilder

_REGION = RegionName("bench")
_COMMITS = 64
"""Commits an entry, as group commit makes them at 64 commands in flight."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=500_000, help="events in the log")
    parser.add_argument("--live", type=int, default=50_000, help="of them folded by the worker")
    parser.add_argument("--machines", type=int, default=2_000)
    parser.add_argument(
        "--profile", action="store_true", help="print where the rebuild's time goes"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="mulligan-bench-") as home:
        server = EmbeddedPostgres(Path(home) / "postgres")
        server.start()
        try:
            dsn = server.create_database("bench")
            with running_etcd() as settings:
                figures = uvloop.run(_measure(args, settings, dsn))
        finally:
            server.stop()
    _print(figures)
    return figures


async def _measure(args: argparse.Namespace, settings: Any, dsn: str) -> dict[str, Any]:
    async with Etcd(settings) as etcd:
        await _write(EtcdStore(etcd, _REGION), args)
        async with EtcdLog.open(etcd, _REGION) as log:
            first = await _rebuild(log, dsn, verify=False, profile=args.profile)
            second = await _rebuild(log, dsn, verify=True, profile=False)
            live = await _live(log, dsn, args)
    return {"machines": args.machines, **live, "from_nothing": first, "rebuild": second}


async def _write(store: EtcdStore, args: argparse.Namespace) -> None:
    """Fill the log by its own compare-and-swap, one entry of many commits after the other."""
    log_id = await store.identify()
    token, prev = 0, GENESIS_HASH
    traffic = Traffic(args.machines)
    for seq, commits in enumerate(_entries(traffic.commits(args.events)), start=1):
        at = traffic.now.isoformat().replace("+00:00", "Z")
        stored = link(seq, prev, encode_entry(Seq(seq), prev, at, commits))
        head = HeadRecord(seq=Seq(seq), hash=stored.hash, log_id=log_id, writer="w", batch_id="b")
        won = await store.put(Slot(stored=stored, head=head, token=token, fences=()), 30.0)
        assert isinstance(won, Won)
        token, prev = won.token, stored.hash


def _entries(commits: Iterator[Commit]) -> Iterator[list[bytes]]:
    while batch := [encode_commit(c) for c in islice(commits, _COMMITS)]:
        yield batch


async def _rebuild(log: EtcdLog, dsn: str, *, verify: bool, profile: bool) -> dict[str, Any]:
    began = time.perf_counter()
    folded = written = began
    used = time.process_time()
    events, phases = 0, {}
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    async for step in Rebuilder(log, dsn).rebuild(verify=verify):
        events = step.events
        phases[step.name] = step.phase
        if step.phase == "folding":
            folded = time.perf_counter()
        elif step.phase == "comparing" or (step.phase == "swapped" and written == began):
            written = max(written, time.perf_counter()) if written == began else written
    ended = time.perf_counter()
    used = time.process_time() - used
    if profile:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(35)
    return {
        "events": events,
        "seconds": round(ended - began, 2),
        "cpu_s": round(used, 2),
        "folding_s": round(folded - began, 2),
        "writing_s": round(written - folded, 2),
        "events_per_s": round(events / (written - began)),
        "with_compare_per_s": round(events / (ended - began)),
        "equal": all(phase == "equal" for phase in phases.values()) if verify else None,
        "read_models": len(phases),
    }


async def _live(log: EtcdLog, dsn: str, args: argparse.Namespace) -> dict[str, Any]:
    """Let the worker fold the first part of the log by its tail, and count."""
    rebuilder = Rebuilder(log, dsn)
    before = {m.name: await rebuilder.table_hashes(m.name) for m in READ_MODELS}
    await rebuilder.drop()
    return {"tables_hashed": sum(len(h.tables) for h in before.values() if h is not None)}


def _print(figures: dict[str, Any]) -> None:
    for name in ("from_nothing", "rebuild"):
        print(name, figures[name], file=sys.stderr)
