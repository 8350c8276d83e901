"""Appends to the event log, against bare transactions and a bare trial of its protocol.

``--peer`` appends and reads back the same on other event stores, one after the other.
"""

import argparse
import gc
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import uvloop

from benchmarks import _trial
from benchmarks._appending import Timed, in_flight, new_commit, paced
from benchmarks._etcd import running_etcd
from benchmarks._loop import machine, percentile
from benchmarks.peers import event_stores
from mulligan.log.etcd import Compare, Etcd, EtcdSettings, Put
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.protocol import ReadSet
from mulligan.log.verify import verify
from mulligan.model import RegionName, Seq
from mulligan.services.process import GC_THRESHOLDS

_REGION = RegionName("bench")
_BY_ITSELF = 50_000
"""Commands a second that the log alone shall do with 64 in flight."""


class Share(msgspec.Struct, frozen=True):
    """What one writer process is to do."""

    settings: EtcdSettings
    in_flight: int
    commands: int
    events: int
    rate: float


class Outcome(msgspec.Struct, frozen=True):
    """What one writer process did; latencies and processor time in seconds."""

    latencies: list[float]
    began: float
    ended: float
    cpu: float
    transactions: int
    lost_races: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--in-flight", type=int, default=64, help="commands at once, per writer")
    parser.add_argument("--rate", type=float, help="commands/s in all, in place of --in-flight")
    parser.add_argument("--writers", type=int, default=1, help="processes that append")
    parser.add_argument("--events", type=int, default=100_000, help="events in all")
    parser.add_argument("--events-per-command", type=int, default=1)
    parser.add_argument("--raw", type=int, default=6_000, help="transactions of the baseline")
    parser.add_argument("--repeat", type=int, default=3, help="runs of trial and log, in turn")
    parser.add_argument("--peer", action="store_true", help="the same on other event stores")


def run(args: argparse.Namespace) -> dict[str, Any]:
    if args.peer:
        return event_stores.compare()
    taken_on = machine()
    repeats = 1 if args.writers > 1 or args.rate else args.repeat
    with running_etcd() as settings:
        raw = _raw(settings, args.in_flight * args.writers, args.raw)
        runs = [_run(settings, args) for _ in range(repeats)]
        written = sum(len(o.latencies) for outcomes, _ in runs for o in outcomes)
        commits, sound = uvloop.run(_verified(settings))
    if not sound or commits < written:
        raise SystemExit(f"the log is not sound: {commits} commits, chain {sound}")
    found = sorted((_figures(outcomes, args.events_per_command) for outcomes, _ in runs), key=_pace)
    median, best = found[len(found) // 2], found[-1]
    trials = sorted(trial.figures()["commands_per_s"] for _, trial in runs if trial)
    figures = {**median, "raw_etcd_txn_per_s": round(raw), "machine": taken_on}
    figures["ratio_to_raw"] = round(_pace(median) / raw, 2)
    if trials:
        figures["best_commands_per_s"] = _pace(best)
        figures["trial_commands_per_s"] = trials[len(trials) // 2]
        figures["trial_best_commands_per_s"] = trials[-1]
        figures["ratio_to_trial"] = round(_pace(median) / trials[len(trials) // 2], 2)
    figures["goals"] = _goals(args, median, best)
    _print_table(args, figures)
    return figures


def _run(
    settings: EtcdSettings, args: argparse.Namespace
) -> tuple[Sequence[Outcome], Timed | None]:
    """Run the log, and right before it the trial where one process keeps so many in flight."""
    commands = args.events // args.events_per_command // args.writers
    share = Share(
        settings,
        args.in_flight,
        commands,
        args.events_per_command,
        (args.rate or 0.0) / args.writers,
    )
    trial = None
    if args.writers == 1 and not args.rate:
        trial = uvloop.run(_trial.measure(settings, args.in_flight, commands))
    return _write(share, args.writers), trial


def _pace(figures: dict[str, Any]) -> int:
    return int(figures["commands_per_s"])


def _goals(
    args: argparse.Namespace, median: dict[str, Any], best: dict[str, Any]
) -> dict[str, bool]:
    """Tell which goals that this run is a measure of it met."""
    if args.rate:
        return {"p99 under 20 ms": median["p99_ms"] < 20}
    if args.writers > 1:
        fair = median["fairness"] >= 0.5
        return {"p99 under 100 ms": median["p99_ms"] < 100, "slowest half of fastest": fair}
    if args.in_flight == 64:
        return {f"{_BY_ITSELF} commands/s": _pace(best) >= _BY_ITSELF}
    return {}


def _write(share: Share, writers: int) -> Sequence[Outcome]:
    if writers == 1:
        return [uvloop.run(_writer(share, lambda: None))]
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(writers)
    results: Any = context.Queue()
    processes = [
        context.Process(target=_writer_process, args=(share, barrier, results))
        for _ in range(writers)
    ]
    for process in processes:
        process.start()
    outcomes = [msgspec.msgpack.decode(results.get(timeout=600), type=Outcome) for _ in processes]
    for process in processes:
        process.join()
    return outcomes


def _writer_process(share: Share, barrier: Any, results: Any) -> None:
    results.put(msgspec.msgpack.encode(uvloop.run(_writer(share, barrier.wait))))


async def _writer(share: Share, ready: Callable[[], object]) -> Outcome:
    async with Etcd(share.settings) as etcd, EtcdLog.open(etcd, _REGION) as log:
        gc.set_threshold(*GC_THRESHOLDS)  # as every service does
        commits = [new_commit(share.events) for _ in range(share.commands)]

        async def command() -> None:
            commit = commits.pop()
            streams = frozenset({commit.events[0].stream})
            await log.append(commit, read=ReadSet(at=log.head.seq, streams=streams))

        ready()
        began, spent = time.time(), time.process_time()
        if share.rate:
            timed = await paced(command, share.rate, share.commands)
        else:
            timed = await in_flight(command, share.in_flight, share.commands)
        cpu = time.process_time() - spent
        return Outcome(timed.latencies, began, time.time(), cpu, log.transactions, log.lost_races)


def _raw(settings: EtcdSettings, at_once: int, count: int) -> float:
    async def measure() -> float:
        async with Etcd(settings) as etcd:
            number = 0

            async def put() -> None:
                nonlocal number
                number += 1
                key = f"/bench-raw/{number}"
                await etcd.txn([Compare(key, "create", 0)], [Put(key, b"x" * 300)])

            return count / (await in_flight(put, at_once, count)).seconds

    return uvloop.run(measure())


async def _verified(settings: EtcdSettings) -> tuple[int, bool]:
    async with Etcd(settings) as etcd, EtcdLog.open(etcd, _REGION) as log:
        verdict = await verify(log, Seq(1))
        return verdict.commits, verdict.sound


def _figures(outcomes: Sequence[Outcome], events: int) -> dict[str, Any]:
    latencies = [x for outcome in outcomes for x in outcome.latencies]
    elapsed = max(o.ended for o in outcomes) - min(o.began for o in outcomes)
    rate = len(latencies) / elapsed
    paces = sorted(len(o.latencies) / (o.ended - o.began) for o in outcomes)
    return {
        "events_per_s": round(rate * events),
        "commands_per_s": round(rate),
        "p50_ms": percentile(latencies, 0.5),
        "p99_ms": percentile(latencies, 0.99),
        "cpu_s_per_100k_commands": round(
            sum(o.cpu for o in outcomes) / len(latencies) * 100_000, 2
        ),
        "transactions": sum(o.transactions for o in outcomes),
        "lost_races": sum(o.lost_races for o in outcomes),
        "writer_slowest_per_s": round(paces[0]),
        "writer_fastest_per_s": round(paces[-1]),
        "fairness": round(paces[0] / paces[-1], 2),
    }


def _print_table(args: argparse.Namespace, figures: dict[str, Any]) -> None:
    load = f"at {args.rate:g}/s in all" if args.rate else f"x {args.in_flight} in flight"
    print(f"{args.writers} writers {load}, {args.events} events")
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int | float) else str(value)
        print(f"  {name:26} {shown:>12}")
    sys.stdout.flush()
