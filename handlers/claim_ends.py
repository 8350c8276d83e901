"""How a claim begins and ends: timers, notices, and its release by the holder."""

from datetime import datetime
from typing import ClassVar

from mulligan.errors import FailedPrecondition
from mulligan.events import claim as ev
from mulligan.handlers import machine_release
from mulligan.handlers.claim import LIVE, Claim, claim_streams, name_freed, returning
from mulligan.handlers.decision import Change, Command, States, existing
from mulligan.model import ClaimId, StreamId, stream_id


def _closing(
    states: States, claim: Claim, until: datetime, now: datetime, keep: bool = False
) -> list[Change]:
    changes: list[Change] = []
    for provider_id in dict.fromkeys(a.provider for a in claim.held):
        changes += returning(states, claim, provider_id, until)
        if keep:
            changes += machine_release.kept(states, provider_id, claim.id, now)
        else:
            changes += machine_release.released(states, provider_id, claim.id, now)
    return changes + name_freed(states, claim)


class ReleaseClaim(Command, frozen=True, kw_only=True):
    """Give a claim back: its machines are cleaned, its capacity is free from now on."""

    NAME: ClassVar = "claim.release"
    claim: ClaimId

    def reads(self, states: States) -> list[StreamId]:
        """Read the claim, then all that it holds."""
        return claim_streams(self.claim, states)

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


class WarnClaim(Command, frozen=True, kw_only=True):
    """Announce that a claim's window is about to close."""

    NAME: ClassVar = "claim.warn"
    claim: ClaimId

    def reads(self, states: States) -> list[StreamId]:
        """Read the claim."""
        return [stream_id("claim", self.claim)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Emit it once for each end, not before its time and not after the end."""
        claim = existing(states, "claim", self.claim, Claim)
        planned = claim.notice_at
        if claim.state != "active" or planned is None or now < planned:
            return []
        assert claim.end is not None
        if now >= claim.end:
            return []
        event = ev.ClaimEnding(planned=planned, actual=now, end=claim.end)
        return [Change(stream_id("claim", self.claim), event)]


class EndClaim(Command, frozen=True, kw_only=True):
    """Note that a claim's window has closed, and take its machines back."""

    NAME: ClassVar = "claim.end"
    claim: ClaimId

    def reads(self, states: States) -> list[StreamId]:
        """Read the claim, then all that it holds."""
        return claim_streams(self.claim, states)

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Emit it once, not before its time; the capacity is free by the window itself."""
        claim = existing(states, "claim", self.claim, Claim)
        if claim.state not in LIVE or claim.end is None or now < claim.end:
            return []
        event = ev.ClaimEnded(planned=claim.end, actual=now)
        keep = claim.on_end == "keep_power_off"
        return [
            Change(stream_id("claim", self.claim), event),
            *_closing(states, claim, claim.end, now, keep),
        ]
