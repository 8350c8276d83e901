"""What people ask of machines: inspect, provide, manage, deploy, release, power, abort, retry."""

from datetime import datetime
from typing import ClassVar, Literal

from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound
from mulligan.events import machine as ev
from mulligan.events.machine import Verb
from mulligan.handlers import plans, provider, quota
from mulligan.handlers.claim import LIVE, Claim
from mulligan.handlers.decision import Change, Command, States, existing
from mulligan.handlers.enrolment import NOT_PROVIDED_CORDON, allocation_released
from mulligan.handlers.image import Image
from mulligan.handlers.machine import Machine
from mulligan.handlers.machine_release import clean_started, released
from mulligan.handlers.names import name_stream
from mulligan.handlers.provider import Provider
from mulligan.model import (
    ClaimId,
    CommitId,
    ImageId,
    MachineId,
    ProjectId,
    ProviderId,
    StreamId,
    stream_id,
)

PowerTarget = Literal["on", "off", "shutdown", "restart"]


def _resting(states: States, machine: MachineId, verb: str, *allowed: str) -> Machine:
    """Return the machine if it rests in an allowed state, ``failed(<verb>)`` among them."""
    state = existing(states, "machine", machine, Machine)
    if state.operation is not None:
        raise FailedPrecondition(
            f"machine {state.name} is busy: {state.operation.verb} is at"
            f" {state.operation.step or 'its end'}; wait for it, or abort it"
        )
    now_in = f"failed({state.failed})" if state.state == "failed" else state.state
    if now_in not in allowed:
        raise FailedPrecondition(
            f"machine {state.name} is {now_in}; to {verb} it, it must be {' or '.join(allowed)}"
        )
    return state


def _started(state: Machine, event: ev.OperationStarted) -> list[Change]:
    return [Change(stream_id("machine", state.id), event)]


class InspectMachine(Command, frozen=True, kw_only=True):
    """Check the BMC and read the hardware. ``operation`` is the id of the request."""

    NAME: ClassVar = "machine.inspect"
    machine: MachineId
    operation: CommitId

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Start it from enrolled, manageable or after a failed inspection."""
        state = _resting(
            states, self.machine, "inspect", "enrolled", "manageable", "failed(inspect)"
        )
        return _started(state, inspect_started(self.operation, now))


def inspect_started(operation: CommitId, now: datetime) -> ev.OperationStarted:
    """Return the event that starts an inspection."""
    return ev.OperationStarted(
        operation=operation,
        verb="inspect",
        steps=plans.INSPECT,
        deadline=now + plans.DEADLINES["inspect"],
        then="manageable",
    )


class ProvideMachine(Command, frozen=True, kw_only=True):
    """Clean a machine and offer it to claims."""

    NAME: ClassVar = "machine.provide"
    machine: MachineId
    operation: CommitId

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Start cleaning from manageable."""
        state = _resting(states, self.machine, "provide", "manageable")
        return _started(state, clean_started(self.operation, now))


class ManageMachine(Command, frozen=True, kw_only=True):
    """Take a machine out of the pool."""

    NAME: ClassVar = "machine.manage"
    machine: MachineId

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine and its provider."""
        return [stream_id("machine", self.machine), stream_id("provider", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Withdraw it from available or failed(clean); claims ahead stay and cannot be deployed."""
        state = _resting(states, self.machine, "manage", "available", "failed(clean)")
        held = existing(states, "provider", self.machine, Provider)
        changes = [Change(stream_id("machine", state.id), ev.MachineWithdrawn())]
        return changes + provider.cordoned(held, NOT_PROVIDED_CORDON)


class DeployMachine(Command, frozen=True, kw_only=True):
    """Boot an image on a machine that the project holds by an open claim.

    ``machine`` None means the only machine of the claim. ``project`` is the caller's, empty for an
    operator; another project's claim is not found.
    """

    NAME: ClassVar = "machine.deploy"
    claim: ClaimId
    image: ImageId
    operation: CommitId
    machine: MachineId | None = None
    project: ProjectId = ProjectId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the claim and image, then the machines the claim holds."""
        streams = [stream_id("claim", self.claim), stream_id("image", self.image)]
        claim: Claim | None = states.get(streams[0])
        if claim is not None:
            streams += [stream_id("machine", a.provider) for a in claim.held]
        return streams

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Attach the claim and start deploying, in one commit."""
        claim = existing(states, "claim", self.claim, Claim)
        if self.project and claim.project != self.project:
            raise NotFound("claim", self.claim)
        image = existing(states, "image", self.image, Image)
        if not claim.usable(now):
            raise FailedPrecondition(_unusable(claim, now))
        machine = self._machine(states, claim)
        state = _resting(states, machine, "deploy", "available", "active", "failed(deploy)")
        if state.claim and state.claim != claim.id:
            raise FailedPrecondition(f"machine {state.name} is held by another claim")
        event = ev.OperationStarted(
            operation=self.operation,
            verb="deploy",
            steps=plans.DEPLOY,
            deadline=now + plans.DEADLINES["deploy"],
            then="active",
            claim=claim.id,
            project=claim.project,
            image=image.id,
        )
        return _started(state, event)

    def _machine(self, states: States, claim: Claim) -> MachineId:
        held = [MachineId(a.provider) for a in claim.held if "machine" in a.amounts]
        machines = [m for m in held if states.get(stream_id("machine", m)) is not None]
        if self.machine is not None:
            if self.machine not in machines and self.project:
                raise NotFound("machine", self.machine)
            if self.machine not in machines:
                raise FailedPrecondition(f"claim {claim.id} does not hold machine {self.machine}")
            return self.machine
        if len(machines) != 1:
            raise InvalidArgument(
                "machine", f"the claim holds {len(machines)} machines; name the one to deploy"
            )
        return machines[0]


def _unusable(claim: Claim, now: datetime) -> str:
    if claim.state in LIVE and now < claim.start:
        return f"claim {claim.id} begins at {claim.start.isoformat()}; deploy then"
    return f"claim {claim.id} is over; make another"


class ReleaseMachine(Command, frozen=True, kw_only=True):
    """Give a machine and what its claim takes of it back; it is cleaned and offered again."""

    NAME: ClassVar = "machine.release"
    machine: MachineId
    project: ProjectId = ProjectId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine and its provider, then its claim."""
        streams = [stream_id("machine", self.machine), stream_id("provider", self.machine)]
        machine: Machine | None = states.get(streams[0])
        if machine is None or not machine.claim:
            return streams
        claim_stream = stream_id("claim", machine.claim)
        claim: Claim | None = states.get(claim_stream)
        if claim is not None:
            streams += quota.streams(states, claim.project)
        if claim is not None and claim.name:
            streams.append(name_stream("claim", claim.name, claim.project))
        return [*streams, claim_stream]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Detach the machine, free its capacity and start cleaning, in one commit."""
        machine = existing(states, "machine", self.machine, Machine)
        if self.project and machine.project != self.project:
            raise NotFound("machine", self.machine)
        if not machine.claim:
            raise FailedPrecondition(f"machine {machine.name} is not held by a claim")
        claim: Claim | None = states.get(stream_id("claim", machine.claim))
        changes: list[Change] = []
        if claim is not None and claim.state in LIVE:
            changes = allocation_released(states, claim, ProviderId(machine.id), now)
        return changes + released(states, ProviderId(machine.id), machine.claim, now)


class PowerMachine(Command, frozen=True, kw_only=True):
    """Switch a resting machine on or off, or restart it.

    One that was kept after its claim's end is only switched off by its holder (``project``).
    """

    NAME: ClassVar = "machine.power"
    machine: MachineId
    target: PowerTarget
    operation: CommitId
    project: ProjectId = ProjectId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine, then the claim that holds it."""
        stream = stream_id("machine", self.machine)
        machine: Machine | None = states.get(stream)
        if machine is None or not machine.claim:
            return [stream]
        return [stream, stream_id("claim", machine.claim)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Start a power operation that returns to the same state."""
        machine = existing(states, "machine", self.machine, Machine)
        if self.project and machine.project != self.project:
            raise NotFound("machine", self.machine)
        if self.project and self.target not in {"off", "shutdown"}:
            claim = existing(states, "claim", machine.claim, Claim)
            if not claim.usable(now):
                raise FailedPrecondition(_unusable(claim, now))
        state = _resting(states, self.machine, "power", "active", "manageable", "available")
        event = ev.OperationStarted(
            operation=self.operation,
            verb="power",
            steps=plans.POWER[self.target],
            deadline=now + plans.DEADLINES["power"],
            then=state.state,
            target=self.target,
        )
        return _started(state, event)


class AbortMachine(Command, frozen=True, kw_only=True):
    """Stop the running operation; a step in flight is not recalled, its outcome is ignored."""

    NAME: ClassVar = "machine.abort"
    machine: MachineId
    by: str

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Fail the operation."""
        state = existing(states, "machine", self.machine, Machine)
        if state.operation is None:
            raise FailedPrecondition(f"machine {state.name} has no operation to abort")
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
        """Read the machine, then the claim and the image of a deploy."""
        stream = stream_id("machine", self.machine)
        machine: Machine | None = states.get(stream)
        if machine is None or machine.failed != "deploy":
            return [stream]
        return [stream, stream_id("claim", machine.claim), stream_id("image", machine.image)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Start the same verb again; a deploy only while its claim is open and its image there."""
        state = _resting(
            states, self.machine, "retry", "failed(inspect)", "failed(clean)", "failed(deploy)"
        )
        if state.failed == "inspect":
            return _started(state, inspect_started(self.operation, now))
        if state.failed == "clean":
            return _started(state, clean_started(self.operation, now))
        claim = existing(states, "claim", state.claim, Claim)
        if not claim.usable(now):
            raise FailedPrecondition(_unusable(claim, now))
        existing(states, "image", state.image, Image)
        verb: Verb = "deploy"
        event = ev.OperationStarted(
            operation=self.operation,
            verb=verb,
            steps=plans.DEPLOY,
            deadline=now + plans.DEADLINES[verb],
            then="active",
            claim=state.claim,
            project=state.project,
            image=state.image,
        )
        return _started(state, event)
