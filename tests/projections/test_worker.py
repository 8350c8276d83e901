"""The worker on a real Postgres: the same log gives the same rows, whatever befalls the worker."""

import pytest

from mulligan.config import Dsn
from mulligan.events.codec import Codec
from mulligan.log.memory import MemoryDisk
from mulligan.projections import building, checkpoint, hashes
from mulligan.projections.checkpoint import Place
from mulligan.projections.lane import advance_one
from mulligan.projections.models import READ_MODELS
from mulligan.projections.postgres import connected
from tests.projections.conftest import folding
from tests.projections.histories import World, history, write


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


@pytest.mark.parametrize("seed", [1, 2])
async def test_batches_of_any_size_give_the_same_rows(seed: int, database: Dsn) -> None:
    world = history(seed)
    one, seven, all_ = [await apply_in_batches(database, world, size) for size in (1, 7, 5000)]
    assert one == seven == all_
    claims = one["claims"]
    assert claims is not None
    assert claims.tables["claim"].rows > 10


async def test_a_new_worker_makes_everything_and_follows_the_log(database: Dsn) -> None:
    world, disk = history(3, steps=60), MemoryDisk()
    write(disk, world.entries)
    async with folding(disk, database) as worker:
        assert worker.working
