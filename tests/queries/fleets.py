"""Random fleets, and the candidate search as a plain loop to hold the real one against."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from mulligan.events.claim import Allocation
from mulligan.events.provider import Inventory
from mulligan.handlers import claim, group, provider_commands, usage
from mulligan.handlers.group import Group
from mulligan.handlers.provider import Provider, capacity
from mulligan.model import AccountId, ClaimId, GroupId, ProjectId, ProviderId, ResourceClass
from mulligan.queries.candidates import Filter
from tests.projections.histories import START, World

TAGS = ("custom.a", "custom.b", "storage.ssd")


def fleet(seed: int, size: int = 40, claims: int = 60) -> World:
    """Make providers of all sorts, partly claimed, cordoned and grouped."""
    world = World(seed)
    rng = world.rng
    groups = [GroupId(world.id()) for _ in range(3)]
    for n, made in enumerate(groups):
        world.do(group.CreateGroup(group=made, name=f"g{n}"))
    ids = [ProviderId(world.id()) for _ in range(size)]
    for one in ids:
        inventories = {
            ResourceClass("machine"): Inventory(total=1),
            ResourceClass("memory"): Inventory(
                total=rng.choice((10, 50, 100)),
                reserved=rng.choice((0, 5)),
                min_unit=rng.choice((1, 5)),
                max_unit=rng.choice((20, 100)),
                step_size=rng.choice((1, 5)),
                allocation_ratio=rng.choice((1.0, 1.5)),
            ),
        }
        if rng.random() < 0.2:
            inventories.popitem()
        world.do(
            provider_commands.CreateProvider(
                provider=one,
                name=f"p-{one[:8]}",
                type="compute",
                inventories=inventories,
                capabilities=tuple(sorted(rng.sample(TAGS, rng.randint(0, 3)))),
            )
        )
        for member in rng.sample(groups, rng.randint(0, 2)):
            world.do(group.UpdateMembers(group=member, add=(one,)))
    for _ in range(claims):
        amounts = rng.choice(
            ({ResourceClass("machine"): 1}, {ResourceClass("memory"): rng.choice((5, 10, 20))})
        )
        start = world.now + timedelta(hours=rng.randint(0, 9))
        end = start + timedelta(hours=rng.randint(1, 5)) if rng.random() < 0.8 else None
        world.attempt(
            claim.MakeClaim(
                claim=ClaimId(world.id()),
                project=ProjectId(world.id()),
                account=AccountId("a"),
                allocations=(Allocation(provider=rng.choice(ids), amounts=amounts),),
                start=start,
                end=end,
            )
        )
    for one in rng.sample(ids, size // 8):
        world.do(provider_commands.CordonProvider(provider=one))
    for one in rng.sample(ids, size // 10):
        world.attempt(provider_commands.DeleteProvider(provider=one))
    world.flush()
    return world


def draw_request(
    world: World,
) -> tuple[dict[ResourceClass, int], datetime, datetime | None, Filter]:
    """Draw amounts, a window and a filter."""
    rng = world.rng
    groups = [s.id for s in world.states.values() if isinstance(s, Group)]
    amounts = {
        ResourceClass(c): n
        for c, n in (("machine", 1), ("memory", rng.choice((3, 5, 10, 20, 40))))
        if rng.random() < 0.7
    } or {ResourceClass("machine"): 1}
    start = START + timedelta(hours=rng.randint(0, 12))
    end = start + timedelta(hours=rng.randint(1, 6)) if rng.random() < 0.7 else None

    def some(items: Sequence[str]) -> tuple[str, ...]:
        return tuple(rng.sample(items, 1)) if rng.random() < 0.25 else ()

    filter_ = Filter(
        require=some(TAGS),
        forbid=some(TAGS),
        any_of=(tuple(rng.sample(TAGS, 2)),) if rng.random() < 0.3 else (),
        groups_any_of=(tuple(rng.sample(groups, 2)),) if rng.random() < 0.4 else (),
        groups_forbid=some(groups),
    )
    return amounts, start, end, filter_


def stage(
    world: World,
    one: Provider,
    amounts: dict[ResourceClass, int],
    start: datetime,
    end: datetime | None,
    filter_: Filter,
) -> str:
    """Return the first stage that drops a provider, or "fit"."""
    groups = {s.id for s in world.states.values() if isinstance(s, Group) and one.id in s.members}
    tags = set(one.capabilities)
    if not amounts.keys() <= one.inventories.keys():
        return "inventory"
    for class_, amount in amounts.items():
        inventory = one.inventories[class_]
        if not inventory.min_unit <= amount <= inventory.max_unit or amount % inventory.step_size:
            return "form"
    if not _passes(tags, filter_.require, filter_.forbid, filter_.any_of):
        return "capability"
    if not _passes(groups, (), filter_.groups_forbid, filter_.groups_any_of):
        return "group"
    if one.cordons:
        return "cordoned"
    for class_, amount in amounts.items():
        used = usage.peak(one.use.get(class_, ()), start, end)
        if used + amount > capacity(one.inventories[class_]):
            return "capacity"
    return "fit"


def _passes(
    has: Iterable[str],
    require: Iterable[str],
    forbid: Iterable[str],
    any_of: Iterable[Iterable[str]],
) -> bool:
    has = set(has)
    return (
        set(require) <= has
        and not set(forbid) & has
        and all(set(choice) & has for choice in any_of)
    )
