from typing import Any, get_args

import msgspec
import pytest

from mulligan.events.machine import Mode, StepObserved
from mulligan.handlers.steps import MODES
from mulligan.model import ActionId, utc_now
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.media_server import MediaServer
from mulligan.redfish.steps import STEPS, Observation, StepContext, run_step
from tests.redfish.conftest import Connect
from tests.redfish.scripted_bmc import (
    EJECT,
    INSERT,
    MEDIA,
    RESET,
    SYSTEM,
    ScriptedBmc,
    drop,
    fails_after_applying,
    ignored,
    stall,
    status,
)

URL = "http://10.0.0.1:8090/media/" + "a" * 64 + "/image.iso"


async def run(client: BmcClient, name: str, *, resume: bool = False, **params: Any) -> Observation:
    context = StepContext(bmc=client, action="action-1", params=params)
    return await run_step(name, context, resume=resume)


def test_the_catalogue_holds_the_steps_that_handlers_plan_with() -> None:
    assert {name: step.mode for name, step in STEPS.items()} == dict(MODES)
    assert set(MODES.values()) <= set(get_args(Mode))


def test_each_step_that_runs_once_can_be_looked_for() -> None:
    for name, step in STEPS.items():
        assert (step.look is not None) == (step.mode == "once"), name


def test_an_observation_has_the_fields_of_its_event() -> None:
    observed = {field.name for field in msgspec.structs.fields(StepObserved)}
    fields = {f.name for f in msgspec.structs.fields(Observation)}
    assert fields - {"password"} == observed - {"action", "at"}
    seen = msgspec.structs.asdict(Observation(outcome="done", power="on", notes=("x",)))
    del seen["password"]  # an event of its own
    event = StepObserved(action=ActionId("a"), at=utc_now(), **seen)
    assert event.power == "on"


async def test_check_reports_a_bad_password_as_fatal(connect: Connect) -> None:
    seen = await run(connect(password="wrong"), "check")
    assert (seen.outcome, seen.fault) == ("fatal", "bad-credentials")
    assert seen.exchanges[-1].status == 401


async def test_check_reports_a_silent_address_as_something_to_try_again(
    connect: Connect,
) -> None:
    seen = await run(connect(address="http://127.0.0.1:9"), "check")
    assert (seen.outcome, seen.fault) == ("retry", "unreachable")


async def test_power_goes_on_and_off_and_already_there_is_success(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    assert (await run(client, "power_on")).power == "on"
    again = await run(client, "power_on")
    assert (again.outcome, again.message) == ("done", "was on already")
    assert (await run(client, "power_off")).power == "off"
    assert [body["ResetType"] for _, body in bmc.sent] == ["On", "ForceOff"]


async def test_only_allowed_reset_types_are_sent(bmc: ScriptedBmc, client: BmcClient) -> None:
    bmc.system_extra["Actions"] = {
        "#ComputerSystem.Reset": {
            "target": RESET,
            "ResetType@Redfish.AllowableValues": ["ForceOn", "PushPowerButton"],
        }
    }
    await run(client, "power_on")
    assert [body["ResetType"] for _, body in bmc.sent] == ["ForceOn"]
    seen = await run(client, "power_off")
    assert (seen.outcome, seen.fault) == ("fatal", "unsupported")
    assert "PushPowerButton" in seen.message


async def test_allowed_reset_types_are_found_in_action_info(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    info = f"{SYSTEM}/ResetActionInfo"
    bmc.system_extra["Actions"] = {
        "#ComputerSystem.Reset": {"target": RESET, "@Redfish.ActionInfo": info}
    }
    bmc.resources[info] = {
        "Parameters": [None, {"Name": "ResetType", "AllowableValues": ["ForceOn"]}]
    }
    await run(client, "power_on")
    assert [body["ResetType"] for _, body in bmc.sent] == ["ForceOn"]


async def test_unknown_power_is_not_off(bmc: ScriptedBmc, client: BmcClient) -> None:
    bmc.system_extra["PowerState"] = None
    assert (await run(client, "observe_power")).power == "unknown"
    seen = await run(client, "power_off")
    assert bmc.sent, "the machine was taken for off"
    assert (seen.outcome, seen.fault) == ("retry", "timeout")


async def test_a_graceful_shutdown_that_nobody_heeds_says_what_to_do(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.power = "On"

    async def shut_down() -> Observation:
        bmc.script("POST", RESET, ignored)
        return await run(client, "power_off", target="GracefulShutdown")

    seen = await shut_down()
    for _ in range(4):  # a host that is busy for a moment has the time run out elsewhere
        if "no answer within" in seen.message:
            seen = await shut_down()
    assert (seen.outcome, seen.fault) == ("retry", "timeout")
    assert "ForceOff" in seen.message


async def test_a_refusal_because_it_is_already_so_is_success(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    async def turns_on_and_refuses(request: Any, proceed: Any) -> Any:
        await proceed()
        return await status(409, "already on")(request, proceed)

    bmc.script("POST", RESET, turns_on_and_refuses)
    assert (await run(client, "power_on")).outcome == "done"


@pytest.mark.parametrize(
    "behaviour",
    [drop(apply=True), stall(5, apply=True), fails_after_applying],
    ids=["dropped", "timed out", "answered 500"],
)
async def test_an_ambiguous_power_on_that_was_applied_is_found_by_looking(
    bmc: ScriptedBmc, client: BmcClient, behaviour: Any
) -> None:
    bmc.script("POST", RESET, behaviour)
    seen = await run(client, "power_on")
    assert (seen.outcome, seen.recovered, seen.power) == ("done", True, "on")
    assert bmc.count("POST", RESET) == 1


async def test_an_ambiguous_power_on_that_was_not_applied_is_proven_so(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.script("POST", RESET, drop(apply=False))
    seen = await run(client, "power_on")
    assert (seen.outcome, seen.fault) == ("retry", "not-applied")
    assert bmc.count("POST", RESET) == 1


async def test_after_a_crash_a_once_step_is_looked_for_and_never_sent(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    missing = await run(client, "power_on", resume=True)
    assert (missing.outcome, missing.fault) == ("retry", "not-applied")
    bmc.power = "On"
    there = await run(client, "power_on", resume=True)
    assert (there.outcome, there.recovered) == ("done", True)
    assert not bmc.sent


async def test_after_a_crash_a_reset_cannot_be_looked_for_and_is_left_to_a_person(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.power = "On"
    seen = await run(client, "reset", resume=True)
    assert (seen.outcome, seen.fault) == ("fatal", "unknown-outcome")
    assert not bmc.sent


@pytest.mark.parametrize(
    ("task", "outcome", "fault"),
    [
        ({"TaskState": "Completed", "TaskStatus": "OK"}, "done", ""),
        ({"TaskState": "Exception"}, "fatal", "refused"),
        (None, "fatal", "unknown-outcome"),
    ],
    ids=["ended well", "failed", "gone"],
)
async def test_after_a_crash_the_task_of_a_reset_tells_what_nothing_else_shows(
    bmc: ScriptedBmc, client: BmcClient, task: Any, outcome: str, fault: str
) -> None:
    bmc.power = "On"
    monitor = "/redfish/v1/TaskService/TaskMonitors/1"
    if task is not None:
        bmc.resources[monitor] = task
    context = StepContext(bmc=client, action="action-1", monitor=monitor)
    seen = await run_step("reset", context, resume=True)
    assert (seen.outcome, seen.fault, seen.recovered) == (outcome, fault, outcome == "done")
    assert not bmc.sent


async def test_after_a_crash_a_task_that_ended_well_without_effect_is_not_applied(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    monitor = "/redfish/v1/TaskService/TaskMonitors/1"
    bmc.resources[monitor] = {"TaskState": "Completed"}
    context = StepContext(bmc=client, action="action-1", monitor=monitor)
    seen = await run_step("power_on", context, resume=True)
    assert (seen.outcome, seen.fault) == ("retry", "not-applied")
    assert not bmc.sent


async def test_an_ambiguous_reset_is_decided_by_the_last_reset_time_if_there_is_one(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.power = "On"
    bmc.system_extra["LastResetTime"] = "2026-01-01T00:00:00Z"

    async def resets_and_drops(request: Any, proceed: Any) -> Any:
        bmc.system_extra["LastResetTime"] = "2026-01-01T00:10:00Z"
        return await drop(apply=True)(request, proceed)

    bmc.script("POST", RESET, resets_and_drops)
    seen = await run(client, "reset")
    assert (seen.outcome, seen.recovered) == ("done", True)
    bmc.script("POST", RESET, drop(apply=True))
    seen = await run(client, "reset")
    assert (seen.outcome, seen.fault) == ("fatal", "unknown-outcome")


async def test_a_bmc_that_is_gone_while_looking_leaves_the_outcome_ambiguous(
    connect: Connect,
) -> None:
    seen = await run(connect(address="http://127.0.0.1:9"), "power_on", resume=True)
    assert (seen.outcome, seen.fault) == ("retry", "ambiguous")


async def test_media_is_inserted_after_whatever_was_in_is_ejected(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.image, bmc.inserted = "http://old/stale.iso", True
    seen = await run(client, "insert_media", url=URL)
    assert seen.outcome == "done"
    assert bmc.image == URL
    assert [path for path, _ in bmc.sent] == [EJECT, INSERT]
    assert (await run(client, "eject_media")).message == "ejected 1"
    assert (await run(client, "eject_media")).message == "all drives were empty"


async def test_media_of_the_manager_is_used_where_the_system_has_none(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.media_at = "/redfish/v1/Managers/bmc"
    bmc.resources[bmc.media_at] = {"VirtualMedia": {"@odata.id": f"{bmc.media_at}/VirtualMedia"}}
    assert (await run(client, "insert_media", url=URL)).outcome == "done"


async def test_the_next_drive_is_tried_when_one_does_not_take_the_image(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    second = f"{SYSTEM}/VirtualMedia/Cd2"
    bmc.resources[f"{SYSTEM}/VirtualMedia"] = {
        "Members": [{"@odata.id": second}, {"@odata.id": MEDIA}]
    }
    bmc.resources[second] = {
        "Inserted": False,
        "Actions": {"#VirtualMedia.InsertMedia": {"target": f"{second}/Insert"}},
    }
    bmc.script("POST", f"{second}/Insert", status(405))
    assert (await run(client, "insert_media", url=URL)).message == f"inserted into {MEDIA}"


async def test_media_without_actions_is_patched(bmc: ScriptedBmc, client: BmcClient) -> None:
    async def bare(request: Any, proceed: Any) -> Any:
        from aiohttp import web

        return web.json_response({"Image": bmc.image, "Inserted": bmc.inserted})

    bmc.script("GET", MEDIA, bare, times=50)
    assert (await run(client, "insert_media", url=URL)).outcome == "done"
    assert (await run(client, "eject_media")).outcome == "done"
    assert {path for path, _ in bmc.sent} == {MEDIA}


async def test_missing_properties_are_added_on_demand(bmc: ScriptedBmc, client: BmcClient) -> None:
    bmc.script("POST", INSERT, status(400, "The property TransferProtocolType is missing"))
    assert (await run(client, "insert_media", url=URL)).outcome == "done"
    assert bmc.sent[-1][1]["TransferProtocolType"] == "HTTP"


async def test_an_insert_is_repeated_on_5xx_only_while_it_is_not_there(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.script("POST", INSERT, status(500), times=2)
    assert (await run(client, "insert_media", url=URL)).outcome == "done"
    assert bmc.count("POST", INSERT) == 3
    await run(client, "eject_media")
    bmc.log.clear()
    bmc.script("POST", INSERT, fails_after_applying)
    assert (await run(client, "insert_media", url=URL)).outcome == "done"
    assert bmc.count("POST", INSERT) == 1


async def test_an_insert_that_timed_out_but_was_applied_is_found(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.script("POST", INSERT, stall(5, apply=True))
    seen = await run(client, "insert_media", url=URL)
    assert (seen.outcome, seen.recovered) == ("done", True)
    assert bmc.count("POST", INSERT) == 1


async def test_an_insert_that_was_accepted_and_ignored_is_not_applied(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.script("POST", INSERT, ignored)
    seen = await run(client, "insert_media", url=URL)
    assert (seen.outcome, seen.fault) == ("retry", "not-applied")


async def test_another_attempts_image_is_not_taken_for_ours(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.image, bmc.inserted = URL.replace("aaaa", "bbbb"), True
    assert (await run(client, "insert_media", resume=True, url=URL)).outcome == "retry"
    bmc.image = "http://[not a url"
    assert (await run(client, "insert_media", resume=True, url=URL)).outcome == "retry"
    # Ours, served by the executor that had the machine before.
    bmc.image = URL.replace("10.0.0.1", "10.0.0.2")
    assert (await run(client, "insert_media", resume=True, url=URL)).outcome == "done"


async def test_the_boot_override_is_set_read_back_and_cleared(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    assert (await run(client, "boot_once", device="cd", mode="uefi")).outcome == "done"
    assert bmc.boot["BootSourceOverrideEnabled"] == "Once"
    again = await run(client, "boot_once")
    assert "set already" in again.notes[0]
    assert (await run(client, "clear_boot")).outcome == "done"
    assert bmc.boot["BootSourceOverrideEnabled"] == "Disabled"


async def test_a_boot_override_that_is_ignored_is_not_applied(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.script("PATCH", SYSTEM, ignored)
    seen = await run(client, "boot_once")
    assert (seen.outcome, seen.fault) == ("retry", "not-applied")


async def test_an_ambiguous_idempotent_step_may_simply_be_repeated(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.script("PATCH", SYSTEM, drop(apply=True))
    seen = await run(client, "boot_once")
    assert (seen.outcome, seen.fault) == ("retry", "ambiguous")
    assert (await run(client, "boot_once")).outcome == "done"


async def test_not_ready_yet_is_tried_again(client: BmcClient) -> None:
    seen = await run(client, "wait_ready", ready_when="power-on")
    assert (seen.outcome, seen.fault) == ("retry", "not-ready")


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("power_off", {"target": "Nmi"}),
        ("reset", {"target": "Suspend"}),
        ("boot_once", {"device": "tape"}),
        ("insert_media", {}),
        ("stage_image", {"image_url": "file:x"}),
        ("wait_ready", {"ready_when": "moon"}),
    ],
)
async def test_bad_parameters_are_fatal_and_nothing_is_sent(
    bmc: ScriptedBmc, client: BmcClient, name: str, params: dict[str, Any]
) -> None:
    seen = await run(client, name, **params)
    assert (seen.outcome, seen.fault) == ("fatal", "bad-params")
    assert not bmc.sent


async def test_a_long_poll_keeps_few_exchanges(bmc: ScriptedBmc, client: BmcClient) -> None:
    seen = await run(client, "wait_ready")
    assert len(seen.exchanges) < 10
    assert "are not listed" in seen.notes[-1]


async def test_a_wrong_checksum_is_fatal_and_shows_both_digests(
    client: BmcClient, media: MediaServer, tmp_path: Any
) -> None:
    (tmp_path / "images" / "small.iso").write_bytes(b"image")
    params = {"image_url": "file:small.iso", "sha256": "0" * 64}
    context = StepContext(bmc=client, action="a", params=params, media=media)
    seen = await run_step("stage_image", context, resume=False)
    assert (seen.outcome, seen.fault) == ("fatal", "checksum-mismatch")
    assert "0" * 64 in seen.message
    assert "6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d" in seen.message
