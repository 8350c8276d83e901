"""A million live claims: how long every read takes then, and what the resource service needs.

The claims are written to the log, and the read models built from it. Each query is asked many
times for different objects; what counts is its slowest answer.
"""

import argparse
import itertools
import random
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import msgspec
import uvloop

from benchmarks import _claiming
from benchmarks._fleet import SCENARIOS, TOO_MUCH, Fleet, draw, make_fleet
from benchmarks._history import History, demand_of
from benchmarks._loop import apart, machine, percentile
from benchmarks._region import Region, running_region
from mulligan.client import Client
from mulligan.errors import MulliganError
from mulligan.model import StreamId, utc_now
from mulligan.proto import v1
from mulligan.queries import audit, capabilities, claims, names, providers, quotas, search, states
from mulligan.queries.database import Database, PoolSettings
from mulligan.queries.paging import PageRequest

Query = Callable[[], Awaitable[object]]

_PATIENT_S = 120.0
_PATIENT = PoolSettings(command=_PATIENT_S)
_CLAIMING_S = 5.0
_SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--claims", type=int, default=20_000, help="live claims")
    parser.add_argument("--providers", type=int, default=1_000, help="nodes of the fleet")
    parser.add_argument("--times", type=int, default=20, help="how often each query is asked")


def run(args: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "claims": args.claims,
        "providers": args.providers,
        "machine": machine(),
    }
    figures.update(uvloop.run(_measure(args)))
    _print(figures)
    return figures


async def _measure(args: argparse.Namespace) -> dict[str, Any]:
    fleet = make_fleet(args.providers)
    history = History(fleet)
    began = time.perf_counter()
    async with running_region(history.commits(args.claims)) as region:
        loading = time.perf_counter() - began
        at_rest = region.rss_mb("resource")
        async with Database(str(region.config.postgres.dsn), _PATIENT) as database:
            asked = await _queries(database, history)
            timed = {name: await _timed(query, args.times) for name, query in asked.items()}
        async with Client(region.context, secret=region.secret, patience=_PATIENT_S) as client:
            for name, query in _summaries(client, history).items():
                timed[name] = await _timed(query, args.times)
        claiming = await _claiming_on(region, fleet)
        rss = region.rss_mb("resource")
    slowest = max(timed, key=lambda name: timed[name]["max_ms"])
    return {
        "slowest_query": slowest,
        "slowest_query_ms": timed[slowest]["max_ms"],
        "rss_mb": rss,
        "rss_at_rest_mb": at_rest,
        "loading_s": round(loading, 1),
        "claiming": claiming,
        "queries": timed,
    }


async def _queries(database: Database, history: History) -> Mapping[str, Query]:
    """Return the reads by name: lists, single objects, what is due, usage, candidates."""
    found = await claims.list_claims(database, PageRequest(size=1000))
    some = itertools.cycle([one.state for one in found.items])
    nodes = itertools.cycle(history.fleet.nodes)
    groups = itertools.cycle(history.fleet.racks)
    return {
        **_claim_queries(database, history, some, nodes),
        **_provider_queries(database, nodes, groups),
        **_searches(database, history.fleet),
    }


def _claim_queries(database: Database, history: History, some: Any, nodes: Any) -> dict[str, Query]:
    now, page = utc_now(), PageRequest(size=100)
    later = now + timedelta(days=15)

    def listed(**filters: Any) -> Query:
        return lambda: claims.list_claims(database, page, **filters)

    return {
        "claims": listed(),
        "claims, page after page": _pages(database),
        "claims of a project": listed(project=history.project, states=["reserved", "active"]),
        "claims of no project": listed(project="00000000-0000-7000-8000-000000000000"),
        "claims reserved": listed(states=["reserved"]),
        "claims ended": listed(states=["ended", "released"]),
        "claims of a provider": lambda: claims.list_claims(
            database, page, provider=next(nodes).uuid
        ),
        "claims in a window": listed(start=later, end=later + timedelta(hours=1)),
        "claims stranded": listed(stranded=True),
        "claim": lambda: states.load(database, [StreamId(f"claim/{next(some).id}")]),
        "history of a claim": lambda: audit.latest_events(
            database, StreamId(f"claim/{next(some).id}")
        ),
        "due now": lambda: claims.find_due(database, now),
        "due in 15 days": lambda: claims.find_due(database, later),
        "afflicted": lambda: claims.find_afflicted(database),
        "quotas": lambda: quotas.list_quotas(database, page),
    }


def _pages(database: Database) -> Query:
    token = ""

    async def ask() -> None:
        nonlocal token
        found = await claims.list_claims(database, PageRequest(size=100, token=token))
        token = found.next_token

    return ask


def _provider_queries(database: Database, nodes: Any, groups: Any) -> dict[str, Query]:
    page = PageRequest(size=100)
    return {
        "providers": lambda: providers.list_providers(database, page),
        "providers of a group": lambda: providers.list_providers(
            database, page, providers.ProviderFilter(group=next(groups).uuid)
        ),
        "provider": lambda: states.load(database, [StreamId(f"provider/{next(nodes).uuid}")]),
        "groups of a provider": lambda: providers.groups_of(database, next(nodes).uuid),
        "groups": lambda: providers.list_groups(database, page),
        "distance types": lambda: providers.list_distance_types(database, page),
        "usage of a provider": lambda: providers.list_usage(database, next(nodes).uuid),
        "history of a provider": lambda: audit.latest_events(
            database, StreamId(f"provider/{next(nodes).uuid}")
        ),
        "name": lambda: names.resolve(database, "provider", "region", [next(nodes).name]),
        "capabilities": lambda: capabilities.list_capabilities(database),
        "names": lambda: names.list_names(database, "provider", None, page),
    }


def _searches(database: Database, fleet: Fleet) -> dict[str, Query]:
    rng = random.Random(1)

    def candidates(scenario: str) -> Query:
        async def ask() -> None:
            request = demand_of(draw(fleet, scenario, rng), utc_now())
            seed = rng.getrandbits(31)
            await search.find(database, request, utc_now(), seed=seed, limit=10)

        return ask

    async def why_not() -> None:
        await search.reasons(database, demand_of(TOO_MUCH, utc_now()), utc_now(), None)

    return {
        **{f"candidates, {name}": candidates(name) for name in SCENARIOS},
        "why not": why_not,
    }


def _summaries(client: Client, history: History) -> dict[str, Query]:
    """Return the reports on use, as calls: over all claims, and of one project or rack."""
    now = utc_now()
    window = v1.Window(start=now - timedelta(hours=1), end=now + timedelta(days=30))

    def summary(by: str, group: str = "") -> Query:
        message = v1.SummarizeUsageRequest(window=window, by=by, group=group)
        return lambda: client.resource.summarize_usage(message)

    rack = history.fleet.racks[0].uuid
    return {
        **{f"use by {by}, call": summary(by) for by in ("project", "provider", "class")},
        "use of a rack, call": summary("provider", rack),
    }


async def _timed(query: Query, times: int) -> dict[str, Any]:
    """Ask so many times; what gives up is named, and so are the seconds until then."""
    seconds = []
    problem = ""
    for _ in range(times):
        began = time.perf_counter()
        try:
            await query()
        except MulliganError as error:
            problem = error.message
        seconds.append(time.perf_counter() - began)
        if problem:
            break
    found = {"p50_ms": percentile(seconds, 0.5), "max_ms": percentile(seconds, 1.0)}
    return {**found, "problem": problem} if problem else found


async def _claiming_on(region: Region, fleet: Fleet) -> dict[str, Any]:
    context = msgspec.structs.replace(region.context, project=await region.project("bench"))
    what = _claiming.Run(
        context=context,
        secret=region.secret,
        fleet=fleet,
        scenario="plain",
        in_flight=64,
        connections=4,
        seconds=_CLAIMING_S,
    )
    return (await apart(_claiming.run, what)).figures()


def _print(figures: dict[str, Any]) -> None:
    queries = figures["queries"]
    print(f"{figures['claims']:,} live claims, {figures['providers']:,} providers", file=sys.stderr)
    for name in sorted(queries, key=lambda one: -queries[one]["max_ms"])[:_SHOWN]:
        found = queries[name]
        print(
            f"  {name:26} p50 {found['p50_ms']:>9} max {found['max_ms']:>9} ms"
            f" {found.get('problem', '')}",
            file=sys.stderr,
        )
    print(
        f"claims {figures['claiming']['claims_per_s']}/s; resource service {figures['rss_mb']} MB"
        f" ({figures['rss_at_rest_mb']} MB before), loaded in {figures['loading_s']} s",
        file=sys.stderr,
    )
