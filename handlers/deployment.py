"""What the holder of a claim asks of its machines: deploy, rescue, restore, release."""

import re
from datetime import datetime
from typing import ClassVar

import msgspec

from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound
from mulligan.events import machine as ev
from mulligan.events.machine import Verb
from mulligan.handlers import lifecycle, plans, quota
from mulligan.handlers.claim import LIVE, Claim
from mulligan.handlers.decision import Change, Command, States, existing
from mulligan.handlers.enrolment import allocation_released
from mulligan.handlers.image import Image
from mulligan.handlers.machine import Machine
from mulligan.handlers.machine_release import released
from mulligan.handlers.names import name_stream
from mulligan.handlers.plans import PROFILES
from mulligan.handlers.profile import terms_of
from mulligan.handlers.userdata import UserData
from mulligan.model import (
    ClaimId,
    CommitId,
    ImageId,
    MachineId,
    ProjectId,
    ProviderId,
    StreamId,
    UserDataId,
    stream_id,
)
from mulligan.quantities import format_time

_HOSTNAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9-]{1,63})*")


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """What to boot for whom."""

    operation: CommitId
    claim: ClaimId
    project: ProjectId
    image: Image
    user_data: UserDataId
    hostname: str


def boot_started(
    states: States, state: Machine, verb: Verb, boot: Boot, now: datetime
) -> ev.OperationStarted:
    """Return the event that starts to boot an image, for good or for a rescue."""
    terms = terms_of(states, state, verb, now)
    plan = plans.rescue if verb == "rescue" else plans.deploy
    image = boot.image
    return ev.OperationStarted(
        operation=boot.operation,
        verb=verb,
        steps=plan(image.kind, image.ready_when, user_data=bool(boot.user_data)),
        deadline=terms.deadline,
        then="rescue" if verb == "rescue" else "active",
        claim=boot.claim,
        project=boot.project,
        image=image.id,
        user_data=boot.user_data,
        hostname=boot.hostname,
        profile=terms.profile,
    )


def restore_started(
    states: States, state: Machine, operation: CommitId, now: datetime
) -> ev.OperationStarted:
    """Return the event that starts the way back to the system that was deployed."""
    terms = terms_of(states, state, "restore", now)
    image: Image | None = states.get(stream_id("image", state.image)) if state.image else None
    kind, ready_when = (image.kind, image.ready_when) if image is not None else ("", "")
    given = UserDataId("")
    if state.user_data and not states[stream_id("userdata", state.user_data)].deleted:
        given = state.user_data  # what is deleted since cannot be given again
    return ev.OperationStarted(
        operation=operation,
        verb="restore",
        steps=plans.restore(kind, ready_when, user_data=bool(given)),
        deadline=terms.deadline,
        then="active",
        claim=state.claim,
        project=state.project,
        image=state.image,
        user_data=given,
        hostname=state.hostname,
        profile=terms.profile,
    )


def unusable(claim: Claim, now: datetime) -> str:
    """Say why nothing can be done with a claim at this time."""
    if claim.state in LIVE and now < claim.start:
        return f"claim {claim.name or claim.id} begins at {format_time(claim.start)}; deploy then"
    return f"claim {claim.name or claim.id} is over; make another"


def _check_hostname(hostname: str) -> None:
    if hostname and not _HOSTNAME.fullmatch(hostname):
        raise InvalidArgument(
            "hostname", f"{hostname!r} is no host name of lower-case letters, digits and dashes"
        )


def check_user_data(states: States, user_data: UserDataId, project: ProjectId) -> None:
    """Raise NotFound for user data that is not the project's."""
    if not user_data:
        return
    state = existing(states, "userdata", user_data, UserData)
    if state.project != project:
        raise NotFound("userdata", user_data)


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
    user_data: UserDataId = UserDataId("")
    hostname: str = ""

    def reads(self, states: States) -> list[StreamId]:
        """Read the claim, image, user data and profiles, then the machines the claim holds."""
        streams = [
            stream_id("claim", self.claim),
            stream_id("image", self.image),
            PROFILES,
        ]
        if self.user_data:
            streams.append(stream_id("userdata", self.user_data))
        claim: Claim | None = states.get(streams[0])
        if claim is not None:
            streams += [stream_id("machine", a.provider) for a in claim.held]
        return streams

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Attach the claim and start deploying, in one commit."""
        _check_hostname(self.hostname)
        claim = existing(states, "claim", self.claim, Claim)
        if self.project and claim.project != self.project:
            raise NotFound("claim", self.claim)
        image = existing(states, "image", self.image, Image)
        check_user_data(states, self.user_data, claim.project)
        if not claim.usable(now):
            raise FailedPrecondition(unusable(claim, now))
        state = lifecycle.resting(states, self._machine(states, claim), "deploy")
        if state.claim and state.claim != claim.id:
            raise FailedPrecondition(f"machine {state.name} is held by another claim")
        stream = stream_id("machine", state.id)
        boot = Boot(
            operation=self.operation,
            claim=claim.id,
            project=claim.project,
            image=image,
            user_data=self.user_data,
            hostname=self.hostname,
        )
        started = boot_started(states, state, "deploy", boot, now)
        return [*_not_kept_off(state), Change(stream, started)]

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


def _not_kept_off(state: Machine) -> list[Change]:
    """End a wish to keep the machine off: it was for the machine as it was."""
    if state.desired != "off":
        return []
    return [Change(stream_id("machine", state.id), ev.DesiredPowerSet(power=""))]


def _held(
    states: States, machine: MachineId, project: ProjectId, verb: str, now: datetime
) -> Machine:
    """Return a machine that its holder, or an operator, may ask ``verb`` of now."""
    state = existing(states, "machine", machine, Machine)
    if project and state.project != project:
        raise NotFound("machine", machine)
    state = lifecycle.resting(states, machine, verb)
    claim = existing(states, "claim", state.claim, Claim)
    if not claim.usable(now):
        raise FailedPrecondition(unusable(claim, now))
    return state


def _with_claim(states: States, machine: MachineId) -> list[StreamId]:
    """Name the machine and the profiles, then the claim and what the machine runs."""
    streams = [stream_id("machine", machine), PROFILES]
    state: Machine | None = states.get(streams[0])
    if state is not None and state.claim:
        streams.append(stream_id("claim", state.claim))
    if state is not None and state.image:
        streams.append(stream_id("image", state.image))
    if state is not None and state.user_data:
        streams.append(stream_id("userdata", state.user_data))
    return streams


class RescueMachine(Command, frozen=True, kw_only=True):
    """Boot a rescue image beside the deployed system, which stays as it is on the disks."""

    NAME: ClassVar = "machine.rescue"
    machine: MachineId
    image: ImageId
    operation: CommitId
    project: ProjectId = ProjectId("")
    user_data: UserDataId = UserDataId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine with its claim, the profiles, the image and the user data."""
        streams = [*_with_claim(states, self.machine), stream_id("image", self.image)]
        return streams + ([stream_id("userdata", self.user_data)] if self.user_data else [])

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Start it from active, or after a failed rescue."""
        state = _held(states, self.machine, self.project, "rescue", now)
        image = existing(states, "image", self.image, Image)
        check_user_data(states, self.user_data, state.project)
        boot = Boot(
            operation=self.operation,
            claim=state.claim,
            project=state.project,
            image=image,
            user_data=self.user_data,
            hostname=state.hostname,
        )
        event = boot_started(states, state, "rescue", boot, now)
        return [*_not_kept_off(state), Change(stream_id("machine", state.id), event)]


class RestoreMachine(Command, frozen=True, kw_only=True):
    """Return from a rescue to the deployed system."""

    NAME: ClassVar = "machine.restore"
    machine: MachineId
    operation: CommitId
    project: ProjectId = ProjectId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine with its claim and image, and the profiles."""
        return _with_claim(states, self.machine)

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Start it from rescue, or after a rescue or a restoring that failed."""
        state = _held(states, self.machine, self.project, "restore", now)
        event = restore_started(states, state, self.operation, now)
        return [*_not_kept_off(state), Change(stream_id("machine", state.id), event)]


class ReleaseMachine(Command, frozen=True, kw_only=True):
    """Give a machine and what its claim takes of it back; it is cleaned and offered again."""

    NAME: ClassVar = "machine.release"
    machine: MachineId
    project: ProjectId = ProjectId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine, its provider and the profiles, then its claim."""
        streams = [
            stream_id("machine", self.machine),
            stream_id("provider", self.machine),
            PROFILES,
        ]
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
        if lifecycle.condition(machine) not in lifecycle.ALLOWED["release"]:
            raise FailedPrecondition(
                f"machine {machine.name} is {lifecycle.condition(machine)}; abort that first, or"
                " release its claim"
            )
        claim: Claim | None = states.get(stream_id("claim", machine.claim))
        changes: list[Change] = []
        if claim is not None and claim.state in LIVE:
            changes = allocation_released(states, claim, ProviderId(machine.id), now)
        return changes + released(states, ProviderId(machine.id), machine.claim, now)
