"""Disks as a BMC describes them: by Storage, by SimpleStorage, or in its maker's own way."""

from collections.abc import Iterable

import msgspec

from mulligan.events.machine import Disk
from mulligan.redfish.answers import (
    Json,
    items,
    last_segment,
    link,
    links,
    reference,
    section,
    text,
)
from mulligan.redfish.descriptions import absent, amount, mebibytes, told
from mulligan.redfish.quirks import NO_RAID_WORDS, RAID_WORDS

_DRIVES = 256


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """A storage subsystem: its drives, as paths and those already read, and what else it has."""

    path: str = ""
    drives: tuple[str, ...] = ()
    read: tuple["Drive", ...] = ()
    volumes: str = ""
    controllers: str = ""
    raid: bool = False


def unit_of(body: Json) -> Unit:
    """Read a Storage."""
    inline = [section(one) for one in items(body.get("StorageControllers"))[:8]]
    members = [one for one in items(body.get("Drives"))[:_DRIVES] if isinstance(one, dict)]
    expanded = [one for one in members if len(one) > 1]
    bare = [one for one in members if len(one) == 1]
    return Unit(
        path=reference(body.get("@odata.id")),
        drives=tuple(links(bare)),
        read=tuple(drive for drive in map(drive_of, expanded) if drive is not None),
        volumes=link(body, "Volumes"),
        controllers="" if inline else link(body, "Controllers"),
        raid=any(map(does_raid, inline)),
    )


def does_raid(controller: Json) -> bool:
    """Tell whether a storage controller does RAID, by its levels or else by its name."""
    levels = [text(level) for level in items(controller.get("SupportedRAIDTypes"))]
    if "SupportedRAIDTypes" in controller:
        return any(level.startswith("RAID") for level in levels)
    name = " ".join(text(controller.get(key)) for key in ("Model", "Name")).lower()
    return any(w in name for w in RAID_WORDS) and not any(w in name for w in NO_RAID_WORDS)


class Drive(msgspec.Struct, frozen=True, kw_only=True):
    """A disk and where it was found."""

    path: str
    disk: Disk


def drive_of(body: Json) -> Drive | None:
    """Read a Drive or a Volume, None for an empty bay."""
    path = reference(body.get("@odata.id"))
    name = text(body.get("Id")) or text(body.get("Name")) or last_segment(path)
    if absent(body) or not name:
        return None
    return Drive(
        path=path,
        disk=Disk(
            id=name,
            bytes=amount(body.get("CapacityBytes")),
            media=text(body.get("MediaType")),
            model=told(body.get("Model")),
            serial=told(body.get("SerialNumber")),
            protocol=text(body.get("Protocol")),
            encrypts=text(body.get("EncryptionAbility")) == "SelfEncryptingDrive",
        ),
    )


def own_disk(body: Json) -> Drive | None:
    """Read a physical drive as HPE's own resources show it: sizes in MiB, other names."""
    drive = drive_of(body)
    if drive is None:
        return None
    disk = msgspec.structs.replace(
        drive.disk,
        bytes=mebibytes(body.get("CapacityMiB")),
        protocol=text(body.get("InterfaceType")),
    )
    return Drive(path=drive.path, disk=disk)


def simple_disks(body: Json) -> list[Disk]:
    """Read the devices of a SimpleStorage."""
    found = [section(one) for one in items(body.get("Devices"))[:64]]
    return [
        Disk(
            id=text(device.get("Name")),
            bytes=amount(device.get("CapacityBytes")),
            model=told(device.get("Model")),
        )
        for device in found
        if text(device.get("Name")) and not absent(device)
    ]


def unique(drives: Iterable[Drive]) -> tuple[Disk, ...]:
    """Return the disks under different ids: many BMCs count from 0 on each controller."""
    listed = list(
        {drive.path or str(number): drive for number, drive in enumerate(drives)}.values()
    )
    ids = [drive.disk.id for drive in listed]
    out: list[Disk] = []
    for number, drive in enumerate(listed):
        disk = drive.disk
        if ids.count(disk.id) > 1:
            segments = drive.path.rstrip("/").split("/")
            above = segments[-3] if len(segments) > 3 else str(number)
            disk = msgspec.structs.replace(disk, id=f"{above}/{disk.id}"[:200])
        out.append(disk)
    return tuple(out)
