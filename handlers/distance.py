"""Stream ``distance/…``: kinds of distance, and what a provider's distances must be like."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.events import distance as ev
from mulligan.handlers.decision import Change, Command, States, require_new
from mulligan.model import GroupId, StreamId, stream_id

MAX_POSITIONS = 32
_WORD = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class DistanceType(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A kind of distance; ``positions`` go from the nearest to the farthest."""

    name: str
    positions: tuple[str, ...]


def evolve(state: DistanceType | None, event: ev.Event, at: datetime) -> DistanceType:
    """Return the type as it is after the event."""
    match event:
        case ev.DistanceTypeCreated():
            return DistanceType(name=event.name, positions=event.positions)
        case ev.DistanceTypeExtended():
            assert state is not None, "the first event of a distance type creates it"
            return replace(state, positions=event.positions)
        case _:
            assert_never(event)


def check_positions(positions: Sequence[str]) -> None:
    """Raise InvalidArgument unless these are a few different words."""
    if not 2 <= len(positions) <= MAX_POSITIONS:
        raise InvalidArgument("positions", f"give 2 to {MAX_POSITIONS}, the nearest first")
    for index, position in enumerate(positions):
        check_word(position, f"positions[{index}]")
        if position in positions[:index]:
            raise InvalidArgument(f"positions[{index}]", f"{position!r} is given twice")


def check_word(word: str, field: str) -> None:
    """Raise InvalidArgument unless ``word`` may name a distance type or a position."""
    if not _WORD.fullmatch(word):
        raise InvalidArgument(
            field, f"{word!r} is no word of lower-case letters, digits, dashes and underscores"
        )


class CreateDistanceType(Command, frozen=True, kw_only=True):
    """Define a kind of distance."""

    NAME: ClassVar = "distance.create"
    name: str
    positions: tuple[str, ...]

    def reads(self, states: States) -> list[StreamId]:
        """Read the type."""
        return [stream_id("distance", self.name)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Create it once."""
        check_word(self.name, "name")
        check_positions(self.positions)
        require_new(states, "distance", self.name)
        event = ev.DistanceTypeCreated(name=self.name, positions=self.positions)
        return [Change(stream_id("distance", self.name), event)]


class ExtendDistanceType(Command, frozen=True, kw_only=True):
    """Add positions; those there are stay, in their order, for distances name them."""

    NAME: ClassVar = "distance.extend"
    name: str
    positions: tuple[str, ...]

    def reads(self, states: States) -> list[StreamId]:
        """Read the type."""
        return [stream_id("distance", self.name)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Replace the positions by ones that contain them."""
        state = type_of(states, self.name, "name")
        check_positions(self.positions)
        if self.positions == state.positions:
            return []
        kept = tuple(p for p in self.positions if p in state.positions)
        if kept != state.positions:
            raise FailedPrecondition(
                f"the positions {', '.join(state.positions)} are in use and must stay in this"
                " order; add others before, between or after them"
            )
        event = ev.DistanceTypeExtended(positions=self.positions)
        return [Change(stream_id("distance", self.name), event)]


def type_of(states: States, name: str, field: str) -> DistanceType:
    """Return a distance type; raise InvalidArgument naming ``field`` when there is none."""
    state: DistanceType | None = states.get(stream_id("distance", name))
    if state is None:
        raise InvalidArgument(field, f"there is no distance type {name!r}; create it first")
    return state


def streams(distances: Mapping[str, Mapping[GroupId, str]]) -> Iterable[StreamId]:
    """Name the streams that ``check`` looks at."""
    yield from (stream_id("distance", name) for name in distances)
    yield from (stream_id("group", group) for to in distances.values() for group in to)


def check(states: States, distances: Mapping[str, Mapping[GroupId, str]]) -> None:
    """Raise InvalidArgument unless every type, position and group is known."""
    for name, to in distances.items():
        known = type_of(states, name, f"distances[{name}]")
        for group, position in to.items():
            field = f"distances[{name}][{group}]"
            if position not in known.positions:
                raise InvalidArgument(
                    field, f"{position!r} is not one of {', '.join(known.positions)}"
                )
            found = states.get(stream_id("group", group))
            if found is None or found.deleted:
                raise InvalidArgument(field, "there is no such provider group")
