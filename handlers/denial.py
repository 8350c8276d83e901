"""Streams ``denial/…``: attempts that were denied, by the account that made them."""

from datetime import datetime

import msgspec

from mulligan.events.denial import Event

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
