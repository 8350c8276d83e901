"""The Catalog's watch: a directory that learns of instances as they come, drain and go."""

import asyncio
import random

import anyio
from grpclib import GRPCError, Status

from mulligan.client.channels import Channels
from mulligan.client.directory import Directory
from mulligan.client.status import BROKEN
from mulligan.proto.v1 import CatalogStub, ListEndpointsRequest

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds before the watch is taken up again after it broke."""
REFUSED_PAUSE = 60.0
"""Seconds before it is tried again where this host watches too much already."""
CONNECT = 5.0
"""Seconds in which the connection must stand."""


class Watcher:
    """Keeps ``directory`` current in a task of its own, from the first call on until ``end``.

    The task is the client's, and not of a task group: a client may be entered and left in different
    tasks, as fixtures and frameworks do. No call waits for it. While it has no connection, calls
    find instances as they do without it: by asking when one fails.
    """

    def __init__(self, directory: Directory, channels: Channels) -> None:
        self._directory = directory
        self._channels = channels
        self._task: asyncio.Task[None] | None = None
        directory.on_use = self._begin

    def _begin(self) -> None:
        if self._task is None:
            name = f"watch endpoints of {self._directory.region or 'a region'}"
            self._task = asyncio.get_running_loop().create_task(self._run(), name=name)

    async def end(self) -> None:
        """Stop watching, and return when that is so."""
        self._directory.on_use = lambda: None
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            address = self._directory.any_address()
            try:
                if await self._follow(address):
                    pause = FIRST_PAUSE
            except BROKEN:
                self._directory.failed(address)
            except GRPCError as error:
                if error.status is Status.UNIMPLEMENTED:
                    return  # an earlier release: calls ask when they fail
                if error.status is Status.RESOURCE_EXHAUSTED:
                    pause = REFUSED_PAUSE
            await anyio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _follow(self, address: str) -> bool:
        """Take what an instance tells until it ends; tell whether it told anything."""
        channel = self._channels.to(address)
        with anyio.fail_after(CONNECT):
            await channel.__connect__()
        told = False
        async for answer in CatalogStub(channel).watch_endpoints(ListEndpointsRequest()):
            self._directory.take(answer)
            told = True
        return told
