"""What BMCs tell of machines outside of operations; only changes are recorded."""

from datetime import datetime
from typing import ClassVar

from mulligan.events import machine as ev
from mulligan.events.machine import Condition, Health
from mulligan.handlers.decision import Change, Command, States, existing
from mulligan.handlers.machine import Machine
from mulligan.model import MachineId, StreamId, stream_id

MAX_CONDITIONS = 16


class ObservePower(Command, frozen=True, kw_only=True):
    """Record a power state that was seen outside of any operation."""

    NAME: ClassVar = "machine.observe_power"
    machine: MachineId
    power: ev.Power

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Record only a change."""
        state = existing(states, "machine", self.machine, Machine)
        if state.operation is not None or state.power == self.power:
            return []
        event = ev.PowerObserved(power=self.power, at=now)
        return [Change(stream_id("machine", self.machine), event)]


class ObserveHealth(Command, frozen=True, kw_only=True):
    """Record what a machine's BMC says of its health."""

    NAME: ClassVar = "machine.observe_health"
    machine: MachineId
    health: Health
    conditions: tuple[Condition, ...] = ()

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Record only a change, of the first conditions only."""
        state = existing(states, "machine", self.machine, Machine)
        conditions = self.conditions[:MAX_CONDITIONS]
        if (state.health, state.conditions) == (self.health, conditions):
            return []
        event = ev.HealthObserved(health=self.health, at=now, conditions=conditions)
        return [Change(stream_id("machine", self.machine), event)]


class SeeHardwareEvent(Command, frozen=True, kw_only=True):
    """Record a BMC's own event in normal form; whoever reports them bounds how many."""

    NAME: ClassVar = "machine.see_hardware_event"
    machine: MachineId
    kind: str
    condition: Condition
    more: int = 0

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Record it."""
        state = existing(states, "machine", self.machine, Machine)
        event = ev.HardwareEventSeen(
            kind=self.kind, condition=self.condition, at=now, more=self.more
        )
        return [Change(stream_id("machine", state.id), event)]
