"""Machines enrolled and inspected as fast as it goes, while parts of the region are killed.

A whole region runs as `mulligan up` runs it; every so many seconds one of its parts, drawn at
random, is killed with SIGKILL and started again by the supervisor. A share of the machines is
provided, claimed, deployed and given back besides. In the end the log is held against what the
simulated BMCs were really made to do.
"""

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import uvloop

from benchmarks._bmc import Settings, simulated_bmcs
from benchmarks._converge_flows import Report, users
from benchmarks._converge_proof import Proof, prove
from benchmarks._loop import machine
from benchmarks._region import Region, running_region
from mulligan.client import Client
from mulligan.services.serve import SERVICES

PARTS = (*SERVICES, "etcd", "postgres")
_SAMPLE_S = 2.0
_GRACE_S = 180.0
_MOST_SHARED = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--machines", type=int, default=200)
    parser.add_argument("--kill-every", type=float, default=30.0, help="seconds; 0 kills nothing")
    parser.add_argument("--seconds-limit", type=float, help="default: 0.2 a machine, and 180")
    parser.add_argument("--in-flight", type=int, default=256, help="machines worked on at once")
    parser.add_argument("--share", type=float, default=0.05, help="of the machines is deployed")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="of each answer of a BMC")
    parser.add_argument("--seed", type=int, default=1, help="of what is killed")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Return the figures; leave with a failure when anything was repeated, leaked or lost."""
    host = machine()
    figures = uvloop.run(_converge(args))
    print(f"{args.machines} machines, a part killed every {args.kill_every:g} s")
    for name, value in figures.items():
        print(f"  {name:24} {value}")
    sys.stdout.flush()
    return {**figures, "host": host}


class Watch:
    """What the region weighs and what was killed in it, while the machines converge."""

    def __init__(self, region: Region, seed: int) -> None:
        self._region = region
        self._rng = random.Random(seed)
        self.killed: Counter[str] = Counter()
        self.peak: dict[str, float] = {}
        self.peak_sum = 0.0

    async def kill(self, every: float) -> None:
        """Kill a part every so many seconds, for ever."""
        while every > 0:
            await anyio.sleep(every)
            part = self._rng.choice(PARTS)
            try:
                os.kill(self._region.pid(part), signal.SIGKILL)
            except (OSError, ValueError):
                continue  # it is down already
            self.killed[part] += 1

    async def weigh(self) -> None:
        """Note the memory of the parts, for ever."""
        while True:
            weights = {part: sum(map(_pss_mb, self._pids(part))) for part in PARTS}
            for part, weight in weights.items():
                self.peak[part] = round(max(weight, self.peak.get(part, 0.0)), 1)
            self.peak_sum = round(max(self.peak_sum, sum(weights.values())), 1)
            await anyio.sleep(_SAMPLE_S)

    def _pids(self, part: str) -> Iterator[int]:
        try:
            pid = self._region.pid(part)
            below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except (OSError, ValueError):
            return
        yield pid
        yield from map(int, below)


def _pss_mb(pid: int) -> float:
    """Return a process's memory, with what it shares divided among those who share it."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except (OSError, ValueError):
        pass
    return 0.0


async def _converge(args: argparse.Namespace) -> dict[str, Any]:
    limit = args.seconds_limit or 0.2 * args.machines + _GRACE_S
    shared = min(int(args.machines * args.share), _MOST_SHARED)
    settings = Settings(systems=args.machines, ports=8, delay=args.delay_ms / 1000)
    async with simulated_bmcs(settings) as bmcs, running_region(()) as region:
        watch = Watch(region, args.seed)
        async with users(region, bmcs, shared) as flows, anyio.create_task_group() as tasks:
            tasks.start_soon(watch.weigh)
            tasks.start_soon(watch.kill, args.kill_every)
            began = time.monotonic()
            with anyio.move_on_after(limit):
                await flows.run(args.in_flight)
            wall = time.monotonic() - began
            tasks.cancel_scope.cancel()
        requests = (await bmcs.load()).requests
        async with Client(region.context, secret=region.secret, patience=60.0) as client:
            proof = await prove(client, await bmcs.counts())
    return _figures(args, shared, flows.report, proof, watch, wall, requests)


def _figures(
    args: argparse.Namespace,
    shared: int,
    report: Report,
    proof: Proof,
    watch: Watch,
    wall: float,
    requests: int,
) -> dict[str, Any]:
    inspected = max(report.inspected_at, default=0.0)
    wanted = {"MANAGEABLE": args.machines - shared, "AVAILABLE": shared}
    right = sum(min(proof.states.get(name, 0), count) for name, count in wanted.items())
    return {
        "machines_per_min": round(60 * len(report.inspected_at) / inspected) if inspected else 0,
        "converged": round(right / args.machines, 4),
        "repeated_once_actions": proof.repeated,
        "begun_twice": proof.begun_twice,
        "leaked_claims": proof.leaked,
        "kills": watch.killed.total(),
        "killed": dict(watch.killed),
        "wall_s": round(wall, 1),
        "rss_mb": watch.peak_sum,
        "rss_mb_by_part": watch.peak,
        "once_actions": proof.once_actions,
        "events": proof.events,
        "redfish_requests": requests,
        "states": proof.states,
        "problems": report.problems,
    }
