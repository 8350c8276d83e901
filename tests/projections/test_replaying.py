"""A past folded into a database of its own: equal to what was served then, and kept apart."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from mulligan.config import Dsn
from mulligan.errors import FailedPrecondition, Unavailable
from mulligan.handlers.project import CreateProject
from mulligan.log.memory import MemoryDisk
from mulligan.log.offline import PartedLog, exported_log
from mulligan.model import ProjectId, Seq
from mulligan.projections import hashes
from mulligan.projections.models import READ_MODELS
from mulligan.projections.postgres import connected
from mulligan.projections.rebuild import Progress
from mulligan.projections.replaying import replay
from tests.log.proof import export

from .conftest import folding
from .histories import World, history, poison, write

STEPS = 120


@pytest.fixture(scope="module")
def world() -> World:
    return history(11, STEPS)


async def log_of(folder: Path, world: World, last: int | None = None) -> PartedLog:
    """Return the log of a history up to an entry, by a file."""
    log = await exported_log([export(folder / "log", [one.value for one in world.entries])])
    if last is not None:
        await log.end_at(str(last), "--to")
    return log


async def replayed(log: PartedLog, dsn: str) -> Sequence[Progress]:
    """Replay; return the last message of each read model."""
    return [step async for step in replay(log, dsn) if step.finished]


async def rows(dsn: str) -> dict[str, object]:
    """Return the hashes of all read models, without the positions they were written at."""
    found: dict[str, object] = {}
    async with connected(dsn) as connection:
        for model in READ_MODELS:
            found[model.name] = await hashes.table_hashes(connection, model, model.schema)
    return found


async def test_a_past_is_what_was_served_then(tmp_path: Path, world: World, database: Dsn) -> None:
    last = len(world.entries) * 2 // 3
    disk = MemoryDisk()
    write(disk, world.entries[:last])
    async with folding(disk, database):
        pass
    served = await rows(database)
    async with connected(database) as connection:
        for model in READ_MODELS:
            await connection.execute(f"DROP SCHEMA {model.schema} CASCADE")
        await connection.execute("DROP SCHEMA mulligan CASCADE")
    steps = await replayed(await log_of(tmp_path, world, last), database)
    assert {(step.name, step.phase, step.seq) for step in steps} == {
        (model.name, "swapped", last) for model in READ_MODELS
    }
    assert await rows(database) == served


async def test_another_replay_takes_the_place_of_the_one_before(
    tmp_path: Path, world: World, database: Dsn
) -> None:
    await replayed(await log_of(tmp_path, world, 9), database)
    await replayed(await log_of(tmp_path, world, 7), database)
    async with connected(database) as connection:
        (mark,) = await connection.fetch("SELECT * FROM mulligan.replay")
        assert mark["seq"] == 7
        assert mark["ended_at"] is not None
        assert await connection.fetchval("SELECT max(seq) FROM rm_audit.event") == 7


async def test_a_database_that_serves_a_region_is_never_taken(
    tmp_path: Path, world: World, database: Dsn
) -> None:
    disk = MemoryDisk()
    write(disk, world.entries[:5])
    async with folding(disk, database):
        pass
    before = await rows(database)
    with pytest.raises(FailedPrecondition, match=r"mulligan\.projection"):
        await replayed(await log_of(tmp_path, world), database)
    assert await rows(database) == before


async def test_a_database_with_anything_else_in_it_is_refused(
    tmp_path: Path, world: World, database: Dsn
) -> None:
    async with connected(database) as connection:
        await connection.execute("CREATE TABLE ledger (entry text)")
    with pytest.raises(FailedPrecondition, match=r"public\.ledger.*createdb"):
        await replayed(await log_of(tmp_path, world), database)


async def test_two_replays_do_not_meet_in_one_database(
    tmp_path: Path, world: World, database: Dsn
) -> None:
    log = await log_of(tmp_path, world)
    first = replay(log, database)
    await anext(first)
    with pytest.raises(Unavailable, match="still running"):
        await replayed(log, database)
    await first.aclose()
    assert {step.phase for step in await replayed(log, database)} == {"swapped"}


async def test_a_read_model_that_cannot_go_on_ends_before_and_says_so(
    tmp_path: Path, database: Dsn
) -> None:
    world = history(2, 30)
    poison(world, next(s for s in world.states if s.startswith("machine/")))
    bad = world.entries[-1].seq
    world.do(CreateProject(project=ProjectId("late"), name="late"))
    world.flush()
    steps = {step.name: step for step in await replayed(await log_of(tmp_path, world), database)}
    failed = steps["machines"]
    assert (failed.phase, failed.seq) == ("failed", Seq(bad - 1))
    assert f"entry {bad}" in failed.detail
    assert steps["iam"].phase == "swapped"
    assert steps["iam"].seq == len(world.entries)


async def test_a_database_that_is_not_there_is_told(tmp_path: Path, world: World) -> None:
    log = await log_of(tmp_path, world)
    with pytest.raises(Unavailable, match="Postgres is away"):
        await replayed(log, "postgresql://127.0.0.1:1/nowhere")


async def test_a_database_that_does_not_exist_is_told(
    tmp_path: Path, world: World, database: Dsn
) -> None:
    log = await log_of(tmp_path, world)
    with pytest.raises(FailedPrecondition, match="does not exist"):
        await replayed(log, str(database).replace("t_", "no_"))
