"""The part of the fleet that a search fetches, against loops over all of a random fleet."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from mulligan.config import Dsn
from mulligan.events.request import CapabilityDemand, ClaimRequest, RequestGroup
from mulligan.handlers.capabilities import has
from mulligan.log.memory import MemoryDisk
from mulligan.placement.eligibility import stage
from mulligan.placement.fleet import Node, Space
from mulligan.placement.solver import solve
from mulligan.queries.database import Database
from mulligan.queries.fleet import Fork, load_space
from tests.projections.conftest import folding
from tests.projections.histories import World, write
from tests.queries.fleets import (
    MACHINE,
    MEMORY,
    draw_group,
    draw_request,
    draw_window,
    fleet,
    in_walk_order,
    nodes_of,
    whole,
)

CASES = int(os.environ.get("MULLIGAN_CASES", "60"))
ALL = 10_000


@asynccontextmanager
async def reading(world: World, dsn: Dsn) -> AsyncIterator[Database]:
    """Fold a world and read it."""
    disk = MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, dsn), Database(dsn) as reads:
        yield reads


def root_passes(space: Space, node: Node, demand: CapabilityDemand) -> bool:
    return has(space.nodes[node.root].provider.capabilities, demand)


@pytest.mark.parametrize("seed", range(2))
async def test_a_walk_finds_just_the_providers_that_fit(seed: int, database: Dsn) -> None:
    world = fleet(seed)
    nodes = nodes_of(world)
    found_any = 0
    async with reading(world, database) as reads:
        for attempt in range(CASES):
            space = whole(world, nodes.values(), attempt)
            group, (start, end) = draw_group(world), draw_window(world.rng)
            wanted = ClaimRequest(groups=(group,), root_capabilities=draw_group(world).capabilities)
            fitting = [
                node.id
                for node in space.tried()
                if stage(space, node, group, start, end) == "fit"
                and root_passes(space, node, wanted.root_capabilities)
            ]
            loaded = await load_space(reads, wanted, start, end, seed=attempt, breadth=ALL)
            assert list(loaded.space.order) == fitting
            assert loaded.complete
            assert loaded.seq == len(world.entries)
            assert all(node == nodes[id_] for id_, node in loaded.space.nodes.items())
            assert all(
                set(nodes[i].provider.ancestors) <= loaded.space.nodes.keys() for i in fitting
            )
            first = await load_space(reads, wanted, start, end, seed=attempt, breadth=2)
            assert list(first.space.order) == fitting[:2]
            assert first.complete == (len(fitting) < 2)
            found_any += bool(fitting)
    assert found_any > CASES / 4


@pytest.mark.parametrize("seed", range(10, 12))
async def test_what_is_fetched_solves_as_the_whole_fleet_does(seed: int, database: Dsn) -> None:
    world = fleet(seed, size=24, claims=30)
    nodes = nodes_of(world)
    found_any = 0
    async with reading(world, database) as reads:
        for attempt in range(CASES):
            space = whole(world, nodes.values(), attempt)
            wanted, (start, end) = draw_request(world), draw_window(world.rng)
            loaded = await load_space(reads, wanted, start, end, seed=attempt, breadth=ALL)
            every = solve(wanted, space, start, end, limit=200, budget=20_000)
            there = solve(wanted, loaded.space, start, end, limit=200, budget=20_000)
            if not (every.complete and there.complete):
                continue
            if len(every.candidates) < 200:
                assert identities(there.candidates) == identities(every.candidates)
            else:
                assert len(there.candidates) == 200
            some = await load_space(reads, wanted, start, end, seed=attempt, breadth=1)
            assert some.space.nodes.keys() <= nodes.keys()
            if len(every.candidates) < 200:
                fewer = solve(wanted, some.space, start, end, limit=200, budget=20_000)
                assert identities(fewer.candidates) <= identities(every.candidates)
            found_any += bool(every.candidates)
    assert found_any > CASES / 10


def identities(candidates: object) -> set[str]:
    return {repr((sorted(c.totals.items()), c.groups)) for c in candidates}  # type: ignore[attr-defined]


async def test_a_fork_that_says_what_the_tables_say_changes_nothing(database: Dsn) -> None:
    world = fleet(20)
    nodes = nodes_of(world)
    async with reading(world, database) as reads:
        for attempt in range(CASES // 3):
            wanted, (start, end) = draw_request(world), draw_window(world.rng)
            same = Fork(nodes=dict(world.rng.sample(sorted(nodes.items()), len(nodes) // 2)))
            for breadth in (3, ALL):
                plain = await load_space(reads, wanted, start, end, seed=attempt, breadth=breadth)
                forked = await load_space(
                    reads, wanted, start, end, seed=attempt, breadth=breadth, fork=same
                )
                assert forked.space.order == plain.space.order
                assert forked.space.nodes == plain.space.nodes
                assert forked.complete == plain.complete


async def test_a_fork_is_seen_in_the_place_of_the_fleet(database: Dsn) -> None:
    world = fleet(21)
    nodes = nodes_of(world)
    async with reading(world, database) as reads:
        for attempt in range(CASES // 3):
            changed = {
                id_: change(world, node) for id_, node in world.rng.sample(sorted(nodes.items()), 8)
            }
            space = whole(world, (nodes | changed).values(), attempt)
            group, (start, end) = draw_group(world), draw_window(world.rng)
            fitting = [n.id for n in space.tried() if stage(space, n, group, start, end) == "fit"]
            loaded = await load_space(
                reads,
                ClaimRequest(groups=(group,)),
                start,
                end,
                seed=attempt,
                breadth=ALL,
                fork=Fork(nodes=changed),
            )
            assert list(loaded.space.order) == fitting


def change(world: World, node: Node) -> Node:
    provider = world.rng.choice(
        (
            replace(node.provider, cordons={"operator": ""}),
            replace(node.provider, cordons={}),
            replace(node.provider, use={}),
            replace(node.provider, deleted=not node.provider.children),
        )
    )
    return Node(provider=provider, groups=node.groups)


async def test_another_seed_starts_elsewhere_and_the_same_one_repeats(database: Dsn) -> None:
    world = fleet(5, claims=0)
    start, end = draw_window(world.rng)
    wanted = ClaimRequest(groups=(RequestGroup(resources={MACHINE: 1}),))
    async with reading(world, database) as reads:
        firsts = [
            (await load_space(reads, wanted, start, end, seed=seed, breadth=2)).space.order
            for seed in (1, 1, 2, 3, 4, 5)
        ]
        assert firsts[0] == firsts[1]
        assert len({tuple(order) for order in firsts}) > 2


async def test_excluded_providers_are_passed_over(database: Dsn) -> None:
    world = fleet(6, claims=0)
    start, end = draw_window(world.rng)
    wanted = ClaimRequest(groups=(RequestGroup(resources={MEMORY: 5}),))
    async with reading(world, database) as reads:
        all_ = await load_space(reads, wanted, start, end, seed=1, breadth=ALL)
        others = list(all_.space.order[1:])
        rest = await load_space(reads, wanted, start, end, seed=1, breadth=ALL, exclude=others)
        assert list(rest.space.order) == list(all_.space.order[:1])


async def test_at_any_time_come_all_that_ever_have_room_the_soonest_first(database: Dsn) -> None:
    world = fleet(7, claims=300)
    nodes = nodes_of(world)
    start, end = draw_window(world.rng)
    wanted = ClaimRequest(groups=(RequestGroup(resources={MACHINE: 1}),))
    async with reading(world, database) as reads:
        now = await load_space(reads, wanted, start, end, seed=1, breadth=ALL)
        ever = await load_space(reads, wanted, start, end, seed=1, breadth=ALL, any_time=True)
        assert set(now.space.order) < set(ever.space.order)
        assert list(ever.space.order) == in_walk_order(ever.space.order, 1)
        soonest = await load_space(reads, wanted, start, end, seed=1, breadth=5, any_time=True)
        first = {frees_up(nodes[one]) for one in soonest.space.order}
        rest = {frees_up(nodes[one]) for one in set(ever.space.order) - set(soonest.space.order)}
        assert max(first) <= min(rest)


def frees_up(node: Node) -> float:
    """When a machine is first free, 0 when it is so from the start."""
    use = node.provider.use.get(MACHINE, ())
    since = node.provider.used_at
    if not use or since is None or use[0].start > since or use[0].end is None:
        return 0
    return use[0].end.timestamp()
