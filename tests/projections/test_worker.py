"""The worker on a real Postgres: the same log gives the same rows, whatever befalls the worker."""

from datetime import datetime
from pathlib import Path

import anyio
import msgspec
import pytest

from mulligan.config import Dsn
from mulligan.embedded.postgres import EmbeddedPostgres
from mulligan.errors import Unavailable
from mulligan.events.codec import Codec
from mulligan.handlers import image
from mulligan.log.memory import MemoryDisk, MemoryLog
from mulligan.model import ImageId, Seq, StreamId
from mulligan.projections import building, checkpoint, hashes
from mulligan.projections.checkpoint import Fenced, Place
from mulligan.projections.lane import advance_one
from mulligan.projections.models import READ_MODELS
from mulligan.projections.postgres import connected
from mulligan.projections.rebuild import Rebuilder
from mulligan.projections.worker import Worker
from mulligan.queries import states
from mulligan.queries.database import Database
from mulligan.queries.freshness import wait_until
from tests.projections.conftest import QUICK, folded, folding, until, working
from tests.projections.histories import World, history, poison, write


async def apply_in_batches(dsn: str, world: World, size: int) -> dict[str, hashes.Hashes | None]:
    """Fold a history by batches of ``size`` entries and return every table's hash."""
    found = {}
    async with connected(dsn) as connection:
        await checkpoint.prepare(connection)
        for model in READ_MODELS:
            place: Place = await building.create_empty(connection, model, "memory")
            for first in range(0, len(world.entries), size):
                batch = world.entries[first : first + size]
                place = await advance_one(connection, model, model.schema, place, batch, Codec())
            found[model.name] = await hashes.table_hashes(connection, model, model.schema)
            await connection.execute(f"DROP SCHEMA {model.schema} CASCADE")
    return found


def add_image(world: World) -> None:
    """Append an entry that two read models have something to write for."""
    uuid = ImageId(world.id())
    world.do(image.CreateImage(image=uuid, name=uuid[:8], url="file:a.iso", sha256="0" * 64))
    world.flush()


@pytest.mark.parametrize("seed", [1, 2])
async def test_batches_of_any_size_give_the_same_rows(seed: int, database: Dsn) -> None:
    world = history(seed)
    one, seven, all_ = [await apply_in_batches(database, world, size) for size in (1, 7, 5000)]
    assert one == seven == all_
    claims, actions = one["claims"], one["actions"]
    assert claims is not None
    assert actions is not None
    assert claims.tables["claim"].rows > 20
    assert actions.tables["action"].rows > 20


async def test_every_state_loads_as_the_handlers_folded_it(database: Dsn) -> None:
    world, disk = history(4), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database), Database(database) as reads:
        absent = StreamId("claim/none")
        loaded = await states.load(reads, [*world.states, absent])
        assert loaded.pop(absent) == states.Loaded(0, None, Seq(len(world.entries)))
        assert {stream: one.state for stream, one in loaded.items()} == world.states
        assert {stream: one.version for stream, one in loaded.items()} == world.versions
        assert {one.seq for one in loaded.values()} == {len(world.entries)}


async def test_an_unreadable_event_halts_its_read_model_alone(database: Dsn) -> None:
    world, disk = history(5, steps=60), MemoryDisk()
    write(disk, world.entries)
    good = len(world.entries)
    async with folding(disk, database) as worker, Database(database) as reads:
        bad = poison(world, "claim/0190-bad")
        add_image(world)
        write(disk, world.entries[good:])
        await until(lambda: worker.status()["claims"].status == "halted")
        await until(lambda: worker.status()["images"].seq == good + 2)
        status = worker.status()
        assert status["claims"].seq == bad.seq - 1
        assert "claim.exploded" in status["claims"].problem
        assert "claim/0190-bad" in status["claims"].problem
        assert {n for n, s in status.items() if s.status != "live"} == {"claims"}
        row = await reads.fetchrow("SELECT * FROM mulligan.projection WHERE name = 'claims'")
        assert row is not None
        assert (row["status"], row["seq"]) == ("halted", bad.seq - 1)
        with pytest.raises(Unavailable, match="claims"):
            await wait_until(reads, ["claims"], Seq(good + 2), timeout=0.05)
        stale = await wait_until(reads, ["claims"], Seq(good + 2), timeout=0.05, allow_stale=True)
        assert stale == bad.seq - 1
    async with working(disk, database) as worker:  # after a restart it is found out again
        await until(lambda: worker.status()["claims"].status == "halted")
        await until(lambda: worker.status()["audit"].status == "live")


async def test_a_halted_read_model_goes_on_when_it_is_retried(database: Dsn) -> None:
    world, disk = history(5, steps=60), MemoryDisk()
    write(disk, world.entries)
    broken = True

    def evolve(state: object, event: object, at: datetime) -> object:
        if broken:
            raise RuntimeError("a defect")
        return image.evolve(state, event, at)  # type: ignore[arg-type]

    (model,) = (m for m in READ_MODELS if m.name == "images")
    table = msgspec.structs.replace(model.tables[0], evolve=evolve)
    defective = msgspec.structs.replace(model, tables=(table, *model.tables[1:]))
    async with MemoryLog.open(disk=disk) as log, anyio.create_task_group() as tasks:
        worker = Worker(log, database, models=[defective], pace=QUICK)
        tasks.start_soon(worker.run)
        await until(lambda: worker.status()["images"].status == "halted")
        assert "RuntimeError: a defect" in worker.status()["images"].problem
        broken = False
        worker.retry("images")
        await until(folded(worker, len(world.entries)))
        assert worker.status()["images"].problem == ""
        tasks.cancel_scope.cancel()


FULL = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON rm_images.image EXECUTE FUNCTION refuse()
"""


async def test_a_full_disk_is_waited_out_and_halts_no_read_model(database: Dsn) -> None:
    world, disk = history(5, steps=60), MemoryDisk()
    write(disk, world.entries)
    good = len(world.entries)
    async with folding(disk, database) as worker, connected(database) as connection:
        await connection.execute(FULL)
        add_image(world)
        write(disk, world.entries[good:])
        await until(lambda: "could not extend file" in worker.problem)
        assert "halted" not in {one.status for one in worker.status().values()}
        await connection.execute("DROP TRIGGER full_disk ON rm_images.image")
        await until(folded(worker, good + 1))


async def test_a_batch_with_a_bad_event_keeps_what_came_before_it(database: Dsn) -> None:
    world, disk = history(5, steps=60), MemoryDisk()
    good = len(world.entries)
    poison(world, "machine/0190-bad")
    add_image(world)
    write(disk, world.entries)
    async with working(disk, database) as worker:
        await until(lambda: worker.status()["machines"].status == "halted")
        assert worker.status()["machines"].seq == good
        assert worker.status()["actions"].seq == good
        await until(lambda: worker.status()["claims"].seq == good + 2)


async def test_a_worker_whose_checkpoint_moved_is_fenced(database: Dsn) -> None:
    world = history(6, steps=40)
    async with connected(database) as first, connected(database) as second:
        await checkpoint.prepare(first)
        for model in READ_MODELS:
            start = await building.create_empty(first, model, "memory")
            await advance_one(first, model, model.schema, start, world.entries[:20], Codec())
            before = await hashes.table_hashes(first, model, model.schema)
            with pytest.raises(Fenced):  # and no poison, though its events were folded already
                await advance_one(second, model, model.schema, start, world.entries[:20], Codec())
            assert await hashes.table_hashes(first, model, model.schema) == before


async def test_a_second_worker_stands_by_and_takes_over(database: Dsn) -> None:
    world, disk = history(7, steps=40), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database) as first, working(disk, database) as second:
        assert first.working
        with anyio.move_on_after(0.3):
            await until(lambda: second.working)
        assert not second.working
        async with connected(database) as connection:  # as when its host dies
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks"
                " WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()"
            )
        await until(lambda: first.working or second.working)
        good = len(world.entries)
        add_image(world)
        write(disk, world.entries[good:])
        await until(lambda: any(folded(w, good + 1)() for w in (first, second)))


async def test_a_lost_postgres_is_waited_out_without_a_restart(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres")
    server.start()
    world, disk = history(8, steps=40), MemoryDisk()
    try:
        dsn = server.create_database("lost")
        write(disk, world.entries)
        async with folding(disk, dsn) as worker, Database(dsn) as reads:
            assert await wait_until(reads, ["images"], Seq(1)) == len(world.entries)
            server.kill()
            good = len(world.entries)
            add_image(world)
            write(disk, world.entries[good:])
            await until(lambda: not worker.working)
            with pytest.raises(Unavailable, match="Postgres is away"):
                await wait_until(reads, ["images"], Seq(1))
            await anyio.to_thread.run_sync(server.start)
            await until(folded(worker, good + 1))
            assert await wait_until(reads, ["images"], Seq(good + 1)) == good + 1
    finally:
        server.stop()


async def test_a_read_wakes_when_the_worker_has_folded_what_it_waits_for(database: Dsn) -> None:
    world, disk = history(9, steps=30), MemoryDisk()
    write(disk, world.entries)
    good = len(world.entries)
    async with folding(disk, database), Database(database) as reads:

        async def wait() -> None:
            assert await wait_until(reads, ["images", "names"], Seq(good + 1)) == good + 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            add_image(world)
            write(disk, world.entries[good:])


@pytest.mark.parametrize("steps", [60, 15], ids=["longer", "shorter"])
async def test_read_models_of_another_log_are_left_alone(database: Dsn, steps: int) -> None:
    world, disk = history(10, steps=30), MemoryDisk(log_id="one")
    write(disk, world.entries)
    async with folding(disk, database):
        pass
    other = MemoryDisk(log_id="two")
    write(other, history(11, steps=steps).entries)
    async with working(other, database) as worker:
        await until(lambda: all(s.status == "halted" for s in worker.status().values()))
        assert "log one" in worker.status()["claims"].problem
        async with MemoryLog.open(disk=other) as log:
            phases = [p.phase async for p in Rebuilder(log, database).rebuild()]
        assert phases.count("swapped") == len(READ_MODELS)
        await until(folded(worker, other.mark().seq))


async def test_a_broken_chain_is_never_caught_up_with(database: Dsn) -> None:
    world, disk = history(12, steps=40), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database):
        pass
    forged = MemoryDisk()
    write(forged, history(13, steps=80).entries)
    async with MemoryLog.open(disk=forged) as log:
        worker = Worker(log, database, pace=QUICK)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            await until(lambda: worker.status()["claims"].status == "halted")
            assert worker.status()["claims"].seq == len(world.entries)
            tasks.cancel_scope.cancel()
