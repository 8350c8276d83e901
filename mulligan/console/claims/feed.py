"""What the time line asks of a region: who stands where, and who holds what when."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import anyio

from mulligan.console.brief import Place
from mulligan.console.claims.draw import GanttClaim
from mulligan.console.source import Source
from mulligan.errors import MulliganError
from mulligan.proto.v1 import (
    Allocation,
    Claim,
    ClaimState,
    ListClaimsRequest,
    LogFilter,
    Page,
    Window,
)
from mulligan.quantities import format_amount
from mulligan.wording import natural, word

AT_ONCE = 8
"""Providers that are asked for at once."""
PER_ROW = 200
"""Claims of one provider that are shown at most."""
KEPT = 2_000
"""Providers whose claims are held; those out of sight longest give way."""
ANY = [
    ClaimState.RESERVED,
    ClaimState.ACTIVE,
    ClaimState.ENDED,
    ClaimState.RELEASED,
    ClaimState.CANCELLED,
]


class GanttRow(NamedTuple):
    """A provider: how deep it stands, and whether others stand under it."""

    uuid: str
    name: str
    depth: int = 0
    heading: bool = False


class GanttFeed(Protocol):
    """Providers and claims as the time line reads them."""

    def rows(self) -> AsyncIterator[list[GanttRow]]:
        """Yield all rows in the order of the tree, more of them each time."""
        ...

    async def claims(self, provider: str, start: datetime, end: datetime) -> Sequence[GanttClaim]:
        """Return the claims of a provider that touch [start, end)."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """Yield whenever some claim has changed."""
        ...


class RegionClaims:
    """Claims of a region, through the console's source."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def rows(self) -> AsyncIterator[list[GanttRow]]:
        """Yield rows as pages of machines come in."""
        places = await self._source.places()
        machines: list[Place] = []
        shown = 0
        async for page in self._source.machine_places():
            machines += page
            if len(machines) >= 2 * shown:  # not with each page: putting all in order takes time
                shown = len(machines)
                yield rows_of(places, machines)
        if shown != len(machines) or not machines:
            yield rows_of(places, machines)

    async def claims(self, provider: str, start: datetime, end: datetime) -> Sequence[GanttClaim]:
        """Return the claims of a provider that touch [start, end), at most ``PER_ROW``."""
        request = ListClaimsRequest(
            states=list(ANY),
            provider=provider,
            window=Window(start=start, end=end),
            page=Page(size=PER_ROW),
        )
        client, deadline = self._source.client, self._source.deadline
        answer = await client.resource.list_claims(request, timeout=deadline)
        return [held for one in answer.claims for held in held_at(one, provider)]

    async def changes(self) -> AsyncIterator[None]:
        """Yield whenever a claim has changed; never in the past."""
        if not self._source.live:
            return
        async for _ in self._source.watch(only=LogFilter(kind="claim")):
            yield None


def rows_of(places: Iterable[Place], machines: Iterable[Place]) -> list[GanttRow]:
    """Return providers as rows: each place, then what stands under it, by name.

    What is built into a machine has no row of its own.
    """
    below: dict[str, list[Place]] = {}
    known = {one.uuid: one for one in places}
    leaves = {one.uuid for one in machines} - known.keys()
    everything = {**known, **{one.uuid: one for one in machines}}
    for one in everything.values():
        below.setdefault(one.parent if one.parent in everything else "", []).append(one)
    found: list[GanttRow] = []
    left = [(one, 0) for one in _in_order(below.get("", []), leaves)]
    while left:
        one, depth = left.pop()
        inner = below.get(one.uuid, []) if one.uuid not in leaves else []
        heading = bool(inner)
        found.append(GanttRow(one.uuid, one.name, depth, heading))
        left += [(each, depth + 1) for each in _in_order(inner, leaves)]
    return found


def _in_order(places: Iterable[Place], leaves: "set[str]") -> list[Place]:
    """Return siblings so that the last is shown first; machines come after places."""
    return sorted(places, key=lambda one: (one.uuid in leaves, natural(one.name)), reverse=True)


def held_at(claim: Claim, provider: str) -> list[GanttClaim]:
    """Return what a claim holds at a provider, and held there."""
    return [_held(claim, one) for one in claim.allocations if one.provider == provider]


def _held(claim: Claim, one: Allocation) -> GanttClaim:
    window = claim.window
    begin = window.start if window else None
    end = window.end if window else None
    state = word(claim.state)
    return GanttClaim(
        uuid=claim.uuid,
        name=claim.name or claim.uuid,
        state=state if one.until is None else "released",
        project=claim.project,
        account=claim.account,
        start=one.since or begin or claim.created_at or datetime.now(UTC),
        end=one.until or end,
        claim_end=end,
        turnaround=one.turnaround or timedelta(0),
        amounts=" ".join(f"{k}={format_amount(k, n)}" for k, n in sorted(one.amounts.items())),
        providers=len({each.provider for each in claim.allocations}),
        stranded=bool(claim.stranded),
    )


class Held:
    """Claims by provider, over a stretch of time, as far as they were asked for."""

    def __init__(self, feed: GanttFeed) -> None:
        self._feed = feed
        self._known: OrderedDict[str, Sequence[GanttClaim]] = OrderedDict()
        self._old: set[str] = set()
        self.start = self.end = datetime.min.replace(tzinfo=UTC)

    def covers(self, start: datetime, end: datetime) -> bool:
        """Tell whether what is known is of all of [start, end)."""
        return self.start <= start and end <= self.end

    def begin(self, start: datetime, end: datetime) -> None:
        """Ask for another stretch from now on; what is known is shown until then."""
        self.start, self.end = start, end
        self.grow_old()

    def grow_old(self) -> None:
        """Have everything asked for again once it is in sight."""
        self._old = set(self._known)

    def of(self, provider: str) -> Sequence[GanttClaim]:
        """Return the claims of a provider as far as they are known."""
        return self._known.get(provider, ())

    def missing(self, providers: Iterable[str]) -> list[str]:
        """Return the providers that have to be asked for."""
        return [one for one in providers if one not in self._known or one in self._old]

    async def learn(self, providers: Sequence[str]) -> Mapping[str, Sequence[GanttClaim]]:
        """Ask for the claims of providers, some at once; raise what the first that fails raises."""
        limit = anyio.Semaphore(AT_ONCE)
        start, end = self.start, self.end
        failed: list[MulliganError] = []

        async def one(provider: str) -> None:
            async with limit:
                if failed:
                    return
                try:
                    found = await self._feed.claims(provider, start, end)
                except MulliganError as error:
                    failed.append(error)
                    return
            if (start, end) == (self.start, self.end):
                self._known[provider] = found
                self._known.move_to_end(provider)
                self._old.discard(provider)

        async with anyio.create_task_group() as tasks:
            for provider in providers:
                tasks.start_soon(one, provider)
        while len(self._known) > KEPT:
            gone, _ = self._known.popitem(last=False)
            self._old.discard(gone)
        if failed:
            raise failed[0]
        return self._known
