"""When a claim holds: options and keys turned into a window, or into the earliest that fits."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from mulligan.errors import InvalidArgument
from mulligan.quantities import parse_span, parse_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import Span, Window


class When(NamedTuple):
    """What a person wrote about the time of a claim; empty is left out."""

    start: str = ""
    end: str = ""
    duration: str = ""
    not_before: str = ""
    not_after: str = ""


OPTIONS = When("--start", "--end", "--for", "--not-before", "--not-after")
"""What the parts are called in complaints about options."""


def make_span(when: When, now: datetime, names: When = OPTIONS) -> "Span":
    """Return a window, or with ``not_before`` or ``not_after`` the earliest that fits within them.

    Raise InvalidArgument naming the part that is wrong.
    """
    if when.not_before or when.not_after:
        return make_search(when, now, names)
    from mulligan.proto.v1 import Span

    window = make_window(when, now, names)
    return Span(start=window.start, end=window.end)


def make_search(when: When, now: datetime, names: When) -> "Span":
    """Return the earliest span of ``duration`` that fits; raise InvalidArgument if none can."""
    from mulligan.proto.v1 import Span

    for value, name in ((when.start, names.start), (when.end, names.end)):
        if value:
            raise InvalidArgument(name, "is found out when the earliest time that fits is asked")
    if not when.duration:
        raise InvalidArgument(names.duration, "is missing: the earliest time that fits what length")
    length = parse_span(when.duration, names.duration)
    earliest = parse_time(when.not_before, now, names.not_before) if when.not_before else None
    latest = parse_time(when.not_after, now, names.not_after) if when.not_after else None
    if latest is not None and (earliest or now) + length > latest:
        raise InvalidArgument(names.not_after, f"leaves less than {when.duration}")
    return Span(duration=length, not_before=earliest, not_after=latest)


def make_window(when: When, now: datetime, names: When = OPTIONS) -> "Window":
    """Return the window from a start (absent: now) to an end, or of a duration; neither is open.

    Raise InvalidArgument naming the part that is wrong.
    """
    from mulligan.proto.v1 import Window

    if when.end and when.duration:
        raise InvalidArgument(names.duration, "give an end or a duration, not both")
    begins = parse_time(when.start, now, names.start) if when.start not in ("", "now") else None
    ends: datetime | None = None
    if when.end:
        ends = parse_time(when.end, now, names.end)
    elif when.duration:
        ends = (begins or now) + parse_span(when.duration, names.duration)
    if ends is not None and ends <= (begins or now):
        raise InvalidArgument(names.end, "is not after the start")
    return Window(start=begins, end=ends)


def parse_span_or_none(text: str, field: str) -> timedelta:
    """Read a span, or ``0`` or ``none`` for no time at all; raise InvalidArgument otherwise."""
    return timedelta(0) if text.strip() in ("0", "0s", "none") else parse_span(text, field)
