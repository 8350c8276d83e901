"""Every vendor's service, inspected and driven through the steps; the machine really follows."""

from typing import Any

import msgspec
import pytest

from mulligan.redfish import boot, media
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.steps import Observation, StepContext, run_step
from tests.redfish.vendors import (
    ami_megarac,
    dell_idrac9,
    hpe_ilo,
    lenovo_xcc,
    openbmc,
    supermicro_x12,
    sushy_tools,
)
from tests.redfish.vendors.conftest import Meet
from tests.redfish.vendors.service import Vendor
from tests.redfish.vendors.simulated import SimulatedBmc

VENDORS = (
    dell_idrac9.VENDOR,
    dell_idrac9.OLD,
    hpe_ilo.ILO5,
    hpe_ilo.ILO6,
    supermicro_x12.VENDOR,
    lenovo_xcc.VENDOR,
    openbmc.VENDOR,
    sushy_tools.VENDOR,
    ami_megarac.VENDOR,
)
URL = "http://10.0.0.1:8090/media/" + "a" * 64 + "/image.iso"
SEED = "http://10.0.0.1:8090/media/" + "b" * 64 + "/seed.iso"
EFI = "http://10.0.0.1:8090/media/" + "c" * 64 + "/boot.efi"


Pair = tuple[SimulatedBmc, BmcClient]


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.name)
async def pair(request: pytest.FixtureRequest, meet: Meet) -> Pair:
    vendor: Vendor = request.param
    return await meet(vendor)


@pytest.fixture
def bmc(pair: Pair) -> SimulatedBmc:
    return pair[0]


@pytest.fixture
def client(pair: Pair) -> BmcClient:
    return pair[1]


async def done(client: BmcClient, name: str, **params: Any) -> Observation:
    context = StepContext(bmc=client, action="action-1", params=params)
    seen = await run_step(name, context, resume=bool(params.pop("resume", False)))
    assert seen.outcome == "done", (name, seen.fault, seen.message, seen.notes)
    return seen


async def test_its_facts_are_found_exactly_and_in_few_requests(
    bmc: SimulatedBmc, client: BmcClient
) -> None:
    seen = await done(client, "inventory")
    assert seen.facts is not None
    found, wanted = msgspec.structs.asdict(seen.facts), msgspec.structs.asdict(bmc.vendor.facts)
    assert {k: v for k, v in found.items() if v != wanted[k]} == {
        k: v for k, v in wanted.items() if v != found[k]
    }
    assert len(bmc.log) <= bmc.vendor.requests, bmc.log
    assert len(bmc.log) == len(set(bmc.log)), "something was read twice"


async def test_it_is_checked_and_its_power_follows(bmc: SimulatedBmc, client: BmcClient) -> None:
    assert (await done(client, "check")).power in ("on", "powering_on")
    assert (await done(client, "power_off")).power == "off"
    assert bmc.power == "Off"
    assert (await done(client, "power_on")).power == "on"
    assert bmc.power == "On"
    await done(client, "reset")
    assert bmc.resets[-1] == "ForceRestart"


async def test_a_deploy_boots_the_image_once_and_leaves_nothing_behind(
    bmc: SimulatedBmc, client: BmcClient
) -> None:
    bmc.media[bmc.slots[0]] = "http://somewhere/stale.iso"
    await done(client, "power_off")
    await done(client, "eject_media")
    assert bmc.media == {}
    await done(client, "insert_media", url=URL)
    assert [*bmc.media.values()] == [URL]
    await done(client, "boot_once", device="cd", mode="uefi")
    await done(client, "power_on")
    assert bmc.booted == [("Cd", (URL,))]
    await done(client, "eject_media")
    await done(client, "clear_boot")
    await done(client, "reset")
    target, images = bmc.booted[-1]
    assert target in ("None", "Hdd")
    assert images == ()


async def test_a_second_image_goes_beside_the_first_and_is_taken_out_alone(
    bmc: SimulatedBmc, client: BmcClient
) -> None:
    await done(client, "insert_media", url=URL)
    if len(bmc.slots) == 1:
        with pytest.raises(BmcFault, match=r"1 virtual CD drive\(s\) and all are in use"):
            await media.insert(client, SEED)
        return
    await media.insert(client, SEED)
    assert sorted(bmc.media.values()) == [URL, SEED]
    assert await media.eject(client, SEED)
    assert [*bmc.media.values()] == [URL]
    assert not await media.eject(client, SEED)


async def test_when_all_drives_are_in_use_it_says_how_many(
    bmc: SimulatedBmc, client: BmcClient
) -> None:
    for slot in bmc.tree:
        if "/VirtualMedia/" in slot:
            bmc.media[slot] = f"http://somewhere/{slot[-4:]}.iso"
    with pytest.raises(BmcFault, match="all are in use") as raised:
        await media.insert(client, URL)
    assert raised.value.fault == "unsupported"


async def test_an_insert_before_a_crash_is_found_where_the_image_is_shown(
    bmc: SimulatedBmc, client: BmcClient
) -> None:
    await done(client, "insert_media", url=URL)
    context = StepContext(bmc=client, action="action-1", params={"url": URL})
    seen = await run_step("insert_media", context, resume=True)
    told = bmc.vendor.shows_image in ("url", "path")
    assert seen.outcome == ("done" if told else "retry")


async def test_an_http_boot_is_set_or_said_to_be_impossible(
    bmc: SimulatedBmc, client: BmcClient
) -> None:
    if "UefiHttp" not in bmc.vendor.facts.boot_targets:
        with pytest.raises(BmcFault, match="cannot boot from UefiHttp; it offers"):
            await boot.boot_http(client, EFI)
        return
    await boot.boot_http(client, EFI)
    assert (bmc.boot["BootSourceOverrideTarget"], bmc.boot["HttpBootUri"]) == (
        bmc.vendor.http_target,
        EFI,
    )
    await boot.clear_boot(client)
    assert not bmc.boot["HttpBootUri"]
    assert bmc.boot["BootSourceOverrideTarget"] in ("None", "Hdd")
