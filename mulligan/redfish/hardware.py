"""From what was read of a machine to its facts: pure, and never failing, whatever a BMC sent."""

from collections.abc import Iterable, Sequence

import msgspec

from mulligan.events.machine import Accelerator, Disk, Facts, Firmware, Nic
from mulligan.redfish.answers import Json, items, links, section, text, whole
from mulligan.redfish.compute import (
    ACCELERATORS,
    Module,
    Processor,
    accelerator_of,
    arch_of_model,
)
from mulligan.redfish.descriptions import absent, told
from mulligan.redfish.quirks import vendor_of

_HEALTH = ("ok", "warning", "critical")
_MODES = {"uefi": "UEFI", "legacy": "Legacy", "bios": "Legacy"}
_BOOT_TARGETS = 32


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything read of a machine: the system, its manager and chassis as sent, the rest read."""

    system: Json
    system_path: str
    manager: Json = {}
    manager_path: str = ""
    chassis: Json = {}
    secure_boot: Json = {}
    bios: Json = {}
    processors: Sequence[Processor] = ()
    memory: Sequence[Module] = ()
    nics: Sequence[Nic] = ()
    disks: Sequence[Disk] = ()
    accelerators: Sequence[Accelerator] = ()
    firmware: Sequence[Firmware] = ()
    cd_drives: int = 0
    raid: bool = False
    power_supplies: int = 0
    missing: tuple[str, ...] = ()


def facts_of(parts: Parts) -> Facts:
    """Turn what was read into facts; never fails, whatever the BMC sent."""
    system = parts.system
    summary = section(system, "ProcessorSummary")
    cpus = [p for p in parts.processors if p.kind == "CPU"]
    model = told(summary.get("Model")) or _first(p.model for p in cpus)
    listed = [accelerator_of(p) for p in parts.processors if p.kind in ACCELERATORS]
    targets, modes = boot_targets(system), boot_modes(system, parts.bios)
    return Facts(
        manufacturer=_either(parts, "Manufacturer"),
        model=_either(parts, "Model"),
        serial=told(system.get("SerialNumber")) or _own_chassis_serial(parts),
        sku=told(system.get("SKU")),
        uuid=told(system.get("UUID")).lower(),
        bios_version=told(system.get("BiosVersion")),
        bmc_firmware=told(parts.manager.get("FirmwareVersion")),
        arch=_first(p.arch for p in cpus) or arch_of_model(model),
        cpu_vendor=_first(p.vendor for p in cpus) or _known_vendor(model),
        cpu_model=model,
        cpu_sockets=len(cpus) or whole(summary.get("Count")),
        cpu_cores=sum(p.cores for p in cpus) or whole(summary.get("CoreCount")),
        cpu_threads=sum(p.threads for p in cpus) or whole(summary.get("LogicalProcessorCount")),
        memory_bytes=memory_bytes(system, parts.memory),
        memory_modules=len(parts.memory),
        memory_ecc=any(module.ecc for module in parts.memory),
        nics=tuple(parts.nics),
        disks=tuple(parts.disks),
        accelerators=tuple(listed or parts.accelerators),
        firmware=tuple(parts.firmware),
        boot_targets=targets,
        boot_modes=modes,
        http_boot="HttpBootUri" in section(system, "Boot") and "UefiHttp" in targets,
        cd_drives=parts.cd_drives,
        secure_boot=isinstance(parts.secure_boot.get("SecureBootEnable"), bool),
        tpm=tpm_of(system.get("TrustedModules")),
        raid=parts.raid,
        power_supplies=parts.power_supplies,
        health=health_of(system),
        system_path=parts.system_path,
        manager_path=parts.manager_path,
        missing=parts.missing,
    )


def memory_bytes(system: Json, modules: Iterable[Module]) -> int:
    """Return the memory of the modules, else the BMC's own total; 0 when it tells neither."""
    by_module = whole(sum(module.bytes for module in modules))
    total = section(system, "MemorySummary").get("TotalSystemMemoryGiB")
    if by_module or isinstance(total, bool) or not isinstance(total, (int, float)):
        return by_module
    return whole(total * 2**30)


def health_of(system: Json) -> str:
    """Return ``ok``, ``warning`` or ``critical`` of all that is in a system; else nothing."""
    status = section(system, "Status")
    health = text(status.get("HealthRollup")) or text(status.get("Health"))
    return health.lower() if health.lower() in _HEALTH else ""


def boot_targets(system: Json) -> tuple[str, ...]:
    """Return the boot override targets that a system offers."""
    boot = section(system, "Boot")
    offered = items(boot.get("BootSourceOverrideTarget@Redfish.AllowableValues"))
    found = dict.fromkeys(map(text, offered[:_BOOT_TARGETS]))
    return tuple(name for name in found if name and name != "None")


def boot_modes(system: Json, bios: Json) -> tuple[str, ...]:
    """Return ``UEFI`` and ``Legacy`` as offered, else the one in use, else that of the BIOS."""
    boot = section(system, "Boot")
    offered = map(text, items(boot.get("BootSourceOverrideMode@Redfish.AllowableValues"))[:8])
    found = {_MODES[name.lower()] for name in offered if name.lower() in _MODES}
    now = _MODES.get(text(boot.get("BootSourceOverrideMode")).lower(), "")
    return tuple(sorted(found or {now or _bios_mode(bios)} - {""}, reverse=True))


def _bios_mode(bios: Json) -> str:
    """Return the mode among BIOS attributes, which each manufacturer names in another way."""
    for name, value in section(bios, "Attributes").items():
        if "bootmode" in str(name).lower() and isinstance(value, str):
            mode = value.lower()
            return "UEFI" if "uefi" in mode else "Legacy" if mode.startswith(("l", "b")) else ""
    return ""


def _either(parts: Parts, key: str) -> str:
    """Return what the system says, else what its chassis does."""
    return told(parts.system.get(key)) or told(parts.chassis.get(key))


def _own_chassis_serial(parts: Parts) -> str:
    """Return the serial number of a chassis that is the system's alone: blades share theirs."""
    shared = len(links(section(parts.chassis, "Links").get("ComputerSystems"))) > 1
    return "" if shared else told(parts.chassis.get("SerialNumber"))


def _known_vendor(model: str) -> str:
    vendor = vendor_of(model) if model else ""
    return "" if vendor == model else vendor


def _first(values: Iterable[str]) -> str:
    return next((value for value in values if value), "")


def tpm_of(modules: object) -> str:
    """Return the version of the TPM among a system's TrustedModules, empty when there is none."""
    for module in map(section, items(modules)[:8]):
        kind = text(module.get("InterfaceType"))
        if not absent(module) and kind.startswith(("TPM", "TCM")):
            version = kind[3:].replace("_", ".")
            return version if kind.startswith("TPM") else f"TCM {version}"
    return ""
