import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import anyio
import pytest
from aiohttp import encode_basic_auth

from tests.bmc_faults.answers import Refuse
from tests.bmc_faults.lies import StaleInsert
from tests.bmc_faults.proxy import FaultProxy
from tests.bmc_faults.rules import Rule, bmc_of
from tests.bmc_faults.timing import Delay, Drop, Trickle
from tests.redfish.scripted_bmc import SYSTEM, ScriptedBmc


@pytest.fixture
async def bmc() -> AsyncIterator[ScriptedBmc]:
    scripted = ScriptedBmc()
    await scripted.start()
    yield scripted
    await scripted.stop()


async def statuses(bmc: ScriptedBmc, rules: list[Rule], seed: int, paths: list[str]) -> list[int]:
    """Return the status of each GET, 0 for a dropped connection."""
    headers = {"Authorization": encode_basic_auth(bmc.user, bmc.password)}
    got: list[int] = []
    async with (
        FaultProxy(bmc.address, rules, seed=seed) as proxy,
        aiohttp.ClientSession(headers=headers) as session,
    ):
        for path in paths:
            try:
                async with session.get(proxy.address + path) as answer:
                    await answer.read()
                    got.append(answer.status)
            except aiohttp.ClientError:
                got.append(0)
    return got


async def test_without_rules_nothing_is_changed(bmc: ScriptedBmc) -> None:
    assert await statuses(bmc, [], 1, ["/redfish/v1/", SYSTEM, "/nothing"]) == [200, 200, 404]


async def test_the_same_seed_gives_the_same_faults_and_another_seed_others(
    bmc: ScriptedBmc,
) -> None:
    rules: list[Rule] = [Refuse(chance=0.5)]
    first = await statuses(bmc, rules, 7, [SYSTEM] * 30)
    assert first == await statuses(bmc, rules, 7, [SYSTEM] * 30)
    assert first != await statuses(bmc, rules, 8, [SYSTEM] * 30)
    assert set(first) == {200, 503}


async def test_the_requests_to_one_bmc_do_not_change_the_faults_of_another(
    bmc: ScriptedBmc,
) -> None:
    bmc.resources["/redfish/v1/Systems/two"] = {"Id": "two"}
    rules: list[Rule] = [Refuse(chance=0.5)]
    alone = await statuses(bmc, rules, 3, [SYSTEM] * 20)
    both = await statuses(bmc, rules, 3, [SYSTEM, "/redfish/v1/Systems/two"] * 20)
    assert both[::2] == alone


async def test_a_fault_happens_after_so_many_so_often_and_for_so_long(bmc: ScriptedBmc) -> None:
    got = await statuses(bmc, [Refuse(after=2, times=2)], 1, [SYSTEM] * 6)
    assert got == [200, 200, 503, 503, 200, 200]
    got = await statuses(bmc, [Refuse(window=0.2), Delay(seconds=0.15)], 1, [SYSTEM] * 4)
    assert (got[0], got[-1]) == (503, 503)
    got = await statuses(bmc, [Delay(seconds=0.15), Refuse(window=0.2)], 1, [SYSTEM] * 4)
    assert (got[0], got[-1]) == (503, 200)


async def test_faults_are_for_the_bmc_the_method_and_the_path_that_they_name(
    bmc: ScriptedBmc,
) -> None:
    for rule in (Refuse(bmc="two"), Refuse(method="POST"), Refuse(path="*/Chassis/*")):
        assert await statuses(bmc, [rule], 1, [SYSTEM]) == [200]
    assert await statuses(bmc, [Refuse(bmc="o*", method="G*", path="*one")], 1, [SYSTEM]) == [503]


async def test_a_dropped_connection_has_no_answer(bmc: ScriptedBmc) -> None:
    # The client of this test tries once more by itself.
    assert await statuses(bmc, [Drop(times=2)], 1, [SYSTEM, SYSTEM]) == [0, 200]


async def test_a_trickle_takes_its_time_and_is_whole(bmc: ScriptedBmc) -> None:
    start = time.monotonic()
    assert await statuses(bmc, [Trickle(chunk=50, pause=0.05)], 1, [SYSTEM]) == [200]
    assert time.monotonic() - start > 0.15


async def test_each_bmc_has_its_own_state(bmc: ScriptedBmc) -> None:
    async with (
        FaultProxy(bmc.address, [StaleInsert()]) as proxy,
        aiohttp.ClientSession() as session,
    ):
        for system in ("a", "b"):
            media = f"{proxy.address}/redfish/v1/Systems/{system}/VirtualMedia/Cd/Actions/x"
            async with session.post(f"{media}.InsertMedia") as answer:
                assert answer.status == 409
            if system == "a":
                async with session.post(f"{media}.EjectMedia") as answer:
                    assert answer.status == 204
        assert [entry.bmc for entry in proxy.log] == ["a", "a", "b"]


async def test_a_service_that_is_away_is_502() -> None:
    async with (
        FaultProxy("http://127.0.0.1:9") as proxy,
        aiohttp.ClientSession() as session,
        session.get(proxy.address) as answer,
    ):
        assert answer.status == 502


@pytest.mark.parametrize(
    ("path", "bmc"),
    [
        ("/redfish/v1/Systems/a/Actions/x", "a"),
        ("/redfish/v1/Managers/b", "b"),
        ("/redfish/v1/TaskService/TaskMonitors/a.b.12", "a.b"),
        ("/redfish/v1/Systems", ""),
        ("/", ""),
    ],
)
def test_the_bmc_is_the_one_that_the_path_names(path: str, bmc: str) -> None:
    assert bmc_of(path) == bmc


async def test_it_is_used_by_hand(bmc: ScriptedBmc, tmp_path: Path) -> None:
    script = tmp_path / "faults.yaml"
    script.write_text("rules:\n- {fault: refuse, status: 418}\n")
    command = [sys.executable, "-m", "tests.bmc_faults", "--upstream", bmc.address]
    async with await anyio.open_process(
        [*command, "--script", str(script), "--seed", "5"], cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        address = (await process.stdout.receive()).decode().strip()
        async with aiohttp.ClientSession() as session, session.get(address + SYSTEM) as answer:
            assert answer.status == 418
        logged = (await process.stderr.receive()).decode()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
    assert f"GET {SYSTEM} of one: refuse: 418" in logged


async def test_by_hand_a_mistake_is_said_in_one_line() -> None:
    ran = await anyio.run_process(
        [sys.executable, "-m", "tests.bmc_faults", "--upstream", "http://x", "--script", "none"],
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert (ran.returncode, ran.stderr.count(b"\n")) == (2, 1)
