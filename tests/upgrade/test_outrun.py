"""A projector that is older than what serves leaves that alone, and newer ones have the turn."""

import anyio
import pytest

from mulligan.config import Dsn
from mulligan.log.memory import MemoryDisk
from mulligan.projections.models import READ_MODELS
from mulligan.projections.postgres import connected
from mulligan.projections.standby import WORKER_LOCK
from tests.projections.conftest import QUICK, folded, folding, until
from tests.projections.histories import World, history, write
from tests.projections.test_upgrade import CLAIMS, Release, rebuilt, serving, shades, working
from tests.upgrade.release import Release as Released

LATE = 40
DISOWNED = f"claims was built by a newer release (version {CLAIMS.version + 1})"


@pytest.fixture
def world() -> World:
    return history(72, steps=200)


@pytest.fixture
def later() -> Release:
    newer = Release()
    newer.gate.set()
    return newer


@pytest.fixture
async def swapped(world: World, database: Dsn, later: Release) -> MemoryDisk:
    """A log, and claims that the newer release has swapped in."""
    disk = MemoryDisk()
    write(disk, world.entries[:-LATE])
    async with folding(disk, database):
        pass
    assert (await rebuilt(disk, database, later.claims))[-1].phase == "swapped"
    return disk


async def test_an_older_one_works_on_the_rest_until_a_newer_one_waits(
    world: World, swapped: MemoryDisk, database: Dsn, later: Release
) -> None:
    async with working(swapped, database, [*READ_MODELS]) as old:
        await until(lambda: old.status()["claims"].status == "halted")
        write(swapped, world.entries[-LATE:])
        head = swapped.mark().seq
        await until(lambda: old.status()["providers"].seq == head)
        assert await serving(database) == (CLAIMS.version + 1, "live", "")
        async with working(swapped, database, later.models) as new:
            await until(folded(new, head))
            await until(lambda: not old.working)
            assert not old.ready
            assert await serving(database) == (CLAIMS.version + 1, "live", "")
        await until(lambda: old.working)
    assert await shades(database) == {"green"}


async def test_two_older_ones_do_not_pass_the_turn_to_and_fro(
    swapped: MemoryDisk, database: Dsn
) -> None:
    models = [*READ_MODELS]
    async with working(swapped, database, models) as one:
        await until(lambda: one.status()["claims"].status == "halted")
        async with working(swapped, database, models) as two:
            await until(lambda: two.ahead.outrun)
            with anyio.move_on_after(10 * QUICK.look):
                await until(lambda: two.working or not one.working)
            assert (one.working, two.working) == (True, False)


async def as_0_1_0_halts(dsn: Dsn, holds: anyio.Event) -> None:
    """Hold the turn as that release does after a swap, until the connection is ended."""
    async with connected(dsn) as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", WORKER_LOCK)
        await connection.execute(
            "UPDATE mulligan.projection SET status = 'halted', problem = $1"
            " WHERE schema = 'rm_claims'",
            DISOWNED,
        )
        holds.set()
        while not connection.is_closed():
            await anyio.sleep(0.01)


async def test_the_turn_is_taken_from_release_0_1_0_which_does_not_give_way(
    swapped: MemoryDisk, database: Dsn, later: Release
) -> None:
    holds = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(as_0_1_0_halts, database, holds)
        await holds.wait()
        async with working(swapped, database, later.models) as new:
            await until(folded(new, swapped.mark().seq))
            assert await serving(database) == (CLAIMS.version + 1, "live", "")


def test_release_0_1_0_says_so_in_these_words(release: Released) -> None:
    code = (release.tree / "projections" / "session.py").read_text()
    assert 'f"{model.name} was built by a newer release (version {row.version})"' in code
