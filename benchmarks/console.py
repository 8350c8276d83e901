"""How fast the console draws a large fleet, and a change in it.

``first_paint_ms`` is from the start of the app until the first machines are drawn, ``all_ms`` until
all are; ``update_ms`` from a change in the log until the screen shows it, without the time in which
changes are collected on purpose; ``key_ms`` from a key until the cursor has moved. The source is in
memory, so all of it is the console's own work. Ratios compare with the least that Textual does: a
screen with one line of text, and drawing one line anew.
"""

import argparse
import asyncio
import time
from collections.abc import Callable
from statistics import median

from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Static

from mulligan.console.app import ConsoleApp
from mulligan.console.fleet.follow import COALESCE_S
from mulligan.console.fleet.map import FleetMap
from tests.console.fakes import FakeSource

SIZE = (200, 60)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--machines", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=20)


def run(args: argparse.Namespace) -> dict[str, float]:
    """Return the figures, in ms."""
    bare, one_line = asyncio.run(_bare())
    figures = asyncio.run(_console(args.machines, args.changes))
    return {
        **figures,
        "bare_paint_ms": bare,
        "bare_update_ms": one_line,
        "first_paint_ratio": round(figures["first_paint_ms"] / bare, 1),
        "update_ratio": round(figures["update_ms"] / max(0.1, one_line), 1),
    }


async def _console(machines: int, changes: int) -> dict[str, float]:
    source = FakeSource(machines)
    began = time.perf_counter()
    app = ConsoleApp(source)
    async with app.run_test(size=SIZE) as pilot:
        fleet = app.query_one(FleetMap)
        await _until(lambda: bool(fleet.layout_now.spots))
        await _drawn(pilot)
        first = time.perf_counter() - began
        await _until(lambda: len(fleet.layout_now.spots) == machines)
        await _drawn(pilot)
        whole = time.perf_counter() - began
        updates = [await _update(source, fleet, pilot, n) for n in range(changes)]
        keys = [await _key(pilot) for _ in range(changes)]
    return {
        "first_paint_ms": _ms(first),
        "all_ms": _ms(whole),
        "update_ms": _ms(median(updates)),
        "update_max_ms": _ms(max(updates)),
        "key_ms": _ms(median(keys)),
    }


async def _update(source: FakeSource, fleet: FleetMap, pilot: Pilot[None], n: int) -> float:
    """Change fifty machines that are in view, and one of them last."""
    began = time.perf_counter()
    for uuid in fleet.layout_now.order[:50]:
        source.change(uuid, state=("failed", "active")[n % 2], project=str(n))
    last = fleet.layout_now.order[49]
    await _until(lambda: fleet.machines[last].project == str(n))
    await _drawn(pilot)
    return time.perf_counter() - began - COALESCE_S


async def _key(pilot: Pilot[None]) -> float:
    began = time.perf_counter()
    pilot.app.simulate_key("right")
    await _drawn(pilot)
    return time.perf_counter() - began


async def _bare() -> tuple[float, float]:
    class Bare(App[None]):
        def compose(self) -> ComposeResult:
            yield Static("one line")

    began = time.perf_counter()
    app = Bare()
    async with app.run_test(size=SIZE) as pilot:
        await _drawn(pilot)
        paint = time.perf_counter() - began
        began = time.perf_counter()
        app.query_one(Static).update("another")
        await _drawn(pilot)
        return _ms(paint), _ms(time.perf_counter() - began)


async def _drawn(pilot: Pilot[None]) -> None:
    """Return once all that waits is handled, and the screen is up to date."""
    done = asyncio.Event()
    pilot.app.screen.call_after_refresh(done.set)
    await done.wait()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.001)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
