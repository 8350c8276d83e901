"""What inspected facts mean: inventories, capabilities, providers below the machine, differences.

All of it is pure, and bounded whatever a BMC claims.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from mulligan.events.machine import Accelerator, Disk, FactChange, Facts, Nic
from mulligan.events.provider import Inventory
from mulligan.model import MAX_AMOUNT, ResourceClass

_CHILDREN = 64
_CHANGES = 64
_TEXT = 200
_GPUS = {"NVIDIA": "hw.gpu.nvidia", "AMD": "hw.gpu.amd", "Intel": "hw.gpu.intel"}
_CPUS = {"Intel": "hw.cpu.intel", "AMD": "hw.cpu.amd", "Ampere": "hw.cpu.ampere"}
_ARCHITECTURES = frozenset({"x86_64", "aarch64", "ppc64le", "riscv64"})


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A provider to be below a machine's: one accelerator or network interface.

    ``key`` is the same at each inspection of the same part, and goes after the machine's name.
    """

    key: str
    attributes: dict[str, str]
    inventories: dict[ResourceClass, Inventory]
    capabilities: tuple[str, ...] = ()


def inventories_of(facts: Facts) -> dict[ResourceClass, Inventory]:
    """Return what an inspected machine offers; classes the BMC did not tell of are left out."""
    return _inventories(
        {
            "machine": 1,
            "cpu.dedicated": facts.cpu_threads or facts.cpu_cores,
            "memory": facts.memory_bytes,
            "storage.block": sum(disk.bytes for disk in facts.disks),
        }
    )


def _inventories(amounts: dict[str, int]) -> dict[ResourceClass, Inventory]:
    return {
        ResourceClass(class_): Inventory(total=min(amount, MAX_AMOUNT))
        for class_, amount in amounts.items()
        if amount > 0
    }


def capabilities_of(facts: Facts) -> tuple[str, ...]:
    """Return the standard capabilities that the facts show."""
    shown = {
        f"hw.arch.{facts.arch}": facts.arch in _ARCHITECTURES,
        _CPUS.get(facts.cpu_vendor, ""): True,
        "hw.cpu.hyperthreading": facts.cpu_threads > facts.cpu_cores > 0,
        "hw.numa": facts.cpu_sockets > 1,
        "hw.memory.ecc": facts.memory_ecc,
        "hw.tpm.2_0": facts.tpm == "2.0",
        "boot.uefi": "UEFI" in facts.boot_modes,
        "boot.bios": "Legacy" in facts.boot_modes,
        "boot.pxe": "Pxe" in facts.boot_targets,
        "boot.http": facts.http_boot,
        "boot.secure": facts.secure_boot,
        "boot.virtual_media": facts.cd_drives > 0,
        "storage.raid": facts.raid,
        "power.redundant": facts.power_supplies > 1,
    }
    found = {name for name, has in shown.items() if name and has}
    found.update(name for disk in facts.disks for name in _disk_capabilities(disk))
    found.update(_gpu_capabilities(facts.accelerators))
    return tuple(sorted(found))


def _disk_capabilities(disk: Disk) -> Iterator[str]:
    if disk.media.lower() in ("ssd", "hdd"):
        yield f"storage.{disk.media.lower()}"
    if disk.protocol.lower() == "nvme":
        yield "storage.nvme"
    if disk.encrypts:
        yield "storage.self_encrypting"


def _gpu_capabilities(accelerators: Iterable[Accelerator]) -> set[str]:
    return {_GPUS[a.vendor] for a in accelerators if a.kind == "GPU" and a.vendor in _GPUS}


def children_of(facts: Facts) -> tuple[ChildSpec, ...]:
    """Return the providers to be below the machine's, at most 64: accelerators, then NICs."""
    specs = [_accelerator(one) for one in facts.accelerators]
    specs += [_nic(one) for one in facts.nics if one.mac]
    taken: dict[str, ChildSpec] = {}
    for spec in specs[:_CHILDREN]:
        key, number = spec.key, 2
        while key in taken:
            key, number = f"{spec.key}-{number}", number + 1
        taken[key] = msgspec.structs.replace(spec, key=key)
    return tuple(taken.values())


def _accelerator(one: Accelerator) -> ChildSpec:
    kind = one.kind.lower()
    key = _key(kind, one.id)
    return ChildSpec(
        key=key,
        attributes=_told(
            id=one.id,
            kind=one.kind,
            vendor=one.vendor,
            model=one.model,
            memory_bytes=str(one.memory_bytes or ""),
        ),
        inventories=_inventories({"gpu" if kind == "gpu" else f"custom.{_slug(kind)}": 1}),
        capabilities=tuple(sorted(_gpu_capabilities([one]))),
    )


def _nic(nic: Nic) -> ChildSpec:
    key = _key("nic", nic.id)
    return ChildSpec(
        key=key,
        attributes=_told(id=nic.id, mac=nic.mac),
        inventories=_inventories({"network.bandwidth": nic.speed_mbps * 1_000_000}),
    )


def _told(**attributes: str) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if value}


def _key(kind: str, name: str) -> str:
    """Return a word for a part from the BMC's own id of it: positions move, ids stay."""
    return f"{kind}-{_slug(name).removeprefix(f'{kind}-')[:40].strip('-') or '0'}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "x"


# What one resource told, and is not taken for gone when only the resource is.
_SOURCES = {
    "bmc_firmware": "Manager",
    "cpu_sockets": "Processors",
    "cpu_cores": "Processors",
    "cpu_threads": "Processors",
    "cpu_model": "Processors",
    "cpu_vendor": "Processors",
    "arch": "Processors",
    "memory_bytes": "Memory",
    "memory_modules": "Memory",
    "memory_ecc": "Memory",
    "secure_boot": "SecureBoot",
    "cd_drives": "VirtualMedia",
    "raid": "Storage",
    "power_supplies": "Power",
}
_PLAIN = (
    "manufacturer", "model", "serial", "sku", "uuid", "bios_version", "bmc_firmware", "arch",
    "cpu_vendor", "cpu_model", "cpu_sockets", "cpu_cores", "cpu_threads", "memory_bytes",
    "memory_modules", "memory_ecc", "boot_targets", "boot_modes", "http_boot", "cd_drives",
    "secure_boot", "tpm", "raid", "power_supplies",
)  # fmt: skip


def difference(before: Facts | None, after: Facts) -> tuple[FactChange, ...]:
    """Return what changed between two inspections, at most 64 changes, in a stable order.

    Disks count as the same by their serial, network interfaces by their MAC, else by id. Health,
    link states and what was not offered this time are no changes; nor is a first inspection.
    """
    if before is None:
        return ()
    return tuple(islice(_changes(before, after), _CHANGES))


def _changes(before: Facts, after: Facts) -> Iterator[FactChange]:
    for name in _PLAIN:
        old, new = getattr(before, name), getattr(after, name)
        source = _SOURCES.get(name, "")
        gone = (not new and source in after.missing) or (not old and source in before.missing)
        if old != new and not gone:
            yield _change(name, _text(old), _text(new))
    for what, source, listed in _LISTS:
        old_parts, new_parts = listed(before), listed(after)
        if (new_parts or source not in after.missing) and (
            old_parts or source not in before.missing
        ):
            yield from _parts(what, old_parts, new_parts)


def _parts(what: str, old: dict[str, str], new: dict[str, str]) -> Iterator[FactChange]:
    for key in sorted({*old, *new}):
        if old.get(key, "") != new.get(key, ""):
            yield _change(f"{what} {key}", old.get(key, ""), new.get(key, ""))


def _change(what: str, before: str, after: str) -> FactChange:
    return FactChange(what=what[:_TEXT], before=before[:_TEXT], after=after[:_TEXT])


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value) if value else ""


def _disks(facts: Facts) -> dict[str, str]:
    return {
        disk.serial or disk.id: _words(
            disk.model, f"{disk.bytes} bytes" if disk.bytes else "", disk.media, disk.protocol
        )
        or "present"
        for disk in facts.disks
    }


def _nics(facts: Facts) -> dict[str, str]:
    return {nic.mac or nic.id: nic.id or "present" for nic in facts.nics}


def _cards(facts: Facts) -> dict[str, str]:
    return {a.id: _words(a.kind, a.vendor, a.model) for a in facts.accelerators}


def _versions(facts: Facts) -> dict[str, str]:
    return {firmware.name: firmware.version for firmware in facts.firmware}


def _words(*words: str) -> str:
    return " ".join(word for word in words if word)


_LISTS: tuple[tuple[str, str, Callable[[Facts], dict[str, str]]], ...] = (
    ("disk", "Storage", _disks),
    ("nic", "EthernetInterfaces", _nics),
    ("accelerator", "Processors", _cards),
    ("firmware", "FirmwareInventory", _versions),
)
