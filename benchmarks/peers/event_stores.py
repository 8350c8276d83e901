"""Appends and reads back on three event stores: ours, ``eventsourcing`` on Postgres, and UmaDB.

Each appends the same commits, one event each on a stream of its own, and makes sure that nobody
else has written to that stream; each acknowledges when the commit is on disk. Each runs alone, on
the same disk and cores, its client in a process of its own. All read everything back in order.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Any

import msgspec

from benchmarks._appending import Timed
from benchmarks._etcd import running_etcd
from benchmarks._loop import apart, machine
from benchmarks.peers import eventsourcing_store, mulligan_store, umadb_store

IN_FLIGHT = (1, 16, 64, 256)
_EACH = 400
"""Commands of a run for each one in flight, as far as the store's pace makes it worth while."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Appends by how many were in flight, then everything read back."""

    appends: dict[int, Timed]
    read: int
    read_seconds: float


class Store(msgspec.Struct, frozen=True):
    """An event store to compare: what has to be there, how it is served, what its client does.

    ``most`` is how many commands take it a few seconds.
    """

    needs: str
    most: int
    serving: Callable[[], AbstractContextManager[Any]]
    append: Callable[[Any, int, int], Timed]
    read: Callable[[Any], tuple[int, float]]
    durability: str


STORES = {
    "mulligan": Store(
        "mulligan",
        60_000,
        running_etcd,
        mulligan_store.append,
        mulligan_store.read,
        "etcd: raft log synced with fdatasync before the answer; one entry holds what waits",
    ),
    "eventsourcing": Store(
        "eventsourcing",
        2_000,
        eventsourcing_store.serving,
        eventsourcing_store.append,
        eventsourcing_store.read,
        "Postgres: fsync and synchronous_commit on, one transaction a commit under a table lock",
    ),
    "umadb": Store(
        "umadb",
        12_000,
        umadb_store.serving,
        umadb_store.append,
        umadb_store.read,
        "UmaDB: defaults of its server, which commits what waits together",
    ),
}


def compare() -> dict[str, Any]:
    """Measure every store that is installed, and print how ours compares."""
    figures: dict[str, Any] = {"machine": machine(), "stores": {}, "left_out": {}}
    for name, store in STORES.items():
        if find_spec(store.needs) is None:
            figures["left_out"][name] = f"{store.needs} is not installed: uv sync --group bench"
            continue
        with store.serving() as where:
            result = asyncio.run(apart(measure, name, where))
        figures["stores"][name] = _figures(store, result)
    figures["ratios"] = _ratios(figures["stores"])
    _print(figures)
    return figures


def measure(name: str, where: Any) -> Result:
    """Append with more and more in flight, then read all of it; runs in the client's process."""
    store = STORES[name]
    appends = {n: store.append(where, n, min(store.most, _EACH * n)) for n in IN_FLIGHT}
    read, seconds = store.read(where)
    written = sum(len(timed.latencies) for timed in appends.values())
    if read < written:
        raise SystemExit(f"{name} gave back {read} of {written} commits")
    return Result(appends=appends, read=read, read_seconds=seconds)


def _figures(store: Store, result: Result) -> dict[str, Any]:
    return {
        "append": {str(n): timed.figures() for n, timed in result.appends.items()},
        "read_per_s": round(result.read / result.read_seconds),
        "read": result.read,
        "durability": store.durability,
    }


def _ratios(stores: dict[str, Any]) -> dict[str, Any]:
    """Return commands and reads a second of ours by those of each other."""
    ours = stores["mulligan"]
    return {
        name: {
            **{n: _ratio(ours["append"][n], theirs["append"][n]) for n in theirs["append"]},
            "read": round(ours["read_per_s"] / theirs["read_per_s"], 2),
        }
        for name, theirs in stores.items()
        if name != "mulligan"
    }


def _ratio(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    return float(round(ours["commands_per_s"] / theirs["commands_per_s"], 2))


def _print(figures: dict[str, Any]) -> None:
    for line in _lines(figures):
        print(line, file=sys.stderr)


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    for name, found in figures["stores"].items():
        yield f"{name}: {found['durability']}"
        for n, append in found["append"].items():
            yield (
                f"  append, {n:>3} in flight {append['commands_per_s']:>9,}/s"
                f"  p50 {append['p50_ms']:>7} p99 {append['p99_ms']:>7} ms"
            )
        yield f"  read back            {found['read_per_s']:>9,}/s"
    for name, reason in figures["left_out"].items():
        yield f"{name}: left out, {reason}"
    for name, ratios in figures["ratios"].items():
        yield f"ours by {name}: " + ", ".join(f"{what}: {ratio}" for what, ratio in ratios.items())
