"""The executor's rules on power, the boot override and virtual media."""

from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from mulligan.redfish.power import stable_power
from tests.bmc_faults.answers import Refuse, Unsupported
from tests.bmc_faults.lies import (
    BootContinuous,
    InsertWants,
    NoActions,
    PowerFlap,
    Stale,
    StaleInsert,
)
from tests.bmc_faults.proxy import FaultProxy
from tests.bmc_faults.timing import FailAfter, Ignore
from tests.redfish.conftest import QUICK, Faulty
from tests.redfish.scripted_bmc import EJECT, INSERT, MEDIA, RESET, SYSTEM, ScriptedBmc
from tests.redfish.test_rules import URL, run

# -- power -----------------------------------------------------------------------------------


@pytest.mark.parametrize("flaps", [False, True])
async def test_powering_on_is_not_on_and_a_flap_is_no_state(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty, flaps: bool
) -> None:
    seen = await run(faulty(PowerFlap(reads=5, flaps=flaps)), "power_on")
    assert (seen.outcome, seen.power) == ("done", "on")
    assert bmc.count("POST", RESET) == 1
    assert {entry.detail for entry in proxy.injected("power_flap")} == {"PoweringOn"}
    assert len(proxy.injected("power_flap")) >= 2


async def test_powering_off_is_not_off(bmc: ScriptedBmc, faulty: Faulty) -> None:
    bmc.power = "On"
    seen = await run(faulty(PowerFlap(seconds=60, reads=0)), "power_off")
    assert (seen.outcome, seen.fault) == ("retry", "timeout")
    assert "powering_off" in seen.message


async def test_a_machine_on_its_way_is_waited_for_before_it_is_told_anything(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    client = faulty(PowerFlap(reads=6))
    await client.post(RESET, {"ResetType": "On"})
    seen = await run(client, "power_on")
    assert seen.message == "was on already"
    assert bmc.count("POST", RESET) == 1


async def test_a_machine_that_stays_on_its_way_is_reported_so(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    client = faulty(PowerFlap(seconds=60), timings=replace(QUICK, settle=0.1))
    await client.post(RESET, {"ResetType": "On"})
    assert (await run(client, "observe_power")).power == "powering_on"


@pytest.mark.parametrize(
    ("reads", "told"),
    [
        (["On", "Off", "On", "Off", "Off"], "off"),
        (["On", "On"], "on"),
        ([None, "On", "On"], "on"),
        ([None, None], "unknown"),
        (["Paused", 7], "unknown"),
        (["PoweringOn", "PoweringOn", "On", "On"], "on"),
    ],
)
async def test_power_is_what_two_reads_in_a_row_say(
    bmc: ScriptedBmc, faulty: Faulty, reads: list[Any], told: str
) -> None:
    client = faulty(timings=replace(QUICK, settle=5.0))
    await client.system_path()

    async def next_state(request: Any, proceed: Any) -> Any:
        bmc.system_extra["PowerState"] = reads.pop(0)
        return await proceed()

    bmc.script("GET", SYSTEM, next_state, times=len(reads))
    assert await stable_power(client) == told
    assert not reads


async def test_power_that_never_agrees_is_unknown(bmc: ScriptedBmc, faulty: Faulty) -> None:
    client = faulty(timings=replace(QUICK, settle=0.1))
    await client.system_path()

    async def flip(request: Any, proceed: Any) -> Any:
        bmc.power = "Off" if bmc.power == "On" else "On"
        return await proceed()

    bmc.script("GET", SYSTEM, flip, times=1000)
    assert await stable_power(client) == "unknown"


async def test_a_power_state_that_lags_behind_is_waited_for(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    seen = await run(faulty(Stale(path=SYSTEM, reads=5)), "power_on")
    assert (seen.outcome, seen.power) == ("done", "on")
    assert bmc.count("POST", RESET) == 1


async def test_a_refusal_is_success_where_a_look_shows_that_it_is_so(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    for status in (400, 409):
        bmc.power = "Off"
        client = faulty(FailAfter(path=RESET, status=status))
        seen = await run(client, "power_on")
        assert (seen.outcome, seen.power) == ("done", "on"), status
        assert "though the BMC refused" in seen.message


async def test_a_reset_that_is_ignored_is_a_fault(bmc: ScriptedBmc, faulty: Faulty) -> None:
    seen = await run(faulty(Ignore(path=RESET)), "power_on")
    assert (seen.outcome, seen.fault) == ("retry", "timeout")
    assert "reports off" in seen.message


# -- boot once -------------------------------------------------------------------------------


async def test_once_reported_as_continuous_is_recorded_and_undone_by_us(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    client = faulty(BootContinuous())
    seen = await run(client, "boot_once")
    assert seen.outcome == "done"
    assert any("Continuous" in note for note in seen.notes)
    assert (await run(client, "clear_boot")).outcome == "done"
    assert bmc.boot["BootSourceOverrideEnabled"] == "Disabled"


async def test_a_boot_override_that_is_accepted_and_ignored_is_a_fault(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    seen = await run(faulty(Ignore(method="PATCH")), "boot_once")
    assert (seen.outcome, seen.fault) == ("retry", "not-applied")
    bmc.boot["BootSourceOverrideEnabled"] = "Once"
    bmc.boot["BootSourceOverrideTarget"] = "Cd"
    seen = await run(faulty(Ignore(method="PATCH")), "clear_boot")
    assert (seen.outcome, seen.fault) == ("retry", "not-applied")


# -- virtual media ---------------------------------------------------------------------------


async def test_media_left_behind_is_ejected_before_ours_goes_in(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty
) -> None:
    seen = await run(faulty(StaleInsert()), "insert_media", url=URL)
    assert seen.outcome == "done"
    assert bmc.image == URL
    assert "ejected" in [entry.detail for entry in proxy.injected("stale_insert")]


async def test_a_drive_that_shows_the_past_for_a_while_is_waited_for(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    seen = await run(faulty(Stale(path=MEDIA, reads=3)), "insert_media", url=URL)
    assert seen.outcome == "done"
    assert bmc.count("POST", INSERT) == 1


async def test_the_managers_drives_are_used_where_the_system_has_none(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    bmc.media_at = "/redfish/v1/Managers/bmc"
    bmc.resources[bmc.media_at] = {"VirtualMedia": {"@odata.id": f"{bmc.media_at}/VirtualMedia"}}
    assert (await run(faulty(), "insert_media", url=URL)).outcome == "done"
    assert bmc.image == URL


@pytest.mark.parametrize("status", [400, 405])
async def test_the_next_drive_is_tried_where_one_refuses(
    bmc: ScriptedBmc, faulty: Faulty, status: int
) -> None:
    first = f"{SYSTEM}/VirtualMedia/First"
    bmc.resources[f"{SYSTEM}/VirtualMedia"] = {
        "Members": [{"@odata.id": first}, {"@odata.id": MEDIA}]
    }
    bmc.resources[first] = {
        "Inserted": False,
        "Actions": {"#VirtualMedia.InsertMedia": {"target": f"{first}/InsertMedia"}},
    }
    rule = Refuse(method="POST", path=f"{first}/InsertMedia", status=status, message="no")
    seen = await run(faulty(rule), "insert_media", url=URL)
    assert seen.outcome == "done"
    assert MEDIA in seen.message


async def test_a_5xx_while_inserting_is_tried_three_times(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty
) -> None:
    rule = Refuse(method="POST", path=INSERT, status=500)
    seen = await run(faulty(replace(rule, times=2)), "insert_media", url=URL)
    assert seen.outcome == "done"
    assert bmc.count("POST", INSERT) == 1
    await run(faulty(), "eject_media")
    proxy.log.clear()
    seen = await run(faulty(rule), "insert_media", url=URL)
    assert (seen.outcome, seen.fault) == ("retry", "not-applied")
    assert len(proxy.injected("refuse")) == 3


@pytest.mark.parametrize("properties", [("TransferProtocolType",), ("MediaType",)])
async def test_properties_are_added_only_where_they_are_asked_for(
    bmc: ScriptedBmc, faulty: Faulty, properties: tuple[str, ...]
) -> None:
    await run(faulty(), "insert_media", url=URL)
    assert not {"TransferProtocolType", "MediaType"} & set(bmc.sent[-1][1])
    await run(faulty(), "eject_media")
    seen = await run(faulty(InsertWants(properties=properties)), "insert_media", url=URL)
    assert seen.outcome == "done"
    assert set(properties) <= set(bmc.sent[-1][1])


async def test_a_drive_without_actions_is_patched(bmc: ScriptedBmc, faulty: Faulty) -> None:
    client = faulty(NoActions())
    assert (await run(client, "insert_media", url=URL)).outcome == "done"
    assert bmc.image == URL
    assert (await run(client, "eject_media")).outcome == "done"
    assert not bmc.inserted
    assert {path for path, _ in bmc.sent} == {MEDIA}


async def test_a_patched_insert_that_is_ignored_is_a_fault(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    seen = await run(faulty(Ignore(method="PATCH"), NoActions()), "insert_media", url=URL)
    assert (seen.outcome, seen.fault) == ("retry", "not-applied")


async def test_an_eject_that_fails_at_first_is_done_in_the_end(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    bmc.image, bmc.inserted = URL, True
    client = faulty(Refuse(method="POST", path=EJECT, status=500, times=2))
    assert (await run(client, "eject_media")).outcome == "done"
    assert not bmc.inserted


async def test_missing_optional_resources_never_fail_an_inspection(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    for name in ("Processors", "Memory", "Storage", "EthernetInterfaces"):
        bmc.system_extra[name] = {"@odata.id": f"{SYSTEM}/{name}"}
    for status in (404, 405, 501, 500):
        client = faulty(Unsupported(method="GET", path=f"{SYSTEM}/*", status=status))
        with anyio.fail_after(10):
            seen = await run(client, "inventory")
        assert seen.outcome == "done", (status, seen.message)
        assert seen.facts is not None
        assert {"Processors", "Memory"} <= set(seen.facts.missing)
