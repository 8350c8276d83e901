"""Stream ``serial/…``: a chassis, by maker and serial number, however often it is enrolled.

A machine that was deleted by force with a tenant's data on it is known again by its serial number,
and has to be cleaned before it is used.
"""

import re
from datetime import datetime
from typing import assert_never

import msgspec
from msgspec.structs import replace

from mulligan.events import serial as ev
from mulligan.events.machine import Facts
from mulligan.handlers.decision import Change, States
from mulligan.model import MachineId, StreamId, stream_id

FILLERS = frozenset(
    {
        "0123456789", "123456789", "00000000-0000-0000-0000-000000000000",
        "03000200-0400-0500-0006-000700080009", "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "chassis serial number", "default string", "empty", "n/a", "na", "none", "not applicable",
        "not available", "not specified", "null", "o.e.m.", "system manufacturer",
        "system product name", "system serial number", "to be filled by o.e.m.", "unknown",
        "unspecified", "xxxxxxxxxx",
    }
)  # fmt: skip
"""Texts that stand where a board's maker left a field as it was, in lower case."""


class Serial(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A chassis: the machine that it is now, and whether it was abandoned and not cleaned."""

    machine: MachineId = MachineId("")
    abandoned: bool = False
    reason: str = ""


def evolve(state: Serial | None, event: ev.Event, at: datetime) -> Serial:
    """Return the chassis as it is after the event."""
    state = state or Serial()
    match event:
        case ev.SerialHeld():
            return replace(state, machine=event.machine)
        case ev.SerialFreed():
            return replace(state, machine=MachineId(""))
        case ev.SerialAbandoned():
            return replace(state, machine=MachineId(""), abandoned=True, reason=event.reason)
        case ev.SerialCleaned():
            return replace(state, abandoned=False, reason="")
        case _:
            assert_never(event)


def serial_stream(facts: Facts | None) -> StreamId | None:
    """Name the stream of a chassis; None when it has no serial number worth the name."""
    if facts is None:
        return None
    number = _word(facts.serial)
    if len(number) < 3 or number in _PLACEHOLDERS or not number.strip("0-."):
        return None
    return stream_id("serial", f"{_word(facts.manufacturer) or 'unknown'}/{number}")


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.strip().lower()).strip("-")[:64]


_PLACEHOLDERS = frozenset({*map(_word, FILLERS), "1234567890", "invalid", "oem", "xxxxxxx"})
"""Words that are no serial number."""


def held_by_other(states: States, stream: StreamId, machine: MachineId) -> MachineId | None:
    """Return the other machine that the chassis is, if it is one."""
    state: Serial | None = states.get(stream)
    if state is None or not state.machine or state.machine == machine:
        return None
    return state.machine


def is_abandoned(states: States, stream: StreamId | None) -> bool:
    """Whether the chassis was abandoned with data on it and has not been cleaned since."""
    state: Serial | None = states.get(stream) if stream is not None else None
    return state is not None and state.abandoned


def held(states: States, stream: StreamId, machine: MachineId) -> list[Change]:
    """Have the machine be this chassis; nothing when it is so already."""
    state: Serial | None = states.get(stream)
    if state is not None and state.machine == machine:
        return []
    return [Change(stream, ev.SerialHeld(machine=machine))]


def freed(states: States, stream: StreamId, machine: MachineId) -> list[Change]:
    """Have the machine no longer be this chassis."""
    state: Serial | None = states.get(stream)
    if state is None or state.machine != machine:
        return []
    return [Change(stream, ev.SerialFreed(machine=machine))]


def abandoned(stream: StreamId, machine: MachineId, reason: str) -> list[Change]:
    """Record that the chassis left with a tenant's data on it."""
    return [Change(stream, ev.SerialAbandoned(machine=machine, reason=reason))]


def cleaned(states: States, stream: StreamId | None, machine: MachineId) -> list[Change]:
    """Record that an abandoned chassis is clean again."""
    if stream is None or not is_abandoned(states, stream):
        return []
    return [Change(stream, ev.SerialCleaned(machine=machine))]
