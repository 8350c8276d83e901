"""Random fleets with trees and pools, random requests, and all of a fleet as a space."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import TypeVar

from mulligan.events.claim import Allocation
from mulligan.events.provider import Inventory
from mulligan.events.request import (
    CapabilityDemand,
    ClaimRequest,
    DistanceRule,
    GroupDemand,
    RequestGroup,
)
from mulligan.handlers import claim, distance, group, provider_commands
from mulligan.handlers.distance import DistanceType
from mulligan.handlers.group import Group
from mulligan.handlers.provider import Provider
from mulligan.model import AccountId, ClaimId, GroupId, ProjectId, ProviderId, ResourceClass
from mulligan.placement.fleet import Node, Space
from mulligan.projections.providers import shuffle
from mulligan.queries.walks import place_of
from tests.projections.histories import START, World

TAGS = ("custom.a", "custom.b", "storage.ssd")
MACHINE, MEMORY, GPU = (ResourceClass(name) for name in ("machine", "memory", "gpu"))
S = TypeVar("S")
Window = tuple[datetime, datetime | None]


def fleet(seed: int, size: int = 40, claims: int = 60) -> World:
    """Make providers of all sorts, partly claimed, cordoned and grouped, some in trees."""
    world = World(seed)
    rng = world.rng
    world.do(distance.CreateDistanceType(name="failure", positions=("rack", "row", "site")))
    groups = [GroupId(world.id()) for _ in range(4)]
    for n, made in enumerate(groups):
        world.do(group.CreateGroup(group=made, name=f"g{n}"))
    ids: list[ProviderId] = []
    for _ in range(size):
        _create(world, ids, groups)
    for _ in range(claims):
        amounts = rng.choice(({MACHINE: 1}, {MEMORY: rng.choice((5, 10, 20))}))
        start = world.now + timedelta(hours=rng.randint(0, 9))
        end = start + timedelta(hours=rng.randint(1, 5)) if rng.random() < 0.8 else None
        take(world, rng.choice(ids), amounts, start, end)
    for one in rng.sample(ids, size // 8):
        world.do(provider_commands.CordonProvider(provider=one))
    for one in rng.sample(ids, size // 10):
        world.attempt(provider_commands.DeleteProvider(provider=one))
    world.flush()
    return world


def _create(world: World, ids: list[ProviderId], groups: Sequence[GroupId]) -> None:
    rng = world.rng
    one = ProviderId(world.id())
    inventories = {
        MACHINE: Inventory(total=1),
        GPU: Inventory(total=2),
        MEMORY: Inventory(
            total=rng.choice((10, 50, 100)),
            reserved=rng.choice((0, 5)),
            min_unit=rng.choice((1, 5)),
            max_unit=rng.choice((20, 100)),
            step_size=rng.choice((1, 5)),
            allocation_ratio=rng.choice((1.0, 1.5)),
        ),
    }
    kept = rng.sample(sorted(inventories), rng.choice((0, 1, 2, 2, 3)))
    parent = rng.choice(ids[-8:]) if ids and rng.random() < 0.5 else ProviderId("")
    world.do(
        provider_commands.CreateProvider(
            provider=one,
            name=f"p-{one[:8]}",
            type="compute",
            parent=parent,
            inventories={class_: inventories[class_] for class_ in kept},
            capabilities=tuple(sorted(rng.sample(TAGS, rng.randint(0, 3)))),
            shares=tuple(sorted(rng.sample(groups, 1))) if rng.random() < 0.15 else (),
            distances={"failure": {rng.choice(groups): rng.choice(("rack", "row", "site"))}},
            turnaround=rng.choice((0, 0, 1800, 7200)),
        )
    )
    ids.append(one)
    for member in rng.sample(groups, rng.choice((0, 0, 1, 2))):
        world.do(group.UpdateMembers(group=member, add=(one,)))


def take(
    world: World,
    provider: ProviderId,
    amounts: dict[ResourceClass, int],
    start: datetime,
    end: datetime | None,
) -> bool:
    """Claim amounts of one provider, if they fit."""
    return world.attempt(
        claim.MakeClaim(
            claim=ClaimId(world.id()),
            project=ProjectId(world.id()),
            account=AccountId("a"),
            allocations=(Allocation(provider=provider, amounts=amounts),),
            start=start,
            end=end,
        )
    )


def draw_window(rng: Random) -> Window:
    """Draw a window, often an open one."""
    start = START + timedelta(hours=rng.randint(0, 12))
    return start, start + timedelta(hours=rng.randint(1, 6)) if rng.random() < 0.7 else None


def draw_group(world: World, name: str = "a") -> RequestGroup:
    """Draw what one instance on one provider is to have."""
    rng = world.rng
    groups = [s.id for s in of(world, Group)]
    ids = [s.id for s in of(world, Provider)]
    amounts = {
        c: n
        for c, n in ((MACHINE, 1), (GPU, 1), (MEMORY, rng.choice((3, 5, 10, 20, 40))))
        if rng.random() < 0.5
    }

    def some(items: Sequence[str]) -> tuple[str, ...]:
        return tuple(rng.sample(items, 1)) if rng.random() < 0.2 else ()

    return RequestGroup(
        name=name,
        resources=amounts or {MACHINE: 1},
        capabilities=CapabilityDemand(
            require=some(TAGS),
            forbid=some(TAGS),
            any_of=(tuple(rng.sample(TAGS, 2)),) if rng.random() < 0.2 else (),
        ),
        groups=GroupDemand(
            any_of=(tuple(rng.sample(groups, 2)),) if rng.random() < 0.3 else (),
            forbid=tuple(rng.sample(groups, 1)) if rng.random() < 0.2 else (),
        ),
        in_tree=rng.choice(ids) if rng.random() < 0.1 else ProviderId(""),
    )


def draw_request(world: World) -> ClaimRequest:
    """Draw a request of one to three groups, bound to trees in some way or in none."""
    rng = world.rng
    groups: list[RequestGroup] = []
    for name in "abc"[: rng.randint(1, 3)]:
        drawn = draw_group(world, name)
        kind = rng.random()
        groups.append(
            RequestGroup(
                name=name,
                resources=drawn.resources if kind < 0.8 else {},
                capabilities=drawn.capabilities if kind > 0.3 else CapabilityDemand(),
                groups=drawn.groups if kind > 0.4 else GroupDemand(),
                in_tree=drawn.in_tree,
                single_provider=rng.random() < 0.5,
            )
        )
    names = [g.name for g in groups]
    ids = [s.id for s in of(world, Provider)]
    near = DistanceRule(source="a", type="failure", provider=rng.choice(ids), most="row")
    return ClaimRequest(
        groups=tuple(groups),
        isolate=(tuple(names),) if rng.random() < 0.3 else (),
        same_subtree=(tuple(rng.sample(names, min(2, len(names)))),) if rng.random() < 0.4 else (),
        distances=(near,) if rng.random() < 0.2 else (),
        same_tree=rng.random() < 0.3,
        root_capabilities=CapabilityDemand(
            require=(rng.choice(TAGS),) if rng.random() < 0.15 else (),
            forbid=(rng.choice(TAGS),) if rng.random() < 0.15 else (),
        ),
    )


def of(world: World, kind: type[S]) -> list[S]:
    """Return the states of a kind that are not deleted."""
    found = [s for s in world.states.values() if isinstance(s, kind)]
    return [s for s in found if not getattr(s, "deleted", False)]


def nodes_of(world: World) -> dict[ProviderId, Node]:
    """Return every provider with its groups."""
    groups = of(world, Group)
    return {
        one.id: Node(provider=one, groups=frozenset(g.id for g in groups if one.id in g.members))
        for one in of(world, Provider)
    }


def whole(world: World, nodes: Iterable[Node], seed: int) -> Space:
    """Return a space of all live nodes in the order of a walk."""
    live = [node for node in nodes if not node.provider.deleted]
    types = {t.name: t.positions for t in of(world, DistanceType)}
    return Space(live, in_walk_order((n.id for n in live), seed), types)


def in_walk_order(ids: Iterable[ProviderId], seed: int) -> list[ProviderId]:
    """Sort providers as a walk from the seed's place comes upon them."""
    begin = place_of(seed)
    return sorted(ids, key=lambda one: (shuffle(one) < begin, shuffle(one)))
