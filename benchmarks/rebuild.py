"""Read models: folded live by the worker, then rebuilt from the log's first entry and compared.

The baseline is Postgres alone: the rows of every table as they were rebuilt, copied once more by
one COPY a table with the files already written, without indices.
"""

import argparse
import cProfile
import io
import os
import pstats
import resource
import sys
import time
from typing import Any

import anyio

from benchmarks._long_log import REGION, on_servers, write_log
from mulligan.log.etcd import Etcd
from mulligan.log.etcdlog import EtcdLog, EtcdStore
from mulligan.projections import building, checkpoint
from mulligan.projections.models import READ_MODELS
from mulligan.projections.postgres import connected
from mulligan.projections.rebuild import Rebuilder
from mulligan.projections.worker import Worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=200_000, help="events in the log")
    parser.add_argument("--machines", type=int, default=2_000)
    parser.add_argument(
        "--no-live", action="store_true", help="build what it is compared with in bulk as well"
    )
    parser.add_argument(
        "--processes", type=int, default=None, help="that fold; none: what the rebuild chooses"
    )
    parser.add_argument(
        "--profile", action="store_true", help="print where the rebuild's time goes"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    figures = on_servers(lambda settings, dsn: _measure(args, settings, dsn))
    _print(figures)
    return figures


async def _measure(args: argparse.Namespace, settings: Any, dsn: str) -> dict[str, Any]:
    async with Etcd(settings) as etcd:
        await write_log(EtcdStore(etcd, REGION), args.events, args.machines)
        async with EtcdLog.open(etcd, REGION) as log:
            live = {} if args.no_live else {"live": await _live(log, dsn)}
            rebuild = await _rebuild(log, dsn, args)
    copy = await _copy(dsn)
    ratio = round(copy["seconds"] / (rebuild["events"] / rebuild["events_per_s"]), 3)
    return {"machines": args.machines, **live, **rebuild, "copy": copy, "ratio": ratio}


async def _live(log: EtcdLog, dsn: str) -> dict[str, Any]:
    """Let the worker fold the whole log by its tail."""
    async with connected(dsn) as connection:
        await checkpoint.prepare(connection)
        for model in READ_MODELS:
            await building.create_empty(connection, model, log.head.log_id)
    worker = Worker(log, dsn)
    began, used = time.perf_counter(), time.process_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        while any(s.lag_entries or s.status != "live" for s in worker.status().values()):
            await anyio.sleep(0.02)
        seconds, used = time.perf_counter() - began, time.process_time() - used
        tasks.cancel_scope.cancel()
    return {"seconds": round(seconds, 2), "cpu_s": round(used, 2)}


async def _copy(dsn: str) -> dict[str, Any]:
    """Copy every table's rows into a bare one like it, and return what that took."""
    seconds, rows, size = 0.0, 0, 0
    async with connected(dsn) as connection:
        await connection.execute("CREATE SCHEMA bare")
        for model in READ_MODELS:
            for table in model.table_names:
                source, name = f"{model.schema}.{table}", f"{model.name}_{table}"
                encoded = io.BytesIO()
                await connection.copy_from_query(
                    f"SELECT * FROM {source}", output=encoded, format="binary"
                )
                size += encoded.tell()
                encoded.seek(0)
                began = time.perf_counter()
                async with connection.transaction():  # made within it, so that no WAL is written
                    await connection.execute(f"CREATE TABLE bare.{name} (LIKE {source})")
                    copied = await connection.copy_to_table(
                        name, schema_name="bare", source=encoded, format="binary"
                    )
                seconds += time.perf_counter() - began
                rows += int(copied.rpartition(" ")[2])
    return {"seconds": round(seconds, 2), "rows": rows, "mb": round(size / 1e6)}


async def _rebuild(log: EtcdLog, dsn: str, args: argparse.Namespace) -> dict[str, Any]:
    """Rebuild beside what the worker folded, and compare."""
    if args.no_live:
        async for _ in Rebuilder(log, dsn).rebuild():
            pass
    began, used = time.perf_counter(), _processor_s()
    folded = built = began
    events = 0
    outcomes: dict[str, str] = {}
    profiler = cProfile.Profile()
    if args.profile:
        profiler.enable()
    async for step in Rebuilder(log, dsn, processes=args.processes).rebuild(verify=True):
        events = step.events
        outcomes[step.name] = step.phase
        if step.phase == "folding":
            folded = time.perf_counter()
        elif step.phase == "comparing" and built == began:
            built = time.perf_counter()
    ended, used = time.perf_counter(), _processor_s() - used
    if args.profile:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(35)
    return {
        "events": events,
        "events_per_s": round(events / (built - began)),
        "equal": bool(outcomes) and set(outcomes.values()) == {"equal"},
        "cpu_s": round(used, 2),
        "load": round(os.getloadavg()[0], 1),
        "folding_s": round(folded - began, 2),
        "writing_s": round(built - folded, 2),
        "comparing_s": round(ended - built, 2),
    }


def _processor_s() -> float:
    """Return the processor time that this process and those it waited for have used."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _print(figures: dict[str, Any]) -> None:
    events, copy = figures["events"], figures["copy"]
    live = f"live {round(events / figures['live']['seconds'])}/s, " if "live" in figures else ""
    print(
        f"{events} events: {live}rebuilt {figures['events_per_s']}/s"
        f" (folding {figures['folding_s']} s, writing {figures['writing_s']} s,"
        f" comparing {figures['comparing_s']} s), {'equal' if figures['equal'] else 'DIFFERENT'};"
        f" bare COPY of the same {copy['rows']} rows, {copy['mb']} MB: {copy['seconds']} s",
        file=sys.stderr,
    )
