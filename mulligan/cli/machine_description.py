"""How one machine is described in full: its hardware, its upkeep, and the proof of its cleaning."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mulligan.cli.machine_view import COLUMNS
from mulligan.cli.output import Column
from mulligan.diagnosis.bmcs import next_step
from mulligan.quantities import format_bytes, format_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import Bmc, DiskProof, Facts, Machine


def hardware_lines(facts: "Facts | None") -> Iterator[str]:
    """Yield what an inspection found, a line a topic; nothing before the first one."""
    if facts is None:
        return
    yield " ".join(filter(None, (facts.manufacturer, facts.model, facts.serial, facts.sku)))
    cpu = " ".join(filter(None, (facts.cpu_vendor, facts.cpu_model))) or "CPU"
    arch = f", {facts.arch}" if facts.arch else ""
    if facts.cpu_sockets or facts.cpu_cores:
        cores = f"{facts.cpu_cores} cores, {facts.cpu_threads} threads"
        yield f"{facts.cpu_sockets} x {cpu}, {cores}{arch}"
    modules = f" in {facts.memory_modules} modules" if facts.memory_modules else ""
    if facts.memory_bytes:
        yield f"{format_bytes(facts.memory_bytes)} memory{modules}{', ECC' * facts.memory_ecc}"
    for disk in facts.disks:
        told = (disk.media, disk.protocol, disk.model, disk.serial)
        yield " ".join(filter(None, (f"disk {disk.id} {format_bytes(disk.bytes)}", *told)))
    for nic in facts.nics:
        speed = f"{nic.speed_mbps} Mbit/s" if nic.speed_mbps else ""
        yield " ".join(
            filter(None, ("nic", nic.id, nic.mac * (nic.mac != nic.id), speed, nic.link))
        )
    for one in facts.accelerators:
        size = format_bytes(one.memory_bytes) if one.memory_bytes else ""
        told = (f"{one.kind.lower() or 'accelerator'} {one.id}", one.vendor, one.model, size)
        yield " ".join(filter(None, told))
    rest = (
        f"TPM {facts.tpm}" if facts.tpm else "",
        "RAID" if facts.raid else "",
        f"power supplies: {facts.power_supplies}" if facts.power_supplies else "",
        f"virtual drives: {facts.cd_drives}" if facts.cd_drives else "",
    )
    yield ", ".join(filter(None, rest))
    if facts.missing:
        yield f"not offered by the BMC: {', '.join(facts.missing)}"


def boot_shown(facts: "Facts | None") -> str:
    """Return how the machine can boot."""
    if facts is None:
        return ""
    parts = (
        ", ".join(facts.boot_modes),
        "HTTP boot" if facts.http_boot else "",
        "secure boot offered" if facts.secure_boot else "",
        f"once from {', '.join(facts.boot_targets)}" if facts.boot_targets else "",
    )
    return "; ".join(filter(None, parts))


def firmware_lines(facts: "Facts | None") -> Iterator[str]:
    """Yield all firmware with its version; BIOS and BMC where that is all there is."""
    if facts is None:
        return
    if not facts.firmware:
        known = (("BIOS", facts.bios_version), ("BMC", facts.bmc_firmware))
        yield from (f"{name} {version}" for name, version in known if version)
    for one in facts.firmware:
        yield f"{one.name} {one.version}"


def bmc_shown(bmc: "Bmc | None") -> str:
    """Return how the BMC is reached, and what is known of its certificate."""
    if bmc is None:
        return ""
    system = f"system {bmc.system}" if bmc.system else ""
    trust = ""
    if bmc.insecure:
        trust = "certificate not checked"
    elif bmc.fingerprint:
        trust = f"pinned to {bmc.fingerprint}"
    elif bmc.pin:
        trust = "to be pinned at first contact"
    return "\n".join(filter(None, (f"{bmc.address} {system}".strip(), trust)))


def health_lines(machine: "Machine") -> Iterator[str]:
    """Yield the health, when it was seen, and what is wrong."""
    health = machine.health
    if health is None or not health.health:
        return
    seen = f" ({format_time(health.observed_at)})" if health.observed_at else ""
    yield f"{health.health}{seen}"
    for one in health.conditions:
        yield " ".join(filter(None, (f"{one.severity}:", one.component, one.message)))


def cordon_shown(machine: "Machine") -> str:
    """Return who keeps claims away, why and until when."""
    cordon = machine.cordon
    if cordon is None:
        return ""
    parts = [cordon.reason, f"by {cordon.by}" if cordon.by else ""]
    parts.append(f"since {format_time(cordon.since)}" if cordon.since else "")
    parts.append(f"until {format_time(cordon.until)}" if cordon.until else "")
    parts.append("in maintenance: nothing is asked of the BMC" if cordon.maintenance else "")
    return ", ".join(filter(None, parts))


def cleaning_lines(machine: "Machine") -> Iterator[str]:
    """Yield the proof of the last cleaning."""
    cleaned = machine.cleaned
    if cleaned is None:
        return
    by = f" by profile {cleaned.profile}" if cleaned.profile else ""
    yield f"{format_time(cleaned.at)}{by}: {', '.join(cleaned.steps)}"
    yield from map(proof_shown, cleaned.disks)


def proof_shown(proof: "DiskProof") -> str:
    """Return what was done to one disk."""
    outcome = proof.error or ("verified" if proof.verified else "not verified")
    size = format_bytes(proof.bytes)
    return f"disk {proof.serial or '(no serial)'}: {proof.method} {size}, {outcome}"


def power_kept(machine: "Machine") -> str:
    """Return the power that the machine is kept in."""
    return machine.power.desired if machine.power else ""


WHOLE = (
    *(column for column in COLUMNS if column.title not in ("BMC", "HEALTH", "MODEL")),
    Column("HEALTH", lambda machine: "\n".join(health_lines(machine))),
    Column("NEXT", lambda machine: next_step(machine) if machine.bmc else ""),
    Column("KEPT", power_kept),
    Column("CORDON", cordon_shown),
    Column("UNWIPED", lambda machine: "data may be on its disks" if machine.unwiped else ""),
    Column("CLEANED", lambda machine: "\n".join(cleaning_lines(machine))),
    Column("RESCUE", lambda machine: machine.rescue_image),
    Column("USER DATA", lambda machine: machine.user_data),
    Column("HOSTNAME", lambda machine: machine.hostname),
    Column("PHONED", lambda machine: format_time(machine.phoned_at)),
    Column("BMC", lambda machine: bmc_shown(machine.bmc)),
    Column("CREDENTIAL", lambda machine: machine.bmc.credential if machine.bmc else ""),
    Column("PROFILE", lambda machine: machine.profile),
    Column("HARDWARE", lambda machine: "\n".join(filter(None, hardware_lines(machine.facts)))),
    Column("BOOT", lambda machine: boot_shown(machine.facts)),
    Column("CREATED", lambda machine: format_time(machine.created_at)),
)
WHOLE_WIDE = (
    *WHOLE,
    Column("FIRMWARE", lambda machine: "\n".join(firmware_lines(machine.facts))),
    Column(
        "HOST KEYS",
        lambda machine: "\n".join(f"{kind} {key}" for kind, key in machine.host_keys.items()),
    ),
)
