"""Building by several processes: the same rows as by one, and nothing left of what fails."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from mulligan.config import Dsn
from mulligan.errors import Unavailable
from mulligan.events.codec import Codec
from mulligan.log.memory import MemoryDisk, MemoryLog
from mulligan.log.protocol import EventLog
from mulligan.model import Seq
from mulligan.projections import building, checkpoint, hashes, teams
from mulligan.projections.models import READ_MODELS
from mulligan.projections.postgres import connected
from tests.projections.histories import World, history, poison, write


def disk_of(world: World) -> MemoryDisk:
    disk = MemoryDisk()
    write(disk, world.entries)
    return disk


def build(dsn: str, log: EventLog, processes: int) -> building.Build:
    targets = dict.fromkeys(READ_MODELS, log.head.seq)
    return building.Build(dsn, log, targets, Codec(), processes=processes)


async def built(dsn: str, log: EventLog, processes: int) -> dict[str, hashes.Hashes | None]:
    """Build every read model and return the hashes of what stands then."""
    async with connected(dsn) as connection:
        await checkpoint.prepare(connection)
        phases = [step.phase async for step in build(dsn, log, processes).run()]
        assert phases[-1] == "writing"
        return {
            model.name: await hashes.table_hashes(connection, model, model.build_schema)
            for model in READ_MODELS
        }


def children() -> list[int]:
    """Return the processes that this one has started."""
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [
        int(pid)
        for pid in found
        if b"projections.hand" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


async def left(dsn: str) -> list[str]:
    async with connected(dsn) as connection:
        rows = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'rm_%'")
    return [row["nspname"] for row in rows]


async def test_several_processes_build_the_same_rows_as_one(database: Dsn) -> None:
    async with MemoryLog.open(disk=disk_of(history(31))) as log:
        one = await built(database, log, 1)
        assert one == await built(database, log, 3)
    claims = one["claims"]
    assert claims is not None
    assert claims.tables["claim"].rows > 20
    assert not children()


async def test_a_bad_event_voids_its_read_models_alone(database: Dsn) -> None:
    world = history(33, steps=60)
    bad = poison(world, "machine/0190-bad")
    async with MemoryLog.open(disk=disk_of(world)) as log, connected(database) as connection:
        await checkpoint.prepare(connection)
        run = build(database, log, 2)
        assert [step.seq async for step in run.run()][-1] == bad.seq
        assert {model.name for model in run.poisoned} == {"machines", "actions"}
        assert {one.seq for one in run.poisoned.values()} == {bad.seq}
        assert all("machine.exploded" in str(one) for one in run.poisoned.values())
    there = await left(database)
    assert "rm_claims_v2" in there
    assert not any("machines" in schema or "actions" in schema for schema in there)


async def test_a_killed_process_fails_the_build_and_leaves_nothing_to_trip_over(
    database: Dsn,
) -> None:
    async with MemoryLog.open(disk=disk_of(history(34, steps=120))) as log:
        async with connected(database) as connection:
            await checkpoint.prepare(connection)
        with pytest.raises(Unavailable, match="ended by -9"):
            async for _ in build(database, log, 2).run():
                for pid in children():
                    os.kill(pid, signal.SIGKILL)
        assert not children()
        again = await built(database, log, 2)
        assert None not in again.values()


async def test_a_postgres_that_refuses_is_named(database: Dsn) -> None:
    async with MemoryLog.open(disk=disk_of(history(35, steps=40))) as log:
        with pytest.raises(Unavailable, match=r"Postgres refused.*projection"):
            async for _ in build(database, log, 2).run():  # nobody has made its checkpoints
                await asyncio.sleep(0)


def test_read_models_are_divided_by_what_they_cost() -> None:
    one, other = teams.divided(READ_MODELS, 2)
    assert {model.name for model in (*one, *other)} == {model.name for model in READ_MODELS}
    assert {"audit", "claims"} & {model.name for model in one} != {"audit", "claims"}
    assert len(teams.divided(READ_MODELS[:1], 4)) == 1


async def test_the_events_of_a_log_are_estimated_by_a_few_looks() -> None:
    world = history(36)
    events = sum(len(c.events) for stored in world.entries for c in stored.entry.commits)
    async with MemoryLog.open(disk=disk_of(world)) as log:
        about = await teams.events_before(log, log.head.seq)
        assert events / 3 < about < events * 3
        assert await teams.events_before(log, Seq(0)) == 0
    assert teams.processes(about) == 1
