"""Claims over gRPC with TLS and tokens, on a whole region with a fleet; beside OpenStack Placement.

The client runs in its own process and measures at its own end. `--fill` makes that share of the
nodes full before the run.
"""

import argparse
import sys
from typing import Any

import msgspec
import uvloop

from benchmarks import _claiming
from benchmarks._fleet import ROOM, SCENARIOS, Fleet, make_fleet
from benchmarks._history import History
from benchmarks._loop import apart, machine
from benchmarks._region import Region, running_region
from benchmarks.peers import placement
from mulligan.client import Client
from mulligan.events.claim import ClaimMade
from mulligan.proto import v1

_PEER_IN_FLIGHT = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--providers", type=int, default=1_000, help="nodes of the fleet")
    parser.add_argument("--in-flight", type=int, default=64, help="claims asked for at once")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--fill", type=int, choices=(0, 50, 95), default=0, help="per cent full")
    parser.add_argument("--scenario", choices=SCENARIOS, default="plain")
    parser.add_argument("--room", type=int, default=ROOM, help="claims that an empty node takes")
    parser.add_argument("--connections", type=int, default=4, help="of the client")
    parser.add_argument("--peer", choices=("placement",), help="run the same on it, too")


def run(args: argparse.Namespace) -> dict[str, Any]:
    if args.peer and args.scenario in placement.LACKS:
        raise SystemExit(f"Placement has nothing like the scenario {args.scenario}")
    options = ("providers", "in_flight", "seconds", "fill", "scenario", "room", "connections")
    figures: dict[str, Any] = {name: getattr(args, name) for name in options}
    figures["machine"] = machine()
    figures.update(uvloop.run(_measure(args)))
    _print(figures)
    return figures


async def _measure(args: argparse.Namespace) -> dict[str, Any]:
    fleet = make_fleet(args.providers, args.fill, args.room)
    async with running_region(History(fleet).commits()) as region:
        project = await region.project("bench")
        ours = await _ours(args, region, project, fleet, args.in_flight)
        if not args.peer:
            return ours
        few = await _ours(args, region, project, fleet, _PEER_IN_FLIGHT)
        theirs: dict[str, Any] = {}
        async with placement.running(region.config, fleet) as peer:
            for in_flight in (_PEER_IN_FLIGHT, args.in_flight):
                found = await apart(placement.run, peer.run(args, fleet, in_flight))
                theirs[str(in_flight)] = {**found.figures(), "conflicts": found.retries}
    return {
        **ours,
        "in_flight_8": few,
        "placement": theirs,
        "ratio": _ratio(ours, theirs[str(args.in_flight)]),
        "ratio_8": _ratio(few, theirs[str(_PEER_IN_FLIGHT)]),
    }


async def _ours(
    args: argparse.Namespace, region: Region, project: str, fleet: Fleet, in_flight: int
) -> dict[str, Any]:
    context = msgspec.structs.replace(region.context, project=project)
    before, spent = await _head(region), region.cpu_s()
    tally = await apart(
        _claiming.run,
        _claiming.Run(
            context=context,
            secret=region.secret,
            fleet=fleet,
            scenario=args.scenario,
            in_flight=in_flight,
            connections=args.connections,
            seconds=args.seconds,
        ),
    )
    used = {part: seconds - spent[part] for part, seconds in region.cpu_s().items()}
    calls = max(len(tally.claimed) + len(tally.refused), 1)
    return {
        **tally.figures(),
        "conflicts": await _conflicts(region, before),
        "cpu_ms_per_call": {
            "client": round(1000 * tally.cpu / calls, 2),
            **{part: round(1000 * seconds / calls, 2) for part, seconds in used.items()},
        },
    }


def _ratio(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    return round(ours["claims_per_s"] / theirs["claims_per_s"], 1) if theirs["claims"] else 0.0


async def _head(region: Region) -> int:
    async with Client(region.context, secret=region.secret) as client:
        status = await client.log.get_log_status(v1.GetLogStatusRequest())
    assert status.head is not None
    return status.head.seq


async def _conflicts(region: Region, after: int) -> int:
    """Return how often a claim made since found its candidate taken by another."""
    lost = 0
    wanted = v1.ReadLogRequest(first=after + 1, filter=v1.LogFilter(type=ClaimMade.TYPE))
    async with Client(region.context, secret=region.secret) as client:
        async for record in client.log.read_log(wanted):
            for event in record.events:
                if event.type == ClaimMade.TYPE:
                    made = msgspec.json.decode(event.data, type=ClaimMade)
                    lost += made.search.conflicts if made.search else 0
    return lost


def _print(figures: dict[str, Any]) -> None:
    print(
        f"{figures['providers']:,} providers, {figures['fill']} % full, {figures['scenario']}",
        f"{'':20} {'claims/s':>9} {'p50 ms':>9} {'p99 ms':>9} {'conflicts':>9} {'refused':>8}",
        sep="\n",
        file=sys.stderr,
    )
    _line(f"{figures['in_flight']} in flight", figures)
    if "placement" in figures:
        _line(f"{_PEER_IN_FLIGHT} in flight", figures["in_flight_8"])
        for in_flight, theirs in figures["placement"].items():
            _line(f"Placement, {in_flight}", theirs)
        print(f"ratio {figures['ratio']} ({figures['ratio_8']} at 8)", file=sys.stderr)


def _line(name: str, found: dict[str, Any]) -> None:
    print(
        f"{name:20} {found['claims_per_s']:>9,} {found['p50_ms']:>9,} {found['p99_ms']:>9,}"
        f" {found['conflicts']:>9,} {found['refused']:>8,}",
        file=sys.stderr,
    )
    for text, count in found.get("problems", {}).items():
        print(f"  {count} x {text}", file=sys.stderr)
