"""How the append and projection benchmarks load a system, and what they say of it."""

import argparse
import asyncio
import threading
from itertools import count
from typing import Any

import pytest

from benchmarks import append, projection
from benchmarks._appending import Timed, in_flight, in_threads, new_commit, paced
from benchmarks.peers import event_stores
from mulligan.events.codec import encode_commit


class Gauge:
    """Counts what was done, and how much of it at once at most."""

    def __init__(self) -> None:
        self.done = self.now = self.most = 0
        self._lock = threading.Lock()

    def enter(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def leave(self) -> None:
        with self._lock:
            self.now -= 1
            self.done += 1


async def test_so_many_commands_are_in_flight_and_no_more_are_run_than_asked() -> None:
    gauge = Gauge()

    async def command() -> None:
        gauge.enter()
        await asyncio.sleep(0)
        gauge.leave()

    timed = await in_flight(command, 8, 100)
    assert (gauge.done, gauge.most, len(timed.latencies)) == (100, 8, 100)


def test_blocking_commands_run_in_so_many_threads() -> None:
    gauge, together = Gauge(), threading.Barrier(4, timeout=10)

    def command() -> None:
        gauge.enter()
        together.wait()
        gauge.leave()

    timed = in_threads(command, 4, 40)
    assert (gauge.done, gauge.most, len(timed.latencies)) == (40, 4, 40)


def test_an_error_in_a_thread_ends_the_run() -> None:
    numbers = count()

    def command() -> None:
        if next(numbers) == 5:
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        in_threads(command, 2, 1_000)


async def test_a_paced_latency_includes_what_a_command_waited_to_be_sent() -> None:
    async def command() -> None:
        await asyncio.sleep(0)

    timed = await paced(command, 10_000, 50)
    assert len(timed.latencies) == 50
    assert timed.seconds >= 49 / 10_000


def test_a_commit_has_the_size_that_is_documented() -> None:
    assert 450 < len(encode_commit(new_commit())) < 490


def outcome(latency: float, seconds: float) -> append.Outcome:
    return append.Outcome([latency] * 100, 0.0, seconds, 0.1, 10, 1)


def figures_of(*outcomes: append.Outcome) -> dict[str, Any]:
    return append._figures(outcomes, 1)


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    append.add_arguments(parser)
    return parser.parse_args(given)


def test_unfair_or_slow_writers_miss_the_goals() -> None:
    args = arguments("--writers", "2")
    fair, unfair = (
        figures_of(outcome(0.01, 1), outcome(0.01, 1.5)),
        figures_of(outcome(0.2, 1), outcome(0.2, 4)),
    )
    assert set(append._goals(args, fair, fair).values()) == {True}
    assert set(append._goals(args, unfair, unfair).values()) == {False}


def test_one_writer_is_measured_by_its_pace_or_by_its_latency_at_a_rate() -> None:
    slow = figures_of(outcome(0.05, 1))
    assert append._goals(arguments(), slow, slow) == {"50000 commands/s": False}
    assert append._goals(arguments("--rate", "2000"), slow, slow) == {"p99 under 20 ms": False}


def test_stores_are_compared_at_each_number_in_flight() -> None:
    def result(seconds: float) -> event_stores.Result:
        timed = Timed(latencies=[0.001] * 100, seconds=seconds)
        return event_stores.Result(appends={1: timed, 16: timed}, read=400, read_seconds=seconds)

    stores = {
        name: event_stores._figures(event_stores.STORES[name], result(seconds))
        for name, seconds in {"mulligan": 1.0, "umadb": 0.5}.items()
    }
    ratios = event_stores._ratios(stores)
    assert ratios == {"umadb": {"1": 0.5, "16": 0.5, "read": 0.5}}
    shown = "\n".join(
        event_stores._lines(
            {"stores": stores, "left_out": {"eventsourcing": "not there"}, "ratios": ratios}
        )
    )
    assert "eventsourcing: left out, not there" in shown
    assert "ours by umadb: 1: 0.5" in shown


def test_the_slowest_read_model_counts() -> None:
    folded = projection.Folded(
        events={"claims": 100, "names": 100},
        lags={"claims": [0.01] * 100, "names": [0.2] * 100},
        batches=2,
        ended=10.0,
        cpu=1.0,
    )
    appended = Timed(latencies=[0.001] * 10, seconds=1.0)
    found = projection._figures(folded, appended, 60_000, 0.0)
    assert (found["live_events_per_s"], found["lag_p99_ms"]) == (6_000, 200.0)
    assert found["slowest_read_model"] == "names"
    assert list(found["goals"].values()) == [True, False]
