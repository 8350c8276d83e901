"""A release with another version of a read model: the old one serves until the new one can."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import anyio
import msgspec
import pytest

from mulligan.config import Dsn
from mulligan.handlers import claim
from mulligan.log.memory import MemoryDisk, MemoryLog
from mulligan.projections import hashes
from mulligan.projections.models import READ_MODELS
from mulligan.projections.postgres import connected
from mulligan.projections.rebuild import Progress, Rebuilder
from mulligan.projections.schema import ReadModel, columns
from mulligan.projections.worker import Worker
from mulligan.queries.database import Database
from tests.projections.conftest import QUICK, folded, folding, until
from tests.projections.histories import World, history, write

(CLAIMS,) = (model for model in READ_MODELS if model.name == "claims")


class Release:
    """A newer release: claims have a column more. Its fold waits at ``gate``, and may be wrong."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.waits = threading.Event()
        self.wrong = False

    def evolve(self, state: Any, event: Any, at: datetime) -> Any:
        self.waits.set()
        self.gate.wait(30)
        if self.wrong:
            raise RuntimeError("a defect of this release")
        return claim.evolve(state, event, at)

    @property
    def claims(self) -> ReadModel:
        table = CLAIMS.tables[0]
        more = msgspec.structs.replace(
            table,
            evolve=self.evolve,
            columns=table.columns + columns(shade="text"),
            row=lambda key, state: (*table.row(key, state), "green"),
        )
        return msgspec.structs.replace(
            CLAIMS, version=CLAIMS.version + 1, tables=(more, *CLAIMS.tables[1:])
        )

    @property
    def models(self) -> list[ReadModel]:
        return [self.claims if model.name == "claims" else model for model in READ_MODELS]


@pytest.fixture
async def past(database: Dsn) -> tuple[World, MemoryDisk]:
    """A log but for its newest entries, and read models that the old release has built of it."""
    world, disk = history(51, steps=200), MemoryDisk()
    write(disk, world.entries[:-5])
    async with folding(disk, database):
        return world, disk


@asynccontextmanager
async def working(disk: MemoryDisk, dsn: Dsn, models: list[ReadModel]) -> AsyncIterator[Worker]:
    async with MemoryLog.open(disk=disk) as log, anyio.create_task_group() as tasks:
        worker = Worker(log, dsn, models=models, pace=QUICK)
        tasks.start_soon(worker.run)
        yield worker
        tasks.cancel_scope.cancel()


async def rebuilt(disk: MemoryDisk, dsn: Dsn, model: ReadModel) -> list[Progress]:
    async with MemoryLog.open(disk=disk) as log:
        return [step async for step in Rebuilder(log, dsn, models=[model]).rebuild()]


async def asked_by_the_old_release(dsn: Dsn) -> int:
    """Return how many claims its queries find."""
    async with Database(dsn) as reads:
        rows = await reads.fetch("SELECT key, status, due_at, stranded FROM rm_claims.claim")
        return len(rows)


async def shades(dsn: Dsn) -> set[str]:
    async with Database(dsn) as reads:
        return {row["shade"] for row in await reads.fetch("SELECT shade FROM rm_claims.claim")}


async def serving(dsn: Dsn) -> tuple[int, str, str]:
    """Return version, status and problem of what serves."""
    async with Database(dsn) as reads:
        row = await reads.fetchrow(
            "SELECT version, status, problem FROM mulligan.projection WHERE schema = 'rm_claims'"
        )
    assert row is not None
    return row["version"], row["status"], row["problem"]


async def schemas(dsn: Dsn) -> set[str]:
    async with Database(dsn) as reads:
        rows = await reads.fetch("SELECT nspname FROM pg_namespace WHERE nspname ~ '^rm_claims'")
    return {row["nspname"] for row in rows}


async def test_the_old_version_serves_until_the_new_one_takes_its_place(
    past: tuple[World, MemoryDisk], database: Dsn
) -> None:
    _, disk = past
    release = Release()
    claims = await asked_by_the_old_release(database)
    assert claims > 5
    async with working(disk, database, release.models) as worker:
        await until(release.waits.is_set)
        status = worker.status()["claims"]
        assert status.status == "building"
        assert status.building is not None
        assert status.building.version == CLAIMS.version + 1
        assert status.building.target == disk.mark().seq
        assert await asked_by_the_old_release(database) == claims
        assert (await serving(database))[:2] == (CLAIMS.version, "live")
        release.gate.set()
        await until(folded(worker, disk.mark().seq))
        assert worker.status()["claims"].building is None
    assert await shades(database) == {"green"}
    assert await asked_by_the_old_release(database) == claims  # its columns are all there still
    assert await schemas(database) == {"rm_claims", "rm_claims_old"}


async def test_a_build_that_breaks_off_starts_over_and_leaves_nothing_behind(
    past: tuple[World, MemoryDisk], database: Dsn
) -> None:
    _, disk = past
    release = Release()
    async with working(disk, database, release.models) as worker:
        await until(release.waits.is_set)
        async with connected(database) as connection:  # as when Postgres dies
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <>"
                " pg_backend_pid() AND datname = current_database()"
                " AND application_name LIKE 'mulligan-projector%'"
            )
        release.gate.set()
        await until(folded(worker, disk.mark().seq))
    assert await schemas(database) == {"rm_claims", "rm_claims_old"}
    assert (await serving(database))[0] == CLAIMS.version + 1
    async with MemoryLog.open(disk=disk) as log:
        rebuilder = Rebuilder(log, database, models=[release.claims])
        assert [s.phase async for s in rebuilder.rebuild(verify=True)][-1] == "equal"


async def test_an_event_that_the_new_version_cannot_fold_keeps_the_old_one_serving(
    past: tuple[World, MemoryDisk], database: Dsn
) -> None:
    _, disk = past
    release = Release()
    release.wrong = True
    release.gate.set()
    claims = await asked_by_the_old_release(database)
    async with working(disk, database, release.models) as worker:
        await until(lambda: worker.status()["claims"].status == "halted")
        assert "a defect of this release" in worker.status()["claims"].problem
        version, status, problem = await serving(database)
        assert (version, status) == (CLAIMS.version, "halted")
        assert "claim.made" in problem
        assert await asked_by_the_old_release(database) == claims
        await until(lambda: worker.status()["providers"].status == "live")
        release.wrong = False
        worker.retry("claims")
        await until(folded(worker, disk.mark().seq))
    assert await shades(database) == {"green"}


async def test_an_old_release_that_comes_back_takes_what_was_kept(
    past: tuple[World, MemoryDisk], database: Dsn
) -> None:
    _, disk = past
    release = Release()
    release.gate.set()
    async with connected(database) as connection:
        before = await hashes.table_hashes(connection, CLAIMS, CLAIMS.schema)
    assert [step.phase for step in await rebuilt(disk, database, release.claims)][-1] == "swapped"
    async with working(disk, database, [*READ_MODELS]) as worker:
        await until(lambda: worker.status()["claims"].status == "halted")
        assert "newer release" in worker.status()["claims"].problem
        steps = await rebuilt(disk, database, CLAIMS)
        assert [step.phase for step in steps] == ["folding", "swapped"]
        assert "kept" in steps[0].detail
        await until(folded(worker, disk.mark().seq))
    async with connected(database) as connection:
        assert await hashes.table_hashes(connection, CLAIMS, CLAIMS.schema) == before
    again = await rebuilt(disk, database, release.claims)
    assert [step.phase for step in again] == ["folding", "swapped"]
    assert await shades(database) == {"green"}


async def test_a_worker_of_the_old_release_never_writes_into_what_the_new_one_swapped_in(
    past: tuple[World, MemoryDisk], database: Dsn
) -> None:
    world, disk = past
    release = Release()
    release.gate.set()
    async with folding(disk, database) as old:
        await rebuilt(disk, database, release.claims)
        write(disk, world.entries[-5:])
        await until(lambda: old.status()["claims"].status == "halted")
        assert "newer release" in old.status()["claims"].problem
        await until(lambda: old.status()["providers"].seq == disk.mark().seq)
    async with working(disk, database, release.models) as worker:
        await until(folded(worker, disk.mark().seq))
    assert await shades(database) == {"green"}
