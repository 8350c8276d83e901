"""HPE iLO 5 and 6: paths end in a slash, errors are ids alone, drives are the manager's."""

import msgspec

from mulligan.events.machine import Disk, Facts, Firmware, Nic
from tests.redfish.vendors.service import Json, Vendor, drive_actions, ref, reset

_S, _M, _C = "Systems/1", "Managers/1", "Chassis/1"
_OK = {"Health": "OK", "State": "Enabled"}
_TARGETS = ("Cd", "Hdd", "Usb", "SDCard", "Utilities", "Diags", "BiosSetup", "Pxe", "UefiShell",
            "UefiHttp", "UefiTarget")  # fmt: skip

_SYSTEM: Json = {
    "Manufacturer": "HPE",
    "Model": "ProLiant DL380 Gen10",
    "SerialNumber": "CZJ0000001",
    "SKU": "868703-B21",
    "UUID": "37383638-3330-5A43-4A30-303030303031",
    "BiosVersion": "U30 v2.68 (07/14/2022)",
    "PowerState": "On",
    "Status": {"Health": "OK", "HealthRollup": "Warning", "State": "Enabled"},
    "ProcessorSummary": {"Count": 1, "Model": "Intel(R) Xeon(R) Silver 4210R CPU @ 2.40GHz "},
    "MemorySummary": {"TotalSystemMemoryGiB": 64},
    "TrustedModules": [{"InterfaceType": "TPM2_0", "Status": {"State": "Absent"}}],
    "Boot": {
        "BootSourceOverrideMode": "UEFI",
        "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", *_TARGETS],
        "UefiTargetBootSourceOverride": "None",
    },
    "Links": {"ManagedBy": [ref(_M)], "Chassis": [ref(_C)]},
    "Oem": {"Hpe": {"Links": {"SmartStorage": ref(f"{_S}/SmartStorage")}}},
    "Actions": reset(
        _S, "On", "ForceOff", "GracefulShutdown", "ForceRestart", "Nmi", "PushPowerButton",
        "GracefulRestart",
    ),
}  # fmt: skip

_PARTS: dict[str, Json] = {
    f"{_S}/SecureBoot": {"SecureBootEnable": False},
    f"{_S}/Processors/1": {
        "ProcessorType": "CPU",
        "Manufacturer": "Intel(R) Corporation",
        "Model": "Intel(R) Xeon(R) Silver 4210R CPU @ 2.40GHz",
        "InstructionSet": "x86-64",
        "TotalCores": 10,
        "TotalThreads": 20,
        "Status": _OK,
    },
    f"{_S}/Processors/2": {"ProcessorType": "CPU", "Status": {"State": "Absent"}},
    f"{_S}/Memory/proc1dimm1": {"CapacityMiB": 0, "Status": {"State": "Absent"}},
    f"{_S}/Memory/proc1dimm8": {
        "CapacityMiB": 65536,
        "BusWidthBits": 72,
        "DataWidthBits": 64,
        "Status": _OK,
    },
    f"{_S}/EthernetInterfaces/1": {
        "MACAddress": "00:00:5E:00:53:11",
        "LinkStatus": None,
        "SpeedMbps": None,
    },
    f"{_S}/EthernetInterfaces/2": {"MACAddress": "00:00:5E:00:53:12", "LinkStatus": "LinkUp"},
    _M: {"FirmwareVersion": "iLO 5 v2.72", "Model": "iLO 5", "ManagerType": "BMC"},
    _C: {"ChassisType": "RackMount"},
    f"{_C}/Power": {"PowerSupplies": [{"Status": _OK}, {"Status": {"State": "Absent"}}]},
    "UpdateService": {},
    "UpdateService/FirmwareInventory/1": {"Name": "iLO 5", "Version": "2.72 Sep 04 2022"},
    "UpdateService/FirmwareInventory/2": {"Name": "System ROM", "Version": "U30 v2.68"},
    f"{_M}/VirtualMedia/1": {
        "MediaTypes": ["Floppy", "USBStick"],
        "Actions": drive_actions(f"{_M}/VirtualMedia/1"),
    },
    f"{_M}/VirtualMedia/2": {
        "MediaTypes": ["CD", "DVD"],
        "Actions": drive_actions(f"{_M}/VirtualMedia/2"),
        "Oem": {"Hpe": {"BootOnNextServerReset": False}},
    },
}

_SMART = f"{_S}/SmartStorage"
_ARRAY = f"{_SMART}/ArrayControllers/0"
_SMART_STORAGE: dict[str, Json] = {
    _SMART: {"Links": {"ArrayControllers": ref(f"{_SMART}/ArrayControllers")}},
    _ARRAY: {
        "Model": "HPE Smart Array P408i-a SR Gen10",
        "Links": {"PhysicalDrives": ref(f"{_ARRAY}/DiskDrives")},
    },
    f"{_ARRAY}/DiskDrives/0": {
        "CapacityMiB": 915715,
        "InterfaceType": "SAS",
        "MediaType": "HDD",
        "Model": "EG000600JWJNH",
        "SerialNumber": "WAF0000A",
        "EncryptedDrive": False,
        "Status": _OK,
    },
}

_FACTS = Facts(
    manufacturer="HPE",
    model="ProLiant DL380 Gen10",
    serial="CZJ0000001",
    sku="868703-B21",
    uuid="37383638-3330-5a43-4a30-303030303031",
    bios_version="U30 v2.68 (07/14/2022)",
    bmc_firmware="iLO 5 v2.72",
    arch="x86_64",
    cpu_vendor="Intel",
    cpu_model="Intel(R) Xeon(R) Silver 4210R CPU @ 2.40GHz",
    cpu_sockets=1,
    cpu_cores=10,
    cpu_threads=20,
    memory_bytes=64 * 2**30,
    memory_modules=1,
    memory_ecc=True,
    nics=(
        Nic(id="1", mac="00:00:5e:00:53:11"),
        Nic(id="2", mac="00:00:5e:00:53:12", link="LinkUp"),
    ),
    disks=(
        Disk(
            id="0",
            bytes=915715 * 2**20,
            media="HDD",
            model="EG000600JWJNH",
            serial="WAF0000A",
            protocol="SAS",
        ),
    ),
    firmware=(
        Firmware(name="System ROM", version="U30 v2.68"),
        Firmware(name="iLO 5", version="2.72 Sep 04 2022"),
    ),
    boot_targets=_TARGETS,
    boot_modes=("UEFI",),
    cd_drives=1,
    secure_boot=True,
    raid=True,
    power_supplies=1,
    health="warning",
    system_path=f"/redfish/v1/{_S}/",
    manager_path=f"/redfish/v1/{_M}/",
    missing=("Storage",),
)

_EXPAND = {"ExpandAll": False, "Levels": True, "Links": False, "MaxLevels": 1, "NoLinks": True}

ILO5 = Vendor(
    name="hpe-ilo5",
    root={"Product": "ProLiant DL380 Gen10", "ProtocolFeaturesSupported": {"ExpandQuery": _EXPAND}},
    resources={_S: _SYSTEM, **_PARTS, **_SMART_STORAGE},
    system=_S,
    slots=(f"{_M}/VirtualMedia/1", f"{_M}/VirtualMedia/2"),
    facts=_FACTS,
    requests=22,
    slash=True,
    expands="yes",
    etag="weak",
    boot_fixed=frozenset({"BootSourceOverrideMode"}),
    insert_takes=frozenset({"Image", "Oem"}),
    mute=True,
)

_UNIT, _CARD = f"{_S}/Storage/DE07C000", f"{_C}/NetworkAdapters/DE07B000"
_GEN11: dict[str, Json] = {
    _UNIT: {
        "Name": "HPE MR416i-p Gen11",
        "Drives": [ref(f"{_UNIT}/Drives/0"), ref(f"{_C}/Drives/1")],
    },
    f"{_UNIT}/Controllers/0": {"SupportedRAIDTypes": ["None", "RAID0", "RAID1"]},
    f"{_UNIT}/Drives/0": {
        "CapacityBytes": 1_920_383_410_176,
        "MediaType": "SSD",
        "Model": "VO001920KYDMT",
        "Protocol": "NVMe",
        "SerialNumber": "S0",
        "Status": _OK,
    },
    f"{_C}/Drives/1": {
        "CapacityBytes": 1_920_383_410_176,
        "MediaType": "SSD",
        "Model": "VO001920KYDMT",
        "Protocol": "NVMe",
        "SerialNumber": "S1",
        "Status": _OK,
    },
    f"{_C}/Power": {},
    _CARD: {"Manufacturer": "Broadcom", "Model": "BCM 57416 2p 10GBASE-T OCP"},
    f"{_CARD}/NetworkDeviceFunctions/0": {
        "Ethernet": {"MACAddress": "00:00:5E:00:53:21"},
        "Links": {"PhysicalPortAssignment": ref(f"{_CARD}/Ports/0")},
    },
    f"{_CARD}/NetworkDeviceFunctions/1": {"Ethernet": {"MACAddress": "00:00:5E:00:53:22"}},
    f"{_CARD}/Ports/0": {"CurrentSpeedGbps": 10, "LinkStatus": "LinkUp"},
    f"{_CARD}/Ports/1": {
        "CurrentSpeedGbps": 0,
        "LinkStatus": "LinkDown",
        "Ethernet": {"AssociatedMACAddresses": ["00:00:5E:00:53:22"]},
    },
}
_GEN10_ONLY = (f"{_S}/EthernetInterfaces/1", f"{_S}/EthernetInterfaces/2")

ILO6 = Vendor(
    name="hpe-ilo6",
    root={"Product": "ProLiant DL380 Gen11", "ProtocolFeaturesSupported": {"ExpandQuery": _EXPAND}},
    resources={
        _S: {**_SYSTEM, "Model": "ProLiant DL380 Gen11", "Oem": {"Hpe": {"Links": {}}}},
        **{path: body for path, body in _PARTS.items() if path not in _GEN10_ONLY},
        **_GEN11,
    },
    system=_S,
    slots=(f"{_M}/VirtualMedia/1", f"{_M}/VirtualMedia/2"),
    facts=msgspec.structs.replace(
        _FACTS,
        model="ProLiant DL380 Gen11",
        nics=(
            Nic(id="DE07B000/0", mac="00:00:5e:00:53:21", speed_mbps=10000, link="LinkUp"),
            Nic(id="DE07B000/1", mac="00:00:5e:00:53:22", link="LinkDown"),
        ),
        disks=tuple(
            Disk(
                id=str(number),
                bytes=1_920_383_410_176,
                media="SSD",
                model="VO001920KYDMT",
                serial=f"S{number}",
                protocol="NVMe",
            )
            for number in range(2)
        ),
        power_supplies=0,
        missing=("EthernetInterfaces",),
    ),
    requests=28,
    slash=True,
    expands="yes",
    etag="weak",
    if_match=True,
    tasks=frozenset({"insert"}),
    mute=True,
)
