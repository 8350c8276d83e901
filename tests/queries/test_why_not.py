"""The reasons for finding nothing, against counting with a plain loop."""

import os
from collections import Counter
from datetime import datetime

import pytest
from msgspec.structs import replace

from mulligan.config import Dsn
from mulligan.events.request import CapabilityDemand, RequestGroup
from mulligan.handlers.provider import capacity
from mulligan.placement.eligibility import STAGES, formed, room, split, stage, standing
from mulligan.placement.fleet import Node, Space
from mulligan.queries.capabilities import list_capabilities
from mulligan.queries.fork import Fork
from mulligan.queries.why_not import Unknown, why_not
from tests.queries.fleets import MACHINE, MEMORY, draw_group, draw_window, fleet, nodes_of, whole
from tests.queries.test_fleet import reading

CASES = int(os.environ.get("MULLIGAN_CASES", "40"))


def dropped(
    space: Space, node: Node, group: RequestGroup, start: datetime, end: datetime | None
) -> str:
    """Return the stage that drops a node; for a split group, the farthest of its classes."""
    if not split(group):
        return stage(space, node, group, start, end)
    reached = ["inventory"]
    for class_, amount in group.resources.items():
        at = standing(space, node, group, {class_: amount})
        if at == "fit" and room(node.provider, class_, start, end) < amount:
            at = "capacity"
        reached.append(at)
    return max(reached, key=lambda one: STAGES.index(one))


@pytest.mark.parametrize("seed", range(30, 32))
async def test_each_stage_drops_as_many_as_a_loop_counts(seed: int, database: Dsn) -> None:
    world = fleet(seed)
    rng = world.rng
    nodes = nodes_of(world)
    seen: Counter[str] = Counter()
    async with reading(world, database) as reads:
        for attempt in range(CASES):
            group, (start, end) = draw_group(world), draw_window(rng)
            group = replace(
                group,
                single_provider=rng.random() < 0.5,
                resources=group.resources if rng.random() < 0.8 else {},
            )
            fork, all_ = None, nodes
            if attempt % 4 == 3:
                some = {id_: cordoned(nodes[id_]) for id_ in rng.sample(sorted(nodes), 5)}
                fork, all_ = Fork(nodes=some), nodes | some
            space = whole(world, all_.values(), 0)
            stages = Counter(dropped(space, n, group, start, end) for n in space.tried())
            why = await why_not(reads, group, start, end, fork=fork)
            assert {s: n for s, n in why.stages().items() if n} == stages
            assert why.considered == len(nodes)
            seen += stages
    assert set(seen) == set(STAGES)


def cordoned(node: Node) -> Node:
    return Node(provider=replace(node.provider, cordons={"operator": "x"}), groups=node.groups)


async def test_a_capability_that_nothing_has_is_named_with_what_is_spelt_like_it(
    database: Dsn,
) -> None:
    world = fleet(32)
    start, end = draw_window(world.rng)
    asked = CapabilityDemand(
        require=("storage.sdd", "custom.a"), any_of=(("custom.b", "qq"), ("zz.top",))
    )
    group = RequestGroup(resources={MACHINE: 1}, capabilities=asked)
    async with reading(world, database) as reads:
        why = await why_not(reads, group, start, end)
        assert why.unknown == (Unknown("storage.sdd", "storage.ssd"), Unknown("zz.top"))
        assert "no provider has storage.sdd (did you mean storage.ssd?)" in why.text(group)
        assert why.text(group).startswith(f"of {why.considered} providers")


async def test_an_amount_that_no_provider_gives_at_once_is_named_with_how_to_get_it(
    database: Dsn,
) -> None:
    world = fleet(34)
    start, end = draw_window(world.rng)
    asked = RequestGroup(resources={MACHINE: 3}, count=2)
    async with reading(world, database) as reads:
        why = await why_not(reads, asked, start, end)
        [much] = why.too_much
        assert (much.asked, much.most) == (3, 1)
        assert why.text(asked).endswith("ask for machine=1 with a count of 6 (--count 6)")
        assert (why.cordoned, why.capacity, why.fit, why.idle) == (0, 0, 0, 0)


async def test_how_many_instances_would_fit_if_nothing_were_in_use_is_counted(
    database: Dsn,
) -> None:
    world = fleet(35)
    start, end = draw_window(world.rng)
    asked = RequestGroup(resources={MEMORY: 20})
    room = [
        capacity(offered) // 20
        for node in nodes_of(world).values()
        if (offered := node.provider.inventories.get(MEMORY)) and formed(offered, 20)
    ]
    async with reading(world, database) as reads:
        assert (await why_not(reads, asked, start, end)).idle == sum(room) > 0


async def test_capabilities_are_listed_with_how_many_have_them(database: Dsn) -> None:
    world = fleet(33)
    count: Counter[str] = Counter()
    for node in nodes_of(world).values():
        count.update(node.provider.capabilities)
    async with reading(world, database) as reads:
        rows = await list_capabilities(reads)
        assert [(r.capability, r.providers) for r in rows] == sorted(count.items())
        assert [r.capability for r in await list_capabilities(reads, "custom.")] == [
            "custom.a",
            "custom.b",
        ]
        assert await list_capabilities(reads, "d") == []
