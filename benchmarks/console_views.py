"""How fast the console draws a busy log, and a time line of 10,000 machines with 20,000 claims.

``log_events_per_s`` is how many events a second the log's page takes and draws when they come as
fast as it takes them; ``log_busy_share`` is the part of one processor that it needs for 2,000
events a second. ``gantt_paint_ms`` is from a key until another page of the time line is drawn with
its claims, without the time that it waits on purpose. The sources are in memory, so all of it is
the console's own work; reading messages off the wire comes on top. Ratios compare with the least
that Textual does: drawing one line anew.
"""

import argparse
import asyncio
import time
from collections.abc import Callable
from statistics import median

from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Static

from mulligan.console.called import Called
from mulligan.console.claims.page import REST_S, GanttView
from mulligan.console.log.page import LogView
from tests.console.fakes import FakeSource
from tests.console.feeds import ANN, FakeLog, Stage
from tests.console.test_gantt import FakeClaims

SIZE = (200, 60)
RATE = 2_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--machines", type=int, default=10_000)
    parser.add_argument("--pages", type=int, default=20)


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures."""
    one_line = asyncio.run(_bare())
    per_s = asyncio.run(_flood(args.events))
    share = asyncio.run(_steady(args.seconds))
    paint = asyncio.run(_gantt(args.machines, args.pages))
    return {
        "log_events_per_s": round(per_s),
        "log_busy_share": round(share, 3),
        "gantt_paint_ms": round(paint, 1),
        "bare_update_ms": round(one_line, 2),
        "gantt_paint_ratio": round(paint / one_line, 1),
    }


async def _flood(events: int) -> float:
    """Return the events a second that are taken and drawn."""
    log = FakeLog(1000)
    view = LogView(FakeSource(), log)
    async with Stage(view, view.source).run_test(size=SIZE) as pilot:
        await _until(lambda: bool(view.lines.rows))
        log.grow(events)
        began = time.perf_counter()
        await _until(lambda: view.window.last == 1000 + events)
        await pilot.pause()
        return events / (time.perf_counter() - began)


async def _steady(seconds: int) -> float:
    """Return the share of a processor that 2,000 events a second take, beyond making them."""
    log = FakeLog(1000)
    view = LogView(FakeSource(), log)
    async with Stage(view, view.source).run_test(size=SIZE):
        await _until(lambda: bool(view.lines.rows))
        making = 0.0
        began, busy = time.perf_counter(), time.process_time()
        for tick in range(1, seconds * 20 + 1):
            before = time.process_time()
            log.grow(RATE // 20)
            making += time.process_time() - before
            await asyncio.sleep(max(0.0, began + tick / 20 - time.perf_counter()))
        await _until(lambda: view.window.last == 1000 + RATE * seconds)
        return (time.process_time() - busy - making) / (time.perf_counter() - began)


async def _gantt(machines: int, pages: int) -> float:
    """Return the median of the times in ms that a page of rows takes from the key to the screen."""
    claims = FakeClaims(machines)

    async def names(uuids: list[str]) -> dict[str, str]:
        return {ANN: "ann"}

    view = GanttView(FakeSource(), claims, Called(names))
    took: list[float] = []
    async with Stage(view, view.source).run_test(size=SIZE) as pilot:
        await _until(lambda: bool(view.grid.rows))
        for _ in range(pages):
            await _settle(pilot, view)
            began = time.perf_counter()
            await pilot.press("pagedown")
            await _settle(pilot, view)
            took.append((time.perf_counter() - began - REST_S) * 1000)
    return median(took)


async def _settle(pilot: Pilot[None], view: GanttView) -> None:
    """Return once every row in sight has its claims, on the screen."""
    await _until(lambda: not view.held.missing(view.grid.in_sight()))
    await _drawn(pilot)


async def _bare() -> float:
    class Bare(App[None]):
        def compose(self) -> ComposeResult:
            yield Static("0", id="line")

    took: list[float] = []
    async with Bare().run_test(size=SIZE) as pilot:
        for number in range(50):
            began = time.perf_counter()
            pilot.app.query_one("#line", Static).update(str(number))
            await _drawn(pilot)
            took.append((time.perf_counter() - began) * 1000)
    return median(took)


async def _drawn(pilot: Pilot[None]) -> None:
    done = asyncio.Event()
    pilot.app.call_after_refresh(done.set)
    await done.wait()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.002)
