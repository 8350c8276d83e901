"""What becomes of a claim after it was made: another window, other providers, a mark."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from msgspec.structs import replace

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.events import claim as ev
from mulligan.events import provider as provider_events
from mulligan.events.claim import Allocation
from mulligan.events.provider import Inventory
from mulligan.handlers import machine_release, provider, quota, usage
from mulligan.handlers.claim import (
    LIVE,
    SKEW,
    Claim,
    Stranded,
    after,
    amounts_of,
    claim_streams,
    returning,
    take,
    totals,
)
from mulligan.handlers.decision import Change, Command, States, existing
from mulligan.handlers.kinds import KINDS
from mulligan.handlers.provider import Provider
from mulligan.model import ClaimId, ProviderId, ResourceClass, StreamId, stream_id, stream_kind

MAX_RESHAPED = 100


def _live(states: States, claim_id: ClaimId, verb: str, now: datetime) -> Claim:
    """Return a claim that may still change: past its end, others may have had its capacity."""
    claim = existing(states, "claim", claim_id, Claim)
    if claim.state not in LIVE:
        raise FailedPrecondition(f"the claim is {claim.state}; only a live one can be {verb}")
    if claim.end is not None and claim.end <= now:
        raise FailedPrecondition(f"the claim is at its end and cannot be {verb}; make another")
    return claim


def _applied(states: States, changes: Iterable[Change], now: datetime) -> dict[StreamId, Any]:
    """Return the states as they are after the changes, for what is decided on top of them."""
    after_all = dict(states)
    for stream, event in changes:
        evolve = KINDS[stream_kind(stream)].evolve
        after_all[stream] = evolve(after_all.get(stream), event, now)
    return after_all


class RescheduleClaim(Command, frozen=True, kw_only=True):
    """Give a claim another start, another end, or both; None leaves it.

    ``open_end`` takes the end away. The start moves only ahead of it; an end is never put in the
    past. What is added must fit, by capacity and quota.
    """

    NAME: ClassVar = "claim.reschedule"
    claim: ClaimId
    start: datetime | None = None
    end: datetime | None = None
    open_end: bool = False

    def reads(self, states: States) -> list[StreamId]:
        """Read the claim, what it holds with those above, and its quotas."""
        streams = claim_streams(self.claim, states)
        state: Claim | None = states.get(stream_id("claim", self.claim))
        held = () if state is None else state.held
        return streams + provider.with_ancestors(states, (h.provider for h in held))

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Free what is not needed any more, take what is, and note the new window."""
        claim = _live(states, self.claim, "rescheduled", now)
        start, end = self._window(claim, now)
        if (start, end) == (claim.start, claim.end):
            return []
        if end is not None and end <= start:
            raise InvalidArgument("window.end", "the end is not after the start")
        if _longer(claim, start, end):
            quota.check_lease(states, claim.project, start, end)
        event = ev.ClaimRescheduled(start=start, end=end)
        return [
            Change(stream_id("claim", claim.id), event),
            *_quota_moved(states, claim, start, end, now),
            *_capacity_moved(states, claim, start, end, now),
        ]

    def _window(self, claim: Claim, now: datetime) -> tuple[datetime, datetime | None]:
        start = claim.start
        if self.start is not None and self.start != claim.start:
            if claim.state != "reserved" or now >= claim.start:
                raise FailedPrecondition("the claim has begun; only its end can be changed now")
            if self.start < now - SKEW:
                raise InvalidArgument("window.start", "the start lies in the past")
            start = max(self.start, now)
        end = None if self.open_end else claim.end
        if self.end is not None:
            if self.end < now - SKEW:
                raise InvalidArgument("window.end", "the end lies in the past")
            end = max(self.end, now)
        return start, end


Span = tuple[datetime, datetime | None]


def _spans(
    start: datetime, end: datetime | None, less_start: datetime, less_end: datetime | None
) -> list[Span]:
    """Return [start, end) without [less_start, less_end)."""
    found: list[Span] = []
    head = _earlier(end, less_start)
    if head is not None and start < head:
        found.append((start, head))
    if less_end is not None:
        tail = max(start, less_end)
        if end is None or tail < end:
            found.append((tail, end))
    return found


def _earlier(a: datetime | None, b: datetime | None) -> datetime | None:
    if a is None or b is None:
        return a if b is None else b
    return min(a, b)


def _longer(claim: Claim, start: datetime, end: datetime | None) -> bool:
    if end is None:
        return claim.end is not None or start < claim.start
    if claim.end is None:
        return False
    return end - start > claim.end - claim.start


def _quota_moved(
    states: States, claim: Claim, start: datetime, end: datetime | None, now: datetime
) -> list[Change]:
    """Free what is given up, then take what is added: a window that only moves needs no more."""
    amounts = amounts_of(claim.held)
    changes: list[Change] = []
    for begin, stop in _spans(claim.start, claim.end, start, end):
        changes += quota.freed(states, claim.project, claim.id, amounts, begin, stop)
    freed = _applied(states, changes, now)
    for begin, stop in _spans(start, end, claim.start, claim.end):
        changes += quota.taken(freed, claim.project, claim.id, amounts, begin, stop)
    return changes


def _capacity_moved(
    states: States, claim: Claim, start: datetime, end: datetime | None, now: datetime
) -> list[Change]:
    """Free and take the difference of every hold's windows.

    Raise DoesNotFit where what is added has no room. Holds at one provider may have different
    windows, so each is checked with those before it in place.
    """
    moved = replace(claim, start=start, end=end)
    moves = [(hold, claim.span(hold), moved.span(hold)) for hold in claim.held]
    changes = [
        provider.freed(hold.provider, claim.id, hold.amounts, *span)
        for hold, old, new in moves
        for span in _spans(*old, *new)
    ]
    current = _applied(states, changes, now)
    for hold, old, new in moves:
        for span in _spans(*new, *old):
            state = provider.claimable(current, hold.provider)
            provider.check_room(state, hold.amounts, *span)
            taken = provider.taken(hold.provider, claim.id, hold.amounts, *span)
            current = _applied(current, [taken], now)
            changes.append(taken)
    return changes


class MoveClaim(Command, frozen=True, kw_only=True):
    """Release what a claim holds at ``source`` and take as much at ``target``, in one commit.

    A machine that runs for the claim is taken back and cleaned.
    """

    NAME: ClassVar = "claim.move"
    claim: ClaimId
    source: ProviderId
    target: ProviderId
    reason: str = ""

    def reads(self, states: States) -> list[StreamId]:
        """Read the claim and what it holds, and the target with those above it."""
        streams = claim_streams(self.claim, states)
        return streams + provider.with_ancestors(states, (self.target,))

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Take first: what does not fit there moves nothing."""
        claim = _live(states, self.claim, "moved", now)
        held = [h for h in claim.held if h.provider == self.source]
        if not held:
            raise FailedPrecondition("the claim holds nothing at the provider to move from")
        if self.source == self.target:
            raise InvalidArgument("target", "is where the claim is already")
        start = max(claim.start, now)
        wanted = [Allocation(provider=self.target, amounts=h.amounts, group=h.group) for h in held]
        taking, targets = take(states, claim.id, wanted, start, claim.end)
        event = ev.ClaimMoved(source=self.source, targets=targets, at=now, reason=self.reason)
        leaving = [
            change
            for change in returning(states, claim, self.source, now)
            if stream_kind(change.stream) == "provider"
        ]
        changes = [Change(stream_id("claim", claim.id), event), *leaving, *taking]
        return changes + machine_release.released(states, self.source, claim.id, now)


class FlagStranded(Command, frozen=True, kw_only=True):
    """Mark a reservation whose provider failed and that fits nowhere else."""

    NAME: ClassVar = "claim.strand"
    claim: ClaimId
    provider: ProviderId
    reason: str

    def reads(self, states: States) -> list[StreamId]:
        """Read the claim."""
        return [stream_id("claim", self.claim)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Mark it once for each provider, while it is reserved and still there."""
        claim = existing(states, "claim", self.claim, Claim)
        if claim.state != "reserved" or all(h.provider != self.provider for h in claim.held):
            return []
        if any(flag.provider == self.provider for flag in claim.stranded):
            return []
        flag = Stranded(provider=self.provider, reason=self.reason)
        event = ev.ClaimStranded(provider=flag.provider, reason=flag.reason)
        return [Change(stream_id("claim", self.claim), event)]


class Reshape(Command, frozen=True, kw_only=True):
    """Replace inventories of providers and allocations of claims, in one commit.

    What counts is the end: no provider may be over what it offers then, unless it was before.
    """

    NAME: ClassVar = "claim.reshape"
    inventories: Mapping[ProviderId, dict[ResourceClass, Inventory]]
    claims: Mapping[ClaimId, tuple[Allocation, ...]]

    def reads(self, states: States) -> list[StreamId]:
        """Read every provider and claim concerned, with those above and their quotas."""
        ids = list(self.inventories)
        streams: list[StreamId] = []
        for claim, allocations in self.claims.items():
            streams += claim_streams(claim, states)
            ids += [a.provider for a in allocations]
        return streams + provider.with_ancestors(states, ids)

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Give all back, change the inventories, take all anew."""
        if not 0 < len(self.inventories) + len(self.claims) <= MAX_RESHAPED:
            raise InvalidArgument("inventories", f"change 1 to {MAX_RESHAPED} things at once")
        claims = {c: _live(states, c, "reshaped", now) for c in self.claims}
        changes: list[Change] = []
        for claim in claims.values():
            changes += _left_at_once(claim, now)
        for provider_id, inventories in self.inventories.items():
            state = existing(states, "provider", provider_id, Provider)
            if inventories != state.inventories:
                event = provider_events.InventoriesSet(inventories=inventories)
                changes.append(Change(stream_id("provider", provider_id), event))
        offered = _applied(states, changes, now)
        for claim_id, allocations in self.claims.items():
            changes += _reshaped(offered, claims[claim_id], allocations, now)
        changes += _quota_reshaped(states, claims, self.claims, now)
        _require_not_worse(states, _applied(states, changes, now), now)
        return changes


def _left_at_once(claim: Claim, now: datetime) -> list[Change]:
    """Give back what is held from now on: the use only changes its place, no turnaround is due."""
    changes: list[Change] = []
    for hold in claim.held:
        start, end = claim.span(hold)
        begin = max(start, now)
        changes.append(provider.freed(hold.provider, claim.id, hold.amounts, begin, end))
    return changes


def _reshaped(
    states: States, claim: Claim, allocations: tuple[Allocation, ...], now: datetime
) -> list[Change]:
    """Take the allocations, whether or not there is room: that is judged when all is in place."""
    if not allocations:
        raise InvalidArgument("claims", "a claim keeps at least one allocation; release it instead")
    start = max(claim.start, now)
    changes: list[Change] = []
    turnarounds: dict[ProviderId, int] = {}
    for provider_id, amounts in totals(allocations).items():
        state = provider.claimable(states, provider_id)
        provider.check_form(state, amounts)
        turnarounds[provider_id] = state.turnaround
        until = after(claim.end, state.turnaround)
        changes.append(provider.taken(provider_id, claim.id, amounts, start, until))
    given = tuple(replace(a, turnaround=turnarounds[a.provider]) for a in allocations)
    event = ev.ClaimReshaped(allocations=given, at=now)
    gone = {h.provider for h in claim.held} - turnarounds.keys()
    for provider_id in sorted(gone):
        changes += machine_release.released(states, provider_id, claim.id, now)
    return [Change(stream_id("claim", claim.id), event), *changes]


def _quota_reshaped(
    states: States,
    claims: Mapping[ClaimId, Claim],
    reshaped: Mapping[ClaimId, tuple[Allocation, ...]],
    now: datetime,
) -> list[Change]:
    """Free what the claims use less, then take what they use more; raise OverQuota."""
    changes: list[Change] = []
    more: list[tuple[Claim, datetime, dict[ResourceClass, int]]] = []
    for claim_id, claim in claims.items():
        old, new = amounts_of(claim.held), amounts_of(reshaped[claim_id])
        start = max(claim.start, now)
        less = {c: n - new.get(c, 0) for c, n in old.items() if n > new.get(c, 0)}
        changes += quota.freed(states, claim.project, claim.id, less, start, claim.end)
        added = {c: n - old.get(c, 0) for c, n in new.items() if n > old.get(c, 0)}
        if added:
            more.append((claim, start, added))
    current = _applied(states, changes, now)
    for claim, start, added in more:
        taken = quota.taken(current, claim.project, claim.id, added, start, claim.end)
        current = _applied(current, taken, now)
        changes += taken
    return changes


def _require_not_worse(before: States, after_all: States, now: datetime) -> None:
    """Raise DoesNotFit where a provider is over what it offers and was not so before.

    Where it was, it may stay so, with no more in use than there was.
    """
    for stream, state in after_all.items():
        if not isinstance(state, Provider) or state is before[stream]:
            continue
        for class_ in state.use:
            worst = max(_worse(before[stream], state, class_, now), default=0)
            if worst:
                offered = provider.capacity(state.inventories.get(class_))
                raise provider.DoesNotFit(
                    state.id,
                    f"provider {state.name} would be over-committed after the reshape:"
                    f" {worst} {class_} in use, {offered} offered",
                )


def _worse(old: Provider, new: Provider, class_: ResourceClass, now: datetime) -> Iterable[int]:
    """Yield the uses from now on that exceed what is offered, where that is new."""
    offered = provider.capacity(new.inventories.get(class_))
    offered_before = provider.capacity(old.inventories.get(class_))
    for segment in usage.forget(new.use[class_], now):
        begin = max(segment.start, now)
        if segment.used > offered and (
            segment.used <= offered_before
            or segment.used > usage.least(old.use.get(class_, ()), begin, segment.end)
        ):
            yield segment.used
