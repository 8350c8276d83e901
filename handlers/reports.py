"""What machines report of themselves, by the one-time address on their seed medium."""

from datetime import datetime
from typing import ClassVar

from mulligan.errors import FailedPrecondition
from mulligan.events import machine as ev
from mulligan.events.machine import DiskProof
from mulligan.handlers.actions import current
from mulligan.handlers.decision import Change, Command, States
from mulligan.handlers.operation import Operation
from mulligan.model import CommitId, MachineId, StreamId, stream_id


def _expected(states: States, machine: MachineId, operation: CommitId, step: str) -> Operation:
    """Return the operation while it awaits the report; raise FailedPrecondition."""
    state = current(states, machine, operation)
    if state is None or step not in state.steps:
        raise FailedPrecondition("this operation is over, or is not the machine's")
    if step in state.signals:
        raise FailedPrecondition("this was reported already; the address serves once")
    return state


class PhoneHome(Command, frozen=True, kw_only=True):
    """Record that the system of a deploy or rescue is up."""

    NAME: ClassVar = "machine.phone_home"
    machine: MachineId
    operation: CommitId
    address: str = ""
    hostname: str = ""
    host_keys: dict[str, str] = {}

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Record it once for each operation."""
        _expected(states, self.machine, self.operation, "phone_home")
        event = ev.PhonedHome(
            operation=self.operation,
            at=now,
            address=self.address,
            hostname=self.hostname,
            host_keys=self.host_keys,
        )
        return [Change(stream_id("machine", self.machine), event)]


class ReportWipe(Command, frozen=True, kw_only=True):
    """Record what a wipe image did to each disk."""

    NAME: ClassVar = "machine.report_wipe"
    machine: MachineId
    operation: CommitId
    proofs: tuple[DiskProof, ...]

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Record it once for each operation."""
        _expected(states, self.machine, self.operation, "wipe_report")
        event = ev.DisksWiped(operation=self.operation, at=now, proofs=self.proofs)
        return [Change(stream_id("machine", self.machine), event)]
