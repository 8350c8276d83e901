"""Stream ``serial/<maker>/<serial>``: which machine a chassis is, and whether it is clean."""

from typing import ClassVar

import msgspec

from mulligan.model import MachineId


class SerialHeld(msgspec.Struct, frozen=True, kw_only=True):
    """An inspection found the serial number at this machine."""

    TYPE: ClassVar = "serial.held"
    machine: MachineId


class SerialFreed(msgspec.Struct, frozen=True, kw_only=True):
    """The machine was deleted, or shows another serial number now."""

    TYPE: ClassVar = "serial.freed"
    machine: MachineId


class SerialAbandoned(msgspec.Struct, frozen=True, kw_only=True):
    """The machine was deleted by force with a tenant's data on it."""

    TYPE: ClassVar = "serial.abandoned"
    machine: MachineId
    reason: str


class SerialCleaned(msgspec.Struct, frozen=True, kw_only=True):
    """What was abandoned has been cleaned as this machine."""

    TYPE: ClassVar = "serial.cleaned"
    machine: MachineId


Event = SerialHeld | SerialFreed | SerialAbandoned | SerialCleaned
