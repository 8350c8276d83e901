"""Streams ``denial/…``: attempts that were denied, by the account that made them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from mulligan.events.denial import AttemptsDenied, Event
from mulligan.handlers.decision import Change, Command, States
from mulligan.model import StreamId, stream_id

UNKNOWN = "unknown"
"""The key of attempts by nobody in particular."""


class Denials(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How often an account was denied something, ever, and when last."""

    count: int
    last_at: datetime


def evolve(state: Denials | None, event: Event, at: datetime) -> Denials:
    """Return the tally as it is after the event."""
    before = 0 if state is None else state.count
    return Denials(count=before + event.count, last_at=event.last_at)


class RecordDenials(Command, frozen=True, kw_only=True):
    """Note attempts that a process has denied, each under the account that made it."""

    NAME: ClassVar = "denial.record"
    attempts: tuple[AttemptsDenied, ...]

    def reads(self, states: States) -> list[StreamId]:
        """Read the tallies of the accounts."""
        return sorted({_stream(attempt) for attempt in self.attempts})

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Note them all; whether there were such attempts is not for the log to judge."""
        return [Change(_stream(attempt), attempt) for attempt in self.attempts]

    @classmethod
    def recalled(
        cls, changes: Sequence[Change], states: States, now: datetime
    ) -> Mapping[str, Any]:
        """Tell the attempts, each of which is an event."""
        return {"attempts": tuple(event for _, event in changes)}


def _stream(attempt: AttemptsDenied) -> StreamId:
    return stream_id("denial", attempt.account or UNKNOWN)
