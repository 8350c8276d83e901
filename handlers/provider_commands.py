"""What operators do to providers: create, change, move in the tree, cordon, delete."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.events import provider as ev
from mulligan.events.provider import Inventory
from mulligan.handlers import distance, names
from mulligan.handlers.decision import Change, Command, States, existing, require_new
from mulligan.handlers.provider import (
    FAILED_CORDON,
    MAX_DEPTH,
    OPERATOR_CORDON,
    TYPES,
    Provider,
    above,
    deleted,
    evolve,
    uncordoned,
)
from mulligan.model import GroupId, ProviderId, ResourceClass, StreamId, stream_id

MAX_TURNAROUND = 30 * 24 * 3600
MAX_MOVED = 1000


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
    shares: tuple[GroupId, ...] = ()
    distances: dict[str, dict[GroupId, str]] = {}
    turnaround: int = 0

    def reads(self, states: States) -> list[StreamId]:
        """Read the provider, its name, its parent, and what it is far from or shared with."""
        streams = [stream_id("provider", self.provider), names.name_stream("provider", self.name)]
        streams += [stream_id("group", g) for g in self.shares]
        streams += distance.streams(self.distances)
        return streams + ([stream_id("provider", self.parent)] if self.parent else [])

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Create it with all that it has, and tell its parent."""
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
            ancestors=above(states, self.parent),
        )
        changes = [
            *names.assign(states, "provider", self.name, self.provider),
            Change(stream, event),
        ]
        if self.parent:
            child = ev.ChildAdded(child=self.provider)
            changes.append(Change(stream_id("provider", self.parent), child))
        given = UpdateProvider(
            provider=self.provider,
            inventories=self.inventories,
            capabilities=self.capabilities,
            shares=self.shares,
            distances=self.distances,
            turnaround=self.turnaround,
        )
        return changes + given.changes(states, evolve(None, event, now))

    @classmethod
    def recalled(
        cls, changes: Sequence[Change], states: States, now: datetime
    ) -> Mapping[str, Any]:
        """Tell what events call otherwise."""
        told: dict[str, Any] = {}
        for _, event in changes:
            if isinstance(event, ev.SharesSet):
                told["shares"] = event.groups
            if isinstance(event, ev.TurnaroundSet):
                told["turnaround"] = event.seconds
        return told


class UpdateProvider(Command, frozen=True, kw_only=True):
    """Replace what is given; None leaves it."""

    NAME: ClassVar = "provider.update"
    provider: ProviderId
    attributes: dict[str, str] | None = None
    inventories: dict[ResourceClass, Inventory] | None = None
    capabilities: tuple[str, ...] | None = None
    shares: tuple[GroupId, ...] | None = None
    distances: dict[str, dict[GroupId, str]] | None = None
    turnaround: int | None = None
    parent: ProviderId | None = None

    def reads(self, states: States) -> list[StreamId]:
        """Read the provider, and what it is to be far from, shared with, or put under."""
        streams = [stream_id("provider", self.provider)]
        streams += [stream_id("group", g) for g in self.shares or ()]
        streams += distance.streams(self.distances or {})
        return streams + (
            _moving(states, self.provider, self.parent) if self.parent is not None else []
        )

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Emit only what differs; shrinking below what is in use is allowed and shows."""
        state = existing(states, "provider", self.provider, Provider)
        changes = self.changes(states, state)
        if self.parent is not None and self.parent != state.parent:
            changes += _moved(states, state, self.parent)
        return changes

    def changes(self, states: States, state: Provider) -> list[Change]:
        """Return what differs from ``state``, the tree aside."""
        events: list[ev.Event] = []
        if self.attributes is not None and self.attributes != state.attributes:
            events.append(ev.AttributesSet(attributes=self.attributes))
        if self.inventories is not None and self.inventories != state.inventories:
            events.append(ev.InventoriesSet(inventories=self.inventories))
        if self.capabilities is not None and self.capabilities != state.capabilities:
            events.append(ev.CapabilitiesSet(capabilities=self.capabilities))
        if self.shares is not None and self.shares != state.shares:
            for index, group in enumerate(self.shares):
                existing_group = states.get(stream_id("group", group))
                if existing_group is None or existing_group.deleted:
                    raise InvalidArgument(f"shares[{index}]", "there is no such provider group")
            events.append(ev.SharesSet(groups=self.shares))
        if self.distances is not None and self.distances != state.distances:
            distance.check(states, self.distances)
            events.append(ev.DistancesSet(distances=self.distances))
        if self.turnaround is not None and self.turnaround != state.turnaround:
            if not 0 <= self.turnaround <= MAX_TURNAROUND:
                raise InvalidArgument("turnaround", "give 0 to 30 days")
            events.append(ev.TurnaroundSet(seconds=self.turnaround))
        return [Change(stream_id("provider", state.id), event) for event in events]


def _moving(states: States, provider: ProviderId, parent: ProviderId | None) -> list[StreamId]:
    """Name the old and the new parent, and all that is below the provider."""
    state: Provider | None = states.get(stream_id("provider", provider))
    ids = [parent] if parent else []
    if state is not None:
        ids += [state.parent] if state.parent else []
        ids += _below(states, state)
    return [stream_id("provider", one) for one in ids]


def _below(states: States, state: Provider) -> list[ProviderId]:
    """Return everything below a provider, as far as it is loaded."""
    found: list[ProviderId] = []
    ahead = list(state.children)
    while ahead and len(found) <= MAX_MOVED:
        child = ahead.pop()
        found.append(child)
        known: Provider | None = states.get(stream_id("provider", child))
        if known is not None:
            ahead += known.children
    return found


def _moved(states: States, state: Provider, parent: ProviderId) -> list[Change]:
    """Put a provider, and so all below it, under another parent or at the top."""
    path = above(states, parent)
    if parent == state.id or state.id in path:
        raise InvalidArgument(
            "parent", f"provider {state.name} cannot stand under itself: that is a cycle"
        )
    below = _below(states, state)
    if len(below) > MAX_MOVED:
        raise FailedPrecondition(
            f"more than {MAX_MOVED} providers stand under {state.name}; move them in parts"
        )
    changes: list[Change] = []
    if state.parent:
        child = ev.ChildRemoved(child=state.id)
        changes.append(Change(stream_id("provider", state.parent), child))
    if parent:
        changes.append(Change(stream_id("provider", parent), ev.ChildAdded(child=state.id)))
    changes.append(
        Change(stream_id("provider", state.id), ev.ProviderMoved(parent=parent, ancestors=path))
    )
    depth = len(state.ancestors)
    for one in below:
        known = existing(states, "provider", one, Provider)
        ancestors = (*path, *known.ancestors[depth:])
        if len(ancestors) >= MAX_DEPTH:
            raise InvalidArgument("parent", f"a tree is at most {MAX_DEPTH} deep")
        moved = ev.ProviderMoved(parent=known.parent, ancestors=ancestors)
        changes.append(Change(stream_id("provider", one), moved))
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


class CordonProvider(Command, frozen=True, kw_only=True):
    """Keep new claims away by an operator's wish; ``failed`` also moves what is claimed ahead."""

    NAME: ClassVar = "provider.cordon"
    provider: ProviderId
    note: str = ""
    failed: bool = False

    def reads(self, states: States) -> list[StreamId]:
        """Read the provider."""
        return [stream_id("provider", self.provider)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Cordon it, unless it is cordoned with the same note."""
        state = existing(states, "provider", self.provider, Provider)
        cause = FAILED_CORDON if self.failed else OPERATOR_CORDON
        if state.cordons.get(cause) == self.note:
            return []
        event = ev.ProviderCordoned(cause=cause, note=self.note)
        return [Change(stream_id("provider", self.provider), event)]


class UncordonProvider(Command, frozen=True, kw_only=True):
    """Take an operator's cordon back; other causes stay."""

    NAME: ClassVar = "provider.uncordon"
    provider: ProviderId

    def reads(self, states: States) -> list[StreamId]:
        """Read the provider."""
        return [stream_id("provider", self.provider)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Uncordon it if it is cordoned by an operator."""
        state = existing(states, "provider", self.provider, Provider)
        return uncordoned(state, OPERATOR_CORDON) + uncordoned(state, FAILED_CORDON)
