"""A rolling restart under load: every process is replaced, one after the other, and none fails.

Each service runs once and its successor is started before it is stopped, or, with ``--pairs``, runs
twice and each instance is stopped before its successor is started.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import anyio

from benchmarks._rolling import Deployment, Instance, deployment, short_folder
from benchmarks._rolling_load import Call, Load
from mulligan.projections.status import percentile
from mulligan.services.serve import SERVICES

QUIET_S = 10.0
SETTLE_S = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--quiet", type=float, default=QUIET_S, help="seconds without restarts")
    parser.add_argument("--writers", type=int, default=3)
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument(
        "--pairs", action="store_true", help="two of each: stop one, then start its successor"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Return figures: ``failed`` calls, ``p99_ms`` while restarting and its ratio to without."""
    return anyio.run(_run, args)


async def _run(args: argparse.Namespace) -> dict[str, Any]:
    with short_folder() as folder:
        async with deployment(folder) as deployed:
            for _ in range(2 if args.pairs else 1):
                await deployed.start_all()
            load = Load(deployed.client, args.writers, args.readers)
            async with load.running():
                await anyio.sleep(SETTLE_S)
                began = time.monotonic()
                await anyio.sleep(args.quiet)
                rolling = time.monotonic()
                restarts = await roll(deployed, pairs=args.pairs)
                ended = time.monotonic()
                await anyio.sleep(SETTLE_S)
    quiet = [call for call in load.calls if began <= call.ended < rolling]
    moved = [call for call in load.calls if rolling <= call.ended]
    for call in load.failed:
        print(f"failed: {call.name}: {call.problem}")
    return {
        "failed": len(load.failed),
        "p99_ms": _p99(moved),
        "restarts": restarts,
        "commands": len(load.calls),
        "quiet_p99_ms": _p99(quiet),
        "p99_ratio": round(_p99(moved) / _p99(quiet), 1),
        "max_ms": round(1000 * max(call.took for call in moved)),
        "seconds": round(ended - rolling, 1),
    }


async def roll(
    deployed: Deployment, *, pairs: bool = False, services: Sequence[str] = SERVICES
) -> int:
    """Replace every instance that runs, one after the other; return how many there were."""
    present = [one for service in services for one in deployed.of(service)]
    for instance in present:
        await _replace(deployed, instance, first_stop=pairs)
    return len(present)


async def _replace(deployed: Deployment, instance: Instance, *, first_stop: bool) -> None:
    if first_stop:
        await deployed.stop(instance)
        await deployed.start(instance.service)
    else:
        await deployed.start(instance.service)
        await deployed.stop(instance)


def _p99(calls: Sequence[Call]) -> float:
    return round(1000 * percentile((call.took for call in calls), 0.99), 1)
