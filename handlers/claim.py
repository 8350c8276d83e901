"""Stream ``claim/…``: holds on capacity over a window.

A claim and the capacity it takes are one commit, as are a claim's end and the release of the
machines it held.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import InvalidArgument
from mulligan.events import claim as ev
from mulligan.events.claim import Allocation, Search
from mulligan.handlers import names, provider, quota
from mulligan.handlers.capabilities import has
from mulligan.handlers.decision import Change, Command, States, require_new
from mulligan.handlers.plans import PROFILES
from mulligan.handlers.project import require_open
from mulligan.handlers.provider import Provider
from mulligan.model import (
    MAX_AMOUNT,
    AccountId,
    ClaimId,
    ProjectId,
    ProviderId,
    ResourceClass,
    StreamId,
    stream_id,
)

State = Literal["reserved", "active", "ended", "released", "cancelled"]
LIVE: frozenset[State] = frozenset({"reserved", "active"})
ON_END = ("release", "keep_power_off")
MAX_NOTICE = 365 * 24 * 3600
SKEW = timedelta(minutes=1)
"""A start this long ago still means now: clocks differ, and requests travel."""


class Hold(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An allocation with its time, where that is not the claim's.

    ``since`` is when it joined a running claim, ``until`` when it was given back, None while held;
    what was given back before the claim's start was never used.
    """

    provider: ProviderId
    amounts: dict[ResourceClass, int]
    group: str = ""
    turnaround: int = 0
    since: datetime | None = None
    until: datetime | None = None


class Stranded(msgspec.Struct, frozen=True, kw_only=True):
    """A reservation whose provider failed, while no equal of it has room."""

    provider: ProviderId
    reason: str


class Claim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A claim; ``allocations`` keeps all that was taken, with what was given back early.

    ``warned`` is the end that its ending was announced for.
    """

    id: ClaimId
    project: ProjectId
    account: AccountId
    consumer: str
    start: datetime
    allocations: tuple[Hold, ...]
    state: State
    on_end: str
    ending_notice: int
    end: datetime | None = None
    closed_at: datetime | None = None
    name: str = ""
    search: Search | None = None
    warned: datetime | None = None
    stranded: tuple[Stranded, ...] = ()

    @property
    def held(self) -> tuple[Hold, ...]:
        """The allocations not given back yet."""
        return tuple(a for a in self.allocations if a.until is None)

    @property
    def notice_at(self) -> datetime | None:
        """When its ending is to be announced; None when that is done, or has no time."""
        if self.end is None or self.warned == self.end or not self.ending_notice:
            return None
        return max(self.start, self.end - timedelta(seconds=self.ending_notice))

    def usable(self, now: datetime) -> bool:
        """Whether its window is open at ``now``."""
        return self.state in LIVE and self.start <= now and (self.end is None or now < self.end)

    def span(self, hold: Hold) -> tuple[datetime, datetime | None]:
        """Return over which window the capacity of ``hold`` is taken, its turnaround included.

        A hold that joined at the very end is none, and has no turnaround.
        """
        start = self.start if hold.since is None else max(self.start, hold.since)
        if self.end is not None and self.end <= start:
            return start, start
        return start, after(self.end, hold.turnaround)


def after(time: datetime | None, seconds: int) -> datetime | None:
    """Return a time so many seconds later; an open end stays open."""
    return None if time is None else time + timedelta(seconds=seconds)


def evolve(state: Claim | None, event: ev.Event, at: datetime) -> Claim:
    """Return the claim as it is after the event."""
    if isinstance(event, ev.ClaimMade):
        return Claim(
            id=event.claim,
            project=event.project,
            account=event.account,
            consumer=event.consumer,
            start=event.start,
            end=event.end,
            allocations=_holds(event.allocations),
            state="active" if event.start <= at else "reserved",
            name=event.name,
            search=event.search,
            on_end=event.on_end,
            ending_notice=event.ending_notice,
        )
    assert state is not None, "the first event of a claim makes it"
    match event:
        case ev.ClaimStarted():
            return replace(state, state="active")
        case ev.ClaimEnding():
            return replace(state, warned=event.end)
        case ev.ClaimEnded():
            return replace(state, state="ended", closed_at=event.planned)
        case ev.ClaimRescheduled():
            return replace(state, start=event.start, end=event.end)
        case ev.ClaimMoved():
            return _moved(state, event)
        case ev.ClaimReshaped():
            return _reshaped(state, event)
        case ev.ClaimStranded():
            flag = Stranded(provider=event.provider, reason=event.reason)
            others = [s for s in state.stranded if s.provider != event.provider]
            return replace(state, stranded=(*others, flag))
        case ev.AllocationReleased():
            return replace(
                state,
                allocations=_left(state, event.provider, event.at),
                stranded=tuple(s for s in state.stranded if s.provider != event.provider),
            )
        case ev.ClaimReleased():
            return replace(state, state="released", closed_at=event.at)
        case ev.ClaimCancelled():
            return replace(state, state="cancelled", closed_at=event.at)
        case _:
            assert_never(event)


def _holds(allocations: Iterable[Allocation], since: datetime | None = None) -> tuple[Hold, ...]:
    return tuple(
        Hold(
            provider=a.provider,
            amounts=a.amounts,
            group=a.group,
            turnaround=a.turnaround,
            since=since,
        )
        for a in allocations
    )


def _left(state: Claim, provider_id: ProviderId, at: datetime) -> tuple[Hold, ...]:
    """Return the holds, those at one provider given back at ``at``."""
    return tuple(
        replace(hold, until=at) if hold.provider == provider_id and hold.until is None else hold
        for hold in state.allocations
    )


def _joined(state: Claim, at: datetime) -> datetime | None:
    """Return when what is added at ``at`` is held from; None for the claim's own start."""
    return at if at > state.start else None


def _moved(state: Claim, event: ev.ClaimMoved) -> Claim:
    stays = _left(state, event.source, event.at)
    return replace(
        state,
        allocations=(*stays, *_holds(event.targets, _joined(state, event.at))),
        stranded=tuple(s for s in state.stranded if s.provider != event.source),
    )


def _reshaped(state: Claim, event: ev.ClaimReshaped) -> Claim:
    """What was held is given back without a turnaround: the use only changes its place."""
    past = [
        replace(hold, until=event.at, turnaround=0) if hold.until is None else hold
        for hold in state.allocations
    ]
    kept = {a.provider for a in event.allocations}
    return replace(
        state,
        allocations=(*past, *_holds(event.allocations, _joined(state, event.at))),
        stranded=tuple(s for s in state.stranded if s.provider in kept),
    )


def check_window(start: datetime, end: datetime | None, now: datetime) -> None:
    """Raise InvalidArgument unless [start, end) is a window that has not passed."""
    if end is not None and end <= start:
        raise InvalidArgument("window.end", "the end is not after the start")
    if end is not None and end <= now:
        raise InvalidArgument("window.end", "the window lies in the past")
    if start < now - SKEW:
        raise InvalidArgument("window.start", "the start lies in the past; leave it out for now")


def check_ending(on_end: str, ending_notice: int) -> None:
    """Raise InvalidArgument unless these say what happens ahead of the end and at it."""
    if on_end not in ON_END:
        raise InvalidArgument("on_end", f"{on_end!r} is not one of {', '.join(ON_END)}")
    if not 0 <= ending_notice <= MAX_NOTICE:
        raise InvalidArgument("ending_notice", "give 0 (none) to 365 days")


class MakeClaim(Command, frozen=True, kw_only=True):
    """Take the allocations over [start, end), all or nothing; ``start`` None is now."""

    NAME: ClassVar = "claim.make"
    claim: ClaimId
    project: ProjectId
    account: AccountId
    allocations: tuple[Allocation, ...]
    start: datetime | None = None
    end: datetime | None = None
    name: str = ""
    consumer: str = ""
    search: Search | None = None
    on_end: str = "release"
    ending_notice: int = 3600

    def reads(self, states: States) -> list[StreamId]:
        """Read the claim, its name, the project's quotas, and every provider with those above."""
        streams = [stream_id("claim", self.claim), *quota.streams(states, self.project)]
        streams += provider.with_ancestors(states, (a.provider for a in self.allocations))
        if self.name:
            streams.append(names.name_stream("claim", self.name, self.project))
        return streams

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Check quotas and providers on exact state.

        Raise OverQuota, or DoesNotFit naming the first provider that has no room.
        """
        require_new(states, "claim", self.claim)
        check_ending(self.on_end, self.ending_notice)
        start = self.start if self.start is not None else now
        check_window(start, self.end, now)
        start = max(start, now)
        if not self.allocations:
            raise InvalidArgument("allocations", "a claim needs at least one allocation")
        require_open(states, self.project)
        quota.check_lease(states, self.project, start, self.end)
        self._check_capabilities(states)
        taking, allocations = take(states, self.claim, self.allocations, start, self.end)
        made = ev.ClaimMade(
            claim=self.claim,
            project=self.project,
            account=self.account,
            consumer=self.consumer or self.claim,
            start=start,
            end=self.end,
            allocations=allocations,
            name=self.name,
            search=self.search,
            on_end=self.on_end,
            ending_notice=self.ending_notice,
        )
        changes = [Change(stream_id("claim", self.claim), made)]
        if self.name:
            changes += names.assign(states, "claim", self.name, self.claim, self.project)
        changes += quota.taken(
            states, self.project, self.claim, amounts_of(self.allocations), start, self.end
        )
        return changes + taking

    def _check_capabilities(self, states: States) -> None:
        """Raise DoesNotFit where a provider that was found has lost a capability meanwhile."""
        if self.search is None or self.search.request is None:
            return
        demands = {g.name: g.capabilities for g in self.search.request.groups if g.single_provider}
        for allocation in self.allocations:
            demand = demands.get(allocation.group)
            state = provider.claimable(states, allocation.provider)
            if demand is not None and not has(state.capabilities, demand):
                raise provider.DoesNotFit(
                    allocation.provider,
                    f"provider {state.name} no longer has the capabilities asked for",
                )

    @classmethod
    def recalled(
        cls, changes: Sequence[Change], states: States, now: datetime
    ) -> Mapping[str, Any]:
        """Tell what was asked from what was made of it."""
        made = next((event for _, event in changes if isinstance(event, ev.ClaimMade)), None)
        if made is None:
            return {}
        allocations = tuple(replace(one, turnaround=0) for one in made.allocations)
        return {
            "claim": made.claim,
            "allocations": allocations,
            "start": None if made.start == now else made.start,
            "consumer": "" if made.consumer == made.claim else made.consumer,
        }


def take(
    states: States,
    claim: ClaimId,
    allocations: Iterable[Allocation],
    start: datetime,
    end: datetime | None,
) -> tuple[list[Change], tuple[Allocation, ...]]:
    """Take capacity; return the changes, and the allocations with their providers' turnarounds.

    Raise DoesNotFit naming the first provider that has no room, InvalidArgument for bad amounts.
    """
    changes: list[Change] = []
    turnarounds: dict[ProviderId, int] = {}
    given = tuple(allocations)
    for provider_id, amounts in totals(given).items():
        state = provider.claimable(states, provider_id)
        provider.check_open(states, state)
        until = after(end, state.turnaround)
        provider.check_fit(state, amounts, start, until)
        turnarounds[provider_id] = state.turnaround
        changes.append(provider.taken(provider_id, claim, amounts, start, until))
    return changes, tuple(replace(a, turnaround=turnarounds[a.provider]) for a in given)


def amounts_of(allocations: Iterable[Allocation | Hold]) -> dict[ResourceClass, int]:
    """Return what the allocations are together, by class."""
    total: dict[ResourceClass, int] = {}
    for allocation in allocations:
        for class_, amount in allocation.amounts.items():
            total[class_] = total.get(class_, 0) + amount
    return total


def totals(
    allocations: Iterable[Allocation],
) -> dict[ProviderId, dict[ResourceClass, int]]:
    """Return what is taken of each provider; raise InvalidArgument for bad classes and amounts."""
    total: dict[ProviderId, dict[ResourceClass, int]] = {}
    for index, allocation in enumerate(allocations):
        if not allocation.amounts:
            raise InvalidArgument(
                f"allocations[{index}].amounts", "take at least one resource class"
            )
        amounts = total.setdefault(allocation.provider, {})
        for class_, amount in allocation.amounts.items():
            field = f"allocations[{index}].amounts[{class_}]"
            provider.check_class(class_, field)
            if not 0 < amount <= MAX_AMOUNT:
                raise InvalidArgument(field, f"{amount} is not between 1 and {MAX_AMOUNT}")
            amounts[class_] = amounts.get(class_, 0) + amount
            if amounts[class_] > MAX_AMOUNT:
                raise InvalidArgument(field, "what is asked of this provider overflows 64 bits")
    return total


def claim_streams(claim: ClaimId, states: States) -> list[StreamId]:
    """Name a claim, all that it holds, and the quotas that count it."""
    stream = stream_id("claim", claim)
    state: Claim | None = states.get(stream)
    streams = [stream]
    if state is not None:
        streams += [stream_id("provider", a.provider) for a in state.held]
        machines = [stream_id("machine", a.provider) for a in state.held]
        streams += machines
        if any(_runs_on(states, machine, claim) for machine in machines):
            streams.append(PROFILES)
        streams += quota.streams(states, state.project)
        if state.name:
            streams.append(names.name_stream("claim", state.name, state.project))
    return streams


def _runs_on(states: States, machine: StreamId, claim: ClaimId) -> bool:
    """Whether a machine holds the claim: giving it back then starts its cleaning."""
    state = states.get(machine)
    return state is not None and state.claim == claim


def name_freed(states: States, claim: Claim) -> list[Change]:
    """Free the claim's name, if it has one."""
    if not claim.name:
        return []
    return names.free(states, "claim", claim.name, claim.id, claim.project)


def returning(
    states: States, claim: Claim, provider_id: ProviderId, until: datetime
) -> list[Change]:
    """Give back, from ``until`` on, what the claim takes of one provider, and the quota of it.

    What was in use stays taken for its turnaround; a reservation that had not begun leaves at once.
    """
    held: Provider | None = states.get(stream_id("provider", provider_id))
    changes: list[Change] = []
    for hold in claim.held:
        if hold.provider != provider_id:
            continue
        start, end = claim.span(hold)
        begun = until > start
        changes += quota.freed(
            states, claim.project, claim.id, hold.amounts, max(start, until), claim.end
        )
        free = until + timedelta(seconds=hold.turnaround) if begun else start
        if held is not None and not held.deleted and (end is None or free < end):
            changes.append(provider.freed(provider_id, claim.id, hold.amounts, free, end))
    return changes
