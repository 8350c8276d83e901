"""Firmware as a BMC lists it, under names that differ."""

from collections.abc import Iterable

import msgspec

from mulligan.events.machine import Firmware
from mulligan.redfish.answers import Json, text
from mulligan.redfish.descriptions import absent, told

_OLD = ("Previous-", "Available-")
_NAMELESS = ("software inventory", "firmware inventory", "")


class Software(msgspec.Struct, frozen=True, kw_only=True):
    """One firmware of a component, before names are made to differ."""

    id: str
    name: str
    version: str


def software_of(body: Json) -> Software | None:
    """Read a SoftwareInventory; None for what is not installed or has no version."""
    name, key = text(body.get("Name")), text(body.get("Id"))
    if name.lower() in _NAMELESS:
        name = text(body.get("Description")) or key
    version = told(body.get("Version"))
    if absent(body) or not version or not name or key.startswith(_OLD):
        return None
    return Software(id=key, name=name, version=version)


def firmware_of(found: Iterable[Software]) -> tuple[Firmware, ...]:
    """Return firmware by different names, in their order."""
    listed = list(found)
    names = [one.name for one in listed]
    named = {
        (one.name if names.count(one.name) == 1 else f"{one.name} {one.id}"): one.version
        for one in listed
    }
    return tuple(Firmware(name=name, version=named[name]) for name in sorted(named))
