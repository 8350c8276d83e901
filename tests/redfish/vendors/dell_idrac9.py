"""Dell iDRAC9: a two-socket server with GPUs; virtual media by system (new) or manager (old)."""

import msgspec

from mulligan.events.machine import Accelerator, Disk, Facts, Firmware, Nic
from tests.redfish.vendors.service import Json, Vendor, drive_actions, ref, reset

_S, _M, _C = "Systems/System.Embedded.1", "Managers/iDRAC.Embedded.1", "Chassis/System.Embedded.1"
_BAY = "Disk.Bay.{}:Enclosure.Internal.0-1:RAID.Integrated.1-1"
_ALLOWED = "@Redfish.AllowableValues"
_OK = {"Health": "OK", "State": "Enabled"}
_ABSENT = {"Health": None, "State": "Absent"}


def _drive(number: int, **more: object) -> Json:
    return {
        "Name": f"Solid State Disk 0:1:{number}",
        "CapacityBytes": 960_197_124_096,
        "MediaType": "SSD",
        "Model": "MZ7LH960HBJR0D3",
        "Manufacturer": "SAMSUNG",
        "SerialNumber": f"S5YJNX0R20000{number}",
        "Protocol": "SATA",
        "EncryptionAbility": "None",
        "Status": _OK,
        **more,
    }


def _cpu(socket: int) -> Json:
    return {
        "ProcessorType": "CPU",
        "Manufacturer": "Intel",
        "Model": "Intel(R) Xeon(R) Gold 6330 CPU @ 2.00GHz",
        "InstructionSet": "x86-64",
        "ProcessorArchitecture": "x86",
        "ProcessorId": {"VendorId": "GenuineIntel", "Step": "6"},
        "Socket": f"CPU.Socket.{socket}",
        "TotalCores": 28,
        "TotalThreads": 56,
        "Status": _OK,
    }


def _nic(number: int, link: str, speed: int | None) -> Json:
    mac = f"00:00:5E:00:53:0{number}"
    return {
        "MACAddress": mac,
        "PermanentMACAddress": mac,
        "SpeedMbps": speed,
        "LinkStatus": link,
        "Status": _OK,
    }


_SYSTEM: Json = {
    "Manufacturer": "Dell Inc.",
    "Model": "PowerEdge R750",
    "SerialNumber": "CNIVC0000000A1",
    "SKU": "ABC1234",
    "UUID": "4C4C4544-0042-4310-8031-C1C04F313233",
    "BiosVersion": "1.10.2",
    "PowerState": "On",
    "Status": {"Health": "OK", "HealthRollup": "OK", "State": "Enabled"},
    "ProcessorSummary": {"Count": 2, "CoreCount": 56, "LogicalProcessorCount": 112},
    "MemorySummary": {"TotalSystemMemoryGiB": 128},
    "TrustedModules": [
        {"FirmwareVersion": "7.2.2.0", "InterfaceType": "TPM2_0", "Status": {"State": "Enabled"}}
    ],
    "Boot": {
        "BootOptions": ref(f"{_S}/BootOptions"),
        "BootOrder": ["NIC.PxeDevice.1-1"],
        "BootSourceOverrideMode": "UEFI",
        "BootSourceOverrideMode" + _ALLOWED: ["Legacy", "UEFI"],
        "BootSourceOverrideTarget" + _ALLOWED: [
            "None", "Pxe", "Floppy", "Cd", "Hdd", "BiosSetup", "Utilities", "UefiTarget",
            "SDCard", "UefiHttp",
        ],
        "HttpBootUri": None,
    },
    "@Redfish.Settings": {
        "@odata.type": "#Settings.v1_3_3.Settings",
        "SettingsObject": ref(f"{_S}/Settings"),
    },
    "Links": {"ManagedBy": [ref(_M)], "Chassis": [ref(_C)]},
    "Actions": reset(
        _S, "On", "ForceOff", "ForceRestart", "GracefulRestart", "GracefulShutdown",
        "PushPowerButton", "Nmi", "PowerCycle",
    ),
}  # fmt: skip

_PARTS: dict[str, Json] = {
    f"{_S}/Settings": {"Boot": {"BootOrder": ["NIC.PxeDevice.1-1"]}},
    f"{_S}/SecureBoot": {"SecureBootEnable": False, "SecureBootMode": "DeployedMode"},
    f"{_S}/Processors/CPU.Socket.1": _cpu(1),
    f"{_S}/Processors/CPU.Socket.2": _cpu(2),
    f"{_S}/Processors/Video.Slot.7-1": {
        "ProcessorType": "GPU",
        "Manufacturer": "NVIDIA Corporation",
        "Model": "NVIDIA A100 80GB PCIe",
        "ProcessorMemory": [{"CapacityMiB": 81920, "MemoryType": "HBM2e"}],
        "TotalCores": None,
        "Status": _OK,
    },
    **{
        f"{_S}/Memory/DIMM.Socket.A{slot}": {
            "CapacityMiB": 65536,
            "ErrorCorrection": "MultiBitECC",
            "MemoryDeviceType": "DDR4",
            "Status": _OK,
        }
        for slot in (1, 2)
    },
    f"{_S}/EthernetInterfaces/NIC.Integrated.1-1-1": _nic(1, "LinkUp", 25000),
    f"{_S}/EthernetInterfaces/NIC.Integrated.1-2-1": _nic(2, "LinkDown", None),
    f"{_S}/Storage/AHCI.Embedded.1-1": {"StorageControllers": [{"Name": "C620 Series SATA"}]},
    f"{_S}/Storage/RAID.Integrated.1-1": {
        "StorageControllers": [
            {"Model": "PERC H755 Front", "SupportedRAIDTypes": ["RAID0", "RAID1", "RAID5"]}
        ],
        "Drives": [
            ref(f"{_S}/Storage/RAID.Integrated.1-1/Drives/{_BAY.format(n)}") for n in range(3)
        ],
    },
    f"{_S}/Storage/RAID.Integrated.1-1/Drives/{_BAY.format(0)}": _drive(0),
    f"{_S}/Storage/RAID.Integrated.1-1/Drives/{_BAY.format(1)}": _drive(
        1, EncryptionAbility="SelfEncryptingDrive"
    ),
    f"{_S}/Storage/RAID.Integrated.1-1/Drives/{_BAY.format(2)}": {"Status": _ABSENT},
    f"{_S}/Bios": {"Attributes": {"BootMode": "Uefi"}},
    _M: {"FirmwareVersion": "6.10.30.00", "ManagerType": "BMC", "Model": "15G Monolithic"},
    _C: {
        "ChassisType": "RackMount",
        "Manufacturer": "Dell Inc.",
        "SerialNumber": "CNIVC0000000A1",
    },
    f"{_C}/PowerSubsystem": {"Status": _OK},
    f"{_C}/PowerSubsystem/PowerSupplies/PSU.Slot.1": {"Status": _OK, "PowerCapacityWatts": 1400},
    f"{_C}/PowerSubsystem/PowerSupplies/PSU.Slot.2": {"Status": _OK, "PowerCapacityWatts": 1400},
    "UpdateService": {"ServiceEnabled": True},
    "UpdateService/FirmwareInventory/Installed-159-1.10.2__BIOS.Setup.1-1": {
        "Name": "BIOS",
        "Version": "1.10.2",
    },
    "UpdateService/FirmwareInventory/Previous-159-1.9.2__BIOS.Setup.1-1": {
        "Name": "BIOS",
        "Version": "1.9.2",
    },
    "UpdateService/FirmwareInventory/Installed-25227-6.10.30.00__iDRAC.Embedded.1-1": {
        "Name": "Integrated Dell Remote Access Controller",
        "Version": "6.10.30.00",
    },
    "UpdateService/FirmwareInventory/Installed-0-00.1D.7D__PSU.Slot.1": {
        "Name": "Power Supply",
        "Version": "00.1D.7D",
    },
    "UpdateService/FirmwareInventory/Installed-0-00.1D.7D__PSU.Slot.2": {
        "Name": "Power Supply",
        "Version": "00.1D.7D",
    },
}


def _media(path: str, *kinds: str) -> Json:
    return {"MediaTypes": [*kinds], "Actions": drive_actions(path), "WriteProtected": None}


_FACTS = Facts(
    manufacturer="Dell Inc.",
    model="PowerEdge R750",
    serial="CNIVC0000000A1",
    sku="ABC1234",
    uuid="4c4c4544-0042-4310-8031-c1c04f313233",
    bios_version="1.10.2",
    bmc_firmware="6.10.30.00",
    arch="x86_64",
    cpu_vendor="Intel",
    cpu_model="Intel(R) Xeon(R) Gold 6330 CPU @ 2.00GHz",
    cpu_sockets=2,
    cpu_cores=56,
    cpu_threads=112,
    memory_bytes=128 * 2**30,
    memory_modules=2,
    memory_ecc=True,
    nics=(
        Nic(id="NIC.Integrated.1-1-1", mac="00:00:5e:00:53:01", speed_mbps=25000, link="LinkUp"),
        Nic(id="NIC.Integrated.1-2-1", mac="00:00:5e:00:53:02", link="LinkDown"),
    ),
    disks=tuple(
        Disk(
            id=_BAY.format(number),
            bytes=960_197_124_096,
            media="SSD",
            model="MZ7LH960HBJR0D3",
            serial=f"S5YJNX0R20000{number}",
            protocol="SATA",
            encrypts=number == 1,
        )
        for number in range(2)
    ),
    accelerators=(
        Accelerator(
            id="Video.Slot.7-1",
            kind="GPU",
            vendor="NVIDIA",
            model="NVIDIA A100 80GB PCIe",
            memory_bytes=80 * 2**30,
        ),
    ),
    firmware=(
        Firmware(name="BIOS", version="1.10.2"),
        Firmware(name="Integrated Dell Remote Access Controller", version="6.10.30.00"),
        Firmware(name="Power Supply Installed-0-00.1D.7D__PSU.Slot.1", version="00.1D.7D"),
        Firmware(name="Power Supply Installed-0-00.1D.7D__PSU.Slot.2", version="00.1D.7D"),
    ),
    boot_targets=(
        "Pxe", "Floppy", "Cd", "Hdd", "BiosSetup", "Utilities", "UefiTarget", "SDCard", "UefiHttp",
    ),
    boot_modes=("UEFI", "Legacy"),
    http_boot=True,
    cd_drives=2,
    secure_boot=True,
    tpm="2.0",
    raid=True,
    power_supplies=2,
    health="ok",
    system_path=f"/redfish/v1/{_S}",
    manager_path=f"/redfish/v1/{_M}",
)  # fmt: skip

_EXPAND = {"ExpandAll": True, "Levels": True, "Links": True, "MaxLevels": 1, "NoLinks": True}

VENDOR = Vendor(
    name="dell-idrac9",
    root={
        "Vendor": "Dell",
        "Product": "Integrated Dell Remote Access Controller",
        "ProtocolFeaturesSupported": {"ExpandQuery": _EXPAND},
    },
    resources={
        _S: _SYSTEM,
        **_PARTS,
        f"{_S}/VirtualMedia/1": _media(f"{_S}/VirtualMedia/1", "CD", "DVD", "USBStick"),
        f"{_S}/VirtualMedia/2": _media(f"{_S}/VirtualMedia/2", "CD", "DVD", "USBStick"),
    },
    system=_S,
    slots=(f"{_S}/VirtualMedia/1", f"{_S}/VirtualMedia/2"),
    facts=_FACTS,
    requests=22,
    expands="yes",
    etag="weak",
    changing=2,
)

OLD = Vendor(
    name="dell-idrac9-old",
    root={"Product": "Integrated Dell Remote Access Controller"},
    resources={
        _S: {
            **_SYSTEM,
            "Boot": {k: v for k, v in _SYSTEM["Boot"].items() if "Mode@" not in k},
            "@Redfish.Settings": None,
        },
        **_PARTS,
        f"{_M}/VirtualMedia/RemovableDisk": _media(f"{_M}/VirtualMedia/RemovableDisk", "USBStick"),
        f"{_M}/VirtualMedia/CD": _media(f"{_M}/VirtualMedia/CD", "CD", "DVD"),
    },
    system=_S,
    slots=(f"{_M}/VirtualMedia/CD", f"{_M}/VirtualMedia/RemovableDisk"),
    facts=msgspec.structs.replace(_FACTS, cd_drives=1, boot_modes=("UEFI",)),
    requests=45,
    boot_fixed=frozenset({"BootSourceOverrideMode"}),
)
