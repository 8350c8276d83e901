"""A projector of a newer release builds ahead while the older one works, and then takes over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import TaskStatus

from mulligan.config import Dsn
from mulligan.log.memory import MemoryDisk, MemoryLog
from mulligan.projections.models import READ_MODELS
from mulligan.projections.rebuild import Rebuilder
from mulligan.projections.worker import Worker
from mulligan.queries.database import Database
from mulligan.queries.freshness import wait_until
from tests.projections.conftest import folded, folding, until
from tests.projections.histories import World, history, write
from tests.projections.test_upgrade import CLAIMS, Release, schemas, serving, shades, working

NAMES = tuple(model.name for model in READ_MODELS)
LATE = 40


class Older:
    """A worker of the release before, in a task of its own, that can be told to end."""

    def __init__(self, disk: MemoryDisk, dsn: Dsn) -> None:
        self._disk, self._dsn = disk, dsn
        self._asked, self._gone = anyio.Event(), anyio.Event()
        self.worker: Worker

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        async with folding(self._disk, self._dsn) as self.worker:
            task_status.started()
            await self._asked.wait()
        self._gone.set()

    async def end(self) -> None:
        self._asked.set()
        await self._gone.wait()


@asynccontextmanager
async def old_and_new(
    disk: MemoryDisk, dsn: Dsn, release: Release
) -> AsyncIterator[tuple[Older, Worker]]:
    """Run a worker, and one of a newer release that stands by."""
    old = Older(disk, dsn)
    async with anyio.create_task_group() as tasks:
        await tasks.start(old.run)
        async with working(disk, dsn, release.models) as new:
            yield old, new
        await old.end()


@pytest.fixture
def world() -> World:
    return history(71, steps=200)


@pytest.fixture
def disk(world: World) -> MemoryDisk:
    found = MemoryDisk()
    write(found, world.entries[:-LATE])
    return found


async def test_the_old_release_goes_on_folding_while_the_new_one_builds(
    world: World, disk: MemoryDisk, database: Dsn
) -> None:
    release = Release()
    async with old_and_new(disk, database, release) as (old, new):
        await until(release.waits.is_set)
        assert not new.ready
        write(disk, world.entries[-LATE:-5])
        async with Database(database) as reads:
            head = disk.mark().seq
            assert await wait_until(reads, NAMES, head) == head, "reads are as fresh as ever"
        assert (await serving(database))[:2] == (CLAIMS.version, "live")
        release.gate.set()
        await until(lambda: new.ready)
        assert await schemas(database) == {"rm_claims", f"rm_claims_v{CLAIMS.version + 1}"}
        assert old.worker.status()["claims"].status == "live"
        write(disk, world.entries[-5:])
        await old.end()
        await until(folded(new, disk.mark().seq))
    assert await shades(database) == {"green"}
    assert await schemas(database) == {"rm_claims", "rm_claims_old"}
    async with MemoryLog.open(disk=disk) as log:
        rebuilder = Rebuilder(log, database, models=[release.claims])
        assert [s.phase async for s in rebuilder.rebuild(verify=True)][-1] == "equal"


async def test_what_was_built_ahead_is_swapped_in_without_folding_it_again(
    disk: MemoryDisk, database: Dsn
) -> None:
    release = Release()
    release.gate.set()
    async with old_and_new(disk, database, release) as (old, new):
        await until(lambda: new.ready)
        release.gate.clear()  # whatever is folded from now on would wait
        release.waits.clear()
        await old.end()
        await until(folded(new, disk.mark().seq))
        assert not release.waits.is_set()
    assert await shades(database) == {"green"}


async def test_a_takeover_in_the_middle_of_building_ahead_finishes_that_build(
    world: World, disk: MemoryDisk, database: Dsn
) -> None:
    release = Release()
    async with old_and_new(disk, database, release) as (old, new):
        await until(release.waits.is_set)
        await old.end()
        await until(lambda: new.working)
        write(disk, world.entries[-LATE:])
        await until(lambda: new.status()["providers"].seq == disk.mark().seq)
        assert new.status()["claims"].status == "building"
        release.gate.set()
        await until(folded(new, disk.mark().seq))
    assert await shades(database) == {"green"}


async def test_a_release_that_cannot_build_ahead_says_so_and_is_not_ready(
    disk: MemoryDisk, database: Dsn
) -> None:
    release = Release()
    release.wrong = True
    release.gate.set()
    async with old_and_new(disk, database, release) as (old, new):
        await until(lambda: "claims" in new.ahead.problems)
        assert "a defect of this release" in new.ahead.problems["claims"]
        assert not new.ready
        assert old.worker.ready
    assert await schemas(database) == {"rm_claims"}


async def test_one_of_the_same_release_that_stands_by_builds_nothing_and_is_ready(
    disk: MemoryDisk, database: Dsn
) -> None:
    async with folding(disk, database), working(disk, database, [*READ_MODELS]) as beside:
        await until(lambda: beside.ready)
        assert not beside.working
        assert await schemas(database) == {"rm_claims"}
