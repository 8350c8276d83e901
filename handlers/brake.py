"""Stream ``brake/…``: the blast-radius brake. Where too much fails at once, actions stop."""

from datetime import datetime
from typing import ClassVar, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import FailedPrecondition
from mulligan.events import brake as ev
from mulligan.handlers.decision import Change, Command, States, check_reason
from mulligan.handlers.provider import Provider
from mulligan.model import AccountId, MachineId, StreamId, stream_id

REGION_DOMAIN = "region"


class Brake(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The brake of one failure domain; ``applied`` is set while it holds.

    Troubles before ``counts_from`` were looked at by an operator, and no longer count.
    """

    domain: str
    applied: ev.BrakeApplied | None = None
    counts_from: datetime | None = None


def evolve(state: Brake | None, event: ev.Event, at: datetime) -> Brake:
    """Return the brake as it is after the event."""
    match event:
        case ev.BrakeApplied():
            known = state or Brake(domain=event.domain)
            return replace(known, applied=event)
        case ev.BrakeReleased():
            assert state is not None, "the first event of a brake applies it"
            return replace(state, applied=None, counts_from=event.at)
        case _:
            assert_never(event)


def brake_stream(domain: str) -> StreamId:
    """Name the stream of a domain's brake."""
    return stream_id("brake", domain)


def domain_of(states: States, machine: MachineId) -> str:
    """Return the failure domain of a machine, whose provider must have been read."""
    held: Provider | None = states.get(stream_id("provider", machine))
    return (held.parent if held is not None else "") or REGION_DOMAIN


def streams(states: States, machine: MachineId) -> list[StreamId]:
    """Name the machine's provider and, once that is read, the brake of its domain."""
    held = stream_id("provider", machine)
    return [held, brake_stream(domain_of(states, machine))] if held in states else [held]


def applied_to(states: States, machine: MachineId) -> ev.BrakeApplied | None:
    """Return how the brake of the machine's domain was applied, while it holds."""
    state: Brake | None = states.get(brake_stream(domain_of(states, machine)))
    return state.applied if state is not None else None


def described(applied: ev.BrakeApplied) -> str:
    """Say in words why a brake holds."""
    return (
        f"{applied.failed} of {applied.total} machines failed or lost power within"
        f" {applied.window // 60} min"
    )


class ApplyBrake(Command, frozen=True, kw_only=True):
    """Stop actions in a domain where ``failed`` of ``total`` machines are in trouble."""

    NAME: ClassVar = "brake.apply"
    domain: str
    failed: int
    total: int
    window: int

    def reads(self, states: States) -> list[StreamId]:
        """Read the brake."""
        return [brake_stream(self.domain)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Apply it once."""
        stream = brake_stream(self.domain)
        state: Brake | None = states.get(stream)
        if state is not None and state.applied is not None:
            return []
        event = ev.BrakeApplied(
            domain=self.domain,
            failed=self.failed,
            total=self.total,
            window=self.window,
            at=now,
        )
        return [Change(stream, event)]


class ReleaseBrake(Command, frozen=True, kw_only=True):
    """Let actions go on in a domain."""

    NAME: ClassVar = "brake.release"
    domain: str
    by: AccountId
    reason: str

    def reads(self, states: States) -> list[StreamId]:
        """Read the brake."""
        return [brake_stream(self.domain)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Release it; raise FailedPrecondition when it does not hold."""
        check_reason(self.reason, "say why it is safe to go on")
        stream = brake_stream(self.domain)
        state: Brake | None = states.get(stream)
        if state is None or state.applied is None:
            raise FailedPrecondition(f"no brake holds in domain {self.domain}")
        event = ev.BrakeReleased(by=self.by, reason=self.reason, at=now)
        return [Change(stream, event)]
