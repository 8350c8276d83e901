"""What concerns one axis of a machine only: cordon, retirement, desired power, BMC, profile."""

from datetime import datetime, timedelta
from typing import ClassVar, Literal

from mulligan.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from mulligan.events import machine as ev
from mulligan.events import name as name_events
from mulligan.events.machine import Bmc
from mulligan.handlers import brake, lifecycle, names, profile, provider, usage
from mulligan.handlers.credential import Credential
from mulligan.handlers.decision import Change, Command, States, check_reason, existing
from mulligan.handlers.enrolment import (
    NOT_PROVIDED_CORDON,
    bmc_assigned,
    bmc_key,
    bmc_stream,
    check_bmc,
)
from mulligan.handlers.machine import Machine
from mulligan.handlers.plans import PROFILES, PowerTarget
from mulligan.handlers.provider import OPERATOR_CORDON, Provider
from mulligan.handlers.starts import power_started
from mulligan.model import AccountId, CommitId, MachineId, StreamId, stream_id

ENFORCE_EVERY = timedelta(minutes=10)
"""A machine that leaves its desired power is seen to this often at most."""


def _provider(states: States, machine: MachineId) -> Provider | None:
    held: Provider | None = states.get(stream_id("provider", machine))
    return None if held is None or held.deleted else held


def _used(held: Provider, now: datetime) -> bool:
    return any(usage.peak(u, now, None) for u in held.use.values())


class CordonMachine(Command, frozen=True, kw_only=True):
    """Keep new claims away from a machine, until ``until`` if given.

    In ``maintenance`` nothing is asked of its BMC either: what runs stops between two steps, and
    is failed if its deadline passes meanwhile.
    """

    NAME: ClassVar = "machine.cordon"
    machine: MachineId
    by: AccountId
    reason: str
    until: datetime | None = None
    maintenance: bool = False

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine and its provider."""
        return [stream_id("machine", self.machine), stream_id("provider", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Cordon it, or change its cordon; its claims are not touched."""
        state = existing(states, "machine", self.machine, Machine)
        check_reason(self.reason, "say why")
        if self.until is not None and self.until <= now:
            raise InvalidArgument("until", "lies in the past")
        event = ev.MachineCordoned(
            by=self.by, reason=self.reason, until=self.until, maintenance=self.maintenance
        )
        changes = [Change(stream_id("machine", state.id), event)]
        held = _provider(states, self.machine)
        return changes + (
            provider.cordoned(held, OPERATOR_CORDON, self.reason) if held is not None else []
        )


class UncordonMachine(Command, frozen=True, kw_only=True):
    """Lift a machine's cordon and end its maintenance; without ``by``, because it is time."""

    NAME: ClassVar = "machine.uncordon"
    machine: MachineId
    by: AccountId = AccountId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine and its provider."""
        return [stream_id("machine", self.machine), stream_id("provider", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Lift it, nothing when there is none or its time has not come; other causes stay."""
        state = existing(states, "machine", self.machine, Machine)
        cordon = state.cordon
        held = _provider(states, self.machine)
        lifted = provider.uncordoned(held, OPERATOR_CORDON) if held is not None else []
        if cordon is None:
            return lifted if self.by else []
        if not self.by and (cordon.until is None or now < cordon.until):
            return []
        event = ev.MachineUncordoned(by=self.by)
        return [Change(stream_id("machine", state.id), event), *lifted]


class RetireMachine(Command, frozen=True, kw_only=True):
    """Take a machine out of service for good, or until it is reinstated."""

    NAME: ClassVar = "machine.retire"
    machine: MachineId
    reason: str = ""

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine and its provider, then its components."""
        streams = [stream_id("machine", self.machine), stream_id("provider", self.machine)]
        held: Provider | None = states.get(streams[1])
        return streams + [stream_id("provider", c) for c in (held.children if held else ())]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Retire it from manageable, available or failed(clean), when nobody claims any of it."""
        state = lifecycle.resting(states, self.machine, "retire")
        held = _provider(states, self.machine)
        parts = [_provider(states, MachineId(c)) for c in (held.children if held else ())]
        if any(one is not None and _used(one, now) for one in (held, *parts)):
            raise FailedPrecondition(
                f"machine {state.name} is claimed, now or later; release or move its claims first"
                " (provider cordon --failed moves reservations to equals)"
            )
        changes = [Change(stream_id("machine", state.id), ev.MachineRetired(reason=self.reason))]
        return changes + (provider.cordoned(held, NOT_PROVIDED_CORDON) if held is not None else [])


class ReinstateMachine(Command, frozen=True, kw_only=True):
    """Bring a retired machine back; it is cleaned before it is offered again."""

    NAME: ClassVar = "machine.reinstate"
    machine: MachineId

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Make it manageable."""
        state = lifecycle.resting(states, self.machine, "reinstate")
        return [Change(stream_id("machine", state.id), ev.MachineReinstated())]


class KeepPower(Command, frozen=True, kw_only=True):
    """Have a resting machine kept ``on`` or ``off``; empty ends that. Opt-in, machine by machine.

    Power that is unknown is not off, and nothing is done about it.
    """

    NAME: ClassVar = "machine.keep_power"
    machine: MachineId
    power: Literal["on", "off", ""]

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Set it unless it is so already."""
        state = existing(states, "machine", self.machine, Machine)
        if state.desired == self.power:
            return []
        return [Change(stream_id("machine", state.id), ev.DesiredPowerSet(power=self.power))]


def strays(state: Machine) -> bool:
    """Whether a resting machine is in another power than the one that it is to be kept in."""
    rests = state.operation is None and not state.deleted
    known = state.power in {"on", "off"}
    return rests and bool(state.desired) and known and state.power != state.desired


def enforceable(state: Machine) -> bool:
    """Whether a machine that strays may be switched: what failed is only ever switched off."""
    if state.cordon is not None and state.cordon.maintenance:
        return False
    if lifecycle.condition(state) in lifecycle.ALLOWED["power"]:
        return True
    return state.desired == "off" and state.failed in {"deploy", "rescue", "restore"}


class EnforcePower(Command, frozen=True, kw_only=True):
    """Bring a machine back to its desired power."""

    NAME: ClassVar = "machine.enforce_power"
    machine: MachineId
    operation: CommitId

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine, the hardware profiles, and the brake of its domain."""
        return [
            stream_id("machine", self.machine),
            PROFILES,
            *brake.streams(states, self.machine),
        ]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Start a power operation, when it still strays and it is time to see to it again."""
        state = existing(states, "machine", self.machine, Machine)
        if not strays(state) or not enforceable(state) or brake.applied_to(states, self.machine):
            return []
        if state.enforced_at is not None and now < state.enforced_at + ENFORCE_EVERY:
            return []
        target: PowerTarget = "on" if state.desired == "on" else "off"
        started = power_started(states, state, target, self.operation, now, cause="desired-power")
        return [Change(stream_id("machine", state.id), started)]


class AllowLogins(Command, frozen=True, kw_only=True):
    """Let executors log in to the BMC again after they stopped, to avoid a lock-out."""

    NAME: ClassVar = "machine.allow_logins"
    machine: MachineId

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Allow them."""
        state = existing(states, "machine", self.machine, Machine)
        return [Change(stream_id("machine", state.id), ev.LoginsAllowed())]


class SetBmc(Command, frozen=True, kw_only=True):
    """Reach a machine's BMC in another way: address, login, trust."""

    NAME: ClassVar = "machine.set_bmc"
    machine: MachineId
    bmc: Bmc

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine, the BMC's holder and the login, then the names of the old address."""
        streams = [
            stream_id("machine", self.machine),
            bmc_stream(self.bmc),
            stream_id("credential", self.bmc.credential),
        ]
        state: Machine | None = states.get(streams[0])
        return streams + ([bmc_stream(state.bmc)] if state is not None else [])

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Change it while nothing runs; another machine's BMC is refused."""
        state = existing(states, "machine", self.machine, Machine)
        check_bmc(self.bmc)
        existing(states, "credential", self.bmc.credential, Credential)
        if self.bmc == state.bmc:
            return []
        if state.operation is not None:
            lifecycle.require_quiet(state, "change the BMC of")
        changes = [Change(stream_id("machine", state.id), ev.BmcSet(bmc=self.bmc))]
        if bmc_key(self.bmc) == bmc_key(state.bmc):
            return changes
        holder: names.NameState | None = states.get(bmc_stream(self.bmc))
        if holder is not None and holder.object:
            raise AlreadyExists(f"{self.bmc.address} is machine {holder.object} already")
        released = name_events.NameReleased(object=state.id)
        return [
            *changes,
            Change(bmc_stream(state.bmc), released),
            Change(bmc_stream(self.bmc), bmc_assigned(self.bmc, state.id)),
        ]


class AssignProfile(Command, frozen=True, kw_only=True):
    """Give a machine a hardware profile; empty: the one that its hardware matches."""

    NAME: ClassVar = "machine.assign_profile"
    machine: MachineId
    profile: str

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine and the hardware profiles."""
        return [stream_id("machine", self.machine), PROFILES]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Assign it from the next operation on."""
        state = existing(states, "machine", self.machine, Machine)
        profile.check_assigned(states, self.profile)
        if state.profile == self.profile:
            return []
        return [Change(stream_id("machine", state.id), ev.ProfileAssigned(profile=self.profile))]
