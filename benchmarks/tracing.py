"""What traces cost: claims over gRPC on a whole region, without traces, and with some of them kept.

Regions take turns: one that makes no spans, one that makes them and keeps none, one that keeps all
and sends them to a collector in a process of its own. What a claim costs is the processor time of
everything that works for it, as the wall clock of a shared machine tells little.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import msgspec
import uvloop

from benchmarks import _claiming
from benchmarks._fleet import ROOM, Fleet, make_fleet
from benchmarks._history import History
from benchmarks._loop import apart, machine
from benchmarks._region import running_region

_MODES = {"off": "", "none_kept": "0", "all_kept": "1"}
_SERVING = ("resource", "control", "projector")
_STOP_S = 5.0


class _Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One run: milliseconds of processor time a claim, and how long the middle claim took."""

    cpu_ms: float
    p50_ms: float
    claims: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--providers", type=int, default=200, help="nodes of the fleet")
    parser.add_argument("--in-flight", type=int, default=16, help="claims asked for at once")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each sort")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Return figures.

    ``ratio`` is the processor time of a claim at the services with traces, by that without.
    """
    figures: dict[str, Any] = {"machine": machine()}
    figures.update(uvloop.run(_measure(args)))
    for name in _MODES:
        one = figures[name]
        print(f"{name:10} {one['cpu_ms']:6.2f} ms of CPU  p50 {one['p50_ms']:6.1f} ms", end="")
        print(f"  x {figures['ratio'][name]:.3f}", file=sys.stdout)
    return figures


async def _measure(args: argparse.Namespace) -> dict[str, Any]:
    fleet = make_fleet(args.providers, 0, ROOM)
    found: dict[str, list[_Figures]] = {name: [] for name in _MODES}
    with _collector() as endpoint:
        for _ in range(args.rounds):
            for name, sample in _MODES.items():
                settings = {"MULLIGAN_TRACE_ENDPOINT": endpoint, "MULLIGAN_TRACE_SAMPLE": sample}
                runs = found[name]
                runs.append(await _one(args, fleet, settings if sample else {}))
    shown = {name: _middle(runs) for name, runs in found.items()}
    base = shown["off"]["cpu_ms"]
    return {**shown, "ratio": {name: one["cpu_ms"] / base for name, one in shown.items()}}


async def _one(args: argparse.Namespace, fleet: Fleet, settings: dict[str, str]) -> _Figures:
    async with running_region(History(fleet).commits(), settings) as region:
        project = await region.project("bench")
        spent = region.cpu_s()
        tally = await apart(
            _claiming.run,
            _claiming.Run(
                context=msgspec.structs.replace(region.context, project=project),
                secret=region.secret,
                fleet=fleet,
                scenario="plain",
                in_flight=args.in_flight,
                connections=2,
                seconds=args.seconds,
            ),
        )
        used = region.cpu_s()
        serving = sum(used[part] - spent[part] for part in _SERVING)
    claims = max(len(tally.claimed), 1)
    return _Figures(cpu_ms=1000 * serving / claims, p50_ms=tally.figures()["p50_ms"], claims=claims)


def _middle(runs: list[_Figures]) -> dict[str, float]:
    return {
        "cpu_ms": median(one.cpu_ms for one in runs),
        "cpu_ms_least": min(one.cpu_ms for one in runs),
        "p50_ms": median(one.p50_ms for one in runs),
        "claims": sum(one.claims for one in runs),
    }


@contextmanager
def _collector() -> Iterator[str]:
    """Run a collector that drops what comes in, in a process of its own; yield its endpoint."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_collect, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join(_STOP_S)


def _collect(told: Connection) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.send(server.server_address[1])
    server.serve_forever()
