"""The executor's rules on writes that are answered 202."""

import time
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from mulligan.redfish.answers import own_path, retry_after
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.digests import recording
from mulligan.redfish.faults import Ambiguous, BmcFault
from mulligan.redfish.tasks import has_ended, reporting_monitors
from mulligan.redfish.transport import Answer
from tests.bmc_faults.proxy import FaultProxy
from tests.bmc_faults.tasks import Task
from tests.bmc_faults.timing import Drop
from tests.redfish.conftest import QUICK, Connect, Faulty
from tests.redfish.scripted_bmc import RESET, ScriptedBmc, answer, status
from tests.redfish.test_rules import run

ON = {"ResetType": "On"}
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
MONITORS = "*/TaskMonitors/*"


@pytest.mark.parametrize("form", ["monitor", "task"])
@pytest.mark.parametrize("applied", ["start", "end"])
async def test_a_task_is_followed_to_its_end(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty, form: Any, applied: Any
) -> None:
    seen = await run(faulty(Task(form=form, applied=applied, polls=3)), "power_on")
    assert (seen.outcome, seen.power) == ("done", "on")
    assert bmc.count("POST", RESET) == 1
    assert [entry.detail for entry in proxy.injected("task")][1:] == [
        *["still running"] * 3,
        "completed",
    ]


@pytest.mark.parametrize("form", ["monitor", "task"])
async def test_a_task_that_failed_is_refused_with_its_reason(
    bmc: ScriptedBmc, faulty: Faulty, form: Any
) -> None:
    seen = await run(faulty(Task(end="failed", form=form, applied="never")), "power_on")
    assert (seen.outcome, seen.fault) == ("fatal", "refused")
    assert "The task failed" in seen.message


@pytest.mark.parametrize("end", ["vanishes", "never"])
async def test_a_task_without_a_result_is_decided_by_looking(
    bmc: ScriptedBmc, faulty: Faulty, end: Any
) -> None:
    quick = replace(QUICK, task=0.2)
    seen = await run(faulty(Task(end=end), timings=quick), "power_on")
    assert (seen.outcome, seen.recovered) == ("done", True)
    bmc.power = "Off"
    seen = await run(faulty(Task(end=end, applied="never"), timings=quick), "power_on")
    assert (seen.outcome, seen.fault) == ("retry", "not-applied")


async def test_a_202_that_does_not_tell_its_task_is_decided_by_looking(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    seen = await run(faulty(Task(location=False)), "power_on")
    assert (seen.outcome, seen.power) == ("done", "on")
    assert "without a task monitor" in seen.notes[0]


async def test_a_task_that_is_told_in_the_body_is_followed(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    told = {"@odata.id": "/redfish/v1/task/1", "TaskState": "New"}

    async def accepts(request: Any, proceed: Any) -> Any:
        response = await answer(told)(request, proceed)
        response.set_status(202)
        return response

    bmc.script("POST", RESET, accepts)
    bmc.script("GET", "/redfish/v1/task/1", answer({"TaskState": "Completed"}))
    await client.post(RESET, ON)
    assert bmc.count("GET", "/redfish/v1/task/1") == 1


async def test_a_task_named_under_another_host_is_asked_of_the_bmc_itself(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.script("POST", RESET, status(202, Location="https://bmc.example/redfish/v1/task/1"))
    bmc.script("GET", "/redfish/v1/task/1", answer({"TaskState": "Completed"}))
    await client.post(RESET, ON)
    assert bmc.count("GET", "/redfish/v1/task/1") == 1


async def test_a_task_at_no_place_at_all_leaves_the_write_open(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.script("POST", RESET, status(202, Location="ftp://bmc.example/task"))
    with pytest.raises(Ambiguous):
        await client.post(RESET, ON)


async def test_a_monitor_that_is_dropped_now_and_then_is_asked_again(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    client = faulty(Drop(path=MONITORS, times=3), Task())
    await client.post(RESET, ON)
    assert bmc.power == "On"


@pytest.mark.parametrize(
    "reply", [answer("<html>", "text/html"), status(403), status(302), status(500)]
)
async def test_a_monitor_that_cannot_be_read_leaves_the_write_open(
    bmc: ScriptedBmc, client: BmcClient, reply: Any
) -> None:
    bmc.script("POST", RESET, status(202, Location="/redfish/v1/task/1"))
    bmc.script("GET", "/redfish/v1/task/1", reply, times=9)
    with pytest.raises(Ambiguous):
        await client.post(RESET, ON)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"TaskState": "Running"}', False),
        (b'{"JobState": "Scheduled"}', False),
        (b'{"TaskState": "Completed", "TaskStatus": "OK"}', True),
        (b'{"JobState": "Completed"}', True),
        (b"", True),
        (b'{"TaskState": "Cancelled"}', "refused"),
        (b'{"JobState": "CompletedWithErrors"}', "refused"),
        (b'{"TaskState": "Completed", "TaskStatus": "Critical"}', "ambiguous"),
        (b'{"TaskState": "Perhaps"}', "ambiguous"),
        (b"{", "bad-answer"),
    ],
)
def test_the_states_of_tasks(body: bytes, said: Any) -> None:
    reply = Answer(status=200, headers={}, body=body)
    if isinstance(said, bool):
        assert has_ended("a task", "/m", reply) is said
        return
    with pytest.raises(BmcFault) as caught:
        has_ended("a task", "/m", reply)
    assert caught.value.fault == said


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 1),
        ("3600", 60),
        ("9" * 400, 60),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 1),
        ("Fri, 01 Jan 2027 12:00:00 GMT", 60),
        ("Thursday, 01-Jan-26 12:00:30 GMT", 30),
        ("soon", 2.5),
        ("-5", 2.5),
        ("²", 2.5),
        ("", 2.5),
    ],
)
def test_retry_after_is_a_number_or_a_date_within_1_and_60_s(value: str, seconds: float) -> None:
    assert retry_after({"retry-after": value}, NOW, 2.5) == seconds


async def test_a_monitor_is_left_alone_until_the_date_that_it_gives(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    client = faulty(Task(polls=0, retry_after=2, retry_after_form="date"))
    start = time.monotonic()
    await client.post(RESET, ON)
    # A date is in whole seconds, so up to one of them may be gone.
    assert time.monotonic() - start >= 0.9


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/redfish/v1/t/1", "/redfish/v1/t/1"),
        ("http://bmc:80/t?x=1", "/t?x=1"),
        ("https://elsewhere.example/t/1", "/t/1"),
        ("https://elsewhere.example", ""),
        ("https://elsewhere.example//evil.example/x", ""),
        ("//evil.example/x", ""),
        ("javascript:alert(1)", ""),
        ("http://[bad", ""),
        ("@evil.example/x", ""),
        ("/a b", ""),
        ("", ""),
    ],
)
def test_a_location_never_leads_to_another_host(location: str, path: str) -> None:
    assert own_path(location, "http://bmc:80") == path


# -- across a crash --------------------------------------------------------------------------


async def test_the_monitor_is_told_before_it_is_first_read(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty
) -> None:
    told: list[tuple[str, int]] = []

    async def keep(monitor: str) -> None:
        told.append((monitor, len(proxy.injected("task"))))

    client = faulty(Task())
    with reporting_monitors(keep):
        await client.post(RESET, ON)
    await client.post(RESET, ON)
    assert told == [("/redfish/v1/TaskService/TaskMonitors/one.1", 1)]


async def test_another_client_follows_a_task_by_its_monitor(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty, connect: Connect
) -> None:
    found: list[str] = []

    async def keep(monitor: str) -> None:
        found.append(monitor)
        raise anyio.get_cancelled_exc_class()

    first = faulty(Task(applied="end", polls=2))
    with pytest.raises(anyio.get_cancelled_exc_class()), reporting_monitors(keep):
        await first.post(RESET, ON)
    assert bmc.power == "Off"
    second = connect(address=proxy.address)
    with recording() as record:
        await second.follow(found[0])
    assert bmc.power == "On"
    assert bmc.count("POST", RESET) == 1
    assert "again" in record.notes[0]


@pytest.mark.parametrize("monitor", ["/redfish/v1/nothing", "ftp://x/y", ""])
async def test_a_monitor_that_is_gone_leaves_the_outcome_to_a_look(
    client: BmcClient, monitor: str
) -> None:
    with pytest.raises(Ambiguous):
        await client.follow(monitor)


async def test_a_task_is_followed_though_its_monitor_could_not_be_kept(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    client = faulty(Task())
    never = reporting_monitors(lambda monitor: anyio.sleep_forever(), within=0.05)
    with recording() as record, never:
        await client.post(RESET, ON)
    assert any("could not be kept" in note for note in record.notes)
    assert bmc.power == "On"


async def left_by_a_crash(bmc: ScriptedBmc, client: BmcClient, kind: str) -> str:
    """Send a reset and die while its task is followed; return the monitor that was kept."""
    found: list[str] = []
    with anyio.CancelScope() as scope:

        async def keep(monitor: str) -> None:
            found.append(monitor)
            scope.cancel()
            await anyio.sleep_forever()

        with reporting_monitors(keep):
            await client.post(RESET, {"ResetType": kind})
    return found[0]


async def test_a_resumed_step_follows_its_task_before_it_looks(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty
) -> None:
    client = faulty(Task(applied="end", polls=3), timings=replace(QUICK, look_for=0.0))
    monitor = await left_by_a_crash(bmc, client, "On")
    assert bmc.power == "Off"
    seen = await run(client, "power_on", resume=True, monitor=monitor)
    assert (seen.outcome, seen.recovered, seen.power) == ("done", True, "on")
    assert bmc.count("POST", RESET) == 1


async def test_a_resumed_reset_is_known_to_be_done_by_its_task(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    bmc.power = "On"
    client = faulty(Task())
    monitor = await left_by_a_crash(bmc, client, "ForceRestart")
    seen = await run(client, "reset", resume=True, monitor=monitor)
    assert (seen.outcome, seen.recovered) == ("done", True)
    assert bmc.count("POST", RESET) == 1


@pytest.mark.parametrize(
    ("rule", "fault"),
    [(Task(end="failed", applied="never"), "refused"), (Task(end="vanishes"), "unknown-outcome")],
)
async def test_a_resumed_reset_without_a_good_end_is_not_done(
    bmc: ScriptedBmc, faulty: Faulty, rule: Task, fault: str
) -> None:
    bmc.power = "On"
    client = faulty(rule)
    monitor = await left_by_a_crash(bmc, client, "ForceRestart")
    seen = await run(client, "reset", resume=True, monitor=monitor)
    assert (seen.outcome, seen.fault) == ("fatal", fault)
    assert bmc.count("POST", RESET) <= 1
