"""The executor's rules on steps, lost answers, time-outs, retries and entity tags."""

import time
from typing import Any

import pytest
from msgspec.structs import replace

from mulligan.redfish.bmc import BmcClient, Timings
from mulligan.redfish.digests import recording
from mulligan.redfish.faults import Ambiguous, BmcFault
from mulligan.redfish.steps import Observation, StepContext, run_step
from tests.bmc_faults.answers import Refuse
from tests.bmc_faults.lies import Etag
from tests.bmc_faults.proxy import FaultProxy
from tests.bmc_faults.rules import Rule
from tests.bmc_faults.timing import Delay, Drop, FailAfter, Hang, Trickle
from tests.redfish.conftest import QUICK, Connect, Faulty
from tests.redfish.scripted_bmc import INSERT, RESET, SYSTEM, ScriptedBmc

URL = "http://10.0.0.1:8090/media/" + "a" * 64 + "/image.iso"
_LOST = {
    "dropped": Drop(path=RESET, applied="after"),
    "timed out": Hang(path=RESET, applied="after"),
    "answered 500": FailAfter(path=RESET),
    "answered 502": FailAfter(path=RESET, status=502),
    "answered 504": FailAfter(path=RESET, status=504),
}


async def run(
    client: BmcClient, name: str, *, resume: bool = False, monitor: str = "", **params: Any
) -> Observation:
    context = StepContext(bmc=client, action="action-1", params=params, monitor=monitor)
    return await run_step(name, context, resume=resume)


# -- steps -----------------------------------------------------------------------------------


async def test_an_observing_step_writes_nothing_even_when_resumed(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    client = faulty(Refuse(method="GET", path=SYSTEM, status=500, times=1))
    assert (await run(client, "check", resume=True)).outcome == "done"
    assert not bmc.sent


async def test_an_idempotent_step_is_sent_again_after_a_crash(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    bmc.image, bmc.inserted = URL, True
    assert (await run(faulty(), "eject_media", resume=True)).outcome == "done"
    assert len(bmc.sent) == 1


@pytest.mark.parametrize("name", ["power_on", "insert_media", "reset"])
async def test_a_once_step_without_an_outcome_is_never_sent_again(
    bmc: ScriptedBmc, faulty: Faulty, name: str
) -> None:
    patient = faulty(timings=replace(QUICK, read=5.0, slow=5.0))
    seen = await run(patient, name, resume=True, url=URL)
    assert (seen.outcome, seen.fault) in (("retry", "not-applied"), ("fatal", "unknown-outcome"))
    assert not bmc.sent


# -- ambiguous POST --------------------------------------------------------------------------


@pytest.mark.parametrize("rule", _LOST.values(), ids=_LOST.keys())
async def test_a_reset_whose_answer_is_lost_is_looked_for_and_sent_once(
    bmc: ScriptedBmc, faulty: Faulty, rule: Rule
) -> None:
    seen = await run(faulty(rule), "power_on")
    assert (seen.outcome, seen.recovered, seen.power) == ("done", True, "on")
    assert bmc.count("POST", RESET) == 1


@pytest.mark.parametrize("applied", ["after", "before"])
async def test_an_insert_whose_answer_is_lost_is_looked_for_and_sent_once(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty, applied: Any
) -> None:
    client = faulty(Hang(path=INSERT, applied=applied))
    seen = await run(client, "insert_media", url=URL)
    assert (seen.outcome, seen.fault) == (
        ("done", "") if applied == "after" else ("retry", "not-applied")
    )
    assert len(proxy.injected("hang")) == 1
    assert bmc.inserted == (applied == "after")


@pytest.mark.parametrize("applied", ["after", "before"])
async def test_a_restart_that_nobody_can_look_for_is_never_left_to_a_retry(
    bmc: ScriptedBmc, faulty: Faulty, applied: Any
) -> None:
    bmc.power = "On"
    client = faulty(
        Hang(path=RESET, applied=applied, times=1), Hang(method="GET", path=SYSTEM, after=2)
    )
    seen = await run(client, "reset")
    assert (seen.outcome, seen.fault) == ("fatal", "unknown-outcome")


async def test_a_lost_login_does_not_put_the_write_after_it_in_doubt(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    client = faulty(Drop(path="*/Sessions", method="POST", times=1))
    with pytest.raises(BmcFault) as caught:
        await client.post(RESET, {"ResetType": "On"})
    assert not isinstance(caught.value, Ambiguous)
    assert (caught.value.fault, caught.value.heals) == ("dropped", True)
    assert bmc.power == "Off"


# -- timeouts --------------------------------------------------------------------------------


async def test_a_write_of_the_slow_class_is_waited_for_longer(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    client = faulty(
        Delay(method="POST", path="*/Actions/*", seconds=0.4),
        timings=replace(QUICK, read=0.2, slow=5.0),
    )
    await client.post(INSERT, {"Image": URL}, slow=True)
    with pytest.raises(Ambiguous):
        await client.post(RESET, {"ResetType": "On"})


async def test_a_bmc_that_never_answers_is_a_timeout(faulty: Faulty) -> None:
    start = time.monotonic()
    seen = await run(faulty(Hang(method="GET")), "check")
    assert (seen.outcome, seen.fault) == ("retry", "timeout")
    assert time.monotonic() - start < 3


async def test_an_answer_that_trickles_ends_at_the_deadline(faulty: Faulty) -> None:
    quick = replace(QUICK, connect=0.2, read=0.2, slack=0.1)
    start = time.monotonic()
    seen = await run(faulty(Trickle(method="GET"), timings=quick), "check")
    assert (seen.outcome, seen.fault) == ("retry", "timeout")
    assert time.monotonic() - start < 3


async def test_the_times_are_those_of_the_design() -> None:
    assert (Timings().connect, Timings().read, Timings().slow) == (10, 60, 240)


# -- retries ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_5xx_while_reading_is_tried_again(
    proxy: FaultProxy, faulty: Faulty, status: int
) -> None:
    client = faulty(Refuse(method="GET", path=SYSTEM, status=status, times=2))
    assert (await client.system()).status == 200
    assert len(proxy.injected("refuse")) == 2


async def test_a_read_waits_as_long_as_retry_after_says(faulty: Faulty) -> None:
    client = faulty(Refuse(method="GET", path=SYSTEM, retry_after=1, after=1, times=1))
    await client.system()
    start = time.monotonic()
    await client.system()
    assert time.monotonic() - start >= 0.9


async def test_a_write_refused_by_503_with_a_time_is_sent_again(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty
) -> None:
    client = faulty(Refuse(method="POST", path=RESET, retry_after=0, times=2))
    with recording() as record:
        await client.post(RESET, {"ResetType": "On"})
    assert bmc.count("POST", RESET) == 1
    assert len(proxy.injected("refuse")) == 2
    assert "503, sent again" in record.notes[0]


async def test_a_write_refused_without_a_time_is_left_to_the_step(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty
) -> None:
    for status in (409, 503):
        client = faulty(Refuse(method="POST", path=RESET, status=status))
        with pytest.raises(BmcFault) as caught:
            await client.post(RESET, {"ResetType": "On"})
        assert (caught.value.fault, type(caught.value)) == ("busy", BmcFault)
        assert len(proxy.injected("refuse")) == 1
        proxy.log.clear()
    assert not bmc.sent


async def test_a_write_that_found_no_connection_is_tried_again_and_then_reported(
    connect: Connect,
) -> None:
    client = connect(address="http://127.0.0.1:9", system="one")
    with recording() as record, pytest.raises(BmcFault) as caught:
        await client.post(RESET, {"ResetType": "On"})
    assert (caught.value.fault, type(caught.value)) == ("unreachable", BmcFault)
    assert "never sent" in record.notes[0]


async def test_a_409_window_while_powering_on_is_outlasted_by_the_steps_retries(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    client = faulty(Refuse(method="POST", path=RESET, status=409, times=1))
    seen = await run(client, "power_on")
    assert (seen.outcome, seen.fault) == ("retry", "busy")
    assert (await run(client, "power_on")).power == "on"
    assert bmc.count("POST", RESET) == 1


# -- entity tags -----------------------------------------------------------------------------


@pytest.mark.parametrize("gives", ["weak", "strong"])
@pytest.mark.parametrize("accepts", ["weak", "strong", "none"])
async def test_whatever_entity_tag_a_bmc_likes_is_found_and_each_drop_noted(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty, gives: Any, accepts: Any
) -> None:
    client = faulty(Etag(gives=gives, accepts=accepts))
    seen = await run(client, "boot_once")
    assert seen.outcome == "done"
    assert bmc.boot["BootSourceOverrideTarget"] == "Cd"
    refusals = len(proxy.injected("etag"))
    assert len([note for note in seen.notes if "412" in note]) == refusals
    assert (refusals == 0) == (gives == accepts)


async def test_an_entity_tag_that_is_out_of_date_is_read_again(
    bmc: ScriptedBmc, proxy: FaultProxy, faulty: Faulty
) -> None:
    client = faulty(Etag())
    old = (await client.system()).etag
    bmc.power = "On"
    with recording() as record:
        await client.patch(SYSTEM, {"Boot": {"X": 1}}, etag=old)
    assert len(record.notes) == 1
    assert 'W/"' in record.notes[0]


async def test_a_bmc_that_refuses_every_entity_tag_is_given_up(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    seen = await run(faulty(Etag(accepts="never")), "boot_once")
    assert (seen.outcome, seen.fault) == ("fatal", "refused")
    assert "412" in seen.message
    assert not bmc.sent
