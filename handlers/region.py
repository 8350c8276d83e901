"""Stream ``region/<name>``: the region's own description, and what it knows of other regions.

Regions form a forest by their ``parent``. A region knows the part of it that it was told of: a
parent may be a region that it does not know, and a circle is refused where it can be seen.
"""

from datetime import datetime
from typing import ClassVar, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import InvalidArgument, NotFound
from mulligan.events import region as ev
from mulligan.handlers.decision import Change, Command, States, existing
from mulligan.model import RegionName, StreamId, stream_id

MAX_DEPTH = 16
"""So many regions may lie one below the other, the root counted."""
FIELDS = ("parent", "visibility", "attributes", "addresses")
"""What a region may change of its own description."""


class Region(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A region as it describes itself, or, a ``peer``, as this log was told of it."""

    name: RegionName
    parent: RegionName = RegionName("")
    visibility: str = "public"
    attributes: dict[str, str] = {}
    addresses: tuple[str, ...] = ()
    ca: str = ""
    peer: bool = False
    deleted: bool = False
    rekeyed_at: datetime | None = None


def evolve(state: Region | None, event: ev.Event, at: datetime) -> Region:
    """Return the region as it is after the event."""
    match event:
        case ev.RegionCreated():
            return Region(
                name=event.region,
                parent=event.parent,
                visibility=event.visibility,
                attributes=event.attributes,
            )
        case ev.RegionConnected():
            return Region(
                name=event.region,
                parent=event.parent,
                visibility=event.visibility,
                attributes=event.attributes,
                addresses=event.addresses,
                ca=event.ca,
                peer=True,
            )
    assert state is not None, "the first event of a region creates or connects it"
    match event:
        case ev.RegionUpdated():
            return replace(
                state,
                parent=event.parent,
                visibility=event.visibility,
                attributes=event.attributes,
                addresses=event.addresses,
            )
        case ev.RegionDisconnected():
            return replace(state, deleted=True)
        case ev.SecretsRekeyed():
            return replace(state, rekeyed_at=at)
        case _:
            assert_never(event)


def region_stream(name: RegionName) -> StreamId:
    """Name the stream of a region."""
    return stream_id("region", name)


def above(states: States, name: RegionName) -> list[StreamId]:
    """Name a region and those above it, as far as they are known, itself first."""
    found: list[StreamId] = []
    while name and len(found) <= MAX_DEPTH:
        stream = region_stream(name)
        if stream in found:
            break
        found.append(stream)
        state: Region | None = states.get(stream)
        name = RegionName("") if state is None or state.deleted else state.parent
    return found


def _check_parent(states: States, region: RegionName, parent: RegionName) -> None:
    """Raise InvalidArgument when ``parent`` lies below the region, or too far down."""
    path = above(states, parent)
    if region_stream(region) in path:
        below = "itself" if parent == region else f"{parent}, which lies below it"
        raise InvalidArgument("parent", f"{region} cannot lie below {below}; name another region")
    if len(path) >= MAX_DEPTH:
        raise InvalidArgument("parent", f"at most {MAX_DEPTH} regions may lie one below the other")


class CreateRegion(Command, frozen=True, kw_only=True):
    """Describe the region, if nobody has."""

    NAME: ClassVar = "region.create"
    region: RegionName

    def reads(self, states: States) -> list[StreamId]:
        """Read the region."""
        return [region_stream(self.region)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Create it once."""
        stream = region_stream(self.region)
        if states.get(stream) is not None:
            return []
        return [Change(stream, ev.RegionCreated(region=self.region))]


class UpdateRegion(Command, frozen=True, kw_only=True):
    """Change those ``fields`` of the region's own description."""

    NAME: ClassVar = "region.update"
    region: RegionName
    fields: tuple[str, ...]
    parent: RegionName = RegionName("")
    visibility: str = ""
    attributes: dict[str, str] = {}
    addresses: tuple[str, ...] = ()

    def reads(self, states: States) -> list[StreamId]:
        """Read the region, and those above what is to be its parent."""
        wanted = above(states, self.parent) if "parent" in self.fields else []
        return [region_stream(self.region), *wanted]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Describe it as a whole, where that differs."""
        state = existing(states, "region", self.region, Region)
        if "parent" in self.fields:
            _check_parent(states, self.region, self.parent)
        after = replace(state, **{name: getattr(self, name) for name in self.fields})
        if after == state:
            return []
        event = ev.RegionUpdated(
            parent=after.parent,
            visibility=after.visibility,
            attributes=after.attributes,
            addresses=after.addresses,
        )
        return [Change(region_stream(self.region), event)]


class ConnectRegion(Command, frozen=True, kw_only=True):
    """Take in what there is to know of another region."""

    NAME: ClassVar = "region.connect"
    region: RegionName
    parent: RegionName = RegionName("")
    visibility: str = "public"
    attributes: dict[str, str] = {}
    addresses: tuple[str, ...]
    ca: str = ""

    def reads(self, states: States) -> list[StreamId]:
        """Read what is known of it, and those above it."""
        return [region_stream(self.region), *above(states, self.parent)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Take it in, where anything of it is new."""
        stream = region_stream(self.region)
        state: Region | None = states.get(stream)
        if state is not None and not state.peer:
            raise InvalidArgument(
                "name",
                f"{self.region} is this region itself; connect it to another one, or say what it is"
                " like with `mulligan region update`",
            )
        _check_parent(states, self.region, self.parent)
        event = ev.RegionConnected(
            region=self.region,
            parent=self.parent,
            visibility=self.visibility,
            attributes=self.attributes,
            addresses=self.addresses,
            ca=self.ca,
        )
        if state is not None and evolve(state, event, now) == state:
            return []
        return [Change(stream, event)]


class DisconnectRegion(Command, frozen=True, kw_only=True):
    """Forget another region."""

    NAME: ClassVar = "region.disconnect"
    region: RegionName

    def reads(self, states: States) -> list[StreamId]:
        """Read what is known of it."""
        return [region_stream(self.region)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Forget it; of the region itself nothing is forgotten."""
        state = existing(states, "region", self.region, Region)
        if not state.peer:
            raise InvalidArgument("name", f"{self.region} is this region itself; name another one")
        return [Change(region_stream(self.region), ev.RegionDisconnected())]


class NoteRekeying(Command, frozen=True, kw_only=True):
    """Note that every secret was looked at, and ``count`` of them are under the master key now."""

    NAME: ClassVar = "region.rekey_secrets"
    region: RegionName
    master_key: str
    count: int

    def reads(self, states: States) -> list[StreamId]:
        """Read the region."""
        return [region_stream(self.region)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Note it on the region."""
        stream = region_stream(self.region)
        if states.get(stream) is None:
            raise NotFound("region", self.region)
        return [Change(stream, ev.SecretsRekeyed(master_key=self.master_key, count=self.count))]
