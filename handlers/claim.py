"""Stream ``claim/…``: holds on capacity over a window.

A claim and the capacity it takes are one commit, as are a claim's end and the release of the
machines it held.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar, Literal, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.events import claim as ev
from mulligan.events.claim import Allocation, Search
from mulligan.handlers import machine_release, names, provider
from mulligan.handlers.decision import Change, Command, States, existing, require_new
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


class Claim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A claim; ``allocations`` keeps all that was taken, ``returned`` what was given back early."""

    id: ClaimId
    project: ProjectId
    account: AccountId
    consumer: str
    start: datetime
    allocations: tuple[Allocation, ...]
    state: State
    end: datetime | None = None
    closed_at: datetime | None = None
    name: str = ""
    returned: tuple[ProviderId, ...] = ()
    search: Search | None = None

    @property
    def held(self) -> tuple[Allocation, ...]:
        """The allocations not given back yet."""
        return tuple(a for a in self.allocations if a.provider not in self.returned)

    def usable(self, now: datetime) -> bool:
        """Whether its window is open at ``now``."""
        return self.state in LIVE and self.start <= now and (self.end is None or now < self.end)


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
            allocations=event.allocations,
            state="active" if event.start <= at else "reserved",
            name=event.name,
            search=event.search,
        )
    assert state is not None, "the first event of a claim makes it"
    match event:
        case ev.ClaimStarted():
            return replace(state, state="active")
        case ev.ClaimEnded():
            return replace(state, state="ended", closed_at=event.planned)
        case ev.AllocationReleased():
            return replace(state, returned=(*state.returned, event.provider))
        case ev.ClaimReleased():
            return replace(state, state="released", closed_at=event.at)
        case ev.ClaimCancelled():
            return replace(state, state="cancelled", closed_at=event.at)
        case _:
            assert_never(event)


def check_window(start: datetime, end: datetime | None, now: datetime) -> None:
    """Raise InvalidArgument unless [start, end) is a window that has not passed."""
    if end is not None and end <= start:
        raise InvalidArgument("window.end", "the end is not after the start")
    if end is not None and end <= now:
        raise InvalidArgument("window.end", "the window lies in the past")


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

    def reads(self, states: States) -> list[StreamId]:
        """Read the claim, its name and every provider."""
        streams = [stream_id("claim", self.claim)]
        streams += [stream_id("provider", a.provider) for a in self.allocations]
        if self.name:
            streams.append(names.name_stream("claim", self.name, self.project))
        return streams

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Check every provider on exact state; raise DoesNotFit naming the first that cannot."""
        require_new(states, "claim", self.claim)
        start = max(self.start, now) if self.start is not None else now
        check_window(start, self.end, now)
        if not self.allocations:
            raise InvalidArgument("allocations", "a claim needs at least one allocation")
        totals = _totals(self.allocations)
        for provider_id, amounts in totals.items():
            state = provider.claimable(states, provider_id)
            provider.check_fit(state, amounts, start, self.end)
        made = ev.ClaimMade(
            claim=self.claim,
            project=self.project,
            account=self.account,
            consumer=self.consumer or self.claim,
            start=start,
            end=self.end,
            allocations=self.allocations,
            name=self.name,
            search=self.search,
        )
        changes = [Change(stream_id("claim", self.claim), made)]
        if self.name:
            changes += names.assign(states, "claim", self.name, self.claim, self.project)
        for provider_id, amounts in totals.items():
            changes.append(provider.taken(provider_id, self.claim, amounts, start, self.end))
        return changes


def _totals(
    allocations: Iterable[Allocation],
) -> dict[ProviderId, dict[ResourceClass, int]]:
    totals: dict[ProviderId, dict[ResourceClass, int]] = {}
    for index, allocation in enumerate(allocations):
        if not allocation.amounts:
            raise InvalidArgument(
                f"allocations[{index}].amounts", "take at least one resource class"
            )
        amounts = totals.setdefault(allocation.provider, {})
        for class_, amount in allocation.amounts.items():
            field = f"allocations[{index}].amounts[{class_}]"
            provider.check_class(class_, field)
            if not 0 < amount <= MAX_AMOUNT:
                raise InvalidArgument(field, f"{amount} is not between 1 and {MAX_AMOUNT}")
            amounts[class_] = amounts.get(class_, 0) + amount
    return totals


def _claim_streams(claim: ClaimId, states: States) -> list[StreamId]:
    stream = stream_id("claim", claim)
    state: Claim | None = states.get(stream)
    streams = [stream]
    if state is not None:
        streams += [stream_id("provider", a.provider) for a in state.held]
        streams += [stream_id("machine", a.provider) for a in state.held]
        if state.name:
            streams.append(names.name_stream("claim", state.name, state.project))
    return streams


def _closing(states: States, claim: Claim, until: datetime, now: datetime) -> list[Change]:
    changes: list[Change] = []
    for provider_id in dict.fromkeys(a.provider for a in claim.held):
        changes += returning(states, claim, provider_id, until)
        changes += machine_release.released(states, provider_id, claim.id, now)
    return changes + name_freed(states, claim)


def name_freed(states: States, claim: Claim) -> list[Change]:
    """Free the claim's name, if it has one."""
    if not claim.name:
        return []
    return names.free(states, "claim", claim.name, claim.id, claim.project)


def returning(
    states: States, claim: Claim, provider_id: ProviderId, until: datetime
) -> list[Change]:
    """Give back, from ``until`` on, what the claim takes of one provider."""
    start = max(claim.start, until)
    held: Provider | None = states.get(stream_id("provider", provider_id))
    if held is None or held.deleted or (claim.end is not None and claim.end <= start):
        return []
    return [
        provider.freed(provider_id, claim.id, a.amounts, start, claim.end)
        for a in claim.held
        if a.provider == provider_id
    ]


class ReleaseClaim(Command, frozen=True, kw_only=True):
    """Give a claim back: its machines are cleaned, its capacity is free from now on."""

    NAME: ClassVar = "claim.release"
    claim: ClaimId

    def reads(self, states: States) -> list[StreamId]:
        """Read the claim, then all that it holds."""
        return _claim_streams(self.claim, states)

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Release, or cancel what has not begun; nothing when that is already so."""
        claim = existing(states, "claim", self.claim, Claim)
        if claim.state in {"released", "cancelled"}:
            return []
        if claim.state == "ended":
            raise FailedPrecondition("the claim has ended by itself already")
        changes = _closing(states, claim, now, now)
        event: ev.Event = ev.ClaimReleased(at=now)
        if now < claim.start:
            event = ev.ClaimCancelled(at=now)
        return [Change(stream_id("claim", self.claim), event), *changes]


class StartClaim(Command, frozen=True, kw_only=True):
    """Note that a reservation's window has opened."""

    NAME: ClassVar = "claim.start"
    claim: ClaimId

    def reads(self, states: States) -> list[StreamId]:
        """Read the claim."""
        return [stream_id("claim", self.claim)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Emit it once, not before its time."""
        claim = existing(states, "claim", self.claim, Claim)
        if claim.state != "reserved" or now < claim.start:
            return []
        event = ev.ClaimStarted(planned=claim.start, actual=now)
        return [Change(stream_id("claim", self.claim), event)]


class EndClaim(Command, frozen=True, kw_only=True):
    """Note that a claim's window has closed, and take its machines back."""

    NAME: ClassVar = "claim.end"
    claim: ClaimId

    def reads(self, states: States) -> list[StreamId]:
        """Read the claim, then all that it holds."""
        return _claim_streams(self.claim, states)

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Emit it once, not before its time; the capacity is free by the window itself."""
        claim = existing(states, "claim", self.claim, Claim)
        if claim.state not in LIVE or claim.end is None or now < claim.end:
            return []
        event = ev.ClaimEnded(planned=claim.end, actual=now)
        return [
            Change(stream_id("claim", self.claim), event),
            *_closing(states, claim, claim.end, now),
        ]
