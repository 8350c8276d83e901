"""Lenovo XCC: no media actions but PATCH, and only EXT drives take a URL; entity tags needed."""

from mulligan.events.machine import Disk, Facts, Firmware, Nic
from tests.redfish.vendors.service import Json, Vendor, ref, reset

_S, _M, _C = "Systems/1", "Managers/1", "Chassis/1"
_OK = {"State": "Enabled", "Health": "OK"}
_UNIT = f"{_S}/Storage/RAID_Slot4"
_TARGETS = ("Pxe", "Cd", "Usb", "Hdd", "BiosSetup", "Diags", "UefiTarget")
_SLOTS = ("RDOC1", "RDOC2", "EXT1", "EXT2", "EXT3", "EXT4")


def _drive(number: int, media: str) -> Json:
    return {
        "CapacityBytes": 480_103_981_056,
        "MediaType": media,
        "Model": "SSDSC2KB480G8L",
        "SerialNumber": f"PHYF0000{number}",
        "Protocol": "SATA",
        "EncryptionAbility": "None",
        "Status": _OK,
    }


_RESOURCES: dict[str, Json] = {
    _S: {
        "Manufacturer": "Lenovo",
        "Model": "ThinkSystem SR650 V2",
        "SerialNumber": "J1000001",
        "SKU": "7Z73CTO1WW",
        "UUID": "D2B3A0F4-0001-11EC-9000-0A94EF000001",
        "BiosVersion": "AFE118M",
        "PowerState": "On",
        "Status": {"State": "Enabled", "Health": "Critical", "HealthRollup": "Critical"},
        "ProcessorSummary": {"Count": 2},
        "MemorySummary": {"TotalSystemMemoryGiB": 32},
        "TrustedModules": [
            {"InterfaceType": "TPM2_0", "FirmwareVersion": "7.2.2.0", "Status": _OK}
        ],
        "Boot": {
            "BootSourceOverrideMode": "UEFI",
            "BootSourceOverrideMode@Redfish.AllowableValues": ["UEFI", "Legacy"],
            "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", *_TARGETS],
        },
        "PCIeDevices": [ref(f"{_C}/PCIeDevices/ob_1")],
        "Links": {"ManagedBy": [ref(_M)], "Chassis": [ref(_C)]},
        "Actions": reset(
            _S, "On", "Nmi", "GracefulShutdown", "GracefulRestart", "ForceOn", "ForceOff",
            "ForceRestart",
        ),
    },
    f"{_S}/SecureBoot": {"SecureBootEnable": False},
    **{
        f"{_S}/Processors/{number}": {
            "ProcessorType": "CPU",
            "Manufacturer": "Intel(R) Corporation",
            "Model": "Intel(R) Xeon(R) Gold 5317 CPU @ 3.00GHz",
            "InstructionSet": "x86-64",
            "TotalCores": 12,
            "TotalThreads": 24,
            "Status": _OK,
        }
        for number in (1, 2)
    },
    f"{_S}/Memory/1": {"CapacityMiB": 32768, "ErrorCorrection": "MultiBitECC", "Status": _OK},
    f"{_S}/EthernetInterfaces/NIC1": {
        "PermanentMACAddress": "00:00:5E:00:53:31",
        "MACAddress": "00:00:5E:00:53:31",
        "SpeedMbps": 25000,
        "LinkStatus": "LinkUp",
    },
    f"{_S}/EthernetInterfaces/ToManager": {"MACAddress": "0A:94:EF:00:00:01"},
    _UNIT: {
        "StorageControllers": [{"Model": "ThinkSystem RAID 930-8i 2GB Flash PCIe 12Gb Adapter"}],
        "Drives": [ref(f"{_UNIT}/Drives/Disk.{n}") for n in range(2)],
    },
    f"{_UNIT}/Drives/Disk.0": _drive(0, "SSD"),
    f"{_UNIT}/Drives/Disk.1": _drive(1, "SSD"),
    _M: {"FirmwareVersion": "AFBT26L 3.30 2022-05-30", "Model": "Lenovo XClarity Controller"},
    **{
        f"{_M}/VirtualMedia/{slot}": {"MediaTypes": ["CD", "DVD"], "Actions": {}}
        for slot in _SLOTS
    },
    _C: {"ChassisType": "RackMount", "Manufacturer": "Lenovo"},
    f"{_C}/PCIeDevices/ob_1": {
        "Name": "Intel X722 LOM",
        "Manufacturer": "Intel",
        "DeviceType": "SingleFunction",
    },
    f"{_C}/PowerSubsystem": {},
    f"{_C}/PowerSubsystem/PowerSupplies/PSU1": {"Status": _OK},
    f"{_C}/PowerSubsystem/PowerSupplies/PSU2": {"Status": {"State": "Absent"}},
    "UpdateService": {},
    "UpdateService/FirmwareInventory/UEFI": {
        "Name": "Firmware:UEFI",
        "SoftwareId": "UEFI-AFE1-3",
        "Version": "AFE118M-1.30",
    },
    "UpdateService/FirmwareInventory/BMC-Primary": {
        "Name": "Firmware:BMC",
        "Version": "AFBT26L-3.30",
    },
    "UpdateService/FirmwareInventory/BMC-Backup": {
        "Name": "Firmware:BMC",
        "Version": "AFBT20I-3.10",
    },
}  # fmt: skip

VENDOR = Vendor(
    name="lenovo-xcc",
    root={
        "Vendor": "Lenovo",
        "ProtocolFeaturesSupported": {
            "ExpandQuery": {
                "ExpandAll": True,
                "Levels": True,
                "Links": True,
                "MaxLevels": 2,
                "NoLinks": True,
            }
        },
    },
    resources=_RESOURCES,
    system=_S,
    slots=tuple(f"{_M}/VirtualMedia/{slot}" for slot in _SLOTS if slot.startswith("EXT")),
    facts=Facts(
        manufacturer="Lenovo",
        model="ThinkSystem SR650 V2",
        serial="J1000001",
        sku="7Z73CTO1WW",
        uuid="d2b3a0f4-0001-11ec-9000-0a94ef000001",
        bios_version="AFE118M",
        bmc_firmware="AFBT26L 3.30 2022-05-30",
        arch="x86_64",
        cpu_vendor="Intel",
        cpu_model="Intel(R) Xeon(R) Gold 5317 CPU @ 3.00GHz",
        cpu_sockets=2,
        cpu_cores=24,
        cpu_threads=48,
        memory_bytes=32 * 2**30,
        memory_modules=1,
        memory_ecc=True,
        nics=(Nic(id="NIC1", mac="00:00:5e:00:53:31", speed_mbps=25000, link="LinkUp"),),
        disks=tuple(
            Disk(
                id=f"Disk.{number}",
                bytes=480_103_981_056,
                media="SSD",
                model="SSDSC2KB480G8L",
                serial=f"PHYF0000{number}",
                protocol="SATA",
            )
            for number in range(2)
        ),
        firmware=(
            Firmware(name="Firmware:BMC BMC-Backup", version="AFBT20I-3.10"),
            Firmware(name="Firmware:BMC BMC-Primary", version="AFBT26L-3.30"),
            Firmware(name="Firmware:UEFI", version="AFE118M-1.30"),
        ),
        boot_targets=_TARGETS,
        boot_modes=("UEFI", "Legacy"),
        cd_drives=6,
        secure_boot=True,
        tpm="2.0",
        raid=True,
        power_supplies=1,
        health="critical",
        system_path=f"/redfish/v1/{_S}",
        manager_path=f"/redfish/v1/{_M}",
    ),
    requests=22,
    expands="yes",
    etag="strong",
    if_match=True,
    media_by_patch=True,
)
