"""What operators ask of machines: inspect, adopt, provide, manage, power, abort, retry.

What holders of claims ask is in ``deployment``, what concerns one axis only in ``upkeep``.
"""

from datetime import datetime
from typing import ClassVar, Literal

from mulligan.errors import FailedPrecondition, NotFound
from mulligan.events import machine as ev
from mulligan.events.machine import Verb
from mulligan.handlers import deployment, lifecycle, plans, provider
from mulligan.handlers.account import Project
from mulligan.handlers.claim import Claim
from mulligan.handlers.decision import Change, Command, States, existing
from mulligan.handlers.enrolment import NOT_PROVIDED_CORDON
from mulligan.handlers.image import Image
from mulligan.handlers.machine import Machine
from mulligan.handlers.plans import PROFILES, PowerTarget
from mulligan.handlers.profile import terms_of
from mulligan.handlers.provider import Provider
from mulligan.handlers.starts import clean_started, power_started
from mulligan.model import (
    AccountId,
    ClaimId,
    CommitId,
    MachineId,
    ProjectId,
    StreamId,
    stream_id,
)


def _started(state: Machine, event: ev.OperationStarted) -> list[Change]:
    return [Change(stream_id("machine", state.id), event)]


class InspectMachine(Command, frozen=True, kw_only=True):
    """Check the BMC and read the hardware. ``operation`` is the id of the request."""

    NAME: ClassVar = "machine.inspect"
    machine: MachineId
    operation: CommitId

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine and the hardware profiles."""
        return [stream_id("machine", self.machine), PROFILES]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Start it from enrolled, manageable or after a failure of the kind."""
        state = lifecycle.resting(states, self.machine, "inspect")
        return _started(state, _inspect_started(states, state, self.operation, now))


def _inspect_started(
    states: States, state: Machine, operation: CommitId, now: datetime
) -> ev.OperationStarted:
    terms = terms_of(states, state, "inspect", now)
    return ev.OperationStarted(
        operation=operation,
        verb="inspect",
        steps=plans.INSPECT,
        deadline=terms.deadline,
        then="manageable",
        profile=terms.profile,
    )


class AdoptMachine(Command, frozen=True, kw_only=True):
    """Take over a machine that runs already: verified, never switched, active at once.

    A claim of the ``project`` on all of it, of the same id as the request, is made when the
    machine has been verified.
    """

    NAME: ClassVar = "machine.adopt"
    machine: MachineId
    operation: CommitId
    project: ProjectId
    account: AccountId

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine, the project and the hardware profiles."""
        return [
            stream_id("machine", self.machine),
            stream_id("project", self.project),
            PROFILES,
        ]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Start it from enrolled, manageable or after a failure of the kind."""
        state = lifecycle.resting(states, self.machine, "adopt")
        existing(states, "project", self.project, Project)
        if state.unwiped:
            raise FailedPrecondition(
                f"machine {state.name} was never cleaned after its last use; provide it first, so"
                " that nobody gets what another left on it"
            )
        return _started(
            state, _adopt_started(states, state, self.operation, self.project, self.account, now)
        )


def _adopt_started(
    states: States,
    state: Machine,
    operation: CommitId,
    project: ProjectId,
    account: AccountId,
    now: datetime,
) -> ev.OperationStarted:
    terms = terms_of(states, state, "adopt", now)
    return ev.OperationStarted(
        operation=operation,
        verb="adopt",
        steps=plans.ADOPT,
        deadline=terms.deadline,
        then="active",
        claim=ClaimId(operation),
        project=project,
        account=account,
        profile=terms.profile,
    )


class ProvideMachine(Command, frozen=True, kw_only=True):
    """Clean a machine and offer it to claims."""

    NAME: ClassVar = "machine.provide"
    machine: MachineId
    operation: CommitId

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine and the hardware profiles."""
        return [stream_id("machine", self.machine), PROFILES]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Start cleaning from manageable."""
        state = lifecycle.resting(states, self.machine, "provide")
        return _started(state, clean_started(states, state, self.operation, now))


class ManageMachine(Command, frozen=True, kw_only=True):
    """Take a machine out of the pool."""

    NAME: ClassVar = "machine.manage"
    machine: MachineId

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine and its provider."""
        return [stream_id("machine", self.machine), stream_id("provider", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Withdraw it from available or failed(clean); claims ahead stay and cannot be deployed."""
        state = lifecycle.resting(states, self.machine, "manage")
        held = existing(states, "provider", self.machine, Provider)
        changes = [Change(stream_id("machine", state.id), ev.MachineWithdrawn())]
        return changes + provider.cordoned(held, NOT_PROVIDED_CORDON)


class PowerMachine(Command, frozen=True, kw_only=True):
    """Switch a resting machine on or off, restart it, or interrupt its system (``nmi``).

    One that was kept after its claim's end is only switched off by its holder (``project``). A
    machine that is kept in a power is kept in the new one from now on.
    """

    NAME: ClassVar = "machine.power"
    machine: MachineId
    target: PowerTarget
    operation: CommitId
    project: ProjectId = ProjectId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine and the hardware profiles, then the claim that holds it."""
        streams = [stream_id("machine", self.machine), PROFILES]
        machine: Machine | None = states.get(streams[0])
        if machine is None or not machine.claim:
            return streams
        return [*streams, stream_id("claim", machine.claim)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Start a power operation that returns to the same state."""
        machine = existing(states, "machine", self.machine, Machine)
        if self.project and machine.project != self.project:
            raise NotFound("machine", self.machine)
        if self.project and self.target not in {"off", "shutdown"}:
            claim = existing(states, "claim", machine.claim, Claim)
            if not claim.usable(now):
                raise FailedPrecondition(deployment.unusable(claim, now))
        verb = "nmi" if self.target == "nmi" else "power"
        state = lifecycle.resting(states, self.machine, verb)
        wanted: Literal["on", "off"] = "off" if self.target in {"off", "shutdown"} else "on"
        changes = []
        if state.desired and state.desired != wanted and self.target != "nmi":
            changes.append(Change(stream_id("machine", state.id), ev.DesiredPowerSet(power=wanted)))
        started = power_started(states, state, self.target, self.operation, now)
        return [*changes, Change(stream_id("machine", state.id), started)]


class AbortMachine(Command, frozen=True, kw_only=True):
    """Stop the running operation; a step in flight is not recalled, its outcome is ignored.

    Cleaning is stopped between two steps only, and restoring not at all.
    """

    NAME: ClassVar = "machine.abort"
    machine: MachineId
    by: str

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Fail the operation."""
        state = existing(states, "machine", self.machine, Machine)
        lifecycle.require_abortable(state)
        assert state.operation is not None
        event = ev.OperationFailed(
            operation=state.operation.id,
            step=state.operation.step,
            fault="aborted",
            message=f"aborted by {self.by}",
            at=now,
        )
        return [Change(stream_id("machine", state.id), event)]


class RetryMachine(Command, frozen=True, kw_only=True):
    """Run a failed operation again from its first step."""

    NAME: ClassVar = "machine.retry"
    machine: MachineId
    operation: CommitId

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine and the profiles, then the claim and the images that it needs."""
        streams = [stream_id("machine", self.machine), PROFILES]
        machine: Machine | None = states.get(streams[0])
        if machine is None or machine.failed not in {"deploy", "rescue", "restore"}:
            return streams
        streams.append(stream_id("claim", machine.claim))
        streams += [stream_id("image", i) for i in (machine.image, machine.rescue) if i]
        booted = (machine.user_data, machine.rescue_data)
        return streams + [stream_id("userdata", d) for d in booted if d]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Start the same verb again; with a claim only while that is open."""
        state = lifecycle.resting(states, self.machine, "retry")
        return _started(state, self._again(states, state, now))

    def _again(self, states: States, state: Machine, now: datetime) -> ev.OperationStarted:
        match state.failed:
            case "inspect":
                return _inspect_started(states, state, self.operation, now)
            case "adopt":
                return _adopt_started(
                    states, state, self.operation, state.adopt_for, state.adopter, now
                )
            case "clean":
                return clean_started(states, state, self.operation, now)
        claim = existing(states, "claim", state.claim, Claim)
        if not claim.usable(now):
            raise FailedPrecondition(deployment.unusable(claim, now))
        if state.failed == "restore":
            return deployment.restore_started(states, state, self.operation, now)
        rescues = state.failed == "rescue"
        verb: Verb = "rescue" if rescues else "deploy"
        user_data = state.rescue_data if rescues else state.user_data
        deployment.check_user_data(states, user_data, state.project)
        boot = deployment.Boot(
            operation=self.operation,
            claim=state.claim,
            project=state.project,
            image=existing(states, "image", state.rescue if rescues else state.image, Image),
            user_data=user_data,
            hostname=state.hostname,
        )
        return deployment.boot_started(states, state, verb, boot, now)
