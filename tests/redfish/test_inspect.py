from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulligan.events.machine import Accelerator, Disk, Facts, Firmware, Nic
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.boot import override_of
from mulligan.redfish.compute import module_of, pcie_accelerator_of, processor_of
from mulligan.redfish.drives import slot_of
from mulligan.redfish.hardware import Parts, boot_modes, facts_of
from mulligan.redfish.inspect import inspect
from mulligan.redfish.nics import adapter_nics, function_of, mac_of, nic_of, port_of
from mulligan.redfish.power import allowed_in_action, allowed_in_info, power_of
from mulligan.redfish.reading import expand_query
from mulligan.redfish.software import firmware_of, software_of
from mulligan.redfish.storage import drive_of, own_disk, simple_disks, unique, unit_of
from tests.redfish.scripted_bmc import SYSTEM, ScriptedBmc, answer, status

LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "x", "On"])
KEYS = st.sampled_from(
    [
        "Manufacturer", "SerialNumber", "ProcessorSummary", "MemorySummary", "Count", "Model",
        "TotalSystemMemoryGiB", "CapacityMiB", "CapacityBytes", "Id", "MACAddress", "SpeedMbps",
        "Status", "Devices", "TotalCores", "PowerState", "Boot", "Actions", "Image", "Inserted",
        "MediaTypes", "Parameters", "#ComputerSystem.Reset", "Drives", "StorageControllers",
        "Ethernet", "Links", "CurrentSpeedGbps", "AssociatedNetworkAddresses", "TrustedModules",
        "ProcessorMemory", "Attributes", "SupportedRAIDTypes", "Version", "Name", "@odata.id",
        "BootSourceOverrideTarget@Redfish.AllowableValues", "PhysicalPortAssignment",
    ]
)  # fmt: skip
VALUE = LEAF | st.lists(LEAF, max_size=2) | st.dictionaries(KEYS, LEAF, max_size=3)
BODY = st.dictionaries(KEYS, VALUE | st.lists(VALUE, max_size=2), max_size=6)


@settings(deadline=None)
@given(system=BODY, parts=st.lists(BODY, max_size=2))
def test_reading_a_bmc_never_fails_whatever_it_sends(system: Any, parts: list[Any]) -> None:
    drives = [drive for part in parts for drive in (drive_of(part), own_disk(part)) if drive]
    adapters = adapter_nics("a", [*map(function_of, parts)], [*map(port_of, parts)])
    read = Parts(
        system=system,
        system_path="/s",
        manager=system,
        chassis=system,
        bios=system,
        secure_boot=system,
        processors=[p for p in map(processor_of, parts) if p],
        memory=[m for m in map(module_of, parts) if m],
        nics=[*(n for n in map(nic_of, parts) if n), *adapters],
        disks=[*unique(drives), *(disk for part in parts for disk in simple_disks(part))],
        accelerators=[a for a in map(pcie_accelerator_of, parts) if a],
        firmware=firmware_of(s for s in map(software_of, parts) if s),
    )
    assert facts_of(read).memory_bytes >= 0
    for part in parts:
        unit_of(part)
    override_of(system)
    slot_of("/m", system)
    allowed_in_action(system)
    allowed_in_info(system)
    power_of(system)
    expand_query(system)


def test_facts_are_gathered_from_all_parts() -> None:
    sent: list[Any] = [
        {"Model": "Xeon X", "TotalCores": 32, "TotalThreads": 64, "InstructionSet": "x86-64"},
        {"Model": "Xeon X", "TotalCores": 32, "TotalThreads": 64, "ProcessorType": "CPU"},
        {"Id": "g", "Model": "G", "TotalCores": 9, "ProcessorType": "GPU", "Manufacturer": "AMD"},
        {"Status": {"State": "Absent"}},
    ]
    parts = Parts(
        system={
            "Manufacturer": " Contoso ",
            "Model": "R1",
            "SerialNumber": "To be filled by O.E.M.",
            "SKU": None,
            "UUID": "4C4C4544-0051-3510-8057-B4C04F4E3432",
            "BiosVersion": "2.1",
            "MemorySummary": {"TotalSystemMemoryGiB": 127.5},
            "TrustedModules": [None, {"InterfaceType": "TPM2_0"}],
            "Status": {"Health": "OK", "HealthRollup": "Warning"},
            "Boot": {
                "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "UefiHttp"],
                "BootSourceOverrideMode@Redfish.AllowableValues": ["Legacy", "UEFI"],
                "HttpBootUri": None,
            },
        },
        system_path="/s",
        manager={"FirmwareVersion": "7.0"},
        chassis={"SerialNumber": "C1"},
        secure_boot={"SecureBootEnable": False},
        processors=[p for p in map(processor_of, sent) if p],
        nics=[Nic(id="1", mac="aa:bb:cc:00:11:22")],
        disks=[Disk(id="0", bytes=960_000_000_000, media="SSD")],
        firmware=[Firmware(name="BIOS", version="2.1")],
        cd_drives=2,
        raid=True,
        power_supplies=2,
    )
    assert facts_of(parts) == Facts(
        manufacturer="Contoso",
        model="R1",
        serial="C1",
        uuid="4c4c4544-0051-3510-8057-b4c04f4e3432",
        bios_version="2.1",
        bmc_firmware="7.0",
        arch="x86_64",
        cpu_vendor="Intel",
        cpu_model="Xeon X",
        cpu_sockets=2,
        cpu_cores=64,
        cpu_threads=128,
        memory_bytes=int(127.5 * 2**30),
        nics=(Nic(id="1", mac="aa:bb:cc:00:11:22"),),
        disks=(Disk(id="0", bytes=960_000_000_000, media="SSD"),),
        accelerators=(Accelerator(id="g", kind="GPU", vendor="AMD", model="G"),),
        firmware=(Firmware(name="BIOS", version="2.1"),),
        boot_targets=("Pxe", "UefiHttp"),
        boot_modes=("UEFI", "Legacy"),
        http_boot=True,
        cd_drives=2,
        secure_boot=True,
        tpm="2.0",
        raid=True,
        power_supplies=2,
        health="warning",
        system_path="/s",
    )


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("AA-BB-CC-00-11-22", "aa:bb:cc:00:11:22"),
        ("aabbcc001122", "aa:bb:cc:00:11:22"),
        ("00:00:00:00:00:00", ""),
        ("N/A", ""),
        (7, ""),
    ],
)
def test_addresses_come_in_one_form_and_zeros_are_none(sent: Any, found: str) -> None:
    assert mac_of(sent) == found


def test_drives_that_each_controller_counts_from_0_get_ids_of_their_own() -> None:
    at = "/redfish/v1/Systems/1/Storage/{}/Drives/0"
    sent = [{"@odata.id": at.format(unit), "Id": "0"} for unit in ("DE000", "DE001")]
    found = [drive for drive in map(drive_of, [*sent, sent[0]]) if drive]
    assert [disk.id for disk in unique(found)] == ["DE000/0", "DE001/0"]


def test_a_boot_mode_is_found_among_the_bios_settings_where_the_system_tells_none() -> None:
    for attributes in ({"BootMode": "Uefi"}, {"BootModes_SystemBootMode": "UEFIMode"}):
        assert boot_modes({}, {"Attributes": attributes}) == ("UEFI",)
    assert boot_modes({}, {"Attributes": {"BootMode": "LegacyBios"}}) == ("Legacy",)
    assert boot_modes({}, {"Attributes": {"BootMode": 7}}) == ()


def test_long_texts_are_clipped() -> None:
    facts = facts_of(Parts(system={"Model": "x" * 2**20}, system_path="/s"))
    assert len(facts.model) <= 256


def test_a_service_says_how_it_expands_collections() -> None:
    def offered(**features: Any) -> str:
        return expand_query({"ProtocolFeaturesSupported": {"ExpandQuery": features}})

    assert offered(NoLinks=True, Levels=True, MaxLevels=6) == "?$expand=.($levels=1)"
    assert offered(ExpandAll=True) == "?$expand=*"
    assert offered(Levels=True) == expand_query({}) == ""


@pytest.mark.parametrize("answered", [status(404), status(501), status(500), answer("[]")])
async def test_an_optional_resource_that_is_missing_or_broken_never_fails_the_inspection(
    bmc: ScriptedBmc, client: BmcClient, answered: Any
) -> None:
    bmc.system_extra["Memory"] = {"@odata.id": f"{SYSTEM}/Memory"}
    bmc.script("GET", f"{SYSTEM}/Memory", answered, times=9)
    facts = await inspect(client)
    assert "Memory" in facts.missing
    assert facts.system_path == SYSTEM


async def test_a_collection_that_lies_about_itself_is_bounded(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    memory, module = f"{SYSTEM}/Memory", f"{SYSTEM}/Memory/0"
    bmc.system_extra["Memory"] = {"@odata.id": memory}
    bmc.resources[module] = {"CapacityMiB": 1024}
    odd: list[Any] = [None, 7, {"@odata.id": 7}, {"@odata.id": module}, {"@odata.id": module}]
    more = [{"@odata.id": f"{memory}/{n}", "CapacityMiB": 1} for n in range(5000)]
    bmc.resources[memory] = {"Members": [*odd, *more], "Members@odata.nextLink": memory}
    facts = await inspect(client)
    assert 60 <= facts.memory_modules <= 64
    assert bmc.count("GET", memory) == 1
    assert bmc.count("GET", module) == 1
