"""A BMC that is slow, lies or talks rubbish harms no other, no worker and no memory bound."""

import gc
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from mulligan.events.machine import Bmc
from mulligan.model import CredentialId
from mulligan.redfish.bmc import BmcClient, Login, Timings
from mulligan.redfish.faults import HEALS
from mulligan.redfish.steps import STEPS
from mulligan.redfish.transport import MAX_BODY
from tests.bmc_faults.answers import (
    Endless,
    Html,
    InvalidJson,
    Redirect,
    Refuse,
    WrongTypes,
)
from tests.bmc_faults.proxy import FaultProxy
from tests.bmc_faults.rules import Rule
from tests.bmc_faults.timing import Delay, Drop, Hang, Trickle
from tests.redfish.conftest import QUICK, Faulty
from tests.redfish.scripted_bmc import RESET, SYSTEM, ScriptedBmc
from tests.redfish.test_rules import URL, run

Neighbours = Callable[..., tuple[BmcClient, BmcClient, anyio.CapacityLimiter]]
ON = {"ResetType": "On"}


@pytest.fixture
async def neighbours(bmc: ScriptedBmc, proxy: FaultProxy) -> AsyncIterator[Neighbours]:
    """Make a client that meets a fault, one that does not, and the limiter that they share."""
    other = ScriptedBmc()
    await other.start()
    made: list[BmcClient] = []

    def make(
        *rules: Rule, places: int = 1, timings: Timings = QUICK
    ) -> tuple[BmcClient, BmcClient, anyio.CapacityLimiter]:
        proxy.use(*rules)
        limiter = anyio.CapacityLimiter(places)
        for address in (proxy.address, other.address):
            target = Bmc(address=address, credential=CredentialId("lab"), system="one")
            login = Login(bmc.user, bmc.password)
            made.append(BmcClient(target, login, limiter=limiter, timings=timings))
        return made[-2], made[-1], limiter

    yield make
    for client in made:
        await client.close()
    await other.stop()


# -- concurrency -----------------------------------------------------------------------------


async def test_a_slow_bmc_holds_no_place_of_another(neighbours: Neighbours) -> None:
    patient = replace(QUICK, read=5.0, slow=5.0, patience=0.05)
    slow, quick, limiter = neighbours(Hang(path=SYSTEM), Hang(path=RESET), timings=patient)
    await quick.system_path()
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(slow.get, SYSTEM)
        group.start_soon(slow.post, RESET, ON)
        await anyio.sleep(0.5)
        start = time.monotonic()
        assert (await run(quick, "check")).outcome == "done"
        assert time.monotonic() - start < 1, "it waited for the slow BMC's time-out of 5 s"
        group.cancel_scope.cancel()
    assert limiter.borrowed_tokens == 0


async def test_the_limit_of_the_process_holds_for_quick_requests(
    bmc: ScriptedBmc, neighbours: Neighbours
) -> None:
    running = most = 0

    async def counted(request: Any, proceed: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.02)
        running -= 1
        return await proceed()

    client, _, _ = neighbours(places=1)
    await client.system()
    bmc.script("GET", SYSTEM, counted, times=8)
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(client.get, SYSTEM)
    assert most == 1


async def test_one_write_and_two_reads_run_at_once_on_a_bmc(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    running = {"GET": 0, "POST": 0}
    most = dict(running)

    async def counted(request: Any, proceed: Any) -> Any:
        running[request.method] += 1
        most[request.method] = max(most[request.method], running[request.method])
        await anyio.sleep(0.02)
        running[request.method] -= 1
        return await proceed()

    client = faulty(Delay(seconds=0.01))
    await client.system_path()
    bmc.script("GET", SYSTEM, counted, times=8)
    bmc.script("POST", RESET, counted, times=4)
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(client.system)
        for _ in range(4):
            group.start_soon(client.post, RESET, ON)
    assert most == {"GET": 2, "POST": 1}


# -- bad input -------------------------------------------------------------------------------

BAD: dict[str, tuple[Rule, set[str]]] = {
    "a web page": (Html(), {"not-redfish"}),
    "a web page as an error": (Html(status=500), {"server-error"}),
    "an endless body": (Endless(), {"bad-answer"}),
    "an endless trickle": (Endless(pause=0.02), {"bad-answer", "timeout"}),
    "another host": (Redirect(location="http://192.0.2.1/redfish/v1/"), {"not-redfish"}),
    "a redirection for ever": (Redirect(location=SYSTEM), {"not-redfish"}),
    "half of its JSON": (InvalidJson(), {"bad-answer"}),
    "deep JSON": (InvalidJson(text="[" * 100_000), {"bad-answer"}),
    "a list": (InvalidJson(text="[1, 2]"), {"bad-answer"}),
    "bytes": (InvalidJson(text="\x00\ufffd{"), {"bad-answer"}),
    "silence": (Hang(), {"timeout"}),
    "a byte at a time": (Trickle(pause=0.2), {"timeout"}),
    "a closed door": (Drop(), {"dropped"}),
    "a strange status": (Refuse(status=418), {"refused"}),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_answer_is_a_fault_that_names_its_bmc_and_harms_no_other(
    bmc: ScriptedBmc, neighbours: Neighbours, what: str
) -> None:
    rule, faults = BAD[what]
    timings = replace(QUICK, connect=0.3, read=0.3, slack=0.2, patience=0.05)
    bad, good, limiter = neighbours(replace(rule, method="GET", path=SYSTEM), timings=timings)
    await good.system_path()
    took: list[float] = []

    async def step_beside() -> None:
        while True:
            start = time.monotonic()
            assert (await run(good, "check")).outcome == "done"
            took.append(time.monotonic() - start)
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as group:
        group.start_soon(step_beside)
        seen = await run(bad, "check")
        while not took:
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert seen.fault in faults
    assert bad.origin in seen.message
    assert not bmc.sent
    # The median: a busy test machine delays one or the other.
    assert sorted(took)[len(took) // 2] < 0.3
    assert limiter.borrowed_tokens == 0


async def test_every_step_meets_every_bad_answer_with_an_outcome(
    bmc: ScriptedBmc, faulty: Faulty
) -> None:
    hasty = replace(
        QUICK, read=0.1, slow=0.1, look_for=0.02, power=0.05, ready=0.05, settle=0.05, task=0.1
    )
    for rule in (Html(), InvalidJson(), InvalidJson(text="[]"), Redirect()):
        client = faulty(replace(rule, path="/redfish/v1/Systems*"), timings=hasty, system="one")
        for name in STEPS:
            seen = await run(client, name, url=URL)
            assert seen.outcome != "done", (name, rule)
            assert seen.fault in HEALS
            assert client.origin in seen.message or seen.fault == "bad-params", (name, seen)


@pytest.mark.parametrize("seed", range(12))
async def test_wrong_types_anywhere_lead_to_an_outcome_and_never_to_a_crash(
    bmc: ScriptedBmc, connect: Any, seed: int
) -> None:
    hasty = replace(
        QUICK, read=0.2, slow=0.2, look_for=0.01, power=0.02, ready=0.02, settle=0.02, task=0.1
    )
    for name in ("Processors", "Memory", "Storage", "EthernetInterfaces"):
        path = f"{SYSTEM}/{name}"
        bmc.system_extra[name] = {"@odata.id": path}
        bmc.resources[path] = {"Members": [{"@odata.id": f"{path}/1"}]}
        bmc.resources[f"{path}/1"] = {"Id": "1", "Status": {"State": "Enabled"}, "SpeedMbps": 1}
    rule = WrongTypes(path="/redfish/v1/*", share=0.05 + seed / 40)
    async with FaultProxy(bmc.address, [rule], seed=seed, one_bmc="one") as proxy:
        client = connect(address=proxy.address, system="one", timings=hasty)
        for name in STEPS:
            seen = await run(client, name, url=URL)
            assert seen.outcome == "done" or seen.fault in HEALS


async def test_an_endless_body_is_cut_off_within_a_bound_of_memory(
    bmc: ScriptedBmc, neighbours: Neighbours
) -> None:
    bad, _, _ = neighbours(Endless(path=SYSTEM), timings=replace(QUICK, read=10.0))
    await bad.root()
    gc.collect()
    tracemalloc.start()
    try:
        assert (await run(bad, "check")).fault == "bad-answer"
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * MAX_BODY


async def test_what_is_kept_of_bad_answers_is_bounded(faulty: Faulty) -> None:
    client = faulty(Refuse(method="GET", path=SYSTEM, status=500, message="x" * 100_000))
    seen = await run(client, "power_on", resume=True)
    assert len(str(seen.exchanges)) < 50_000
    assert len(seen.message) < 2_000
