"""Stream ``region/<name>``: the region's own description, written once at its beginning."""

from datetime import datetime
from typing import ClassVar, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import NotFound
from mulligan.events import region as ev
from mulligan.handlers.decision import Change, Command, States
from mulligan.model import RegionName, StreamId, stream_id


class Region(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A region as it describes itself."""

    name: RegionName
    parent: RegionName = RegionName("")
    visibility: str = "public"
    attributes: dict[str, str] = {}
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
        case ev.SecretsRekeyed():
            assert state is not None, "the first event of a region creates it"
            return replace(state, rekeyed_at=at)
        case _:
            assert_never(event)


class CreateRegion(Command, frozen=True, kw_only=True):
    """Describe the region, if nobody has."""

    NAME: ClassVar = "region.create"
    region: RegionName

    def reads(self, states: States) -> list[StreamId]:
        """Read the region."""
        return [stream_id("region", self.region)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Create it once."""
        stream = stream_id("region", self.region)
        if states.get(stream) is not None:
            return []
        return [Change(stream, ev.RegionCreated(region=self.region))]


class NoteRekeying(Command, frozen=True, kw_only=True):
    """Note that every secret was looked at, and ``count`` of them are under the master key now."""

    NAME: ClassVar = "region.rekey_secrets"
    region: RegionName
    master_key: str
    count: int

    def reads(self, states: States) -> list[StreamId]:
        """Read the region."""
        return [stream_id("region", self.region)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Note it on the region."""
        stream = stream_id("region", self.region)
        if states.get(stream) is None:
            raise NotFound("region", self.region)
        return [Change(stream, ev.SecretsRekeyed(master_key=self.master_key, count=self.count))]
