"""What every append benchmark writes, and how it keeps so many appends under way."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from benchmarks._loop import percentile
from mulligan.events.envelope import Actor, Commit, EventRecord
from mulligan.model import CommitId, StreamId, new_id, utc_now

_DATA = msgspec.Raw(msgspec.json.encode({"claim": new_id(), "pad": "x" * 140}))


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies of one run, and how long it took in all, in seconds."""

    latencies: list[float]
    seconds: float

    def figures(self) -> dict[str, Any]:
        """Return commands a second with their latency."""
        return {
            "commands_per_s": round(len(self.latencies) / self.seconds),
            "p50_ms": percentile(self.latencies, 0.5),
            "p99_ms": percentile(self.latencies, 0.99),
        }


def new_commit(events: int = 1) -> Commit:
    """Make a commit on a stream of its own, about 470 bytes of JSON with one event."""
    stream = StreamId(f"claim/{new_id()}")
    return Commit(
        id=CommitId(new_id()),
        at=utc_now(),
        actor=Actor(account="0194e0a0-0000-7000-8000-000000000000"),
        command="claim.make",
        events=tuple(
            EventRecord(stream=stream, version=n + 1, type="claim.made", v=1, data=_DATA)
            for n in range(events)
        ),
    )


async def in_flight(command: Callable[[], Awaitable[object]], at_once: int, count: int) -> Timed:
    """Run ``count`` commands, so many at once."""
    latencies: list[float] = []
    left = count

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            sent = time.perf_counter()
            await command()
            latencies.append(time.perf_counter() - sent)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(worker())
    return Timed(latencies=latencies, seconds=time.perf_counter() - began)


async def paced(command: Callable[[], Awaitable[object]], rate: float, count: int) -> Timed:
    """Issue commands on a fixed schedule; a latency runs from when its command was due."""
    latencies: list[float] = []
    began = time.perf_counter()

    async def one(due: float) -> None:
        await command()
        latencies.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            due = began + number / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            tasks.create_task(one(due))
    return Timed(latencies=latencies, seconds=time.perf_counter() - began)


def in_threads(command: Callable[[], object], at_once: int, count: int) -> Timed:
    """Run ``count`` blocking commands in so many threads; the first error ends it."""
    latencies: list[float] = []
    problems: list[Exception] = []
    tickets = iter(range(count))
    lock = threading.Lock()

    def worker() -> None:
        while not problems:
            with lock:
                if next(tickets, None) is None:
                    return
            sent = time.perf_counter()
            try:
                command()
            except Exception as error:  # raised again below, in the caller's thread
                problems.append(error)
                return
            latencies.append(time.perf_counter() - sent)

    threads = [threading.Thread(target=worker) for _ in range(at_once)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return Timed(latencies=latencies, seconds=time.perf_counter() - began)
