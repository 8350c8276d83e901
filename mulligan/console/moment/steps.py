"""Where the keys of the time slider lead. Pure."""

import re
from datetime import UTC, datetime, timedelta

import msgspec

from mulligan.console.source import Moment
from mulligan.errors import InvalidArgument
from mulligan.quantities import parse_time


class Unit(msgspec.Struct, frozen=True):
    """What one step of the slider is; ``span`` is None for entries."""

    name: str
    span: timedelta | None = None


UNITS = (
    Unit("entry"),
    Unit("minute", timedelta(minutes=1)),
    Unit("hour", timedelta(hours=1)),
    Unit("day", timedelta(days=1)),
)


def stepped(here: Moment, unit: Unit, by: int, head: int) -> str:
    """Return the entry or time that so many steps lead to, as the services take it."""
    if unit.span is None:
        return str(min(max(1, here.seq + by), max(1, head)))
    return (here.at + unit.span * by).isoformat()


def wanted(text: str, now: datetime, head: int) -> str:
    """Return what somebody typed as the services take it.

    ``812`` or ``#812`` is an entry, ``-20`` entries before the head, ``-2h`` or
    ``2027-01-31T08:00`` a time. Raise InvalidArgument for anything else.
    """
    given = text.strip().removeprefix("#").replace(",", "")
    if given.isdecimal():
        return given
    if re.fullmatch(r"-\d+", given):
        return str(max(1, head + int(given)))
    moment = parse_time(given, now, "moment")
    if moment > now:
        raise InvalidArgument("moment", "lies ahead; the log tells of what was")
    return moment.astimezone(UTC).isoformat()


def share(seq: int, head: int) -> float:
    """Return how far along the log an entry is, from 0 to 1."""
    return min(1.0, max(0.0, (seq - 1) / (head - 1))) if head > 1 else 1.0
