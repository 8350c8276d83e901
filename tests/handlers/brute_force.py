"""A plain model of capacity and quota: it counts every hour of every claim by itself."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from mulligan.handlers.claim import Claim
from mulligan.model import ClaimId

from .given import HOUR, NOON

OPEN = 10**6
"""The hour at which an open claim would end."""
AHEAD = 24
"""No window that has an end lies farther ahead: the last hour stands for all time after."""


class Part(NamedTuple):
    """What a claim holds of one provider over hours [start, end), and its turnaround after."""

    provider: str
    amount: int
    start: int
    end: int
    turnaround: int
    live: bool = True

    def given_back(self, hour: int, turnaround: int | None = None) -> "Part":
        """The part as it is when given back at an hour."""
        end = min(self.end, max(self.start, hour))
        kept = self.turnaround if turnaround is None or end < hour else turnaround
        return self._replace(end=end, turnaround=kept, live=False)

    @property
    def stop(self) -> int:
        """When its capacity is free again."""
        return self.end + self.turnaround if self.end > self.start else self.start


class Held(NamedTuple):
    """A claim's project, its window in hours, and all it ever held."""

    project: str
    start: int
    end: int
    parts: tuple[Part, ...]

    @property
    def live(self) -> list[Part]:
        return [part for part in self.parts if part.live]


Levels = list[int]
"""What is in use in every hour from now on."""


def capacity_levels(claims: Iterable[Held], provider: str, now: int) -> Levels:
    """Count what a provider gives."""
    spans = [
        (part.start, part.stop, part.amount)
        for claim in claims
        for part in claim.parts
        if part.provider == provider
    ]
    return count(spans, now)


def quota_levels(claims: Iterable[Held], projects: frozenset[str], now: int) -> Levels:
    """Count what projects use; a turnaround is not theirs."""
    spans = [
        (part.start, part.end, part.amount)
        for claim in claims
        if claim.project in projects
        for part in claim.parts
    ]
    return count(spans, now)


def count(spans: Iterable[tuple[int, int, int]], now: int) -> Levels:
    """Add up (start, end, amount) for every hour from ``now`` on."""
    levels = [0] * (AHEAD + 1)
    for start, end, amount in spans:
        for hour in range(max(start - now, 0), min(end - now, AHEAD + 1)):
            levels[hour] += amount
    return levels


class Bound(NamedTuple):
    """What may not be exceeded, and what is and would be in use."""

    limit: int
    before: Levels
    after: Levels

    @property
    def broken(self) -> bool:
        """Whether anywhere more would be used than allowed, and more than was."""
        return any(a > max(self.limit, b) for b, a in zip(self.before, self.after, strict=True))

    @property
    def exceeded(self) -> bool:
        """Whether anywhere more would be used than allowed."""
        return any(a > self.limit for a in self.after)


def held(claim: Claim) -> Held:
    """Read a claim's state in the terms of this model."""
    end = _hour(claim.end, OPEN)
    closed = _hour(claim.closed_at, OPEN)
    parts = []
    for hold in claim.allocations:
        start = _hour(claim.start, 0)
        if hold.since is not None:
            start = max(start, _hour(hold.since, 0))
        stop = min(end, closed, _hour(hold.until, OPEN))
        live = claim.state in {"reserved", "active"} and hold.until is None
        amount = sum(hold.amounts.values())
        part = Part(hold.provider, amount, start, max(start, stop), hold.turnaround // 3600, live)
        parts.append(part)
    return Held(claim.project, _hour(claim.start, 0), end, tuple(parts))


def _hour(time: datetime | None, otherwise: int) -> int:
    if time is None:
        return otherwise
    hours = (time - NOON) / HOUR
    assert hours == int(hours)
    return int(hours)


Claims = Mapping[ClaimId, Held]
