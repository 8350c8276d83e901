"""Use over time as a step function: what makes windows cheap to check.

A ``Use`` is a tuple of segments, sorted, not overlapping, none of them zero, and no two that touch
with the same amount: equal use is equal data, however it came about.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from mulligan.model import ResourceClass

Time = datetime


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """``used`` base units over [start, end); ``end`` None is open."""

    start: Time
    end: Time | None
    used: int


Use = tuple[Segment, ...]


def add(use: Use, start: Time, end: Time | None, amount: int) -> Use:
    """Return the use with ``amount`` (negative to free) more over [start, end)."""
    if not use:
        return (Segment(start, end, amount),) if amount else ()
    changes: dict[Time, int] = {}
    for segment in (*use, Segment(start, end, amount)):
        changes[segment.start] = changes.get(segment.start, 0) + segment.used
        if segment.end is not None:
            changes[segment.end] = changes.get(segment.end, 0) - segment.used
    result: list[Segment] = []
    level = 0
    began: Time | None = None
    for time in sorted(t for t, delta in changes.items() if delta):
        if level and began is not None:
            result.append(Segment(began, time, level))
        level += changes[time]
        began = time
    if level and began is not None:
        result.append(Segment(began, None, level))
    return tuple(result)


def forget(use: Use, before: Time) -> Use:
    """Return the use without the segments that ended at or before ``before``."""
    if use and use[0].end is not None and use[0].end <= before:
        return tuple(s for s in use if s.end is None or s.end > before)
    return use


def peak(use: Use, start: Time, end: Time | None) -> int:
    """Return the highest use at any instant of [start, end)."""
    return max(
        (
            s.used
            for s in use
            if (end is None or s.start < end) and (s.end is None or s.end > start)
        ),
        default=0,
    )


def least(use: Use, start: Time, end: Time | None) -> int:
    """Return the lowest use at any instant of [start, end)."""
    lowest: int | None = None
    reached = start
    for s in use:
        if (s.end is not None and s.end <= reached) or (end is not None and s.start >= end):
            continue
        if s.start > reached:
            return 0
        lowest = s.used if lowest is None else min(lowest, s.used)
        if s.end is None:
            return lowest
        reached = s.end
    return lowest if lowest is not None and end is not None and reached >= end else 0


def changed(
    use: Mapping[ResourceClass, Use],
    amounts: Mapping[ResourceClass, int],
    start: Time,
    end: Time | None,
    sign: int,
    at: Time,
) -> dict[ResourceClass, Use]:
    """Return the use by class with the amounts added (1) or freed (-1).

    What ended at or before ``at`` is left out.
    """
    result = dict(use)
    for class_, amount in amounts.items():
        now = forget(result.get(class_, ()), at)
        after = forget(add(now, start, end, sign * amount), at)
        if after:
            result[class_] = after
        else:
            result.pop(class_, None)
    return result
