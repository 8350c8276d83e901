"""Threads run in turns, and whoever waits for a BMC gives its turn away."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import anyio
import pytest

from mulligan.redfish.faults import BmcFault
from mulligan.redfish.turns import taking_turns, waiting
from tests.redfish.conftest import QUICK, Connect
from tests.redfish.scripted_bmc import SYSTEM, Behaviour, ScriptedBmc, stall, trickle


def test_one_thread_runs_at_a_time() -> None:
    inside, most = [0], [0]

    def run() -> None:
        with taking_turns():
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.002)
            inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        for _ in range(40):
            pool.submit(run)
    assert most == [1]


def test_while_one_waits_another_runs() -> None:
    both = threading.Barrier(2)

    def run() -> None:
        with taking_turns(), waiting():
            both.wait(5)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(run), pool.submit(run)]:
            done.result(5)


def test_a_turn_ends_with_an_error() -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="while waiting"), taking_turns(), waiting():
            raise ValueError("while waiting")


@pytest.mark.parametrize("slow", [lambda: stall(1, apply=False), lambda: trickle(1)])
async def test_bmcs_that_are_slow_hold_up_no_other(
    bmc: ScriptedBmc, connect: Connect, slow: Callable[[], Behaviour]
) -> None:
    quick = connect()
    await quick.get(SYSTEM)
    slow_ones = [connect(timings=QUICK) for _ in range(10)]
    for client in slow_ones:
        await client.get(SYSTEM)
    bmc.script("GET", SYSTEM, slow(), times=10)

    async def hang(number: int) -> None:
        with suppress(BmcFault):
            await slow_ones[number].get(SYSTEM, pauses=())

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(hang, number)
        with anyio.fail_after(5):
            while bmc.log.count(("GET", SYSTEM)) < 21:
                await anyio.sleep(0.01)
        began = time.monotonic()
        for _ in range(5):
            await quick.get(SYSTEM)
        assert time.monotonic() - began < 0.3, "less than one of the slow ones takes"
