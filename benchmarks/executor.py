"""The executor against bare loops over the ``redfish`` library, on simulated BMCs.

Both read the same from the same BMCs in the same number of threads, taking turns; the executor
runs on a real etcd and writes down every step before and after. Then, in a whole region, how soon
after a command's acknowledgement its first request is at the BMC.
"""

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
import uvloop

from benchmarks._bare import BareLoops
from benchmarks._bmc import Settings, SimulatedBmcs, simulated_bmcs, system_id
from benchmarks._executing import Bench, executing
from benchmarks._first_call import first_calls
from benchmarks._loop import machine
from mulligan.services.work import BMC_THREADS

STEPS = ("inventory", "check", "eject_media")
"""What a round is made of: many reads at two at a time, a single read, reads in a row."""


class Turn(NamedTuple):
    """One step for every machine: seconds on the clock, and of the processor by this process."""

    wall: float
    cpu: float


class Measured(NamedTuple):
    """The turns of the executor and of the bare loops, and how busy the executor kept the BMCs."""

    ours: list[Turn]
    bare: list[Turn]
    busy_max: int
    busy_mean: float
    rss_mb: float
    requests: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--bmcs", type=int, default=200)
    parser.add_argument("--delay-ms", type=float, default=20.0, help="of each answer of a BMC")
    parser.add_argument("--threads", type=int, default=BMC_THREADS)
    parser.add_argument("--rounds", type=int, default=3, help=f"of {', '.join(STEPS)}")
    parser.add_argument("--calls", type=int, default=60, help="of a whole region; 0 leaves it out")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Return the figures; ``overhead_ratio`` is our time over that of the bare loops."""
    host = machine()
    measured = uvloop.run(_measured(args))
    figures = _figures(args, measured)
    if args.calls:
        figures["first_call_ms"] = uvloop.run(first_calls(args.calls))
    _print_table(args, figures)
    return {**figures, "host": host}


async def _measured(args: argparse.Namespace) -> Measured:
    delay = args.delay_ms / 1000
    settings = Settings(systems=args.bmcs, ports=4, delay=delay, trace=True)
    steps = STEPS * (args.rounds + 1)
    limiter = anyio.CapacityLimiter(args.threads)
    async with simulated_bmcs(settings) as bmcs, executing(bmcs, steps, limiter) as bench:
        await bmcs.mark()
        for _ in STEPS:  # opens the sessions, and is not measured otherwise
            await bench.request()
            await bench.execute()
        load, rss = await bmcs.load(), _rss_mb()
        loops = await anyio.to_thread.run_sync(BareLoops, bmcs, args.threads)
        await bmcs.trace()
        ours, bare, requests = await _take_turns(bench, bmcs, loops, steps[len(STEPS) :])
        await anyio.to_thread.run_sync(loops.close)
    return Measured(ours, bare, load.busy_max, load.busy_mean, rss, requests)


async def _take_turns(
    bench: Bench, bmcs: SimulatedBmcs, loops: BareLoops, steps: Sequence[str]
) -> tuple[list[Turn], list[Turn], int]:
    ours, bare, requests = [], [], 0
    for _ in steps:
        await bench.request()
        began, spent = time.perf_counter(), time.process_time()
        await bench.execute()
        ours.append(Turn(time.perf_counter() - began, time.process_time() - spent))
        paths = _paths_of(await bmcs.trace(), bmcs.systems)
        requests += len(paths) * bmcs.systems
        spent = time.process_time()
        wall = await anyio.to_thread.run_sync(loops.run, paths)
        bare.append(Turn(wall, time.process_time() - spent))
        assert len(await bmcs.trace()) == len(paths) * bmcs.systems
    return ours, bare, requests


def _paths_of(trace: Sequence[tuple[str, str]], systems: int) -> list[str]:
    """Return what the executor read of the first machine, as it did of each, in that order."""
    first = system_id(0)
    paths = [path.replace(first, "{}") for method, path in trace if first in path]
    if len(trace) != len(paths) * systems or any(method != "GET" for method, _ in trace):
        raise SystemExit(f"{len(trace)} requests to {systems} machines: not the same to each")
    return paths


def _rss_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _figures(args: argparse.Namespace, measured: Measured) -> dict[str, Any]:
    ours, bare = measured.ours, measured.bare
    actions = len(ours) * args.bmcs
    wall, cpu = sum(t.wall for t in ours), sum(t.cpu for t in ours)
    bare_wall, bare_cpu = sum(t.wall for t in bare), sum(t.cpu for t in bare)
    by_step = {
        step: round(median(o.wall / b.wall for o, b in list(zip(ours, bare, strict=True))[n::3]), 2)
        for n, step in enumerate(STEPS)
    }
    return {
        "actions_per_s": round(actions / wall, 1),
        "requests_per_s": round(measured.requests / wall, 1),
        "overhead_ratio": round(wall / bare_wall, 3),
        "overhead_by_step": by_step,
        "cpu_ms_per_action": round(1000 * cpu / actions, 2),
        "bare_cpu_ms_per_action": round(1000 * bare_cpu / actions, 2),
        "cpu_ratio": round(cpu / bare_cpu, 3),
        "busy_bmcs": measured.busy_max,
        "busy_bmcs_mean": measured.busy_mean,
        "rss_mb": measured.rss_mb,
        "actions": actions,
    }


def _print_table(args: argparse.Namespace, figures: dict[str, Any]) -> None:
    print(f"{args.bmcs} BMCs that take {args.delay_ms:g} ms, {args.threads} threads")
    for name, value in figures.items():
        print(f"  {name:24} {value}")
    sys.stdout.flush()
