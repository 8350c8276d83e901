import sys
import time
from typing import Any

import anyio
import msgspec
import pytest

from mulligan.redfish.bmc import BmcClient, Login, Timings
from mulligan.redfish.digests import recording
from mulligan.redfish.faults import Ambiguous, BmcFault
from mulligan.redfish.transport import MAX_BODY
from tests.redfish.conftest import QUICK, Connect
from tests.redfish.scripted_bmc import (
    RESET,
    SESSIONS,
    SYSTEM,
    ScriptedBmc,
    answer,
    drop,
    fails_after_applying,
    stall,
    status,
    trickle,
)


async def fault_of(call: Any) -> BmcFault:
    with pytest.raises(BmcFault) as caught:
        await call
    return caught.value


async def test_a_session_is_opened_once_used_and_deleted(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    await client.system()
    await client.system()
    assert bmc.count("POST", SESSIONS) == 1
    assert len(bmc.tokens) == 1
    await client.close()
    assert not bmc.tokens


async def test_a_bmc_without_sessions_is_asked_with_basic_and_that_is_noted(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.sessions = False
    with recording() as record:
        await client.system()
    assert record.notes == ["the BMC offers no session: HTTP basic is used"]


async def test_a_session_service_that_answers_404_leads_to_basic(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.script("POST", SESSIONS, status(404))
    assert (await client.system()).body["Id"] == "one"
    assert not bmc.tokens


async def test_an_expired_session_is_renewed_once_and_the_write_repeated(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    await client.system()
    bmc.tokens.clear()
    await client.post(RESET, {"ResetType": "On"})
    assert bmc.power == "On"
    assert bmc.count("POST", SESSIONS) == 2


async def test_two_refused_logins_stop_all_further_ones(bmc: ScriptedBmc, connect: Connect) -> None:
    client = connect(password="wrong-Passw0rd")
    for _ in range(2):
        fault = await fault_of(client.system())
        assert (fault.fault, fault.heals) == ("bad-credentials", False)
        assert bmc.address in fault.message
        assert "wrong-Passw0rd" not in fault.message
    stopped = await fault_of(client.system())
    assert "no more are tried" in stopped.message
    assert bmc.count("POST", SESSIONS) == 2
    client.reset_breaker()
    await fault_of(client.system())
    assert bmc.count("POST", SESSIONS) == 3


async def test_basic_with_a_wrong_password_is_tried_once_a_call(
    bmc: ScriptedBmc, connect: Connect
) -> None:
    bmc.sessions = False
    client = connect(password="wrong", system="one")
    assert (await fault_of(client.system())).fault == "bad-credentials"
    assert bmc.count("GET", SYSTEM) == 1


def test_a_login_never_shows_its_password() -> None:
    assert "hunter2" not in repr(Login("admin", "hunter2"))


async def test_nothing_secret_reaches_the_digests(bmc: ScriptedBmc, client: BmcClient) -> None:
    echo = f'{{"Password": "{bmc.password}", "say": "hello {bmc.password}"}}'
    bmc.script("GET", SYSTEM, status(400, echo))
    with recording() as record:
        fault = await fault_of(client.system())
    assert bmc.password not in str(record.exchanges)
    assert bmc.password not in fault.message


async def test_an_address_that_does_not_answer_is_unreachable(connect: Connect) -> None:
    client = connect(address="http://127.0.0.1:9")
    with recording() as record:
        fault = await fault_of(client.system())
    assert (fault.fault, fault.heals) == ("unreachable", True)
    assert "Connection(" not in str(fault), "no object of a library is shown"
    assert "http://127.0.0.1:9" in fault.message
    assert record.exchanges[0].status == 0


async def test_a_get_is_repeated_on_5xx_and_dropped_connections(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    await client.system_path()
    bmc.script("GET", SYSTEM, status(500))
    bmc.script("GET", SYSTEM, drop(apply=False))
    assert (await client.system()).status == 200


async def test_a_get_that_keeps_failing_is_given_up(bmc: ScriptedBmc, client: BmcClient) -> None:
    await client.system_path()
    bmc.log.clear()
    bmc.script("GET", SYSTEM, status(500, "internal"), times=9)
    assert (await fault_of(client.system())).fault == "server-error"
    assert bmc.count("GET", SYSTEM) == 3


@pytest.mark.parametrize(
    "behaviour",
    [drop(apply=True), stall(5, apply=True), fails_after_applying],
    ids=["dropped", "timed out", "answered 500"],
)
async def test_a_write_without_a_good_answer_is_ambiguous_and_sent_once(
    bmc: ScriptedBmc, client: BmcClient, behaviour: Any
) -> None:
    bmc.script("POST", RESET, behaviour)
    with pytest.raises(Ambiguous):
        await client.post(RESET, {"ResetType": "On"})
    assert bmc.power == "On"
    assert bmc.count("POST", RESET) == 1


async def test_a_write_that_was_never_sent_is_not_ambiguous(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    await client.system()
    client.release_connections()
    await bmc.stop()
    fault = await fault_of(client.post(RESET, {}))
    assert not isinstance(fault, Ambiguous)
    assert fault.fault == "unreachable"


async def test_a_web_page_is_not_redfish(bmc: ScriptedBmc, client: BmcClient) -> None:
    bmc.script("GET", "/redfish/v1", answer("<html>router</html>", "text/html"))
    fault = await fault_of(client.system())
    assert (fault.fault, fault.heals) == ("not-redfish", False)


async def test_a_json_service_that_is_no_bmc_is_not_redfish(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.script("GET", "/redfish/v1", answer({"hello": "world"}))
    assert (await fault_of(client.system())).fault == "not-redfish"


@pytest.mark.parametrize("body", ["{", "[1]", '"text"', "null", "[" * 100_000])
async def test_invalid_json_and_wrong_types_are_bad_answers(
    bmc: ScriptedBmc, client: BmcClient, body: str
) -> None:
    bmc.script("GET", SYSTEM, answer(body), times=3)
    assert (await fault_of(client.system())).fault == "bad-answer"


async def test_a_huge_body_is_cut_off(bmc: ScriptedBmc, client: BmcClient) -> None:
    bmc.script("GET", SYSTEM, answer("x" * (MAX_BODY + 1)), times=3)
    assert (await fault_of(client.system())).fault == "bad-answer"


async def test_a_trickle_ends_at_the_deadline(bmc: ScriptedBmc, connect: Connect) -> None:
    client = connect(timings=Timings(connect=0.3, read=0.3, slack=0.2))
    bmc.script("GET", "/redfish/v1", trickle(10))
    start = time.monotonic()
    assert (await fault_of(client.root())).fault == "timeout"
    assert time.monotonic() - start < 3


async def test_a_link_to_another_host_is_not_followed(bmc: ScriptedBmc, client: BmcClient) -> None:
    for path in ("@127.0.0.2/x", "//127.0.0.2/x", "http://127.0.0.2/x"):
        fault = await fault_of(client.get(path))
        assert fault.fault == "not-redfish"
    bmc.script("GET", SYSTEM, status(302, Location="http://127.0.0.2/"))
    assert (await fault_of(client.system())).fault == "not-redfish"


async def test_a_redirection_on_the_same_host_is_followed_for_reads(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.script("GET", "/redfish/v1/Systems/alias", status(308, Location=SYSTEM))
    assert (await client.get("/redfish/v1/Systems/alias")).path == SYSTEM


async def test_an_unknown_system_is_named_with_the_known_ones(connect: Connect) -> None:
    fault = await fault_of(connect(system="two").system())
    assert fault.fault == "no-such-system"
    assert "'two'" in fault.message
    assert "one" in fault.message


async def test_several_systems_and_none_named_is_ambiguous(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.resources["/redfish/v1/Systems"] = {
        "Members": [{"@odata.id": SYSTEM}, {"@odata.id": f"{SYSTEM}2"}]
    }
    assert (await fault_of(client.system())).fault == "ambiguous-system"


async def test_collections_are_read_over_all_their_pages(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.resources["/redfish/v1/Systems"] = {
        "Members": [{"@odata.id": "/a"}, None, {"@odata.id": 7}],
        "Members@odata.nextLink": "/redfish/v1/more",
    }
    bmc.resources["/redfish/v1/more"] = {"Members": [{"@odata.id": "/b"}]}
    assert await client.members("/redfish/v1/Systems") == ["/a", "/b"]


async def test_on_412_the_entity_tag_is_read_again_then_weakened_then_dropped(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.system_extra["@odata.etag"] = 'W/"2"'
    bmc.script("PATCH", SYSTEM, status(412), times=3)
    with recording() as record:
        await client.patch(SYSTEM, {"Boot": {"X": 1}}, etag='W/"1"')
    assert bmc.boot["X"] == 1
    assert [n.rpartition(" ")[2] for n in record.notes] == ['W/"2"', '"2"', "none"]


async def test_a_task_is_followed_to_its_end(bmc: ScriptedBmc, client: BmcClient) -> None:
    bmc.script("POST", RESET, status(202, Location="/redfish/v1/task/1", Retry_After="0"))
    bmc.script("GET", "/redfish/v1/task/1", answer({"TaskState": "Completed"}))
    await client.post(RESET, {"ResetType": "On"})
    assert bmc.count("GET", "/redfish/v1/task/1") == 1


async def test_a_task_that_failed_is_refused_and_one_that_vanished_ambiguous(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    bmc.script("POST", RESET, status(202, Location="/redfish/v1/task/1"), times=2)
    bmc.script("GET", "/redfish/v1/task/1", answer({"TaskState": "Exception"}))
    assert (await fault_of(client.post(RESET, {}))).fault == "refused"
    with pytest.raises(Ambiguous):
        await client.post(RESET, {})


async def test_a_busy_bmc_heals(bmc: ScriptedBmc, client: BmcClient) -> None:
    bmc.script("POST", RESET, status(409, "another operation is in progress"))
    fault = await fault_of(client.post(RESET, {}))
    assert (fault.fault, fault.heals) == ("busy", True)


async def test_at_most_one_write_and_two_reads_run_at_once(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    running: dict[str, int] = {"GET": 0, "POST": 0}
    most = dict(running)

    async def counted(request: Any, proceed: Any) -> Any:
        running[request.method] += 1
        most[request.method] = max(most[request.method], running[request.method])
        await anyio.sleep(0.02)
        running[request.method] -= 1
        return await proceed()

    await client.system_path()
    bmc.script("GET", SYSTEM, counted, times=8)
    bmc.script("POST", RESET, counted, times=4)
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(client.system)
        for _ in range(4):
            group.start_soon(client.post, RESET, {"ResetType": "On"})
    assert most == {"GET": 2, "POST": 1}


async def test_cancelling_returns_at_once_and_wakes_the_thread(
    bmc: ScriptedBmc, connect: Connect
) -> None:
    slow = msgspec.structs.replace(QUICK, read=60.0)
    client = connect(timings=slow)
    await client.system_path()
    bmc.script("GET", SYSTEM, stall(3, apply=False))
    start = time.monotonic()
    with anyio.move_on_after(0.2):
        await client.system()
    assert time.monotonic() - start < 2.5
    assert (await client.system()).status == 200


async def test_a_request_in_flight_does_not_hold_up_the_end_of_the_process(
    bmc: ScriptedBmc,
) -> None:
    bmc.script("GET", "/redfish/v1", stall(20, apply=False))
    start = time.monotonic()
    await anyio.run_process([sys.executable, "-c", _CANCELLED, bmc.address], check=True)
    assert time.monotonic() - start < 10


_CANCELLED = """
import sys, anyio
from mulligan.events.machine import Bmc
from mulligan.redfish.bmc import BmcClient, Login
async def main():
    bmc = Bmc(address=sys.argv[1], credential="lab")
    client = BmcClient(bmc, Login("a", "b"), limiter=anyio.CapacityLimiter(1))
    with anyio.move_on_after(0.5):
        await client.root()
anyio.run(main)
"""
