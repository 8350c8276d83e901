"""A plain model of claims and projects: what the events say, without any of the product's code."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from mulligan.events import claim as claims
from mulligan.events import project as projects
from mulligan.events.codec import Codec, Event
from mulligan.events.envelope import Entry
from mulligan.events.provider import InventoriesSet

CLASSES = frozenset({"gpu", "machine"})
"""What clients claim; a provider has one of them."""

FOREVER = datetime.max.replace(tzinfo=UTC)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A claim on one provider; ``closed`` is when it was given back, or ended."""

    provider: str
    amount: int
    start: datetime
    end: datetime
    turnaround: timedelta
    project: str
    closed: datetime = FOREVER
    state: str = "live"

    def span(self, *, planned: bool) -> tuple[datetime, datetime]:
        """Return over which time it takes capacity, as planned or as it came to be."""
        stop = self.end if planned else min(self.end, self.closed)
        if stop <= self.start:
            return self.start, self.start
        return self.start, stop if stop == FOREVER else stop + self.turnaround


class Books:
    """The state of everything after some entry; each is a value of its own."""

    def __init__(self) -> None:
        self.capacity: dict[str, int] = {}
        self.claims: dict[str, Held] = {}
        self.shut: frozenset[str] = frozenset()

    def after(self, entry: Entry, codec: Codec) -> "Books":
        """Return the books after one more entry."""
        books = Books()
        books.capacity, books.claims = dict(self.capacity), dict(self.claims)
        books.shut = self.shut
        for commit in entry.commits:
            for record in commit.events:
                if record.stream.startswith(("claim/", "project/", "provider/")):
                    _, _, key = record.stream.partition("/")
                    books._note(key, codec.event(record))
        return books

    def _note(self, key: str, event: Event) -> None:
        match event:
            case InventoriesSet():
                for class_, inventory in event.inventories.items():
                    if class_ in CLASSES:
                        self.capacity[key] = inventory.total
            case claims.ClaimMade():
                (allocation,) = event.allocations
                (amount,) = allocation.amounts.values()
                self.claims[key] = Held(
                    provider=allocation.provider,
                    amount=amount,
                    start=event.start,
                    end=event.end or FOREVER,
                    turnaround=timedelta(seconds=allocation.turnaround),
                    project=event.project,
                )
            case claims.ClaimReleased() | claims.ClaimCancelled():
                self._close(key, event.at, "released")
            case claims.ClaimEnded():
                self._close(key, event.planned, "ended")
            case projects.ProjectDisabled():
                self.shut |= {key}
            case projects.ProjectEnabled():
                self.shut -= {key}

    def _close(self, key: str, at: datetime, state: str) -> None:
        self.claims[key] = msgspec.structs.replace(self.claims[key], closed=at, state=state)

    def most_used(
        self,
        provider: str,
        since: datetime,
        until: datetime = FOREVER,
        *,
        planned: bool = False,
    ) -> int:
        """Return the most that is taken of a provider at any instant of [since, until)."""
        spans = [
            (*held.span(planned=planned and held.state == "live"), held.amount)
            for held in self.claims.values()
            if held.provider == provider
        ]
        instants = [since, *(start for start, _, _ in spans if since < start < until)]
        return max(sum(a for start, stop, a in spans if start <= t < stop) for t in instants)


def history(entries: Iterable[Entry]) -> list[Books]:
    """Return the books after each entry, the empty ones first."""
    codec, found = Codec(), [Books()]
    for entry in entries:
        found.append(found[-1].after(entry, codec))
    return found


def overbooked(books: Books, capacities: Mapping[str, int]) -> list[str]:
    """Say where more was taken than there is, at any instant that ever was or is to come."""
    beginning = datetime.min.replace(tzinfo=UTC)
    return [
        f"{provider} was overbooked: {most} of {capacity}"
        for provider, capacity in capacities.items()
        if (most := books.most_used(provider, beginning)) > capacity
    ]
