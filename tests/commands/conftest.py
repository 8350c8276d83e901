import asyncio
from collections.abc import AsyncIterator

import pytest

from mulligan.log.memory import MemoryDisk

from .region import Process, process


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
async def one(disk: MemoryDisk) -> AsyncIterator[Process]:
    """A process on the disk, in a task of its own, which its cancel scopes ask for."""
    ready: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def live() -> None:
        async with process(disk) as one:
            ready.set_result(one)
            await done.wait()

    task = asyncio.create_task(live())
    yield await ready
    done.set()
    await task
