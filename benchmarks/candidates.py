"""The candidate search: in the database alone, as a call, and when nothing fits.

`--limit` candidates are asked for, one request at a time, at different places of the fleet.
"""

import argparse
import random
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import uvloop

from benchmarks._claiming import request_of
from benchmarks._fleet import SCENARIOS, TOO_MUCH, TOO_SPECIAL, Ask, Fleet, draw, make_fleet
from benchmarks._history import History, demand_of
from benchmarks._loop import machine, percentile
from benchmarks._region import running_region
from mulligan.client import Client
from mulligan.errors import Exhausted
from mulligan.events.request import ClaimRequest
from mulligan.model import utc_now
from mulligan.proto import v1
from mulligan.queries import search
from mulligan.queries.database import Database
from mulligan.queries.fleet import load_space

_WARM = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--providers", type=int, default=1_000, help="nodes of the fleet")
    parser.add_argument("--limit", type=int, default=10, help="candidates asked for")
    parser.add_argument("--fill", type=int, choices=(0, 50, 95), default=0, help="per cent full")
    parser.add_argument("--queries", type=int, default=200, help="of each sort")


def run(args: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {
        **{name: getattr(args, name) for name in ("providers", "limit", "fill")},
        "machine": machine(),
    }
    figures.update(uvloop.run(_measure(args)))
    _print(figures)
    return figures


async def _measure(args: argparse.Namespace) -> dict[str, Any]:
    fleet = make_fleet(args.providers, args.fill)
    async with running_region(History(fleet).commits()) as region:
        context = msgspec.structs.replace(region.context, project=await region.project("bench"))
        dsn = str(region.config.postgres.dsn)
        async with Client(context, secret=region.secret) as client, Database(dsn) as database:
            by_scenario = {
                name: await _scenario(args, fleet, name, database, client) for name in SCENARIOS
            }
            refusals = await _refusals(args, client)
    return {**by_scenario["plain"], **refusals, "scenarios": by_scenario}


async def _scenario(
    args: argparse.Namespace, fleet: Fleet, name: str, database: Database, client: Client
) -> dict[str, float]:
    rng = random.Random(1)
    found = 0

    async def query() -> None:
        request, start, end = _asked(draw(fleet, name, rng))
        breadth = search.first_breadth(request, args.limit)
        seed = rng.getrandbits(31)
        await load_space(database, request, start, end, seed=seed, breadth=breadth)

    async def find() -> None:
        request, _, _ = _asked(draw(fleet, name, rng))
        seed = rng.getrandbits(31)
        await search.find(database, request, utc_now(), seed=seed, limit=args.limit)

    async def call() -> None:
        nonlocal found
        answer = await client.resource.list_candidates(
            v1.ListCandidatesRequest(
                request=request_of(draw(fleet, name, rng)),
                limit=args.limit,
                seed=rng.getrandbits(31),
            )
        )
        found += bool(answer.candidates)

    figures = {
        **_figures("db", await _timed(query, args.queries)),
        **_figures("search", await _timed(find, args.queries)),
        **_figures("rpc", await _timed(call, args.queries)),
    }
    return {**figures, "answered": round(found / (args.queries + _WARM), 3)}


async def _refusals(args: argparse.Namespace, client: Client) -> dict[str, float]:
    """Ask for what nothing fits, one way and the other; ``exhausted_ms`` is the slower one's."""
    figures: dict[str, float] = {}
    for name, ask in (("too_much", TOO_MUCH), ("too_special", TOO_SPECIAL)):
        request = request_of(ask)

        async def listed(request: v1.ResourceRequest = request) -> None:
            answer = await client.resource.list_candidates(
                v1.ListCandidatesRequest(request=request, limit=args.limit)
            )
            assert answer.why_not is not None

        async def claimed(request: v1.ResourceRequest = request) -> None:
            try:
                await client.resource.make_claim(v1.MakeClaimRequest(request=request))
            except Exhausted:
                return
            raise AssertionError("nothing fits this")

        count = min(args.queries, 30)
        figures[f"{name}_ms"] = percentile(await _timed(listed, count, warm=2), 0.5)
        figures[f"{name}_claim_ms"] = percentile(await _timed(claimed, count, warm=2), 0.5)
    return {"exhausted_ms": max(figures.values()), **figures}


def _asked(ask: Ask) -> tuple[ClaimRequest, datetime, datetime | None]:
    now = utc_now()
    request = demand_of(ask, now)
    start = now + timedelta(seconds=ask.starts_in or 0.0)
    return request, start, None if ask.lasts is None else start + timedelta(seconds=ask.lasts)


async def _timed(
    call: Callable[[], Awaitable[None]], count: int, *, warm: int = _WARM
) -> list[float]:
    for _ in range(warm):
        await call()
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - began)
    return seconds


def _figures(name: str, seconds: list[float]) -> dict[str, float]:
    return {
        f"{name}_p50_ms": percentile(seconds, 0.5),
        f"{name}_p99_ms": percentile(seconds, 0.99),
    }


def _print(figures: dict[str, Any]) -> None:
    kinds = ("db", "search", "rpc")
    print(
        f"{figures['providers']:,} providers, {figures['fill']} % full, limit {figures['limit']}",
        f"{'ms':12}" + "".join(f"{kind + ' p50':>12}{kind + ' p99':>12}" for kind in kinds),
        sep="\n",
        file=sys.stderr,
    )
    for name, found in figures["scenarios"].items():
        numbers = (found[f"{kind}_{which}_ms"] for kind in kinds for which in ("p50", "p99"))
        print(f"{name:12}" + "".join(f"{number:>12}" for number in numbers), file=sys.stderr)
    print(f"nothing fits: {figures['exhausted_ms']} ms at the median", file=sys.stderr)
