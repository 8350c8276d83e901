"""When a request fits first: the search again at each time at which something becomes free."""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from itertools import islice, pairwise

import msgspec

from mulligan.events.request import ClaimRequest
from mulligan.handlers.usage import Use
from mulligan.model import ProviderId
from mulligan.placement.eligibility import split, standing
from mulligan.placement.fleet import Node, Space
from mulligan.placement.solver import BUDGET, Candidate, solve

TOTAL = 1_000_000
"""The steps of all searches for one answer; each has its own bound besides."""

SAMPLES = 16
"""Once the tries ran out, so many of the times left are tried, spread evenly, the last included."""


class When(msgspec.Struct, frozen=True, kw_only=True):
    """A window in which a candidate fits; ``end`` None is open.

    ``exact`` is false when the tries, or the steps of one, ran out before: it may fit earlier.
    """

    start: datetime
    end: datetime | None
    candidate: Candidate
    exact: bool


def earliest(
    request: ClaimRequest,
    space: Space,
    *,
    duration: timedelta | None,
    not_before: datetime,
    not_after: datetime | None,
    rejected: Collection[ProviderId] = (),
    tries: int = 300,
    budget: int = TOTAL,
) -> When | None:
    """Return the earliest window of that length, from ``not_before`` on, in which it fits.

    ``duration`` None is an open end. The window ends by ``not_after``; an open one starts by it.
    None when there is no such window, or none among those tried. ``tries`` bounds how often it
    searches, ``budget`` the steps of all searches together.
    """
    latest = not_after
    if latest is not None and duration is not None:
        latest -= duration

    exact = True
    left = budget
    times = _times(request, space, rejected, not_before, latest)
    for start, skipped in _tried(times, max(tries, 1)):
        end = None if duration is None else start + duration
        steps = min(left, BUDGET)
        found = solve(request, space, start, end, rejected=rejected, budget=steps)
        exact = exact and not skipped
        if found.candidates:
            return When(start=start, end=end, candidate=found.candidates[0], exact=exact)
        exact = exact and found.complete
        left -= found.steps
        if left <= 0:
            return None
    return None


def _tried(times: list[datetime], tries: int) -> Iterator[tuple[datetime, bool]]:
    """Yield the times to try, with whether any before was passed over."""
    for time in islice(times, tries):
        yield time, False
    rest = times[tries:]
    samples = min(SAMPLES, len(rest))
    for number in range(1, samples + 1):
        place = len(rest) * number // samples - 1
        yield rest[place], place >= number


def _times(
    request: ClaimRequest,
    space: Space,
    rejected: Collection[ProviderId],
    not_before: datetime,
    latest: datetime | None,
) -> list[datetime]:
    """Return ``not_before`` and the later times at which a possible supplier has more left."""
    if latest is not None and latest < not_before:
        return []
    classes = {class_ for group in request.groups for class_ in group.resources}
    times = {
        time
        for node in map(space.live, space.nodes)
        if node is not None and node.id not in rejected and _could_supply(request, space, node)
        for class_, use in node.provider.use.items()
        if class_ in classes
        for time in _drops(use)
        if time > not_before and (latest is None or time <= latest)
    }
    return [not_before, *sorted(times)]


def _could_supply(request: ClaimRequest, space: Space, node: Node) -> bool:
    """Whether the node could give a class to some group, were nothing in use."""
    return any(
        standing(space, node, group, given) == "fit"
        for group in request.groups
        for given in (
            [{class_: amount} for class_, amount in group.resources.items()]
            if split(group)
            else [group.resources]
        )
    )


def _drops(use: Use) -> Iterator[datetime]:
    """Yield the times at which the use goes down."""
    for segment, following in pairwise((*use, None)):
        assert segment is not None
        if segment.end is None:
            continue
        level = 0
        if following is not None and following.start == segment.end:
            level = following.used
        if level < segment.used:
            yield segment.end
