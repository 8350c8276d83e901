"""Rebuilding: always equal to what was folded live, and swapped without a gap."""

from collections.abc import Sequence

import anyio
import msgspec
import pytest

from mulligan.config import Dsn
from mulligan.errors import NotFound
from mulligan.log.memory import MemoryDisk, MemoryLog
from mulligan.projections.models import READ_MODELS
from mulligan.projections.postgres import connected
from mulligan.projections.rebuild import Progress, Rebuilder
from mulligan.projections.worker import Worker
from tests.projections.conftest import QUICK, folded, folding, until
from tests.projections.histories import history, poison, write

ALL = {model.name for model in READ_MODELS}


async def rebuild(
    disk: MemoryDisk, dsn: str, names: Sequence[str] = (), *, verify: bool = False
) -> dict[str, list[Progress]]:
    """Run a rebuild and return its messages by read model."""
    found: dict[str, list[Progress]] = {}
    async with MemoryLog.open(disk=disk) as log:
        async for message in Rebuilder(log, dsn).rebuild(names, verify=verify):
            found.setdefault(message.name, []).append(message)
    return found


async def schemas(dsn: str) -> set[str]:
    async with connected(dsn) as connection:
        rows = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'rm_%'")
    return {row["nspname"] for row in rows}


async def test_a_rebuild_equals_what_was_folded_live_and_takes_its_place(database: Dsn) -> None:
    world, disk = history(21), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database) as worker:
        messages = await rebuild(disk, database)
        assert messages.keys() == ALL
        for steps in messages.values():
            phases = [step.phase for step in steps]
            assert phases[-3:] == ["comparing", "equal", "swapped"]
            assert [step.finished for step in steps] == [False] * (len(steps) - 1) + [True]
            assert steps[-1].seq == len(world.entries)
        again = await rebuild(disk, database, ["claims"], verify=True)
        assert again["claims"][-1].phase == "equal"
        await until(folded(worker, len(world.entries)))
    assert {f"rm_{name}_old" for name in ALL} <= await schemas(database)
    assert not any("_v" in name for name in await schemas(database))


async def test_a_row_changed_by_hand_is_found_and_mended(database: Dsn) -> None:
    world, disk = history(23), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database):
        async with connected(database) as connection:
            await connection.execute("UPDATE rm_providers.inventory SET capacity = capacity + 1")
        found = await rebuild(disk, database, ["providers"], verify=True)
        assert found["providers"][-1].phase == "different"
        assert found["providers"][-1].detail == "inventory"
        again = await rebuild(disk, database, ["providers"], verify=True)
        assert again["providers"][-1].phase == "different"
        mended = await rebuild(disk, database, ["providers"])
        assert mended["providers"][-1].phase == "swapped"
        after = await rebuild(disk, database, ["providers"], verify=True)
        assert after["providers"][-1].phase == "equal"


async def test_dropped_read_models_come_back_equal_by_themselves(database: Dsn) -> None:
    world, disk = history(24), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database) as worker, MemoryLog.open(disk=disk) as log:
        rebuilder = Rebuilder(log, database)
        before = {name: await rebuilder.table_hashes(name) for name in sorted(ALL)}
        assert None not in before.values()
        await rebuilder.drop()
        await until(lambda: any(s.status != "live" for s in worker.status().values()))
        with anyio.fail_after(30):  # a worker learns of each drop in its own time
            while {name: await rebuilder.table_hashes(name) for name in sorted(ALL)} != before:
                await anyio.sleep(0.05)
        await until(folded(worker, len(world.entries)))


async def test_dropped_read_models_can_be_rebuilt_without_a_worker(database: Dsn) -> None:
    world, disk = history(25), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database):
        pass
    async with MemoryLog.open(disk=disk) as log:
        rebuilder = Rebuilder(log, database)
        before = await rebuilder.table_hashes("claims")
        await rebuilder.drop(["claims"])
        assert await rebuilder.table_hashes("claims") is None
        phases = [step.phase async for step in rebuilder.rebuild(["claims"])]
        assert phases[-1] == "swapped"
        assert "comparing" not in phases
        assert await rebuilder.table_hashes("claims") == before


async def test_the_live_worker_goes_on_through_a_rebuild(database: Dsn) -> None:
    world, disk = history(26), MemoryDisk()
    half = len(world.entries) // 2
    write(disk, world.entries[:half])
    async with folding(disk, database) as worker:
        async with anyio.create_task_group() as tasks:

            async def grow() -> None:
                for stored in world.entries[half:]:
                    write(disk, [stored])
                    await anyio.sleep(0.002)

            tasks.start_soon(grow)
            for _ in range(3):
                found = await rebuild(disk, database, ["claims", "providers", "audit"])
                assert all("equal" in [s.phase for s in steps] for steps in found.values())
        await until(folded(worker, len(world.entries)))
        found = await rebuild(disk, database, verify=True)
        assert {steps[-1].phase for steps in found.values()} == {"equal"}


async def test_a_newer_version_is_built_beside_the_old_one_and_swapped_in(database: Dsn) -> None:
    world, disk = history(27), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database):
        pass
    newer = tuple(
        msgspec.structs.replace(m, version=m.version + 1) if m.name == "claims" else m
        for m in READ_MODELS
    )
    async with MemoryLog.open(disk=disk) as log:
        worker = Worker(log, database, models=newer, pace=QUICK)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            await until(folded(worker, len(world.entries)))
            tasks.cancel_scope.cancel()
        assert "rm_claims_old" in await schemas(database)
        older = Worker(log, database, pace=QUICK)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(older.run)
            await until(lambda: older.status()["claims"].status == "halted")
            assert "newer release" in older.status()["claims"].problem
            tasks.cancel_scope.cancel()


async def test_a_long_log_is_built_in_bulk_up_to_a_bad_event(database: Dsn) -> None:
    world, disk = history(28, steps=1500, per_entry=1), MemoryDisk()
    bad = poison(world, "claim/0190-bad")
    write(disk, world.entries)
    assert len(world.entries) > 1000
    async with MemoryLog.open(disk=disk) as log:
        worker = Worker(log, database, pace=QUICK)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            await until(lambda: worker.status()["claims"].status == "halted")
            assert worker.status()["claims"].seq == bad.seq - 1
            assert "claim.exploded" in worker.status()["claims"].problem
            await until(lambda: worker.status()["providers"].seq == bad.seq)
            tasks.cancel_scope.cancel()


async def test_an_unknown_name_is_refused(database: Dsn) -> None:
    disk = MemoryDisk()
    with pytest.raises(NotFound, match="clams"):
        await rebuild(disk, database, ["clams"])
