"""AMI MegaRAC as ODMs ship it: terse, fillers for texts, a boot override staged in SD."""

from mulligan.events.machine import Disk, Facts
from tests.redfish.vendors.service import Json, Vendor, drive_actions, ref, reset

_S, _M, _C = "Systems/Self", "Managers/Self", "Chassis/Self"
_FILLER = "To be filled by O.E.M."
_TARGETS = ("Pxe", "Cd", "Hdd", "BiosSetup", "UefiTarget", "UefiHttp")

_RESOURCES: dict[str, Json] = {
    _S: {
        "Manufacturer": "ODM Systems",
        "Model": _FILLER,
        "SerialNumber": "0123456789",
        "SKU": _FILLER,
        "UUID": "03000200-0400-0500-0006-000700080009",
        "PowerState": "On",
        "Status": {"State": "Enabled", "Health": None},
        "ProcessorSummary": {
            "Count": 1,
            "CoreCount": 64,
            "LogicalProcessorCount": 128,
            "Model": "AMD EPYC 7713 64-Core Processor",
        },
        "MemorySummary": {"TotalSystemMemoryGiB": 256.0},
        "Boot": {
            "BootSourceOverrideMode": "UEFI",
            "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", *_TARGETS],
        },
        "@Redfish.Settings": {"SettingsObject": ref(f"{_S}/SD")},
        "Links": {"ManagedBy": [], "Chassis": [ref(_C)]},
        "Actions": reset(_S, "ForceOff", "ForceRestart", "GracefulShutdown", "ForceOn"),
    },
    f"{_S}/SD": {},
    f"{_S}/Storage/1": {"Name": "Storage", "Drives": []},
    f"{_S}/Storage/1/Volumes/1": {"CapacityBytes": 2 * 10**12, "Name": "VD0"},
    _M: {"FirmwareVersion": "13.6.1"},
    f"{_M}/VirtualMedia/CD1": {
        "MediaTypes": ["CD", "DVD"],
        "Actions": drive_actions(f"{_M}/VirtualMedia/CD1"),
    },
    f"{_M}/VirtualMedia/CD2": {
        "MediaTypes": ["CD", "DVD"],
        "Actions": drive_actions(f"{_M}/VirtualMedia/CD2"),
    },
    _C: {"Model": "R1", "SerialNumber": "ODM-1"},
}

VENDOR = Vendor(
    name="ami-megarac",
    root={"RedfishVersion": "1.15.1"},
    resources=_RESOURCES,
    system=_S,
    slots=(f"{_M}/VirtualMedia/CD1", f"{_M}/VirtualMedia/CD2"),
    facts=Facts(
        manufacturer="ODM Systems",
        model="R1",
        serial="ODM-1",
        bmc_firmware="13.6.1",
        arch="x86_64",
        cpu_vendor="AMD",
        cpu_model="AMD EPYC 7713 64-Core Processor",
        cpu_sockets=1,
        cpu_cores=64,
        cpu_threads=128,
        memory_bytes=256 * 2**30,
        disks=(Disk(id="1", bytes=2 * 10**12),),
        boot_targets=_TARGETS,
        boot_modes=("UEFI",),
        cd_drives=2,
        system_path=f"/redfish/v1/{_S}",
        manager_path=f"/redfish/v1/{_M}",
        missing=(
            "EthernetInterfaces",
            "FirmwareInventory",
            "Memory",
            "NetworkInterfaces",
            "Power",
            "Processors",
            "SecureBoot",
            "UpdateService",
        ),
    ),
    requests=30,
    etag="weak",
    if_match=True,
    tasks=frozenset({"insert", "reset"}),
    stage_at=f"{_S}/SD",
    shows_image="name",
)
