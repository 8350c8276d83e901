"""Out-of-band inspection: reading what a machine is made of, as far as its BMC tells.

Requests are few: collections are read in one where the BMC expands them, and what an earlier
answer told already is not asked for. Whatever is optional may be missing or broken.
"""

from collections.abc import Mapping
from typing import Any

import anyio

from mulligan.events.machine import Accelerator, Disk, Facts, Firmware, Nic
from mulligan.redfish.answers import Json, items, link, links, section, text
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.compute import (
    ACCELERATORS,
    Module,
    Processor,
    module_of,
    pcie_accelerator_of,
    processor_of,
)
from mulligan.redfish.descriptions import absent
from mulligan.redfish.drives import managers_of, slot_of, usable
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.hardware import Parts, boot_modes, facts_of
from mulligan.redfish.nics import adapter_nics, adapter_of, function_of, nic_of, port_of
from mulligan.redfish.quirks import quirk_of
from mulligan.redfish.reading import Reading, first_of
from mulligan.redfish.software import firmware_of, software_of
from mulligan.redfish.storage import (
    Drive,
    Unit,
    does_raid,
    drive_of,
    own_disk,
    simple_disks,
    unique,
    unit_of,
)

_SINGLY = 24
"""Members of a collection of lesser things that are read where each takes a request."""
_CHASSIS = 2
_ADAPTERS = 8
_UNITS = 16


async def inspect(bmc: BmcClient) -> Facts:
    """Read a machine's facts. A resource the BMC does not offer is listed in ``missing``."""
    return facts_of(await _Inspection(bmc).read())


class _Inspection:
    """Fills the parts of one machine, each from resources of its own, side by side."""

    def __init__(self, bmc: BmcClient) -> None:
        self._bmc = bmc
        self._read = Reading(bmc)
        self._system: Json = {}
        self._manager: Json = {}
        self._chassis: list[dict[str, Any]] = []
        self._processors: list[Processor] = []
        self._accelerators: list[Accelerator] = []
        self._memory: list[Module] = []
        self._nics: list[Nic] = []
        self._disks: tuple[Disk, ...] = ()
        self._raid = False
        self._firmware: tuple[Firmware, ...] = ()
        self._secure_boot: Json = {}
        self._bios: Json = {}
        self._cd_drives = 0
        self._power_supplies = 0

    async def read(self) -> Parts:
        """Read everything; raise BmcFault for what concerns the BMC as a whole."""
        self._system = system = (await self._bmc.system()).body
        await self._read.learn()
        managers = await managers_of(self._bmc, system)
        manager_path = managers[0] if managers else ""
        self._manager = await self._read.one("Manager", manager_path) or {}
        chassis = links(section(system, "Links").get("Chassis"))[:_CHASSIS]
        self._chassis = await self._read.each("Chassis", [{"@odata.id": p} for p in chassis], dict)
        # The first collection shows whether the BMC expands any.
        await self._read_processors()
        try:
            async with anyio.create_task_group() as group:
                for part in (
                    self._read_memory,
                    self._read_nics,
                    self._read_storage,
                    self._read_firmware,
                    self._read_boot,
                    self._read_drives,
                    self._read_power,
                ):
                    group.start_soon(part)
        except* BmcFault as faults:
            raise first_of(faults) from None
        return Parts(
            system=system,
            system_path=await self._bmc.system_path(),
            manager=self._manager,
            manager_path=manager_path,
            chassis=self._chassis[0] if self._chassis else {},
            secure_boot=self._secure_boot,
            bios=self._bios,
            processors=self._processors,
            memory=self._memory,
            nics=self._nics,
            disks=self._disks,
            accelerators=self._accelerators,
            firmware=self._firmware,
            cd_drives=self._cd_drives,
            raid=self._raid,
            power_supplies=self._power_supplies,
            missing=tuple(sorted(self._read.missing)),
        )

    async def _read_processors(self) -> None:
        path = link(self._system, "Processors")
        self._processors = await self._read.members("Processors", path, processor_of)
        if any(processor.kind in ACCELERATORS for processor in self._processors):
            return
        # Some list GPUs as PCIe devices only, of the chassis or, by links, of the system.
        devices: list[Any] = items(self._system.get("PCIeDevices"))
        where = self._of_chassis("PCIeDevices")
        if where and (self._read.expands or not devices):
            self._accelerators = await self._read.members(
                "PCIeDevices", where, pcie_accelerator_of, singly=_SINGLY
            )
        elif devices:
            self._accelerators = await self._read.each(
                "PCIeDevices", devices, pcie_accelerator_of, singly=_SINGLY
            )

    async def _read_memory(self) -> None:
        path = link(self._system, "Memory")
        self._memory = await self._read.members("Memory", path, module_of)

    async def _read_nics(self) -> None:
        path = link(self._system, "EthernetInterfaces")
        found = await self._read.members("EthernetInterfaces", path, nic_of)
        own = quirk_of(text(self._system.get("Manufacturer"))).own_nics
        self._nics = [nic for nic in found if nic.id not in own]
        if not any(nic.mac for nic in self._nics):
            self._nics = await self._adapter_nics() or self._nics

    async def _adapter_nics(self) -> list[Nic]:
        """Read the interfaces of the network adapters: of the chassis, else of the system."""
        where = self._of_chassis("NetworkAdapters")
        if where:
            adapters = await self._read.members(
                "NetworkAdapters", where, adapter_of, limit=_ADAPTERS
            )
        else:
            path = link(self._system, "NetworkInterfaces")
            listed = await self._read.members(
                "NetworkInterfaces",
                path,
                lambda body: link(body, "Links", "NetworkAdapter") or None,
                limit=_ADAPTERS,
            )
            refs = [{"@odata.id": path} for path in listed]
            adapters = await self._read.each("NetworkAdapters", refs, adapter_of)
        nics: list[Nic] = []
        for adapter in adapters:
            functions = await self._read.members(
                "NetworkDeviceFunctions", adapter.functions, function_of
            )
            ports = await self._read.members("NetworkPorts", adapter.ports, port_of)
            nics += adapter_nics(adapter.id, functions, ports)
        return nics

    async def _read_storage(self) -> None:
        path = link(self._system, "Storage")
        units = await self._read.members("Storage", path, unit_of, limit=_UNITS)
        drives: list[Drive] = []
        for unit in units:
            drives += await self._drives_of(unit)
        self._raid = any([unit.raid or await self._controllers_raid(unit) for unit in units])
        if not drives:
            drives = await self._other_drives(units)
        self._disks = unique(drives)
        if not drives:
            path = link(self._system, "SimpleStorage")
            simple = await self._read.members("SimpleStorage", path, simple_disks)
            self._disks = tuple(disk for disks in simple for disk in disks)

    async def _drives_of(self, unit: Unit) -> list[Drive]:
        if len(unit.drives) > 2 and self._read.expands:
            unit = unit_of(await self._read.unit("Storage", unit.path) or {})
        listed = [{"@odata.id": path} for path in unit.drives]
        return [*unit.read, *await self._read.each("Drives", listed, drive_of)]

    async def _controllers_raid(self, unit: Unit) -> bool:
        if not unit.controllers:
            return False
        found = await self._read.members("StorageControllers", unit.controllers, does_raid, limit=4)
        return any(found)

    async def _other_drives(self, units: list[Unit]) -> list[Drive]:
        """Read drives from where they are without any in Storage: chassis, maker's own, volumes."""
        found: list[Drive] = []
        for chassis in self._chassis:
            listed = items(section(chassis, "Links").get("Drives"))
            found += await self._read.each("Drives", listed, drive_of)
        if not found:
            found = await self._own_drives()
        for unit in units if not found else ():
            if unit.volumes:
                found += await self._read.members("Volumes", unit.volumes, drive_of)
        return found

    async def _own_drives(self) -> list[Drive]:
        """Read what older HPE firmware keeps under SmartStorage instead of Storage."""
        roots = quirk_of(text(self._system.get("Manufacturer"))).drive_roots
        path = next(filter(None, (link(self._system, *keys) for keys in roots)), "")
        root = await self._read.one("SmartStorage", path) if path else None
        if root is None:
            return []
        self._raid = True
        where = link(root, "Links", "ArrayControllers")
        listed = await self._read.members(
            "ArrayControllers",
            where,
            lambda body: link(body, "Links", "PhysicalDrives") or None,
            limit=_UNITS,
        )
        found: list[Drive] = []
        for drives in listed:
            found += await self._read.members("PhysicalDrives", drives, own_disk)
        return found

    async def _read_firmware(self) -> None:
        service = link(await self._bmc.root(), "UpdateService")
        body = await self._read.one("UpdateService", service) or {}
        path = link(body, "FirmwareInventory")
        found = await self._read.members("FirmwareInventory", path, software_of, singly=_SINGLY)
        self._firmware = firmware_of(found)

    async def _read_boot(self) -> None:
        path = link(self._system, "SecureBoot")
        self._secure_boot = await self._read.one("SecureBoot", path) or {}
        if not boot_modes(self._system, {}):
            self._bios = await self._read.one("Bios", link(self._system, "Bios")) or {}

    async def _read_drives(self) -> None:
        """Count the virtual drives for CD images: the system's, else those of its manager."""
        for owner in (self._system, self._manager):
            path = link(owner, "VirtualMedia")
            if not path:
                continue
            found = await self._read.members(
                "VirtualMedia", path, lambda body: slot_of(link({"self": body}, "self"), body)
            )
            self._cd_drives = sum(slot.takes_cd for slot in usable(found))
            if found:
                self._read.missing.discard("VirtualMedia")
                return
        self._read.missing.add("VirtualMedia")

    async def _read_power(self) -> None:
        """Count power supplies: from the one resource that lists them all, where it exists."""
        for chassis in self._chassis:
            if path := link(chassis, "Power"):
                body = await self._read.one("Power", path) or {}
                listed = [section(one) for one in items(body.get("PowerSupplies"))[:64]]
                self._power_supplies += sum(bool(one) and not absent(one) for one in listed)
            elif path := link(chassis, "PowerSubsystem"):
                body = await self._read.one("PowerSubsystem", path) or {}
                supplies = link(body, "PowerSupplies")
                found = await self._read.members("PowerSupplies", supplies, absent, limit=16)
                self._power_supplies += found.count(False)
        if not any(link(c, "Power") or link(c, "PowerSubsystem") for c in self._chassis):
            self._read.missing.add("Power")

    def _of_chassis(self, name: str) -> str:
        """Return where the first chassis that has them keeps its ``name``."""
        found: Mapping[str, str] = {link(chassis, name): name for chassis in self._chassis}
        return next((path for path in found if path), "")
