"""Appends to the event log, against bare single-put transactions on the same etcd."""

import argparse
import asyncio
import multiprocessing
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
import uvloop

from benchmarks._etcd import running_etcd
from mulligan.events.envelope import Actor, Commit, EventRecord
from mulligan.log.etcd import Compare, Etcd, EtcdSettings, Put
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.protocol import ReadSet
from mulligan.log.verify import verify
from mulligan.model import CommitId, RegionName, Seq, StreamId, new_id, utc_now

_REGION = RegionName("bench")
_DATA = msgspec.Raw(msgspec.json.encode({"claim": new_id(), "pad": "x" * 140}))


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


def run(args: argparse.Namespace) -> dict[str, Any]:
    commands = args.events // args.events_per_command // args.writers
    with running_etcd() as settings:
        rate = (args.rate or 0.0) / args.writers
        share = Share(settings, args.in_flight, commands, args.events_per_command, rate)
        raw = _raw(settings, args.in_flight * args.writers, args.raw)
        outcomes = _write(share, args.writers)
        commits, sound = uvloop.run(_verified(settings))
    figures = _figures(outcomes, args.events_per_command, raw)
    if not sound or commits < commands * args.writers:
        raise SystemExit(f"the log is not sound: {commits} commits, chain {sound}")
    _print_table(args, figures)
    return figures


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
        commits = [_commit(share.events) for _ in range(share.commands)]

        async def command() -> None:
            commit = commits.pop()
            streams = frozenset({commit.events[0].stream})
            await log.append(commit, read=ReadSet(at=log.head.seq, streams=streams))

        ready()
        began, spent = time.time(), time.process_time()
        if share.rate:
            latencies = await _paced(command, share.rate, share.commands)
        else:
            latencies = await _in_flight(command, share.in_flight, share.commands)
        cpu = time.process_time() - spent
        return Outcome(latencies, began, time.time(), cpu, log.transactions, log.lost_races)


def _commit(events: int) -> Commit:
    stream = StreamId(f"claim/{new_id()}")
    return Commit(
        id=CommitId(new_id()),
        at=utc_now(),
        actor=Actor(account="0194e0a0-0000-7000-8000-000000000000"),
        command="claim.make",
        events=tuple(
            EventRecord(stream=stream, version=n + 1, type="claim.made", v=1, data=_DATA)
            for n in range(events)
        ),
    )


async def _in_flight(
    command: Callable[[], Coroutine[Any, Any, None]], at_once: int, count: int
) -> list[float]:
    latencies: list[float] = []
    left = count

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            began = time.perf_counter()
            await command()
            latencies.append(time.perf_counter() - began)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return latencies


async def _paced(
    command: Callable[[], Coroutine[Any, Any, None]], rate: float, count: int
) -> list[float]:
    """Issue commands on a fixed schedule; a latency runs from when its command was due."""
    latencies: list[float] = []
    began = time.perf_counter()

    async def one(due: float) -> None:
        await command()
        latencies.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            due = began + number / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            tasks.create_task(one(due))
    return latencies


def _raw(settings: EtcdSettings, at_once: int, count: int) -> float:
    async def measure() -> float:
        async with Etcd(settings) as etcd:
            number = 0

            async def put() -> None:
                nonlocal number
                number += 1
                key = f"/bench-raw/{number}"
                await etcd.txn([Compare(key, "create", 0)], [Put(key, b"x" * 300)])

            began = time.perf_counter()
            await _in_flight(put, at_once, count)
            return count / (time.perf_counter() - began)

    return uvloop.run(measure())


async def _verified(settings: EtcdSettings) -> tuple[int, bool]:
    async with Etcd(settings) as etcd, EtcdLog.open(etcd, _REGION) as log:
        verdict = await verify(log, Seq(1))
        return verdict.commits, verdict.sound


def _figures(outcomes: Sequence[Outcome], events: int, raw: float) -> dict[str, Any]:
    latencies = sorted(x for outcome in outcomes for x in outcome.latencies)
    elapsed = max(o.ended for o in outcomes) - min(o.began for o in outcomes)
    rate = len(latencies) / elapsed
    paces = sorted(len(o.latencies) / (o.ended - o.began) for o in outcomes)
    return {
        "events_per_s": round(rate * events),
        "commands_per_s": round(rate),
        "p50_ms": round(latencies[len(latencies) // 2] * 1000, 2),
        "p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1000, 2),
        "raw_etcd_txn_per_s": round(raw),
        "ratio_to_raw": round(rate / raw, 2),
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
        print(f"  {name:24} {value:>12,}")
    sys.stdout.flush()
