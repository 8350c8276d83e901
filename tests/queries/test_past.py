"""The fleet of an earlier entry, against the states as they were folded by then."""

from datetime import timedelta

import pytest

from mulligan.config import Dsn
from mulligan.errors import FailedPrecondition, Unavailable
from mulligan.events.request import ClaimRequest
from mulligan.handlers import group, provider_commands
from mulligan.handlers.decision import Command
from mulligan.handlers.group import Group
from mulligan.handlers.provider import Provider
from mulligan.model import ProviderId, Seq
from mulligan.placement.eligibility import stage
from mulligan.placement.fleet import Node
from mulligan.queries.fleet import load_space
from mulligan.queries.past import fork_at
from mulligan.queries.why_not import why_not
from tests.projections.histories import World
from tests.queries.fleets import (
    MACHINE,
    MEMORY,
    draw_group,
    draw_window,
    fleet,
    nodes_of,
    of,
    take,
    whole,
)
from tests.queries.test_fleet import ALL, reading


def live_on(world: World, steps: int) -> None:
    """Change the fleet in every way, an entry a step."""
    rng = world.rng
    for _ in range(steps):
        world.pass_time(600)
        ids, groups = [p.id for p in of(world, Provider)], [g.id for g in of(world, Group)]
        one, member = rng.choice(ids), rng.choice(groups)
        amounts = rng.choice(({MACHINE: 1}, {MEMORY: 5}))
        new = ProviderId(world.id())
        later = world.now + timedelta(hours=3)
        commands: list[Command] = [
            provider_commands.CordonProvider(provider=one),
            provider_commands.UncordonProvider(provider=one),
            provider_commands.DeleteProvider(provider=one),
            provider_commands.CreateProvider(provider=new, name=f"n-{new[:8]}", type="compute"),
            group.UpdateMembers(group=member, add=(one,)),
            group.UpdateMembers(group=member, remove=(one,)),
        ]
        if rng.random() < 0.2:
            take(world, one, amounts, world.now, later)
        else:
            world.attempt(rng.choice(commands))
        world.flush()


async def test_a_search_in_the_past_sees_the_fleet_of_then(database: Dsn) -> None:
    world = fleet(40, claims=20)
    moments: list[tuple[Seq, dict[ProviderId, Node]]] = []
    for _ in range(8):
        live_on(world, 6)
        moments.append((Seq(len(world.entries)), nodes_of(world)))
    async with reading(world, database) as reads:
        assert not (await fork_at(reads, moments[-1][0])).nodes
        for seq, nodes in moments:
            fork = await fork_at(reads, seq)
            live = {id_: n for id_, n in fork.nodes.items() if not n.provider.deleted}
            assert live == {id_: nodes[id_] for id_ in live}
            assert not (fork.nodes.keys() - live.keys()) & nodes.keys()
            for attempt in range(5):
                wanted, (start, end) = draw_group(world), draw_window(world.rng)
                start = max(start, world.now)
                end = None if end is None else max(end, start + timedelta(hours=1))
                space = whole(world, nodes.values(), attempt)
                fits = [n.id for n in space.tried() if stage(space, n, wanted, start, end) == "fit"]
                request = ClaimRequest(groups=(wanted,))
                loaded = await load_space(
                    reads, request, start, end, seed=attempt, breadth=ALL, fork=fork
                )
                assert list(loaded.space.order) == fits
                why = await why_not(reads, wanted, start, end, fork=fork)
                assert (why.considered, why.fit) == (len(nodes), len(fits))


async def test_one_snapshot_holds_the_fork_and_what_is_read_with_it(database: Dsn) -> None:
    world = fleet(41, claims=20)
    seq = Seq(len(world.entries))
    nodes = nodes_of(world)
    live_on(world, 10)
    async with reading(world, database) as reads, reads.snapshot() as snapshot:
        fork = await fork_at(snapshot, seq)
        wanted, (start, end) = draw_group(world), draw_window(world.rng)
        for _ in range(2):
            why = await why_not(snapshot, wanted, start, end, fork=fork)
            assert why.considered == len(nodes)


async def test_what_is_not_known_yet_or_not_any_more_is_said(database: Dsn) -> None:
    world = fleet(42, size=12, claims=0)
    live_on(world, 10)
    async with reading(world, database) as reads:
        with pytest.raises(Unavailable, match="not come as far"):
            await fork_at(reads, Seq(len(world.entries) + 1))
        with pytest.raises(FailedPrecondition, match="more than 3 providers and groups"):
            await fork_at(reads, Seq(0), most=3)


async def test_before_the_first_entry_there_was_nothing(database: Dsn) -> None:
    world = fleet(43, size=12, claims=5)
    async with reading(world, database) as reads:
        fork = await fork_at(reads, Seq(0))
        assert all(node.provider.deleted for node in fork.nodes.values())
        assert fork.nodes.keys() >= nodes_of(world).keys()
        wanted, (start, end) = draw_group(world), draw_window(world.rng)
        why = await why_not(reads, wanted, start, end, fork=fork)
        assert why.considered == 0
