"""What BMCs do beside the standard, one oddity at a time."""

from collections.abc import Callable
from itertools import cycle

import pytest
from aiohttp import web

from mulligan.redfish import boot, media, power
from mulligan.redfish.bios import reset_bios
from mulligan.redfish.digests import recording
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.inspect import inspect
from tests.redfish.vendors import (
    ami_megarac,
    dell_idrac9,
    hpe_ilo,
    openbmc,
    supermicro_x12,
    sushy_tools,
)
from tests.redfish.vendors.conftest import Meet
from tests.redfish.vendors.service import ROOT, Vendor
from tests.redfish.vendors.test_vendors import EFI, SEED, URL

DELL = dell_idrac9.VENDOR


@pytest.mark.parametrize("shown", ["nothing", "name"])
async def test_an_image_that_is_not_shown_is_taken_for_ours_while_there_is_one_choice(
    meet: Meet, shown: str
) -> None:
    bmc, client = await meet(DELL, shows_image=shown)
    with recording() as record:
        await media.insert(client, URL)
        assert await media.eject(client, URL)
    assert bmc.media == {}
    assert "the BMC does not tell which image is inserted" in record.notes
    await media.insert(client, URL)
    bmc.media[bmc.slots[1]] = URL
    with pytest.raises(BmcFault, match="does not show which of 2 drives"):
        await media.eject(client, URL)
    assert len(bmc.media) == 2


async def test_a_drive_that_does_not_tell_whether_it_is_full_tells_by_its_connection(
    meet: Meet,
) -> None:
    bmc, client = await meet(DELL, shows_inserted=False)
    await media.insert(client, URL)
    await media.insert(client, SEED)
    assert sorted(bmc.media.values()) == [URL, SEED]
    assert await media.eject_all(client) == [URL, SEED]


async def test_a_usb_stick_serves_where_no_cd_drive_is_left(meet: Meet) -> None:
    bmc, client = await meet(sushy_tools.VENDOR)
    with recording() as record:
        first, second = await media.insert(client, URL), await media.insert(client, SEED)
    assert (first.path[-2:], second.path[-6:]) == ("Cd", "Floppy")
    assert any("as a USB stick" in note for note in record.notes)
    assert [*bmc.media.values()] == [URL, SEED]


async def test_a_drive_for_somebodys_console_is_left_alone(meet: Meet) -> None:
    bmc, client = await meet(openbmc.VENDOR)
    bmc.media[f"{ROOT}/Managers/bmc/VirtualMedia/Slot_0"] = "http://somebody/else.iso"
    assert await media.eject_all(client) == []
    assert len(bmc.media) == 1


async def test_properties_that_a_bmc_does_not_know_are_left_out(meet: Meet) -> None:
    for mute in (True, False):
        bmc, client = await meet(DELL, insert_takes=frozenset({"Image"}), mute=mute)
        with recording() as record:
            await media.insert(client, URL)
        assert [*bmc.media.values()] == [URL]
        assert "the BMC takes the image's URL alone" in record.notes


async def test_an_image_that_cannot_be_fetched_is_not_sent_in_other_forms(meet: Meet) -> None:
    bmc, client = await meet(DELL, slots=())
    with pytest.raises(BmcFault, match="takes no image"):
        await media.insert(client, URL)
    assert len(bmc.refused) == 2, "once for each drive"


async def test_a_boot_mode_that_cannot_be_written_is_left_out_where_it_is_right(
    meet: Meet,
) -> None:
    bmc, client = await meet(hpe_ilo.ILO5)
    await boot.boot_once(client, "cd", "uefi")
    assert bmc.boot["BootSourceOverrideTarget"] == "Cd"
    bmc, client = await meet(hpe_ilo.ILO5)
    with pytest.raises(BmcFault) as raised:
        await boot.boot_once(client, "cd", "bios")
    assert raised.value.fault == "refused"
    assert bmc.boot["BootSourceOverrideEnabled"] == "Disabled"


async def test_an_override_waits_in_the_settings_where_the_system_takes_none(meet: Meet) -> None:
    bmc, client = await meet(ami_megarac.VENDOR)
    with recording() as record:
        await boot.boot_once(client, "cd", "uefi")
    assert any("staged in /redfish/v1/Systems/Self/SD" in note for note in record.notes)
    assert bmc.boot["BootSourceOverrideTarget"] == "Cd"
    await boot.clear_boot(client)
    assert bmc.boot["BootSourceOverrideEnabled"] == "Disabled"
    assert bmc.boot["BootSourceOverrideTarget"] == "None"


async def test_an_http_boot_is_compared_and_what_differs_is_noted(meet: Meet) -> None:
    bmc, client = await meet(DELL)
    with recording() as record:
        await boot.boot_http(client, EFI)
        await boot.boot_http(client, EFI)
    assert "the boot override was set already" in record.notes
    bmc.boot["HttpBootUri"] = "http://10.0.0.1/other.efi"
    await boot.boot_http(client, EFI)
    assert bmc.boot["HttpBootUri"] == EFI
    bmc, client = await meet(sushy_tools.VENDOR)
    with recording() as record:
        await boot.boot_http(client, EFI)
    assert "boot override: asked for UefiHttp, the BMC reports Cd" in record.notes


async def test_bios_settings_are_reset_where_there_is_an_action(meet: Meet) -> None:
    bmc, client = await meet(DELL)
    with pytest.raises(BmcFault, match="no reset of the BIOS settings") as raised:
        await reset_bios(client)
    assert raised.value.fault == "unsupported"
    bios = f"{bmc.system}/Bios"
    target = f"{bios}/Actions/Bios.ResetBios"
    bmc.tree[bios]["Actions"] = {"#Bios.ResetBios": {"target": target}}
    await reset_bios(client)
    assert bmc.log.count(("POST", target)) == 1


async def test_an_nmi_is_never_sent_to_a_machine_that_is_not_on(meet: Meet) -> None:
    bmc, client = await meet(DELL)
    await power.reset(client, ("Nmi",))
    assert bmc.resets == ["Nmi"]
    bmc.power = "Off"
    with pytest.raises(BmcFault, match="reports power off"):
        await power.reset(client, ("Nmi",))
    assert bmc.resets == ["Nmi"]


NONSENSE: tuple[Callable[[], web.Response], ...] = (
    lambda: web.json_response({}, status=404),
    lambda: web.json_response({}, status=500),
    lambda: web.json_response({}, status=403),
    lambda: web.Response(text="<html>busy</html>", content_type="text/html"),
    lambda: web.json_response(["not", "an", "object"]),
    lambda: web.json_response({"Members": {"@odata.id": 7}, "Drives": "x", "Status": []}),
    lambda: web.json_response({"Members": [None, 7, {"@odata.id": None}], "Id": ["x"]}),
    lambda: web.Response(text='{"Members": [', content_type="application/json"),
)


@pytest.mark.parametrize(
    "vendor", [DELL, hpe_ilo.ILO6, supermicro_x12.VENDOR], ids=lambda vendor: vendor.name
)
async def test_no_single_resource_fails_an_inspection_whatever_it_answers(
    meet: Meet, vendor: Vendor
) -> None:
    bmc, client = await meet(vendor)
    needed = {ROOT, f"{ROOT}/Systems", bmc.system}
    kinds = cycle(NONSENSE)
    for path in sorted(set(bmc.tree) - needed):
        bmc.broken = {path: next(kinds)()}
        facts = await inspect(client)
        assert (facts.serial, facts.uuid) == (vendor.facts.serial, vendor.facts.uuid), path


async def test_a_system_that_names_no_manager_has_the_only_one_there_is(meet: Meet) -> None:
    bmc, client = await meet(dell_idrac9.OLD)
    bmc.tree[bmc.system]["Links"]["ManagedBy"] = []
    await media.insert(client, URL)
    assert [*bmc.media.values()] == [URL]
