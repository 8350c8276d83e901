"""A worker on a log in memory and a Postgres of the test's own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from mulligan.log.memory import MemoryDisk, MemoryLog
from mulligan.model import Seq
from mulligan.projections.worker import Pace, Worker

QUICK = Pace(retry=0.02, standby=0.1, look=0.05)


async def until(condition: Callable[[], bool], patience: float = 20.0) -> None:
    """Return once the condition holds; fail when it does not in time."""
    with anyio.fail_after(patience):
        while not condition():
            await anyio.sleep(0.005)


def folded(worker: Worker, seq: int) -> Callable[[], bool]:
    """A condition: every read model stands at ``seq``."""
    return lambda: all(s.seq == seq and s.status == "live" for s in worker.status().values())


@asynccontextmanager
async def working(disk: MemoryDisk, dsn: str) -> AsyncIterator[Worker]:
    """Run a worker on the log of a disk."""
    async with MemoryLog.open(disk=disk) as log, anyio.create_task_group() as tasks:
        worker = Worker(log, dsn, pace=QUICK)
        tasks.start_soon(worker.run)
        yield worker
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def folding(disk: MemoryDisk, dsn: str) -> AsyncIterator[Worker]:
    """Run a worker, and go on once it has folded the whole log."""
    async with working(disk, dsn) as worker:
        await until(folded(worker, Seq(disk.mark().seq)))
        yield worker
