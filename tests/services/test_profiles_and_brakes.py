"""Hardware profiles, the brakes of failure domains, and power that is kept: on a running fleet."""

import base64
from functools import partial
from typing import Any

import aiohttp
import anyio
import pytest
from grpclib import Status

from mulligan.proto import v1
from tests.e2e.fleet import IMAGE, rests
from tests.e2e.region import until
from tests.services.conftest import Tokens
from tests.services.edge import Edge, refusal
from tests.services.yard import Yard

INVALID = Status.INVALID_ARGUMENT


async def set_profile(edge: Edge, token: str, **given: Any) -> v1.HardwareProfile:
    asked = v1.SetProfileRequest(profile=v1.HardwareProfile(**given))
    found: v1.HardwareProfile = (await edge.call("control.set_profile", asked, token)).profile
    return found


async def profiles(edge: Edge, token: str) -> dict[str, v1.HardwareProfile]:
    listed = await edge.call("control.list_profiles", v1.ListProfilesRequest(), token)
    names = [one.name for one in listed.profiles]
    assert names == sorted(names)
    return {one.name: one for one in listed.profiles}


async def test_a_profile_is_set_changed_listed_and_deleted(
    edge: Edge, tokens: Tokens, yard: Yard
) -> None:
    made = await set_profile(
        edge, tokens.admin, name="acme", manufacturer="Acme*", deadlines={"inspect": 60}
    )
    assert (made.manufacturer, made.model, dict(made.deadlines)) == ("Acme*", "*", {"inspect": 60})
    changed = await set_profile(
        edge, tokens.admin, name="acme", clean=["wipe", "bios-reset"], wipe_image=IMAGE
    )
    assert (changed.manufacturer, dict(changed.deadlines)) == ("*", {}), "it is set as a whole"
    assert list(changed.clean) == ["wipe", "bios-reset"]
    image = await edge.call("control.get_image", v1.GetImageRequest(image=IMAGE), tokens.admin)
    assert changed.wipe_image == image.image.uuid
    assert (await profiles(edge, tokens.admin))["acme"] == changed
    gone = v1.DeleteProfileRequest(name="acme")
    await edge.call("control.delete_profile", gone, tokens.admin)
    assert "acme" not in await profiles(edge, tokens.admin)
    refused = await refusal(edge.call("control.delete_profile", gone, tokens.admin))
    assert refused.status is Status.NOT_FOUND


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": ""}, "name"),
    "a name in capitals": ({"name": "Acme"}, "name"),
    "an endless pattern": ({"model": "x" * 129}, "model"),
    "a verb that has no deadline": ({"deadlines": {"adore": 60}}, "deadlines[adore]"),
    "a deadline too soon": ({"deadlines": {"clean": 59}}, "deadlines[clean]"),
    "a deadline too late": ({"deadlines": {"clean": 7 * 86400 + 1}}, "deadlines[clean]"),
    "an unknown step": ({"clean": ["scrub"]}, "clean[0]"),
    "a step twice": ({"clean": ["bios-reset", "bios-reset"]}, "clean[1]"),
    "a wipe without an image": ({"clean": ["wipe"]}, "wipe_image"),
    "an image without a wipe": ({"wipe_image": IMAGE}, "wipe_image"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_profile_is_refused(
    edge: Edge, tokens: Tokens, yard: Yard, case: str
) -> None:
    changes, field = WRONG[case]
    profile = v1.HardwareProfile(**{"name": "wrong", **changes})
    asked = v1.SetProfileRequest(profile=profile)
    refused = await refusal(edge.call("control.set_profile", asked, tokens.admin))
    assert (refused.status, refused.fields) == (INVALID, (field,))
    assert "wrong" not in await profiles(edge, tokens.admin)


async def test_a_profile_must_be_given_and_its_image_be_there(edge: Edge, tokens: Tokens) -> None:
    nothing = await refusal(edge.call("control.set_profile", v1.SetProfileRequest(), tokens.admin))
    assert (nothing.status, nothing.fields) == (INVALID, ("profile",))
    profile = v1.HardwareProfile(name="wrong", clean=["wipe"], wipe_image="no-such-image")
    missing = await refusal(
        edge.call("control.set_profile", v1.SetProfileRequest(profile=profile), tokens.admin)
    )
    assert missing.status is Status.NOT_FOUND


async def test_a_profile_gives_its_machines_their_deadlines(
    edge: Edge, tokens: Tokens, yard: Yard
) -> None:
    await set_profile(edge, tokens.admin, name="brief", manufacturer="x", deadlines={"power": 90})
    (name,) = await yard.manageable()
    asked = v1.UpdateMachineRequest(machine=name, profile="brief")
    await yard.admin.control.update_machine(asked)
    power = v1.PowerMachineRequest(machine=name, target=v1.PowerTarget.ON)
    begun = (await yard.admin.control.power_machine(power)).machine
    assert begun is not None and begun.operation is not None
    assert begun.operation.deadline is not None and begun.operation.started_at is not None
    assert (begun.operation.deadline - begun.operation.started_at).total_seconds() == 90
    await rests(yard.admin, name, v1.MachineState.MANAGEABLE)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("set_profile", v1.SetProfileRequest(profile=v1.HardwareProfile(name="mine"))),
        ("delete_profile", v1.DeleteProfileRequest(name="mine")),
        ("list_profiles", v1.ListProfilesRequest()),
        ("list_brakes", v1.ListBrakesRequest()),
        ("release_brake", v1.ReleaseBrakeRequest(domain="region", reason="why not")),
    ],
)
async def test_profiles_and_brakes_are_for_operators(
    edge: Edge, tokens: Tokens, method: str, message: Any
) -> None:
    for token in (tokens.red, tokens.reader):
        refused = await refusal(edge.call(f"control.{method}", message, token))
        assert refused.status is Status.PERMISSION_DENIED


# -- brakes --------------------------------------------------------------------------------------


async def brakes(yard: Yard) -> dict[str, v1.Brake]:
    """Return the brakes that hold, by the names of their domains, as of now."""
    head = (await yard.admin.log.get_log_status(v1.GetLogStatusRequest())).head
    asked = v1.ListBrakesRequest(freshness=v1.Freshness(at_least=head))
    listed = await yard.admin.control.list_brakes(asked)
    return {one.domain_name: one for one in listed.brakes}


async def break_down(yard: Yard, name: str) -> None:
    """Have cleaning a machine fail by the machine's own fault: its login is wrong."""
    bmc = yard.fleet.bmc(name, "outdated")
    await yard.admin.control.update_machine(v1.UpdateMachineRequest(machine=name, bmc=bmc))
    await yard.admin.control.provide_machine(v1.MachineRequest(machine=name))
    assert (await yard.failed(name)).fault == "bad-credentials"


async def test_a_rack_where_too_much_fails_is_stopped_until_its_brake_is_released(
    edge: Edge, tokens: Tokens, yard: Yard
) -> None:
    login = v1.CreateCredentialRequest(name="outdated", username="admin", password="old")
    await yard.admin.control.create_credential(login)
    rack = await yard.manageable(6, "rack-burning")
    (elsewhere,) = await yard.manageable(1, "rack-calm")
    async with anyio.create_task_group() as tasks:
        for name in rack[:3]:
            tasks.start_soon(break_down, yard, name)

    async def applied() -> bool:
        return "rack-burning" in await brakes(yard)

    await until(applied, "the brake is applied")
    brake = (await brakes(yard))["rack-burning"]
    assert (brake.failed, brake.total, brake.window) == (3, 6, 600)
    assert brake.applied_at is not None

    held, read = rack[3], rack[4]
    await yard.admin.control.provide_machine(v1.MachineRequest(machine=held))
    await yard.ask("inspect_machine", [read], v1.MachineState.MANAGEABLE)
    await yard.ask("provide_machine", [elsewhere], v1.MachineState.AVAILABLE)
    why = await yard.why(held)
    assert why.waiting_for == (
        "the brake of its failure domain to be released: 3 of 6 machines failed or lost power"
        " within 10 min"
    )
    assert yard.writes(held) == 0
    assert "rack-calm" not in await brakes(yard)

    for wrong, status, fields in (
        (v1.ReleaseBrakeRequest(domain="rack-burning"), INVALID, ("reason",)),
        (v1.ReleaseBrakeRequest(reason="all is well"), INVALID, ("domain",)),
        (v1.ReleaseBrakeRequest(domain="no-rack", reason="so"), Status.NOT_FOUND, ()),
        (
            v1.ReleaseBrakeRequest(domain="rack-calm", reason="so"),
            Status.FAILED_PRECONDITION,
            (),
        ),
    ):
        refused = await refusal(edge.call("control.release_brake", wrong, tokens.admin))
        assert (refused.status, refused.fields) == (status, fields)
    release = v1.ReleaseBrakeRequest(domain="rack-burning", reason="the switch is back")
    await edge.call("control.release_brake", release, tokens.admin)
    await rests(yard.admin, held, v1.MachineState.AVAILABLE)
    await break_down(yard, rack[5])
    await yard.ask("provide_machine", [read], v1.MachineState.AVAILABLE)
    assert "rack-burning" not in await brakes(yard), "what was before does not count again"
    again = await refusal(edge.call("control.release_brake", release, tokens.admin))
    assert again.status is Status.FAILED_PRECONDITION


# -- power that is kept --------------------------------------------------------------------------


async def switch(yard: Yard, name: str, how: str) -> None:
    """Switch a machine at its BMC, behind Mulligan's back."""
    emulator = yard.fleet.emulator
    assert emulator.user and emulator.password
    url = f"{emulator.address}{yard.system(name)}/Actions/ComputerSystem.Reset"
    login = base64.b64encode(f"{emulator.user}:{emulator.password}".encode()).decode()
    headers = {"Authorization": f"Basic {login}"}
    async with (
        aiohttp.ClientSession(headers=headers, trust_env=False) as http,
        http.post(url, json={"ResetType": how}, ssl=False) as answer,
    ):
        answer.raise_for_status()


async def keep(yard: Yard, name: str, power: str) -> None:
    await yard.admin.control.keep_power(v1.KeepPowerRequest(machine=name, power=power))


async def is_seen(yard: Yard, name: str, power: str) -> bool:
    """Tell whether a machine rests and was last seen in a power."""
    found = await yard.machine(name)
    return found.operation is None and found.power is not None and found.power.observed == power


async def test_a_machine_that_is_kept_on_is_switched_on_again_once_in_ten_minutes(
    yard: Yard,
) -> None:
    kept, again = await yard.manageable(2, "rack-kept")
    (left,) = await yard.manageable(1, "rack-left")  # three losses in one rack are for its brake
    for name in (kept, left):
        power = v1.PowerMachineRequest(machine=name, target=v1.PowerTarget.ON)
        await yard.admin.control.power_machine(power)
    await keep(yard, again, "on")  # which is seen to at once
    for name in (kept, again, left):
        await until(partial(is_seen, yard, name, "on"), f"{name} is on")
    await keep(yard, kept, "on")

    for name in (kept, again, left):
        await switch(yard, name, "ForceOff")

    async def brought_back() -> bool:
        chain = (await yard.why(kept)).chain
        began = any("because of its desired power" in cause.detail for cause in chain)
        return began and await is_seen(yard, kept, "on")

    await until(brought_back, "the loss is seen and seen to", 40)
    for name in (again, left):
        await until(partial(is_seen, yard, name, "off"), f"{name} is seen to be off", 40)
    why = (await yard.why(again)).waiting_for
    assert "it is off and is to be kept on; it is seen to again at" in why
    assert (await yard.why(left)).waiting_for == ""
    for name in (kept, again):
        await keep(yard, name, "")
    assert (await yard.why(again)).waiting_for == ""
