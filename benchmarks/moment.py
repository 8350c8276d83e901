"""Reads as of the middle of a long log: the first, which makes what it reads, and those after.

The baseline is a rebuild of every read model of the same log in the same run.
"""

import argparse
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import anyio

from benchmarks._long_log import REGION, on_servers, write_log
from mulligan.log.etcd import Etcd
from mulligan.log.etcdlog import EtcdLog, EtcdStore
from mulligan.log.protocol import EventLog
from mulligan.model import Seq, stream_id
from mulligan.projections.moment import Scene
from mulligan.projections.rebuild import Rebuilder
from mulligan.queries import claims, machines, past_states, providers, trail
from mulligan.queries.database import Database
from mulligan.queries.moments import Moments, PastDatabase
from mulligan.queries.paging import PageRequest

GOAL_FIRST_S, GOAL_AGAIN_S = 10.0, 1.0
_PAGE = PageRequest(size=100, token="")

Read = Callable[[PastDatabase], Awaitable[object]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=1_000_000, help="events in the log")
    parser.add_argument("--machines", type=int, default=2_000)


def run(args: argparse.Namespace) -> dict[str, Any]:
    figures = on_servers(lambda settings, dsn: _measure(args, settings, dsn))
    for name, (first, again) in figures["reads_s"].items():
        print(f"{name:<12} first {first:7.3f} s   again {again:7.4f} s", file=sys.stderr)
    print(
        f"the slowest first is {figures['ratio_to_rebuild']:.2f} of a rebuild"
        f" ({figures['rebuild_s']} s); goals {GOAL_FIRST_S:g} s and {GOAL_AGAIN_S:g} s:"
        f" {'met' if figures['met'] else 'MISSED'}",
        file=sys.stderr,
    )
    return figures


async def _measure(args: argparse.Namespace, settings: Any, dsn: str) -> dict[str, Any]:
    async with Etcd(settings) as etcd:
        await write_log(EtcdStore(etcd, REGION), args.events, args.machines)
        async with EtcdLog.open(etcd, REGION) as log, Database(dsn) as database:
            began = time.perf_counter()
            async with aclosing(Rebuilder(log, dsn).rebuild()) as steps:
                async for _ in steps:
                    pass
            rebuilt = time.perf_counter() - began
            reads = await _reads(database)
            found: dict[str, tuple[float, float]] = {}
            for number, (name, read) in enumerate(reads.items()):
                # Each at a moment of its own, so that it finds nothing made.
                found[name] = await _read(log, database, Seq(log.head.seq // 2 + number), read)
    first, again = (max(pair[n] for pair in found.values()) for n in (0, 1))
    return {
        "events": args.events,
        "rebuild_s": round(rebuilt, 2),
        "reads_s": {name: [round(n, 4) for n in pair] for name, pair in found.items()},
        "ratio_to_rebuild": round(first / rebuilt, 3),
        "met": first < GOAL_FIRST_S and again < GOAL_AGAIN_S,
    }


async def _reads(database: Database) -> Mapping[str, Read]:
    row = await database.fetchrow("SELECT key FROM rm_machines.machine ORDER BY key LIMIT 1")
    assert row is not None
    machine = stream_id("machine", row["key"])
    wanted = trail.Wanted()
    return {
        "one object": lambda past: past_states.load_past(past, [machine]),
        "audit": lambda past: trail.list_records(past, wanted, _PAGE),
        "claims": lambda past: claims.list_claims(past, _PAGE, states=["active"]),
        "machines": lambda past: machines.list_machines(past, _PAGE, machines.MachineFilter()),
        "providers": lambda past: providers.list_providers(past, _PAGE),
    }


async def _read(log: EventLog, database: Database, seq: Seq, read: Read) -> tuple[float, float]:
    """Return the seconds that the first read took, and the worst of ten more."""
    async with aclosing(log.read(seq, seq)) as batches:
        stored = (await anext(batches))[0]
    scene = Scene(seq=seq, chain=stored.hash, log_id=log.head.log_id)
    moments = Moments(database, log.head.log_id, patience=600.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(moments.run)
        await anyio.lowlevel.checkpoint()
        past = moments.past(scene)
        took: list[float] = []
        for _ in range(11):
            began = time.perf_counter()
            await read(past)
            took.append(time.perf_counter() - began)
        tasks.cancel_scope.cancel()
    return took[0], max(took[1:])
