"""Supermicro X12: wants the transfer protocol, answers with tasks, shows images by path alone."""

from mulligan.events.machine import Accelerator, Disk, Facts, Firmware, Nic
from tests.redfish.vendors.service import Json, Vendor, drive_actions, ref

_S, _M, _C = "Systems/1", "Managers/1", "Chassis/1"
_OK = {"State": "Enabled", "Health": "OK"}
_ALLOWED = "@Redfish.AllowableValues"
_CARD = f"{_C}/NetworkAdapters/1"
_TARGETS = ("Pxe", "Floppy", "Cd", "Usb", "Hdd", "BiosSetup", "UsbCd", "UefiBootNext", "UefiHttp")


def _drive(number: int) -> Json:
    return {
        "Name": f"Disk.Bay.{number}",
        "CapacityBytes": 3_840_755_982_336,
        "MediaType": "SSD",
        "Model": "Micron_9300_MTFDHAL3T8TDP",
        "SerialNumber": f"2046000{number}",
        "Protocol": "NVMe",
        "Status": _OK,
    }


_RESOURCES: dict[str, Json] = {
    _S: {
        "Manufacturer": "Supermicro",
        "Model": "SYS-220GP-TNR",
        "SerialNumber": "S000000X0000001",
        "SKU": "Default string",
        "UUID": "00000000-0000-0000-0000-3CECEF000001",
        "BiosVersion": "1.4a",
        "PowerState": "On",
        "Status": {"State": "Enabled", "Health": "OK"},
        "ProcessorSummary": {"Count": 2, "Model": "Intel(R) Xeon(R) processor"},
        "MemorySummary": {"TotalSystemMemoryGiB": 64},
        "TrustedModules": [],
        "Boot": {
            "BootSourceOverrideMode": "Legacy",
            "BootSourceOverrideMode" + _ALLOWED: ["Legacy", "UEFI"],
            "BootSourceOverrideTarget" + _ALLOWED: ["None", *_TARGETS],
        },
        "PCIeDevices": [ref(f"{_C}/PCIeDevices/GPU1"), ref(f"{_C}/PCIeDevices/NIC1")],
        "Links": {"ManagedBy": [ref(_M)], "Chassis": [ref(_C)]},
        "Actions": {
            "#ComputerSystem.Reset": {
                "target": f"/redfish/v1/{_S}/Actions/ComputerSystem.Reset",
                "@Redfish.ActionInfo": f"/redfish/v1/{_S}/ResetActionInfo",
            }
        },
    },
    f"{_S}/ResetActionInfo": {
        "Parameters": [
            {
                "Name": "ResetType",
                "Required": True,
                "AllowableValues": [
                    "On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart",
                    "Nmi", "ForceOn",
                ],
            }
        ]
    },
    f"{_S}/SecureBoot": {"SecureBootEnable": True},
    f"{_S}/Processors/1": {
        "ProcessorType": "CPU",
        "Manufacturer": "Intel(R) Corporation",
        "Model": "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz",
        "ProcessorArchitecture": "x86",
        "TotalCores": 32,
        "TotalThreads": 64,
        "Status": _OK,
    },
    f"{_S}/Memory/1": {"CapacityMiB": 32768, "ErrorCorrection": "SingleBitECC", "Status": _OK},
    f"{_S}/Memory/2": {"CapacityMiB": 32768, "ErrorCorrection": "SingleBitECC", "Status": _OK},
    f"{_S}/Storage/NVMeSSD": {
        "Drives": [
            ref(f"{_C}/NVMeSSD.0.Group.0.StorageBackplane/Drives/Disk.Bay.{n}") for n in range(2)
        ],
        "StorageControllers": [{"Name": "NVMe SSD controller"}],
    },
    f"{_C}/NVMeSSD.0.Group.0.StorageBackplane": {},
    f"{_C}/NVMeSSD.0.Group.0.StorageBackplane/Drives/Disk.Bay.0": _drive(0),
    f"{_C}/NVMeSSD.0.Group.0.StorageBackplane/Drives/Disk.Bay.1": _drive(1),
    _M: {"FirmwareVersion": "01.02.07", "Model": "ASPEED"},
    f"{_M}/VirtualMedia/VirtualMedia1": {
        "MediaTypes": ["CD", "DVD"],
        "Actions": drive_actions(f"{_M}/VirtualMedia/VirtualMedia1"),
    },
    f"{_M}/VirtualMedia/VirtualMedia2": {
        "MediaTypes": ["CD", "DVD"],
        "Actions": drive_actions(f"{_M}/VirtualMedia/VirtualMedia2"),
    },
    _C: {"ChassisType": "RackMount", "SerialNumber": "C0000000000001"},
    f"{_C}/Power": {
        "PowerSupplies": [{"Name": "PSU1", "Status": _OK}, {"Name": "PSU2", "Status": _OK}]
    },
    f"{_C}/PCIeDevices/GPU1": {
        "Name": "GPU1",
        "Manufacturer": "NVIDIA",
        "Model": "A100-PCIE-40GB",
        "Status": _OK,
    },
    f"{_C}/PCIeDevices/NIC1": {
        "Name": "NIC1",
        "Manufacturer": "NVIDIA",
        "Model": "ConnectX-6 Dx",
        "Status": _OK,
    },
    _CARD: {"Manufacturer": "Intel", "Model": "AOC-ATG-i2TM"},
    f"{_CARD}/NetworkPorts/1": {
        "AssociatedNetworkAddresses": ["3CECEF000010"],
        "LinkStatus": "Up",
        "CurrentLinkSpeedMbps": 10000,
    },
    f"{_CARD}/NetworkPorts/2": {
        "AssociatedNetworkAddresses": ["3CECEF000011"],
        "LinkStatus": "Down",
        "CurrentLinkSpeedMbps": None,
    },
    "UpdateService": {},
    "UpdateService/FirmwareInventory/BIOS": {"Name": "BIOS", "Version": "BIOS Date: 04/07/2022"},
    "UpdateService/FirmwareInventory/BMC": {"Name": "BMC", "Version": "01.02.07"},
    "UpdateService/FirmwareInventory/CPLD": {"Name": "CPLD", "Version": "N/A"},
}  # fmt: skip

VENDOR = Vendor(
    name="supermicro-x12",
    root={"RedfishVersion": "1.9.0", "Vendor": "Supermicro"},
    resources=_RESOURCES,
    system=_S,
    slots=(f"{_M}/VirtualMedia/VirtualMedia1", f"{_M}/VirtualMedia/VirtualMedia2"),
    facts=Facts(
        manufacturer="Supermicro",
        model="SYS-220GP-TNR",
        serial="S000000X0000001",
        uuid="00000000-0000-0000-0000-3cecef000001",
        bios_version="1.4a",
        bmc_firmware="01.02.07",
        arch="x86_64",
        cpu_vendor="Intel",
        cpu_model="Intel(R) Xeon(R) processor",
        cpu_sockets=1,
        cpu_cores=32,
        cpu_threads=64,
        memory_bytes=64 * 2**30,
        memory_modules=2,
        memory_ecc=True,
        nics=(
            Nic(id="1/1", mac="3c:ec:ef:00:00:10", speed_mbps=10000, link="LinkUp"),
            Nic(id="1/2", mac="3c:ec:ef:00:00:11", link="LinkDown"),
        ),
        disks=tuple(
            Disk(
                id=f"Disk.Bay.{number}",
                bytes=3_840_755_982_336,
                media="SSD",
                model="Micron_9300_MTFDHAL3T8TDP",
                serial=f"2046000{number}",
                protocol="NVMe",
            )
            for number in range(2)
        ),
        accelerators=(Accelerator(id="GPU1", kind="GPU", vendor="NVIDIA", model="A100-PCIE-40GB"),),
        firmware=(
            Firmware(name="BIOS", version="BIOS Date: 04/07/2022"),
            Firmware(name="BMC", version="01.02.07"),
        ),
        boot_targets=_TARGETS,
        boot_modes=("UEFI", "Legacy"),
        cd_drives=2,
        secure_boot=True,
        power_supplies=2,
        health="ok",
        system_path=f"/redfish/v1/{_S}",
        manager_path=f"/redfish/v1/{_M}",
        missing=("EthernetInterfaces", "NetworkDeviceFunctions"),
    ),
    requests=40,
    etag="strong",
    tasks=frozenset({"insert", "reset"}),
    insert_needs=frozenset({"Image", "TransferProtocolType"}),
    insert_takes=frozenset({"Image", "TransferProtocolType", "Inserted", "WriteProtected"}),
    shows_image="path",
)
