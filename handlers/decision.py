"""The shape of a command: what it reads, and what it decides."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, TypeVar

import msgspec

from mulligan.errors import AlreadyExists, InvalidArgument, NotFound
from mulligan.events.codec import Event
from mulligan.model import StreamId, stream_id

States = Mapping[StreamId, Any]
"""The folded state of each stream that was read; None where the stream has no event."""


MAX_REASON = 500


class Change(NamedTuple):
    """One event to append to one stream."""

    stream: StreamId
    event: Event


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A wish to change the world. Subclasses hold its arguments, already validated for form."""

    NAME: ClassVar[str]

    def reads(self, states: States) -> Iterable[StreamId]:
        """Name the streams to load, given those loaded so far; asked again until nothing is new."""
        raise NotImplementedError

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Return the changes, none when the wish is already true; raise when it may not be."""
        raise NotImplementedError

    @classmethod
    def recalled(
        cls, changes: Sequence[Change], states: States, now: datetime
    ) -> Mapping[str, Any]:
        """Return arguments that can be told from what was decided, on what and when.

        Only what no event has under the same name need be told: see ``handlers.arguments``.
        """
        return {}


S = TypeVar("S")


def check_reason(reason: str, wanted: str) -> None:
    """Raise InvalidArgument, which says what is ``wanted``, unless a reason is given in brief."""
    if not reason.strip() or len(reason) > MAX_REASON:
        raise InvalidArgument("reason", f"{wanted}, in 1 to {MAX_REASON} characters")


def require_new(states: States, kind: str, key: str) -> None:
    """Raise AlreadyExists when the object is there, or was: an id is used once."""
    if states.get(stream_id(kind, key)) is not None:
        raise AlreadyExists(f"{kind} {key!r} exists already; use a new id for each")


def existing(states: States, kind: str, key: str, type_: type[S]) -> S:
    """Return the live state of an object; raise NotFound when it is absent or deleted."""
    state = states.get(stream_id(kind, key))
    if state is None or getattr(state, "deleted", False):
        raise NotFound(kind, key)
    assert isinstance(state, type_)
    return state
