"""The whole search for a request: fetch a part of the fleet, solve, and look further if need be.

What it finds is a proposal, from the read model; whoever takes it does so on exact state.
"""

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import anyio.to_thread
import msgspec

from mulligan.errors import Exhausted
from mulligan.events.request import CapabilityDemand, ClaimRequest, RequestGroup
from mulligan.model import GroupId, ProviderId
from mulligan.placement.earliest import When, earliest
from mulligan.placement.fleet import Space
from mulligan.placement.nearest import Miss, nearest_misses
from mulligan.placement.solver import Candidate, Found, solve
from mulligan.quantities import format_time
from mulligan.queries.database import Database, Snapshot
from mulligan.queries.fleet import Loaded, load_sample, load_space
from mulligan.queries.fork import Fork
from mulligan.queries.why_not import WhyNot, why_not

T = TypeVar("T")

RANKED = 256
"""pack and spread rank the first so many that could do, found at a random place, not the fleet."""

BUDGET = 50_000
"""Steps of a search, some half a second at most; one that needs more is given up."""

_SMALL = 300
_SPARE = 4
_WIDER = 8
_TIMED = 256
_MOST = 20_000


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """Candidates over [start, end), and the space they were found in.

    ``breadth`` is how much of the fleet was fetched; ``considered`` counts providers looked at.
    """

    candidates: tuple[Candidate, ...]
    start: datetime
    end: datetime | None
    loaded: Loaded
    breadth: int
    considered: int


class Reasons(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request cannot be met: the first group that fails, by stage, and what is nearest."""

    group: str
    text: str
    counts: WhyNot
    nearest: tuple[Miss, ...]
    when: When | None

    def facts(self) -> dict[str, str]:
        """Return them for a program."""
        found = {"group": self.group, "considered": str(self.counts.considered)}
        found |= {f"dropped.{stage}": str(n) for stage, n in self.counts.stages().items()}
        found |= {f"nearest.{n}": f"{m.name}: {m.detail}" for n, m in enumerate(self.nearest)}
        if self.when is not None:
            found["earliest"] = self.when.start.astimezone(UTC).isoformat().replace("+00:00", "Z")
            found["earliest_exact"] = str(self.when.exact).lower()
        return found


async def find(
    database: Database | Snapshot,
    request: ClaimRequest,
    now: datetime,
    *,
    seed: int,
    limit: int = 1,
    rejected: Collection[ProviderId] = (),
    fork: Fork | None = None,
) -> Proposal:
    """Return candidates over the window asked for; for a duration, over the earliest that fits.

    Raise Exhausted when the search was given up before it could tell, InvalidArgument for a
    distance that the region does not know.
    """
    start, end = window_of(request, now)
    proposal = await find_at(
        database, request, start, end, seed=seed, limit=limit, rejected=rejected, fork=fork
    )
    if proposal.candidates or request.span.duration is None:
        return proposal
    when = await when_fits(database, request, start, seed=seed, fork=fork, exactly=True)
    if when is None or when.start == start:
        return proposal
    return await find_at(
        database,
        request,
        when.start,
        when.end,
        seed=seed,
        limit=limit,
        rejected=rejected,
        fork=fork,
    )


def window_of(request: ClaimRequest, now: datetime) -> tuple[datetime, datetime | None]:
    """Return the window to try first."""
    span = request.span
    if span.duration is None:
        return max(span.start or now, now), span.end
    start = max(span.not_before or now, now)
    return start, start + timedelta(seconds=span.duration)


async def find_at(
    database: Database | Snapshot,
    request: ClaimRequest,
    start: datetime,
    end: datetime | None,
    *,
    seed: int,
    limit: int = 1,
    rejected: Collection[ProviderId] = (),
    fork: Fork | None = None,
    breadth: int = 0,
) -> Proposal:
    """Return candidates over [start, end); with a ``breadth``, among so much of the fleet only."""
    considered = 0
    wanted = breadth or first_breadth(request, limit)
    while True:
        loaded = await load_space(
            database, request, start, end, seed=seed, breadth=wanted, fork=fork
        )
        considered += loaded.considered
        found = await solved(request, loaded.space, start, end, rejected=rejected, limit=limit)
        enough = len(found.candidates) >= limit or loaded.complete or bool(breadth)
        if enough or not found.complete or wanted >= _MOST:
            break
        wanted *= _WIDER
    require_finished(found, loaded, wanted)
    return Proposal(
        candidates=found.candidates,
        start=start,
        end=end,
        loaded=loaded,
        breadth=wanted,
        considered=considered,
    )


async def solved(
    request: ClaimRequest,
    space: Space,
    start: datetime,
    end: datetime | None,
    *,
    rejected: Collection[ProviderId] = (),
    limit: int = 1,
) -> Found:
    """Solve; what may take long does so beside the event loop, not on it."""
    search = partial(
        solve, request, space, start, end, rejected=rejected, limit=limit, budget=BUDGET
    )
    return await _apart(search, len(space.order) * len(request.groups) + limit)


async def _apart(work: Callable[[], T], size: int) -> T:
    """Run work at once when it is small, else in a thread."""
    return work() if size <= _SMALL else await anyio.to_thread.run_sync(work)


def require_finished(found: Found, loaded: Loaded, breadth: int) -> None:
    """Raise Exhausted when a search ended without an answer."""
    if found.candidates:
        return
    if not found.complete:
        raise Exhausted(
            f"the search was given up after {found.steps} steps without an answer; ask for less at"
            " once, or loosen isolate, same_subtree or distances"
        )
    if not loaded.complete and breadth >= _MOST:
        raise Exhausted(
            f"the search looked at {loaded.considered} providers and found nothing, and cannot rule"
            " out that others would do; ask for less at once, or name the tree to look in"
        )


def first_breadth(request: ClaimRequest, limit: int) -> int:
    """Return how much of the fleet to fetch first."""
    least = sum(group.count for group in request.groups) + _SPARE + limit - 1
    return max(least, RANKED) if request.policy in {"pack", "spread"} else least


async def when_fits(
    database: Database | Snapshot,
    request: ClaimRequest,
    not_before: datetime,
    *,
    seed: int = 0,
    fork: Fork | None = None,
    exactly: bool = False,
) -> When | None:
    """Return the earliest window that fits, as far as is known now; None when none was found.

    Unless ``exactly``, only the part of the fleet that is free soonest is looked at.
    """
    span = request.span
    if span.duration is not None:
        duration: timedelta | None = timedelta(seconds=span.duration)
    else:
        start, end = window_of(request, not_before)
        duration = None if end is None else end - start
        not_before = start
    breadth = _TIMED
    while True:
        loaded = await load_space(
            database,
            request,
            not_before,
            None if duration is None else not_before + duration,
            seed=seed,
            breadth=breadth,
            fork=fork,
            any_time=True,
        )
        search = partial(
            earliest,
            request,
            loaded.space,
            duration=duration,
            not_before=not_before,
            not_after=span.not_after,
            budget=BUDGET,
        )
        when = await _apart(search, len(loaded.space.order))
        if loaded.complete or breadth >= _MOST or (when is not None and not exactly):
            break
        breadth *= _WIDER
    if when is not None and not loaded.complete:
        return msgspec.structs.replace(when, exact=False)
    return when


async def reasons(
    database: Database | Snapshot,
    request: ClaimRequest,
    start: datetime,
    end: datetime | None,
    *,
    fork: Fork | None = None,
    openly: bool = True,
) -> Reasons:
    """Return why nothing fits, looking at the whole fleet; ``when`` may be after ``not_after``.

    Unless ``openly``, they say of what is in use only that not enough is free, and when it is.
    """
    group, counts = await _failing(database, request, start, end, fork)
    shape = counts if openly else counts.of_shape()
    if openly:
        near = await _nearest(database, group, start, end, fork)
    else:
        near = () if shape.capacity else await _alike(database, group, start, end, fork)
    span = msgspec.structs.replace(request.span, not_after=None)
    patient = msgspec.structs.replace(request, span=span)
    when = await when_fits(database, patient, start, fork=fork)
    if when is not None and when.start <= start:
        when = None
    ties = await _ties(database, request, start, end, fork) if counts.fit else ()
    said = _said(group, counts, ties) if openly else _hinted(group, shape, ties)
    text = said + _where_and_when(near, when)
    return Reasons(group=group.name, text=text, counts=shape, nearest=near, when=when)


async def _failing(
    database: Database | Snapshot,
    request: ClaimRequest,
    start: datetime,
    end: datetime | None,
    fork: Fork | None,
) -> tuple[RequestGroup, WhyNot]:
    """Return the group for which the fewest providers do, with the counts."""
    counted = [
        (group, await why_not(database, group, start, end, fork=fork)) for group in request.groups
    ]
    return min(counted, key=lambda found: (not _never(*found) and found[1].fit > 0, found[1].fit))


def _never(group: RequestGroup, counts: WhyNot) -> bool:
    """Whether what suits the group has too little room for all instances, even if it were idle."""
    return counts.idle is not None and 0 < counts.idle < group.count


async def _nearest(
    database: Database | Snapshot,
    group: RequestGroup,
    start: datetime,
    end: datetime | None,
    fork: Fork | None,
) -> tuple[Miss, ...]:
    """Look among those that lack nothing but time, and among all that offer the classes."""
    alone = msgspec.structs.replace(group, count=1)
    names = await _group_names(database, group)
    timely = await load_space(
        database,
        ClaimRequest(groups=(alone,)),
        start,
        end,
        seed=0,
        breadth=64,
        fork=fork,
        any_time=True,
    )
    spaces = [timely.space, await load_sample(database, group, fork=fork)]
    for space in spaces:
        found = nearest_misses(alone, space, start, end, names=names)
        if found:
            return found
    return ()


async def _alike(
    database: Database | Snapshot,
    group: RequestGroup,
    start: datetime,
    end: datetime | None,
    fork: Fork | None,
) -> tuple[Miss, ...]:
    """Look among those that offer the classes as if nothing were used and all were open."""
    alone = msgspec.structs.replace(group, count=1)
    sample = await load_sample(database, group, fork=fork)
    idle = [
        msgspec.structs.replace(
            node, provider=msgspec.structs.replace(node.provider, use={}, cordons={})
        )
        for node in sample.nodes.values()
    ]
    order = sorted(sample.order, key=lambda one: sample.nodes[one].provider.name)
    names = await _group_names(database, group)
    return nearest_misses(alone, Space(idle, order), start, end, names=names)


async def _group_names(database: Database | Snapshot, group: RequestGroup) -> dict[GroupId, str]:
    ids = [*group.groups.forbid, *(g for choice in group.groups.any_of for g in choice)]
    if not ids:
        return {}
    rows = await database.fetch(
        "SELECT key, state::json->>'name' AS name FROM rm_providers.provider_group"
        " WHERE key = ANY($1::text[])",
        ids,
    )
    return {GroupId(row["key"]): row["name"] for row in rows}


async def _ties(
    database: Database | Snapshot,
    request: ClaimRequest,
    start: datetime,
    end: datetime | None,
    fork: Fork | None,
) -> tuple[str, ...]:
    """Return what ties the groups together without which it would fit, by its own."""
    loose: dict[str, ClaimRequest] = {
        "isolate": msgspec.structs.replace(request, isolate=()),
        "same_subtree": msgspec.structs.replace(request, same_subtree=()),
        "distances": msgspec.structs.replace(request, distances=()),
        "same_tree": msgspec.structs.replace(request, same_tree=False),
        "root_capabilities": msgspec.structs.replace(request, root_capabilities=CapabilityDemand()),
    }
    found = []
    for name, without in loose.items():
        if without == request:
            continue
        try:
            proposal = await find_at(database, without, start, end, seed=0, fork=fork)
        except Exhausted:
            continue
        if proposal.candidates:
            found.append(name)
    return tuple(found)


def _said(group: RequestGroup, counts: WhyNot, ties: tuple[str, ...]) -> str:
    name = _called(group)
    times = f" {group.count} times" if group.count > 1 else ""
    if _never(group, counts):
        return f"{_too_many(group, counts)}; {counts.text(group)}"
    if not counts.fit:
        return f"{name} fits nowhere: {counts.text(group)}"
    if ties:
        said = f"it would fit without {' or without '.join(ties)}; {counts.fit} providers could do"
        return f"{said} for {name}: {counts.text(group)}"
    could = "1 provider" if counts.fit == 1 else f"{counts.fit} providers"
    said = f"{name} does not fit{times or ' together with the others'}: {could} could take it"
    return f"{said} by itself; {counts.text(group)}"


def _hinted(group: RequestGroup, shape: WhyNot, ties: tuple[str, ...]) -> str:
    """Say as much as holds whoever uses what."""
    name = _called(group)
    if not shape.capacity:
        return f"{name} fits nowhere: {shape.text(group)}"
    if _never(group, shape):
        return _too_many(group, shape)
    suits = _suiting(shape.capacity)
    said = f"{name} does not fit: {suits} it, and not enough is free in the window"
    return f"{said}; it would fit without {' or without '.join(ties)}" if ties else said


def _too_many(group: RequestGroup, counts: WhyNot) -> str:
    """Say that so many instances never fit, and how many would if nothing were in use."""
    suiting = counts.cordoned + counts.capacity + counts.fit
    return (
        f"{_called(group)} never fits {group.count} times at once: {_suiting(suiting)} it, with"
        f" room for {counts.idle} in all if nothing is in use; ask for no more (--count"
        f" {counts.idle})"
    )


def _suiting(number: int) -> str:
    return "1 provider suits" if number == 1 else f"{number} providers suit"


def _called(group: RequestGroup) -> str:
    return f"group {group.name!r}" if group.name else "the request"


def _where_and_when(near: tuple[Miss, ...], when: When | None) -> str:
    said = ""
    if near:
        said += "; nearest: " + ", ".join(f"{miss.name} ({miss.detail})" for miss in near)
    if when is not None:
        by = "from" if when.exact else "at the latest from"
        said += f"; it would fit {by} {format_time(when.start)}"
    return said
