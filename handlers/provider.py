"""Stream ``provider/…``: capacity, and who has taken how much of it when."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import Exhausted, FailedPrecondition, InvalidArgument, NotFound
from mulligan.events import provider as ev
from mulligan.events.provider import Inventory
from mulligan.handlers import names, usage
from mulligan.handlers.decision import Change, States, existing
from mulligan.model import (
    MAX_AMOUNT,
    ClaimId,
    GroupId,
    ProviderId,
    ResourceClass,
    StreamId,
    stream_id,
)
from mulligan.quantities import format_amount

TYPES = frozenset({"machine", "compute", "storage", "network", "component"})
CLASSES = frozenset(
    {
        "machine", "cpu.shared", "cpu.dedicated", "memory", "storage.block", "gpu", "network.ipv4",
        "network.bandwidth",
    }
)  # fmt: skip
OPERATOR_CORDON = "operator"
FAILED_CORDON = "failed"
MACHINE_FAILED_CORDON = "machine-failed"
"""Set when an operation fails by the machine's fault, lifted when one goes well."""

MAX_DEPTH = 64


class Provider(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A provider; ``cordons`` maps each cause that keeps new claims away to its note.

    ``ancestors`` go from the root to the parent. Members of the groups in ``shares`` may use its
    inventories. ``distances`` has a position by distance type and group. What is claimed counts as
    used for ``turnaround`` seconds after its end. ``use`` is right from ``used_at`` on, when it
    changed last.
    """

    id: ProviderId
    type: str
    name: str
    parent: ProviderId = ProviderId("")
    ancestors: tuple[ProviderId, ...] = ()
    attributes: dict[str, str] = {}
    children: tuple[ProviderId, ...] = ()
    inventories: dict[ResourceClass, Inventory] = {}
    capabilities: tuple[str, ...] = ()
    shares: tuple[GroupId, ...] = ()
    distances: dict[str, dict[GroupId, str]] = {}
    turnaround: int = 0
    cordons: dict[str, str] = {}
    use: dict[ResourceClass, usage.Use] = {}
    used_at: datetime | None = None
    deleted: bool = False

    @property
    def root(self) -> ProviderId:
        """The top of its tree."""
        return self.ancestors[0] if self.ancestors else self.id

    @property
    def over_committed(self) -> bool:
        """Whether more is in use, now or later, than the inventories allow."""
        return any(
            s.used > capacity(self.inventories.get(class_))
            for class_, u in self.use.items()
            for s in u
        )


class DoesNotFit(Exhausted):
    """A claim does not fit at one provider: the caller may try another."""

    def __init__(self, provider: ProviderId, message: str, outside: str = "") -> None:
        self.provider = provider
        super().__init__(message)
        self.outside = outside


class NoRoom(DoesNotFit):
    """A claim does not fit at one provider for want of room in its window."""


def capacity(inventory: Inventory | None) -> int:
    """Return floor((total - reserved) * allocation_ratio); 0 for a class that is not offered."""
    if inventory is None:
        return 0
    if inventory.allocation_ratio == 1.0:
        return inventory.total - inventory.reserved
    return int((inventory.total - inventory.reserved) * Fraction(str(inventory.allocation_ratio)))


def evolve(state: Provider | None, event: ev.Event, at: datetime) -> Provider:
    """Return the provider as it is after the event."""
    if isinstance(event, ev.ProviderCreated):
        return Provider(
            id=event.provider,
            type=event.type,
            name=event.name,
            parent=event.parent,
            ancestors=event.ancestors or ((event.parent,) if event.parent else ()),
            attributes=event.attributes,
        )
    assert state is not None, "the first event of a provider creates it"
    match event:
        case ev.CapacityTaken():
            use = usage.changed(state.use, event.amounts, event.start, event.end, 1, at)
            return replace(state, use=use, used_at=at)
        case ev.CapacityFreed():
            use = usage.changed(state.use, event.amounts, event.start, event.end, -1, at)
            return replace(state, use=use, used_at=at)
        case ev.InventoriesSet():
            return replace(state, inventories=event.inventories)
        case ev.CapabilitiesSet():
            return replace(state, capabilities=event.capabilities)
        case ev.AttributesSet():
            return replace(state, attributes=event.attributes)
        case ev.SharesSet():
            return replace(state, shares=event.groups)
        case ev.DistancesSet():
            return replace(state, distances=event.distances)
        case ev.TurnaroundSet():
            return replace(state, turnaround=event.seconds)
        case ev.ProviderMoved():
            return replace(state, parent=event.parent, ancestors=event.ancestors)
        case ev.ProviderCordoned():
            return replace(state, cordons={**state.cordons, event.cause: event.note})
        case ev.ProviderUncordoned():
            left = {cause: note for cause, note in state.cordons.items() if cause != event.cause}
            return replace(state, cordons=left)
        case ev.ChildAdded():
            return replace(state, children=(*state.children, event.child))
        case ev.ChildRemoved():
            return replace(state, children=tuple(c for c in state.children if c != event.child))
        case ev.ProviderDeleted():
            return replace(state, deleted=True)
        case _:
            assert_never(event)


def check_open(states: States, state: Provider) -> None:
    """Raise DoesNotFit when it, or a provider above it, is cordoned."""
    for one in (state, *(states.get(stream_id("provider", a)) for a in state.ancestors)):
        if one is not None and one.cordons:
            under = "" if one is state else f"stands under {one.name}, which "
            raise DoesNotFit(
                state.id,
                f"provider {state.name} {under}takes no claims: {', '.join(one.cordons)}",
                outside=f"provider {state.name} is not free in the window",
            )


def check_fit(
    state: Provider, amounts: Mapping[ResourceClass, int], start: datetime, end: datetime | None
) -> None:
    """Raise DoesNotFit unless the amounts fit at every instant of [start, end)."""
    check_form(state, amounts)
    check_room(state, amounts, start, end)


def check_form(state: Provider, amounts: Mapping[ResourceClass, int]) -> None:
    """Raise DoesNotFit unless the provider offers the classes in such amounts."""
    for class_, amount in amounts.items():
        inventory = state.inventories.get(class_)
        if inventory is None:
            raise DoesNotFit(state.id, f"provider {state.name} offers no {class_}")
        if not inventory.min_unit <= amount <= inventory.max_unit or amount % inventory.step_size:
            least, most, step, asked = (
                format_amount(class_, n)
                for n in (inventory.min_unit, inventory.max_unit, inventory.step_size, amount)
            )
            raise DoesNotFit(
                state.id,
                f"provider {state.name} gives {class_} in amounts of {least} to {most} by steps of"
                f" {step}, not {asked}",
            )


def check_room(
    state: Provider, amounts: Mapping[ResourceClass, int], start: datetime, end: datetime | None
) -> None:
    """Raise DoesNotFit unless so much is left at every instant of [start, end)."""
    for class_, amount in amounts.items():
        offered = capacity(state.inventories.get(class_))
        used = usage.peak(state.use.get(class_, ()), start, end)
        if used + amount > offered:
            left, asked = (format_amount(class_, n) for n in (max(offered - used, 0), amount))
            raise NoRoom(
                state.id,
                f"provider {state.name} has {left} {class_} left in the window, {asked} asked",
                outside=f"provider {state.name} is not free in the window",
            )


def taken(
    provider: ProviderId,
    claim: ClaimId,
    amounts: dict[ResourceClass, int],
    start: datetime,
    end: datetime | None,
) -> Change:
    """Record that a claim takes the amounts."""
    event = ev.CapacityTaken(claim=claim, amounts=amounts, start=start, end=end)
    return Change(stream_id("provider", provider), event)


def freed(
    provider: ProviderId,
    claim: ClaimId,
    amounts: dict[ResourceClass, int],
    start: datetime,
    end: datetime | None,
) -> Change:
    """Record that a claim gives the amounts back over [start, end)."""
    event = ev.CapacityFreed(claim=claim, amounts=amounts, start=start, end=end)
    return Change(stream_id("provider", provider), event)


def check_class(class_: str, field: str) -> None:
    """Raise InvalidArgument unless ``class_`` is a known or custom resource class."""
    if class_ in CLASSES:
        return
    if class_.startswith("custom.") and names.slug_of(class_, field) == class_:
        return
    raise InvalidArgument(
        field,
        f"{class_!r} is no resource class: use {', '.join(sorted(CLASSES))} or custom.<name>",
    )


def check_inventory(inventory: Inventory, field: str) -> None:
    """Raise InvalidArgument, naming the field, unless the inventory makes sense."""
    amounts = {
        "total": (inventory.total, 0),
        "reserved": (inventory.reserved, 0),
        "min_unit": (inventory.min_unit, 1),
        "max_unit": (inventory.max_unit, 1),
        "step_size": (inventory.step_size, 1),
    }
    for name, (value, least) in amounts.items():
        if not least <= value <= MAX_AMOUNT:
            raise InvalidArgument(
                f"{field}.{name}", f"{value} is not between {least} and {MAX_AMOUNT}"
            )
    if inventory.reserved > inventory.total:
        raise InvalidArgument(f"{field}.reserved", "more is reserved than there is in total")
    if inventory.min_unit > inventory.max_unit:
        raise InvalidArgument(f"{field}.min_unit", "min_unit is above max_unit")
    if not 0 < inventory.allocation_ratio <= 1_000_000:
        raise InvalidArgument(f"{field}.allocation_ratio", "must be above 0 and at most 1,000,000")
    if capacity(inventory) > MAX_AMOUNT:
        raise InvalidArgument(f"{field}.allocation_ratio", "the capacity overflows 64 bits")


def above(states: States, parent: ProviderId) -> tuple[ProviderId, ...]:
    """Return the ancestors of what is put under ``parent``, none at the top."""
    if not parent:
        return ()
    state: Provider | None = states.get(stream_id("provider", parent))
    if state is None or state.deleted:
        raise InvalidArgument(
            "parent", f"there is no provider {parent} in this region; a parent is in the same one"
        )
    if len(state.ancestors) + 1 >= MAX_DEPTH:
        raise InvalidArgument("parent", f"a tree is at most {MAX_DEPTH} deep")
    return (*state.ancestors, parent)


def deleted(states: States, provider: ProviderId, now: datetime) -> list[Change]:
    """Return the changes that delete a provider; raise FailedPrecondition while it is needed."""
    state = existing(states, "provider", provider, Provider)
    if state.children:
        raise FailedPrecondition(
            f"provider {state.name} has {len(state.children)} children; delete them first"
        )
    if any(usage.peak(u, now, None) for u in state.use.values()):
        raise FailedPrecondition(f"provider {state.name} has claims; release them first")
    changes = [Change(stream_id("provider", provider), ev.ProviderDeleted())]
    changes += names.free(states, "provider", state.name, provider)
    if state.parent:
        changes.append(Change(stream_id("provider", state.parent), ev.ChildRemoved(child=provider)))
    return changes


def cordoned(state: Provider, cause: str, note: str = "") -> list[Change]:
    """Cordon for ``cause``; nothing when it is so already."""
    if cause in state.cordons:
        return []
    return [Change(stream_id("provider", state.id), ev.ProviderCordoned(cause=cause, note=note))]


def uncordoned(state: Provider, cause: str) -> list[Change]:
    """Lift ``cause``; nothing when it is not there."""
    if cause not in state.cordons:
        return []
    return [Change(stream_id("provider", state.id), ev.ProviderUncordoned(cause=cause))]


def with_ancestors(states: States, providers: Iterable[ProviderId]) -> list[StreamId]:
    """Name the providers, and those above them as far as they are known."""
    streams: dict[StreamId, None] = {}
    for one in providers:
        stream = stream_id("provider", one)
        streams[stream] = None
        state: Provider | None = states.get(stream)
        if state is not None:
            streams.update((stream_id("provider", a), None) for a in state.ancestors)
    return list(streams)


def claimable(states: States, provider: ProviderId) -> Provider:
    """Return a provider to be claimed; raise DoesNotFit when it is gone."""
    try:
        return existing(states, "provider", provider, Provider)
    except NotFound as error:
        raise DoesNotFit(provider, error.message) from error
