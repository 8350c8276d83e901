"""Stream ``provider/…``: capacity, and who has taken how much of it when."""

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import ClassVar, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import Exhausted, FailedPrecondition, InvalidArgument, NotFound
from mulligan.events import provider as ev
from mulligan.events.provider import Inventory
from mulligan.handlers import names, usage
from mulligan.handlers.decision import Change, Command, States, existing, require_new
from mulligan.model import MAX_AMOUNT, ClaimId, ProviderId, ResourceClass, StreamId, stream_id

TYPES = frozenset({"machine", "compute", "storage", "network", "component"})
CLASSES = frozenset(
    {
        "machine", "cpu.shared", "cpu.dedicated", "memory", "storage.block", "gpu", "network.ipv4",
        "network.bandwidth",
    }
)  # fmt: skip
OPERATOR_CORDON = "operator"


class Provider(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A provider; ``cordons`` maps each cause that keeps new claims away to its note."""

    id: ProviderId
    type: str
    name: str
    parent: ProviderId = ProviderId("")
    attributes: dict[str, str] = {}
    children: tuple[ProviderId, ...] = ()
    inventories: dict[ResourceClass, Inventory] = {}
    capabilities: tuple[str, ...] = ()
    cordons: dict[str, str] = {}
    use: dict[ResourceClass, usage.Use] = {}
    deleted: bool = False

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

    def __init__(self, provider: ProviderId, message: str) -> None:
        self.provider = provider
        super().__init__(message)


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
            attributes=event.attributes,
        )
    assert state is not None, "the first event of a provider creates it"
    match event:
        case ev.CapacityTaken():
            return _changed(state, event.amounts, event.start, event.end, 1, at)
        case ev.CapacityFreed():
            return _changed(state, event.amounts, event.start, event.end, -1, at)
        case ev.InventoriesSet():
            return replace(state, inventories=event.inventories)
        case ev.CapabilitiesSet():
            return replace(state, capabilities=event.capabilities)
        case ev.AttributesSet():
            return replace(state, attributes=event.attributes)
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


def _changed(
    state: Provider,
    amounts: Mapping[ResourceClass, int],
    start: datetime,
    end: datetime | None,
    sign: int,
    at: datetime,
) -> Provider:
    use = dict(state.use)
    for class_, amount in amounts.items():
        now = usage.forget(use.get(class_, ()), at)
        changed = usage.forget(usage.add(now, start, end, sign * amount), at)
        if changed:
            use[class_] = changed
        else:
            use.pop(class_, None)
    return replace(state, use=use)


def check_fit(
    state: Provider, amounts: Mapping[ResourceClass, int], start: datetime, end: datetime | None
) -> None:
    """Raise DoesNotFit unless the amounts fit at every instant of [start, end)."""
    if state.cordons:
        raise DoesNotFit(
            state.id, f"provider {state.name} takes no claims: {', '.join(state.cordons)}"
        )
    for class_, amount in amounts.items():
        inventory = state.inventories.get(class_)
        if inventory is None:
            raise DoesNotFit(state.id, f"provider {state.name} offers no {class_}")
        if not inventory.min_unit <= amount <= inventory.max_unit or amount % inventory.step_size:
            raise DoesNotFit(
                state.id,
                f"provider {state.name} gives {class_} in amounts of {inventory.min_unit} to"
                f" {inventory.max_unit} by steps of {inventory.step_size}, not {amount}",
            )
        used = usage.peak(state.use.get(class_, ()), start, end)
        if used + amount > capacity(inventory):
            raise DoesNotFit(
                state.id,
                f"provider {state.name} has {max(capacity(inventory) - used, 0)} {class_} left"
                f" in the window, {amount} asked",
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


class CreateProvider(Command, frozen=True, kw_only=True):
    """Add a provider to the tree."""

    NAME: ClassVar = "provider.create"
    provider: ProviderId
    name: str
    type: str
    parent: ProviderId = ProviderId("")
    attributes: dict[str, str] = {}
    inventories: dict[ResourceClass, Inventory] = {}
    capabilities: tuple[str, ...] = ()

    def reads(self, states: States) -> list[StreamId]:
        """Read the provider, its name and its parent."""
        streams = [stream_id("provider", self.provider), names.name_stream("provider", self.name)]
        return streams + ([stream_id("provider", self.parent)] if self.parent else [])

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Create it with its inventories and capabilities, and tell its parent."""
        require_new(states, "provider", self.provider)
        if self.type not in TYPES:
            raise InvalidArgument("type", f"{self.type!r} is not one of {', '.join(sorted(TYPES))}")
        stream = stream_id("provider", self.provider)
        event = ev.ProviderCreated(
            provider=self.provider,
            type=self.type,
            name=self.name,
            parent=self.parent,
            attributes=self.attributes,
        )
        changes = [
            *names.assign(states, "provider", self.name, self.provider),
            Change(stream, event),
        ]
        if self.parent:
            existing(states, "provider", self.parent, Provider)
            changes.append(
                Change(stream_id("provider", self.parent), ev.ChildAdded(child=self.provider))
            )
        if self.inventories:
            changes.append(Change(stream, ev.InventoriesSet(inventories=self.inventories)))
        if self.capabilities:
            changes.append(Change(stream, ev.CapabilitiesSet(capabilities=self.capabilities)))
        return changes


class UpdateProvider(Command, frozen=True, kw_only=True):
    """Replace what is given; None leaves it."""

    NAME: ClassVar = "provider.update"
    provider: ProviderId
    attributes: dict[str, str] | None = None
    inventories: dict[ResourceClass, Inventory] | None = None
    capabilities: tuple[str, ...] | None = None

    def reads(self, states: States) -> list[StreamId]:
        """Read the provider."""
        return [stream_id("provider", self.provider)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Emit only what differs; shrinking below what is in use is allowed and shows."""
        state = existing(states, "provider", self.provider, Provider)
        stream = stream_id("provider", self.provider)
        changes: list[Change] = []
        if self.attributes is not None and self.attributes != state.attributes:
            changes.append(Change(stream, ev.AttributesSet(attributes=self.attributes)))
        if self.inventories is not None and self.inventories != state.inventories:
            changes.append(Change(stream, ev.InventoriesSet(inventories=self.inventories)))
        if self.capabilities is not None and self.capabilities != state.capabilities:
            changes.append(Change(stream, ev.CapabilitiesSet(capabilities=self.capabilities)))
        return changes


class DeleteProvider(Command, frozen=True, kw_only=True):
    """Remove a provider that nothing depends on."""

    NAME: ClassVar = "provider.delete"
    provider: ProviderId

    def reads(self, states: States) -> list[StreamId]:
        """Read the provider, then its name and parent, and the machine that may own it."""
        stream = stream_id("provider", self.provider)
        state: Provider | None = states.get(stream)
        if state is None:
            return [stream]
        streams = [
            stream,
            names.name_stream("provider", state.name),
            stream_id("machine", self.provider),
        ]
        return streams + ([stream_id("provider", state.parent)] if state.parent else [])

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Refuse while it has children, claims or a machine."""
        machine = states.get(stream_id("machine", self.provider))
        if machine is not None and not machine.deleted:
            raise FailedPrecondition(
                "this provider belongs to a machine; delete the machine instead"
            )
        return deleted(states, self.provider, now)


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


class CordonProvider(Command, frozen=True, kw_only=True):
    """Keep new claims away by an operator's wish."""

    NAME: ClassVar = "provider.cordon"
    provider: ProviderId
    note: str = ""

    def reads(self, states: States) -> list[StreamId]:
        """Read the provider."""
        return [stream_id("provider", self.provider)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Cordon it, unless it is cordoned with the same note."""
        state = existing(states, "provider", self.provider, Provider)
        if state.cordons.get(OPERATOR_CORDON) == self.note:
            return []
        event = ev.ProviderCordoned(cause=OPERATOR_CORDON, note=self.note)
        return [Change(stream_id("provider", self.provider), event)]


class UncordonProvider(Command, frozen=True, kw_only=True):
    """Take the operator's cordon back; other causes stay."""

    NAME: ClassVar = "provider.uncordon"
    provider: ProviderId

    def reads(self, states: States) -> list[StreamId]:
        """Read the provider."""
        return [stream_id("provider", self.provider)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Uncordon it if it is cordoned by an operator."""
        state = existing(states, "provider", self.provider, Provider)
        return uncordoned(state, OPERATOR_CORDON)


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


def claimable(states: States, provider: ProviderId) -> Provider:
    """Return a provider to be claimed; raise DoesNotFit when it is gone."""
    try:
        return existing(states, "provider", provider, Provider)
    except NotFound as error:
        raise DoesNotFit(provider, error.message) from error
