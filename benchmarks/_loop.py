"""A closed loop: so many calls in flight for so long, by a client in a process of its own."""

import asyncio
import os
import platform
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Literal, ParamSpec, TypeVar

import msgspec

P = ParamSpec("P")
R = TypeVar("R")

_DRAIN_S = 300.0
"""How long the calls in flight at the end may take; they count, and so does their time."""

Outcome = Literal["claimed", "refused"]


class Tally(msgspec.Struct, kw_only=True):
    """What a run did; times in seconds, ``cpu`` the client's own.

    ``problems`` counts what was no answer, by its text.
    """

    claimed: list[float] = []
    refused: list[float] = []
    problems: dict[str, int] = {}
    retries: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Return rate and latencies of the claims, and how many calls ended otherwise."""
        found = {
            "claims_per_s": round(len(self.claimed) / self.seconds, 2) if self.seconds else 0.0,
            "p50_ms": percentile(self.claimed, 0.5),
            "p99_ms": percentile(self.claimed, 0.99),
            "claims": len(self.claimed),
            "refused": len(self.refused),
            "refusal_p50_ms": percentile(self.refused, 0.5),
            "failed": sum(self.problems.values()),
        }
        return {**found, "problems": self.problems} if self.problems else found


async def closed_loop(
    call: Callable[[], Awaitable[Outcome]], in_flight: int, seconds: float, tally: Tally
) -> None:
    """Keep ``in_flight`` calls under way for ``seconds``, then let the last ones end."""
    began, spent = time.perf_counter(), time.process_time()
    until = began + seconds

    async def worker() -> None:
        while (sent := time.perf_counter()) < until:
            try:
                outcome = await call()
            except Exception as error:  # each is counted, and shown in the figures
                text = f"{type(error).__name__}: {error}"[:200]
                tally.problems[text] = tally.problems.get(text, 0) + 1
                await asyncio.sleep(0.01)
                continue
            took = time.perf_counter() - sent
            (tally.claimed if outcome == "claimed" else tally.refused).append(took)

    async with asyncio.timeout(seconds + _DRAIN_S), asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(worker())
    tally.seconds, tally.cpu = time.perf_counter() - began, time.process_time() - spent


async def apart(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function of a module in a fresh process and return what it returns."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return await asyncio.wrap_future(pool.submit(function, *args, **kwargs))


def percentile(sample: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile in ms of a sample in seconds; 0 of an empty one."""
    if not sample:
        return 0.0
    ordered = sorted(sample)
    return round(1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)], 2)


def machine() -> dict[str, Any]:
    """Return what the figures were taken on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
    }
