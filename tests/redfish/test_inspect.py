from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulligan.events.machine import Disk, Facts, Nic
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.boot import override_of
from mulligan.redfish.inspect import Parts, facts_of, inspect
from mulligan.redfish.drives import slot_of
from mulligan.redfish.power import allowed_in_action, allowed_in_info, power_of
from tests.redfish.scripted_bmc import SYSTEM, ScriptedBmc, answer, status

LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "x", "On"])
KEYS = st.sampled_from(
    [
        "Manufacturer", "SerialNumber", "ProcessorSummary", "MemorySummary", "Count", "Model",
        "TotalSystemMemoryGiB", "CapacityMiB", "CapacityBytes", "Id", "MACAddress", "SpeedMbps",
        "Status", "Devices", "TotalCores", "PowerState", "Boot", "Actions", "Image", "Inserted",
        "MediaTypes", "Parameters", "#ComputerSystem.Reset",
    ]
)  # fmt: skip
VALUE = LEAF | st.lists(LEAF, max_size=2) | st.dictionaries(KEYS, LEAF, max_size=3)
BODY = st.dictionaries(KEYS, VALUE, max_size=6)


@settings(deadline=None)
@given(system=BODY, parts=st.lists(BODY, max_size=2))
def test_reading_a_bmc_never_fails_whatever_it_sends(system: Any, parts: list[Any]) -> None:
    read = Parts(
        system=system,
        system_path="/s",
        manager=system,
        processors=parts,
        memory=parts,
        nics=parts,
        drives=parts,
        simple_storage=parts,
    )
    assert facts_of(read).memory_bytes >= 0
    override_of(system)
    slot_of("/m", system)
    allowed_in_action(system)
    allowed_in_info(system)
    power_of(system)


def test_facts_are_gathered_from_all_parts() -> None:
    parts = Parts(
        system={
            "Manufacturer": " Contoso ",
            "Model": "R1",
            "SerialNumber": "S1",
            "SKU": None,
            "BiosVersion": "2.1",
            "MemorySummary": {"TotalSystemMemoryGiB": 127.5},
        },
        system_path="/s",
        manager={"FirmwareVersion": "7.0"},
        processors=[
            {"Model": "X", "TotalCores": 32, "TotalThreads": 64},
            {"Model": "X", "TotalCores": 32, "TotalThreads": 64, "ProcessorType": "CPU"},
            {"Model": "G", "TotalCores": 9, "ProcessorType": "GPU"},
            {"Status": {"State": "Absent"}},
        ],
        nics=[{"Id": "1", "MACAddress": "AA-BB-CC-00-11-22", "SpeedMbps": 25000}, {}],
        drives=[{"Id": "0", "CapacityBytes": 960_000_000_000, "MediaType": "SSD", "Model": "D"}],
    )
    assert facts_of(parts) == Facts(
        manufacturer="Contoso",
        model="R1",
        serial="S1",
        bios_version="2.1",
        bmc_firmware="7.0",
        cpu_model="X",
        cpu_sockets=2,
        cpu_cores=64,
        cpu_threads=128,
        memory_bytes=int(127.5 * 2**30),
        nics=(Nic(id="1", mac="aa:bb:cc:00:11:22", speed_mbps=25000),),
        disks=(Disk(id="0", bytes=960_000_000_000, media="SSD", model="D"),),
        system_path="/s",
    )


def test_simple_storage_serves_where_there_are_no_drives() -> None:
    parts = Parts(
        system={},
        system_path="/s",
        simple_storage=[{"Devices": [{"Name": "sda", "CapacityBytes": 5}, None, 7]}],
    )
    assert facts_of(parts).disks == (Disk(id="sda", bytes=5),)


@pytest.mark.parametrize("answered", [status(404), status(501), status(500), answer("[]")])
async def test_an_optional_resource_that_is_missing_or_broken_never_fails_the_inspection(
    bmc: ScriptedBmc, client: BmcClient, answered: Any
) -> None:
    bmc.system_extra["Memory"] = {"@odata.id": f"{SYSTEM}/Memory"}
    bmc.script("GET", f"{SYSTEM}/Memory", answered, times=9)
    facts = await inspect(client)
    assert "Memory" in facts.missing
    assert facts.system_path == SYSTEM
