import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from mulligan.commands.workqueue import Handle, WorkQueue
from mulligan.errors import Conflict, Unavailable
from mulligan.log.protocol import Fenced


@asynccontextmanager
async def running(handle: Handle, at_once: int = 4) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue("test", handle, at_once)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(queue.run)
        with anyio.fail_after(5):
            yield queue
        tasks.cancel_scope.cancel()


async def idle(queue: WorkQueue) -> None:
    """Return when nothing waits and nothing runs."""
    while queue.waiting:
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.005)


class Record:
    """Handles by a script: what it returns or raises for each look at a key."""

    def __init__(self, *script: float | Exception | None) -> None:
        self.looks: list[tuple[str, float]] = []
        self.script = list(script)
        self.gate = asyncio.Event()
        self.gate.set()
        self.running = 0
        self.most = 0

    @property
    def keys(self) -> list[str]:
        return [key for key, _ in self.looks]

    async def __call__(self, key: str) -> float | None:
        self.looks.append((key, anyio.current_time()))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        return step


async def test_a_key_added_often_before_its_turn_is_handled_once() -> None:
    seen = Record()
    async with running(seen) as queue:
        for _ in range(5):
            queue.add("a")
        queue.add("b")
        await idle(queue)
    assert sorted(seen.keys) == ["a", "b"]


async def test_a_key_added_while_it_is_handled_is_handled_once_more() -> None:
    seen = Record()
    seen.gate.clear()
    async with running(seen) as queue:
        queue.add("a")
        while not seen.running:
            await asyncio.sleep(0)
        for _ in range(3):
            queue.add("a")
        seen.gate.set()
        await idle(queue)
    assert seen.keys == ["a", "a"]
    assert seen.most == 1, "one at a time for each key"


async def test_a_delayed_key_waits_and_an_earlier_wish_brings_it_forward() -> None:
    seen = Record()
    async with running(seen) as queue:
        began = anyio.current_time()
        queue.add("late", 0.05)
        queue.add("soon", 3600)
        queue.add("soon", 0.0)
        queue.add("soon", 3600)
        while len(seen.looks) < 2:
            await asyncio.sleep(0.002)
    times = dict(seen.looks)
    assert times["soon"] - began < 0.05 <= times["late"] - began + 0.001


async def test_a_later_wish_does_not_put_a_key_off() -> None:
    seen = Record()
    async with running(seen) as queue:
        queue.add("a", 0.02)
        queue.add("a", 3600)
        while not seen.looks:
            await asyncio.sleep(0.002)


async def test_the_handler_says_when_to_look_again() -> None:
    seen = Record(0.02, 0.02, None)
    async with running(seen) as queue:
        queue.add("a")
        await idle(queue)
    assert len(seen.looks) == 3
    assert seen.looks[1][1] - seen.looks[0][1] >= 0.019


@pytest.mark.parametrize("error", [Unavailable("x"), Conflict("x"), Fenced("x"), ValueError("x")])
async def test_a_failure_brings_the_key_back_after_a_pause(error: Exception) -> None:
    seen = Record(error, None)
    async with running(seen) as queue:
        queue.add("a")
        while len(seen.looks) < 2:
            await asyncio.sleep(0.005)
    assert seen.looks[1][1] - seen.looks[0][1] >= 0.19


async def test_a_failing_key_holds_up_no_other() -> None:
    seen = Record(Unavailable("x"), None, None)
    async with running(seen, at_once=1) as queue:
        queue.add("bad")
        queue.add("good")
        while "good" not in seen.keys:
            await asyncio.sleep(0.002)
    assert seen.keys == ["bad", "good"]


async def test_no_more_than_so_many_are_handled_at_once() -> None:
    seen = Record()
    seen.gate.clear()
    async with running(seen, at_once=3) as queue:
        for n in range(10):
            queue.add(f"k{n}")
        while seen.running < 3:
            await asyncio.sleep(0)
        seen.gate.set()
        await idle(queue)
        while len(seen.looks) < 10:
            await asyncio.sleep(0.002)
    assert (seen.most, len(set(seen.keys))) == (3, 10)


async def test_wishes_overtaken_by_earlier_ones_do_not_pile_up() -> None:
    seen = Record(*([3600.0] * 2000))
    async with running(seen) as queue:
        for n in range(1500):
            queue.add("a")
            while len(seen.looks) <= n:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert len(queue._heap) < 200
