"""A long log of a fleet's life in an etcd of its own, with a Postgres beside it."""

import tempfile
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop

from benchmarks._etcd import running_etcd
from benchmarks._traffic import Traffic
from mulligan.embedded.postgres import EmbeddedPostgres
from mulligan.events.codec import GENESIS_HASH, encode_commit, encode_entry
from mulligan.events.envelope import Commit
from mulligan.log.etcdlog import EtcdStore
from mulligan.log.store import HeadRecord, Slot, Won
from mulligan.log.view import link
from mulligan.model import RegionName, Seq

REGION = RegionName("bench")
_COMMITS = 64
"""Commits an entry, as group commit makes them at 64 commands in flight."""


def on_servers(measure: Callable[[Any, str], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Measure on a fresh etcd, given its settings, and a fresh database, given its URL."""
    with tempfile.TemporaryDirectory(prefix="mulligan-bench-") as home:
        server = EmbeddedPostgres(Path(home) / "postgres")
        server.start()
        try:
            dsn = server.create_database("bench")
            with running_etcd() as settings:
                return uvloop.run(_awaited(measure(settings, dsn)))
        finally:
            server.stop()


async def _awaited(figures: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    return await figures


async def write_log(store: EtcdStore, events: int, machines: int) -> None:
    """Fill the log by its own compare-and-swap, one entry of many commits after the other."""
    log_id = await store.identify()
    token, prev = 0, GENESIS_HASH
    traffic = Traffic(machines)
    for seq, commits in enumerate(_entries(traffic.commits(events)), start=1):
        at = traffic.now.isoformat().replace("+00:00", "Z")
        stored = link(seq, prev, encode_entry(Seq(seq), prev, at, commits))
        head = HeadRecord(seq=Seq(seq), hash=stored.hash, log_id=log_id, writer="w", batch_id="b")
        won = await store.put(Slot(stored=stored, head=head, token=token, fences=()), 30.0)
        assert isinstance(won, Won)
        token, prev = won.token, stored.hash


def _entries(commits: Iterator[Commit]) -> Iterator[list[bytes]]:
    while batch := [encode_commit(c) for c in islice(commits, _COMMITS)]:
        yield batch
