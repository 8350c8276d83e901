"""sushy-tools: numbers of cores as text, an override that is always Continuous, no sessions."""

from mulligan.events.machine import Disk, Facts, Nic
from tests.redfish.vendors.service import Json, Vendor, drive_actions, ref, reset

_ID = "c7a5fdbd-cdaf-9455-926a-d65c16db1809"
_S, _M, _C = f"Systems/{_ID}", f"Managers/{_ID}", "Chassis/15693887-7984-9484-3272-842188918912"
_OK = {"State": "Enabled", "Health": "OK"}
_ALLOWED = "@Redfish.AllowableValues"

_RESOURCES: dict[str, Json] = {
    _S: {
        "Name": "vm1",
        "UUID": _ID,
        "Manufacturer": "Sushy Emulator",
        "Status": {"State": "Enabled", "Health": "OK", "HealthRollUp": "OK"},
        "PowerState": "On",
        "Boot": {
            "BootSourceOverrideMode": "UEFI",
            "BootSourceOverrideTarget" + _ALLOWED: ["Pxe", "Cd", "Hdd", "UefiHttp"],
            "UefiTargetBootSourceOverride": "/0x31/0x33/0x01/0x01",
            "HttpBootUri": "",
        },
        "ProcessorSummary": {"Count": 2},
        "MemorySummary": {"TotalSystemMemoryGiB": 4},
        "Memory": ref(f"{_S}/Memory"),
        "SecureBoot": ref(f"{_S}/SecureBoot"),
        "Links": {"ManagedBy": [ref(_M)], "Chassis": [ref(_C)]},
        "Actions": reset(
            _S, "On", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "Nmi",
            "ForceOn",
        ),
    },
    f"{_S}/Processors/CPU0": {
        "ProcessorType": "CPU",
        "ProcessorArchitecture": "x86",
        "InstructionSet": "x86-64",
        "Manufacturer": "N/A",
        "Model": "N/A",
        "TotalCores": "2",
        "TotalThreads": "4",
        "Status": _OK,
    },
    f"{_S}/EthernetInterfaces/52:54:00:4e:5d:37": {
        "PermanentMACAddress": "52:54:00:4e:5d:37",
        "MACAddress": "52:54:00:4e:5d:37",
        "SpeedMbps": 1000,
        "FullDuplex": True,
    },
    f"{_S}/Storage": {"Members": []},
    f"{_S}/SimpleStorage/virtio": {
        "Devices": [
            {"Name": "vda", "Model": "N/A", "CapacityBytes": 10_737_418_240, "Status": _OK}
        ]
    },
    f"{_S}/BIOS": {"Attributes": {"BootMode": "Uefi"}},
    f"{_S}/VirtualMedia/Cd": {
        "MediaTypes": ["CD", "DVD"],
        "Actions": drive_actions(f"{_S}/VirtualMedia/Cd"),
    },
    f"{_S}/VirtualMedia/Floppy": {
        "MediaTypes": ["Floppy", "USBStick"],
        "Actions": drive_actions(f"{_S}/VirtualMedia/Floppy"),
    },
    _M: {"Name": "vm1-Manager", "FirmwareVersion": "1.00"},
    _C: {"Name": "Sushy-Chassis"},
}  # fmt: skip

VENDOR = Vendor(
    name="sushy-tools",
    root={"RedfishVersion": "1.5.0"},
    resources=_RESOURCES,
    system=_S,
    slots=(f"{_S}/VirtualMedia/Cd", f"{_S}/VirtualMedia/Floppy"),
    facts=Facts(
        manufacturer="Sushy Emulator",
        uuid=_ID,
        bmc_firmware="1.00",
        arch="x86_64",
        cpu_sockets=1,
        cpu_cores=2,
        cpu_threads=4,
        memory_bytes=4 * 2**30,
        nics=(Nic(id="52:54:00:4e:5d:37", mac="52:54:00:4e:5d:37", speed_mbps=1000),),
        disks=(Disk(id="vda", bytes=10_737_418_240),),
        boot_targets=("Pxe", "Cd", "Hdd", "UefiHttp"),
        boot_modes=("UEFI",),
        http_boot=True,
        cd_drives=1,
        health="ok",
        system_path=f"/redfish/v1/{_S}",
        manager_path=f"/redfish/v1/{_M}",
        missing=("FirmwareInventory", "Memory", "Power", "SecureBoot", "UpdateService"),
    ),
    requests=30,
    sessions=False,
    once="Continuous",
    http_target="Cd",
)
