"""What mulligan-projector says of the read models, from whichever instance is asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import anyio
import msgspec
import pytest

from mulligan.config import Dsn
from mulligan.errors import FailedPrecondition, NotFound
from mulligan.handlers import image
from mulligan.log.memory import MemoryDisk, MemoryLog
from mulligan.model import Position, RegionName
from mulligan.projections.models import READ_MODELS
from mulligan.projections.schema import ReadModel
from mulligan.projections.worker import Worker
from mulligan.proto import v1
from mulligan.queries.database import Database
from mulligan.services.projector import Projector
from tests.projections.conftest import QUICK, folded, until
from tests.projections.histories import World, history, write
from tests.projections.test_worker import add_image


class Fault:
    """A defect of a release, as long as ``there``."""

    def __init__(self) -> None:
        self.there = True

    def evolve(self, state: Any, event: Any, at: datetime) -> Any:
        if self.there:
            raise RuntimeError("a defect")
        return image.evolve(state, event, at)

    def models(self) -> list[ReadModel]:
        """The read models, that of images with the defect."""
        found = []
        for model in READ_MODELS:
            if model.name == "images":
                table = msgspec.structs.replace(model.tables[0], evolve=self.evolve)
                model = msgspec.structs.replace(model, tables=(table, *model.tables[1:]))
            found.append(model)
        return found


@asynccontextmanager
async def projector(
    disk: MemoryDisk, dsn: Dsn, models: list[ReadModel] | None = None
) -> AsyncIterator[tuple[Projector, Worker]]:
    """Run an instance on the log of a disk."""
    async with (
        MemoryLog.open(disk=disk) as log,
        Database(dsn) as database,
        anyio.create_task_group() as tasks,
    ):
        position = Position(RegionName("r"), log.head.seq)
        commands = SimpleNamespace(position=lambda: position)
        parts = SimpleNamespace(log=log, database=database, commands=commands)
        service = Projector(cast(Any, SimpleNamespace(parts=parts)))
        service.worker = Worker(log, dsn, models=models or READ_MODELS, pace=QUICK)
        tasks.start_soon(service.worker.run)
        yield service, service.worker
        tasks.cancel_scope.cancel()


async def listed(service: Projector) -> dict[str, v1.Projection]:
    answer = await service.list_projections(v1.ListProjectionsRequest())
    assert answer.head is not None
    return {one.name: one for one in answer.projections}


def past() -> tuple[World, MemoryDisk]:
    world, disk = history(41, steps=40), MemoryDisk()
    write(disk, world.entries)
    return world, disk


async def test_the_instance_that_works_tells_of_lag_and_batches(database: Dsn) -> None:
    world, disk = past()
    async with projector(disk, database) as (service, worker):
        await until(folded(worker, len(world.entries)))
        world.now = datetime.now(world.now.tzinfo)
        good = len(world.entries)
        add_image(world)
        write(disk, world.entries[good:])
        await until(folded(worker, good + 1))
        images = (await listed(service))["images"]
        assert (images.status, images.seq, images.lag) == ("live", good + 1, 0)
        assert images.lag_seconds == 0
        assert images.batch_events > 0
        assert images.fold_ms > 0
        assert images.flush_ms > 0
        assert images.lag_p99_ms > 0


async def test_an_instance_that_stands_by_answers_from_the_checkpoints(database: Dsn) -> None:
    world, disk = past()
    async with projector(disk, database) as (_, worker):
        await until(folded(worker, len(world.entries)))
        async with projector(disk, database) as (other, idle):
            found = await listed(other)
            assert not idle.working
            assert found.keys() == {model.name for model in READ_MODELS}
            assert {(one.status, one.seq, one.problem) for one in found.values()} == {
                ("live", len(world.entries), "")
            }


async def test_nothing_is_listed_before_any_projector_has_begun(database: Dsn) -> None:
    async with MemoryLog.open(disk=past()[1]) as log, Database(database) as reads:
        parts = SimpleNamespace(log=log, database=reads)
        service = Projector(cast(Any, SimpleNamespace(parts=parts)))
        with pytest.raises(FailedPrecondition, match="never built"):
            await service.retry_projection(v1.RetryProjectionRequest(name="claims"))


async def test_only_what_is_halted_is_retried(database: Dsn) -> None:
    world, disk = past()
    async with projector(disk, database) as (service, worker):
        await until(folded(worker, len(world.entries)))
        with pytest.raises(FailedPrecondition, match="claims is live, not halted"):
            await service.retry_projection(v1.RetryProjectionRequest(name="claims"))
        with pytest.raises(NotFound, match="clams"):
            await service.retry_projection(v1.RetryProjectionRequest(name="clams"))


@pytest.mark.parametrize("asked", ["the one that works", "one that stands by"])
async def test_a_retry_goes_on_from_where_it_stood_once_the_cause_is_mended(
    asked: str, database: Dsn
) -> None:
    world, disk = past()
    fault = Fault()
    request = v1.RetryProjectionRequest(name="images")
    async with projector(disk, database, fault.models()) as (working, worker):
        await until(lambda: worker.status()["images"].status == "halted")
        async with projector(disk, database) as (standing_by, _):
            service = working if asked == "the one that works" else standing_by
            before = (await listed(service))["images"]
            assert before.status == "halted"
            assert "RuntimeError: a defect" in before.problem
            assert before.lag > 0
            assert before.lag_seconds >= 0
            if service is working:
                again = (await service.retry_projection(request)).projection
                assert again is not None
                assert (again.status, again.seq) == ("halted", before.seq)
            fault.there = False
            answer = (await service.retry_projection(request)).projection
            assert answer is not None
            assert answer.status == "live"
            await until(folded(worker, len(world.entries)))
