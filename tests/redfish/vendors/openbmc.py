"""OpenBMC (bmcweb): an Arm server; some slots are a web client's, drives are the chassis'."""

from mulligan.events.machine import Disk, Facts, Firmware
from tests.redfish.vendors.service import Json, Vendor, action, drive_actions, ref, reset

_S, _M, _C = "Systems/system", "Managers/bmc", "Chassis/chassis"
_OK = {"State": "Enabled", "Health": "OK"}
_ALLOWED = "@Redfish.AllowableValues"
_TARGETS = ("Pxe", "Hdd", "Cd", "Diags", "BiosSetup", "Usb")


def _slot(name: str, *, proxied: bool = False) -> Json:
    path = f"{_M}/VirtualMedia/{name}"
    only_eject = action(path, "VirtualMedia.EjectMedia")
    return {
        "MediaTypes": ["CD", "USBStick"],
        "TransferMethod": "Stream",
        "Actions": only_eject if proxied else drive_actions(path),
    }


_RESOURCES: dict[str, Json] = {
    _S: {
        "Manufacturer": "",
        "Model": "Mt.Jade",
        "SerialNumber": "",
        "UUID": "6a7ab8d2-0001-4001-8001-000000000001",
        "BiosVersion": "2.10.20220810",
        "PowerState": "On",
        "Status": {"State": "Enabled", "Health": "OK", "HealthRollup": "OK"},
        "ProcessorSummary": {"Count": 1},
        "MemorySummary": {"TotalSystemMemoryGiB": 16},
        "Boot": {
            "BootSourceOverrideMode": "UEFI",
            "BootSourceOverrideMode" + _ALLOWED: ["Legacy", "UEFI"],
            "BootSourceOverrideTarget" + _ALLOWED: ["None", *_TARGETS],
            "AutomaticRetryConfig": "Disabled",
        },
        "PCIeDevices": [],
        "Links": {"ManagedBy": [ref(_M)], "Chassis": [ref(_C)]},
        "Actions": reset(
            _S, "On", "ForceOff", "ForceOn", "ForceRestart", "GracefulRestart",
            "GracefulShutdown", "PowerCycle", "Nmi",
        ),
    },
    f"{_S}/Processors/cpu0": {
        "ProcessorType": "CPU",
        "Manufacturer": "Ampere(R)",
        "Model": "Ampere(R) Altra(R) Processor",
        "InstructionSet": "ARM-A64",
        "TotalCores": 80,
        "TotalThreads": 80,
        "Status": _OK,
    },
    f"{_S}/Memory/dimm0": {"CapacityMiB": 16384, "ErrorCorrection": "NoECC", "Status": _OK},
    f"{_S}/Storage/1": {"Drives": [ref(f"{_C}/Drives/nvme0")], "Name": "Storage"},
    _M: {"FirmwareVersion": "2.14.0-dev", "ManagerType": "BMC"},
    f"{_M}/VirtualMedia/Slot_0": _slot("Slot_0", proxied=True),
    f"{_M}/VirtualMedia/Slot_1": _slot("Slot_1", proxied=True),
    f"{_M}/VirtualMedia/Slot_2": _slot("Slot_2"),
    f"{_M}/VirtualMedia/Slot_3": _slot("Slot_3"),
    _C: {"ChassisType": "RackMount", "Manufacturer": "Wiwynn", "SerialNumber": "B81.0000"},
    f"{_C}/Drives/nvme0": {
        "CapacityBytes": 1_000_204_886_016,
        "MediaType": "SSD",
        "Model": "KXG60",
        "SerialNumber": "Z0000001",
        "Protocol": "NVMe",
        "Status": _OK,
    },
    f"{_C}/PowerSubsystem": {"Status": _OK},
    f"{_C}/PowerSubsystem/PowerSupplies/psu0": {"Status": _OK},
    f"{_C}/PowerSubsystem/PowerSupplies/psu1": {"Status": _OK},
    "UpdateService": {},
    "UpdateService/FirmwareInventory/a1b2c3d4": {
        "Name": "Software Inventory",
        "Description": "BMC image",
        "Version": "2.14.0-dev",
    },
    "UpdateService/FirmwareInventory/bios_active": {
        "Name": "Software Inventory",
        "Description": "Host image",
        "Version": "2.10.20220810",
    },
}  # fmt: skip

VENDOR = Vendor(
    name="openbmc",
    root={
        "RedfishVersion": "1.17.0",
        "ProtocolFeaturesSupported": {
            "ExpandQuery": {
                "ExpandAll": True,
                "Levels": True,
                "Links": True,
                "MaxLevels": 6,
                "NoLinks": True,
            }
        },
    },
    resources=_RESOURCES,
    system=_S,
    slots=(f"{_M}/VirtualMedia/Slot_2", f"{_M}/VirtualMedia/Slot_3"),
    facts=Facts(
        manufacturer="Wiwynn",
        model="Mt.Jade",
        serial="B81.0000",
        uuid="6a7ab8d2-0001-4001-8001-000000000001",
        bios_version="2.10.20220810",
        bmc_firmware="2.14.0-dev",
        arch="aarch64",
        cpu_vendor="Ampere",
        cpu_model="Ampere(R) Altra(R) Processor",
        cpu_sockets=1,
        cpu_cores=80,
        cpu_threads=80,
        memory_bytes=16 * 2**30,
        memory_modules=1,
        disks=(
            Disk(
                id="nvme0",
                bytes=1_000_204_886_016,
                media="SSD",
                model="KXG60",
                serial="Z0000001",
                protocol="NVMe",
            ),
        ),
        firmware=(
            Firmware(name="BMC image", version="2.14.0-dev"),
            Firmware(name="Host image", version="2.10.20220810"),
        ),
        boot_targets=_TARGETS,
        boot_modes=("UEFI", "Legacy"),
        cd_drives=2,
        power_supplies=2,
        health="ok",
        system_path=f"/redfish/v1/{_S}",
        manager_path=f"/redfish/v1/{_M}",
        missing=("EthernetInterfaces", "NetworkInterfaces", "SecureBoot"),
    ),
    requests=28,
    expands="refuses",
    etag="strong",
    changing=3,
    insert_takes=frozenset({"Image", "Inserted", "WriteProtected", "TransferProtocolType"}),
)
