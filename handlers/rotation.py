"""What brings another password to the BMCs that use a login, machine by machine.

No password that may work is ever destroyed: former versions stay in the secret store until every
machine that uses the login has been seen to take the newest.
"""

import re
from datetime import datetime, timedelta
from typing import ClassVar

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.events import credential as ev
from mulligan.events import machine as machine_events
from mulligan.handlers import brake, lifecycle, plans
from mulligan.handlers.credential import MAX_OLDER, Credential
from mulligan.handlers.decision import Change, Command, States, existing
from mulligan.handlers.enrolment import plain_address
from mulligan.handlers.machine import Machine
from mulligan.model import CommitId, CredentialId, MachineId, StreamId, stream_id

PASSWORD_LENGTH = range(8, 65)

ASK_SOMEBODY = frozenset({"bad-credentials", "password-refused"})
"""Faults after which a machine is left alone: another try could lock the account, or do nothing."""

_FIRST_PAUSE = timedelta(minutes=5)
_LONGEST_PAUSE = timedelta(hours=1)


def check_password(password: str) -> None:
    """Raise InvalidArgument unless BMCs can be given this password."""
    if len(password) not in PASSWORD_LENGTH or not re.fullmatch(r"[!-~]+", password):
        raise InvalidArgument(
            "password",
            f"give {PASSWORD_LENGTH.start} to {PASSWORD_LENGTH.stop - 1} visible ASCII characters,"
            " or nothing to have one made",
        )


def pause_after(fault: str, failures: int) -> timedelta | None:
    """Return how long a machine that failed so often is left alone; None: until a change."""
    if fault in ASK_SOMEBODY:
        return None
    doubled: timedelta = _FIRST_PAUSE * (1 << min(failures - 1, 10))
    return min(doubled, _LONGEST_PAUSE)


class StartRotation(Command, frozen=True, kw_only=True):
    """Have the BMCs that use a login be given another password, which is in the secret store.

    During a rotation it takes the place of the one that was on its way; ``given`` tells that
    somebody chose it, which is wanted then, and ``known`` that it is one that the login has or had.
    """

    NAME: ClassVar = "credential.rotate"
    credential: CredentialId
    version: str
    given: bool = False
    known: bool = False

    def reads(self, states: States) -> list[StreamId]:
        """Read the credential."""
        return [stream_id("credential", self.credential)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Start it; what was on its way before is kept until no BMC can have it."""
        state = existing(states, "credential", self.credential, Credential)
        if self.known:
            raise InvalidArgument(
                "password", "is one that the login has, or may have at some BMC; give a new one"
            )
        if state.next_version and not self.given:
            raise FailedPrecondition(
                f"credential {state.name} is being rotated already; wait for the end of that"
                " (credential show), or give another password that all of its BMCs take"
            )
        if len(state.older) + bool(state.next_version) > MAX_OLDER:
            raise FailedPrecondition(
                f"credential {state.name} has {len(state.older)} former passwords that machines"
                " may still have; see to the machines that are left first (credential show)"
            )
        event = ev.RotationStarted(version=self.version)
        return [Change(stream_id("credential", state.id), event)]


class FinishRotation(Command, frozen=True, kw_only=True):
    """Make the next version the current one: every machine known has been seen to take it."""

    NAME: ClassVar = "credential.finish_rotation"
    credential: CredentialId
    version: str

    def reads(self, states: States) -> list[StreamId]:
        """Read the credential."""
        return [stream_id("credential", self.credential)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Finish it, unless another password is on its way by now."""
        state = existing(states, "credential", self.credential, Credential)
        if state.next_version != self.version:
            return []
        event = ev.RotationFinished(version=self.version)
        return [Change(stream_id("credential", state.id), event)]


class ForgetVersions(Command, frozen=True, kw_only=True):
    """Note that former versions are destroyed."""

    NAME: ClassVar = "credential.forget_versions"
    credential: CredentialId
    versions: tuple[str, ...]

    def reads(self, states: States) -> list[StreamId]:
        """Read the credential."""
        return [stream_id("credential", self.credential)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Note it, once."""
        state = existing(states, "credential", self.credential, Credential)
        gone = tuple(v for v in state.older if v in self.versions)
        if not gone:
            return []
        return [Change(stream_id("credential", state.id), ev.VersionsDestroyed(versions=gone))]


class RotateMachine(Command, frozen=True, kw_only=True):
    """Bring the newest password of its login to one machine's BMC."""

    NAME: ClassVar = "machine.rotate"
    machine: MachineId
    credential: CredentialId
    version: str
    operation: CommitId

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine, the credential, and the brake of the machine's domain."""
        return [
            stream_id("machine", self.machine),
            stream_id("credential", self.credential),
            *brake.streams(states, self.machine),
        ]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Start it on a machine at rest; nothing while it is busy, held, or waits for somebody."""
        state: Machine | None = states.get(stream_id("machine", self.machine))
        login = existing(states, "credential", self.credential, Credential)
        if state is None or state.deleted or login.goal != self.version:
            return []
        if state.bmc.credential != login.id or state.passwords == (self.version,):
            return []
        if lifecycle.occupied(state) or brake.applied_to(states, self.machine) is not None:
            return []
        if not _due(state, self.version, now):
            return []
        event = machine_events.OperationStarted(
            operation=self.operation,
            verb="rotate",
            steps=plans.ROTATE,
            deadline=now + plans.ROTATE_DEADLINE,
            then=state.state,
            target=self.version,
            cause="rotation",
        )
        return [Change(stream_id("machine", state.id), event)]


def _due(state: Machine, version: str, now: datetime) -> bool:
    trouble = state.unrotated
    if trouble is None or trouble.version != version:
        return True
    pause = pause_after(trouble.fault, trouble.failures)
    return pause is not None and now >= trouble.at + pause


class ProveBeside(Command, frozen=True, kw_only=True):
    """Note for a machine what was proven with another system of the same BMC."""

    NAME: ClassVar = "machine.prove_beside"
    machine: MachineId
    by: MachineId
    version: str

    def reads(self, states: States) -> list[StreamId]:
        """Read both machines."""
        return [stream_id("machine", self.machine), stream_id("machine", self.by)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Prove it while both use the same login at the same address."""
        state: Machine | None = states.get(stream_id("machine", self.machine))
        other: Machine | None = states.get(stream_id("machine", self.by))
        if state is None or other is None or state.deleted or other.deleted:
            return []
        alike = state.bmc.credential == other.bmc.credential and plain_address(
            state.bmc.address
        ) == plain_address(other.bmc.address)
        if not alike or other.passwords != (self.version,) or state.passwords == other.passwords:
            return []
        event = machine_events.BmcPasswordProven(
            credential=state.bmc.credential, version=self.version, at=now, by=other.id
        )
        return [Change(stream_id("machine", state.id), event)]
