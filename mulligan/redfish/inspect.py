"""Out-of-band inspection: what a machine is made of, as far as its BMC tells."""

from collections.abc import Iterable, Sequence

import anyio
import msgspec

from mulligan.events.machine import Disk, Facts, Nic
from mulligan.redfish.answers import Json, items, link, links, section, text, whole
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.digests import note
from mulligan.redfish.faults import BmcFault

_MEMBERS = 64
"""Members of one collection that are read; more are noted and left out."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything read of a machine, still as the BMC sent it."""

    system: Json
    system_path: str
    manager: Json = {}
    manager_path: str = ""
    processors: Sequence[Json] = ()
    memory: Sequence[Json] = ()
    nics: Sequence[Json] = ()
    drives: Sequence[Json] = ()
    simple_storage: Sequence[Json] = ()
    missing: tuple[str, ...] = ()


def facts_of(parts: Parts) -> Facts:
    """Turn what was read into facts; never fails, whatever the BMC sent."""
    system = parts.system
    summary = section(system, "ProcessorSummary")
    cpus = [p for p in parts.processors if text(p.get("ProcessorType")) in ("", "CPU")]
    present = [p for p in cpus if section(p, "Status").get("State") != "Absent"]
    return Facts(
        manufacturer=text(system.get("Manufacturer")),
        model=text(system.get("Model")),
        serial=text(system.get("SerialNumber")),
        sku=text(system.get("SKU")),
        bios_version=text(system.get("BiosVersion")),
        bmc_firmware=text(parts.manager.get("FirmwareVersion")),
        cpu_model=text(summary.get("Model")) or _first(text(p.get("Model")) for p in present),
        cpu_sockets=len(present) or whole(summary.get("Count")),
        cpu_cores=_total(present, "TotalCores") or whole(summary.get("CoreCount")),
        cpu_threads=_total(present, "TotalThreads") or whole(summary.get("LogicalProcessorCount")),
        memory_bytes=memory_bytes(system, parts.memory),
        nics=tuple(nic for nic in map(nic_of, parts.nics) if nic.id or nic.mac),
        disks=disks_of(parts.drives, parts.simple_storage),
        system_path=parts.system_path,
        manager_path=parts.manager_path,
        missing=parts.missing,
    )


def memory_bytes(system: Json, modules: Iterable[Json]) -> int:
    """Return the memory of the modules, else the BMC's own total; 0 when it tells neither."""
    by_module = _total(modules, "CapacityMiB") * 2**20
    total = section(system, "MemorySummary").get("TotalSystemMemoryGiB")
    if by_module or isinstance(total, bool) or not isinstance(total, (int, float)):
        return by_module
    return whole(total * 2**30)


def nic_of(body: Json) -> Nic:
    """Read an EthernetInterface."""
    mac = text(body.get("PermanentMACAddress")) or text(body.get("MACAddress"))
    return Nic(
        id=text(body.get("Id")),
        mac=mac.replace("-", ":").lower(),
        speed_mbps=whole(body.get("SpeedMbps")),
        link=text(body.get("LinkStatus")),
    )


def disks_of(drives: Iterable[Json], simple: Iterable[Json]) -> tuple[Disk, ...]:
    """Read drives, or the devices of SimpleStorage where the BMC knows no drives."""
    found = [
        Disk(
            id=text(drive.get("Id")) or text(drive.get("Name")),
            bytes=whole(drive.get("CapacityBytes")),
            media=text(drive.get("MediaType")),
            model=text(drive.get("Model")),
        )
        for drive in drives
        if section(drive, "Status").get("State") != "Absent"
    ]
    if not found:
        found = [
            Disk(
                id=text(device.get("Name")),
                bytes=whole(device.get("CapacityBytes")),
                model=text(device.get("Model")),
            )
            for controller in simple
            for device in items(controller.get("Devices"))
            if isinstance(device, dict)
        ]
    return tuple(disk for disk in found if disk.id)


def _first(values: Iterable[str]) -> str:
    return next((value for value in values if value), "")


def _total(bodies: Iterable[Json], key: str) -> int:
    return sum(whole(body.get(key)) for body in bodies)


async def inspect(bmc: BmcClient) -> Facts:
    """Read a machine's facts. A resource the BMC does not offer is listed in ``missing``."""
    return facts_of(await _Reader(bmc).read())


class _Reader:
    def __init__(self, bmc: BmcClient) -> None:
        self._bmc = bmc
        self._missing: set[str] = set()

    async def read(self) -> Parts:
        system = (await self._bmc.system()).body
        manager_path = next(iter(links(section(system, "Links").get("ManagedBy"))), "")
        manager = await self._optional("Manager", manager_path)
        processors = await self._collection("Processors", link(system, "Processors"))
        memory = await self._collection("Memory", link(system, "Memory"))
        nics = await self._collection("EthernetInterfaces", link(system, "EthernetInterfaces"))
        storage = await self._collection("Storage", link(system, "Storage"))
        drives = [path for unit in storage for path in links(unit.get("Drives"))]
        read_drives = await self._all("Drives", drives)
        simple: list[Json] = []
        if not read_drives:
            simple = await self._collection("SimpleStorage", link(system, "SimpleStorage"))
        return Parts(
            system=system,
            system_path=await self._bmc.system_path(),
            manager=manager or {},
            manager_path=manager_path,
            processors=processors,
            memory=memory,
            nics=nics,
            drives=read_drives,
            simple_storage=simple,
            missing=tuple(sorted(self._missing)),
        )

    async def _optional(self, name: str, path: str) -> Json | None:
        """Read one resource; what the BMC has not, or answers badly for good, is missing."""
        if not path:
            self._missing.add(name)
            return None
        try:
            reply = await self._bmc.get_optional(path)
        except BmcFault as fault:
            if fault.fault not in ("bad-answer", "not-redfish", "server-error", "refused"):
                raise
            note(f"{name}: {fault.message}")
            reply = None
        if reply is None:
            self._missing.add(name)
            return None
        return reply.body

    async def _collection(self, name: str, path: str) -> list[Json]:
        body = await self._optional(name, path)
        return await self._all(name, links((body or {}).get("Members")))

    async def _all(self, name: str, paths: list[str]) -> list[Json]:
        if len(paths) > _MEMBERS:
            note(f"{name}: {len(paths)} members, the first {_MEMBERS} were read")
        found: dict[str, Json] = {}

        async def read(path: str) -> None:
            body = await self._optional(name, path)
            if body is not None:
                found[path] = body

        wanted = list(dict.fromkeys(paths))[:_MEMBERS]
        try:
            async with anyio.create_task_group() as group:
                for path in wanted:
                    group.start_soon(read, path)
        except* BmcFault as faults:
            raise _one(faults) from None
        return [found[path] for path in wanted if path in found]


def _one(faults: BaseExceptionGroup[BmcFault]) -> BmcFault:
    first = faults.exceptions[0]
    return _one(first) if isinstance(first, BaseExceptionGroup) else first
