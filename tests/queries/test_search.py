"""The whole search on random fleets in Postgres, held against trying every combination.

Whatever is refused fits nowhere, whatever is proposed is valid, the earliest window is the
earliest, and the same search at an earlier position proposes the same again.
With ``MULLIGAN_CASES`` set, one fleet is searched for every 250 of them.
"""

import os
from datetime import datetime, timedelta
from random import Random

import pytest
from msgspec.structs import replace

from mulligan.config import Dsn
from mulligan.errors import Exhausted
from mulligan.events.request import ClaimRequest, Span
from mulligan.model import Seq
from mulligan.placement.fleet import Space
from mulligan.placement.solver import Candidate
from mulligan.queries.database import Database
from mulligan.queries.past import fork_at
from mulligan.queries.search import Proposal, find, find_at, reasons, when_fits
from tests.placement.brute import Brute, Key
from tests.projections.histories import World
from tests.queries.fleets import draw_request, draw_window, fleet, nodes_of, take, whole
from tests.queries.test_fleet import reading

CASES = int(os.environ.get("MULLIGAN_CASES", "750"))
WORLDS = CASES // 250
POLICIES = ("random", "random", "pack", "spread")


def asked(world: World, rng: Random) -> ClaimRequest:
    """Draw a request with a window, now and then of several instances."""
    wanted = draw_request(world)
    start, end = draw_window(rng)
    groups = tuple(
        replace(g, count=rng.choice((1, 1, 1, 2, 3))) if len(wanted.groups) < 3 else g
        for g in wanted.groups
    )
    return replace(
        wanted, groups=groups, policy=rng.choice(POLICIES), span=Span(start=start, end=end)
    )


def key(candidate: Candidate) -> Key:
    return (
        frozenset((p, c, n) for p, some in candidate.totals.items() for c, n in some.items()),
        tuple(candidate.groups.items()),
    )


async def proposed(
    reads: Database, request: ClaimRequest, world: World, seed: int
) -> Proposal | None:
    """Search; None when it is given up."""
    try:
        return await find(reads, request, world.now, seed=seed)
    except Exhausted:
        return None


def fits(request: ClaimRequest, space: Space, start: datetime, end: datetime | None) -> set[Key]:
    return Brute(request, space, start, end).solutions()


@pytest.mark.parametrize("seed", range(WORLDS))
async def test_every_refusal_is_true_and_every_candidate_valid(seed: int, database: Dsn) -> None:
    world = fleet(seed, size=7, claims=14)
    rng = Random(seed)
    nodes = nodes_of(world)
    found_some = refused_some = 0
    async with reading(world, database) as reads:
        for attempt in range(40):
            request = asked(world, rng)
            space = whole(world, nodes.values(), attempt)
            try:
                found = await find(reads, request, world.now, seed=attempt, limit=3)
            except Exhausted:  # given up: no answer is no refusal
                continue
            valid = fits(request, space, found.start, found.end)
            assert {key(c) for c in found.candidates} <= valid
            assert len(found.candidates) == min(3, len(valid)), request
            found_some += bool(valid)
            refused_some += not valid
            if not valid:
                why = await reasons(reads, request, found.start, found.end)
                assert sum(why.counts.stages().values()) == why.counts.considered
    assert found_some
    assert refused_some


@pytest.mark.parametrize("seed", range(WORLDS))
async def test_the_earliest_window_is_the_earliest(seed: int, database: Dsn) -> None:
    world = fleet(seed, size=6, claims=20)
    rng = Random(seed)
    nodes = nodes_of(world)
    async with reading(world, database) as reads:
        for attempt in range(10):
            hours = timedelta(hours=rng.randint(1, 4))
            base = asked(world, rng)
            request = replace(base, span=Span(duration=hours.total_seconds()))
            space = whole(world, nodes.values(), attempt)
            found = await proposed(reads, request, world, attempt)
            if found is None:
                continue
            times = sorted(
                {world.now}
                | {
                    s.end
                    for n in nodes.values()
                    for use in n.provider.use.values()
                    for s in use
                    if s.end is not None and s.end > world.now
                }
            )
            first = next((t for t in times if fits(request, space, t, t + hours)), None)
            assert (found.start if found.candidates else None) == first
            when = await when_fits(reads, request, world.now)
            if when is not None and when.exact:
                assert when.start == first


@pytest.mark.parametrize("seed", range(WORLDS))
async def test_the_same_search_at_its_position_proposes_the_same(seed: int, database: Dsn) -> None:
    world = fleet(seed, size=12, claims=10)
    rng = Random(seed)
    world.flush()
    asking = [asked(world, rng) for _ in range(12)]
    async with reading(world, database) as reads:
        before = [await proposed(reads, r, world, n) for n, r in enumerate(asking)]
    at = Seq(len(world.entries))
    for node in list(nodes_of(world).values()):
        for class_ in node.provider.inventories:
            take(world, node.provider.id, {class_: 1}, world.now, None)
        world.flush()
    async with reading(world, database) as reads:
        fork = await fork_at(reads, at)
        for number, (request, then) in enumerate(zip(asking, before, strict=True)):
            if then is None:
                continue
            again = await find_at(
                reads,
                request,
                then.start,
                then.end,
                seed=number,
                fork=fork,
                breadth=then.breadth,
            )
            assert again.candidates == then.candidates
