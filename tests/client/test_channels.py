"""What a lost connection leaves behind in the task whose call it ended: nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import pytest

from mulligan.client.channels import Channels
from mulligan.client.status import BROKEN
from mulligan.proto import v1


@pytest.fixture
async def hanging_up() -> AsyncIterator[str]:
    """The address of a server that hangs up once it has heard something."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        await asyncio.sleep(0.05)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"


async def test_a_timeout_around_calls_that_broke_is_still_a_timeout(hanging_up: str) -> None:
    channels = Channels(plaintext=True)
    catalog = v1.CatalogStub(channels.to(hanging_up), timeout=5)
    try:
        with pytest.raises(TimeoutError), anyio.fail_after(0.3):
            for _ in range(2):
                with suppress(*BROKEN):
                    await catalog.list_endpoints(v1.ListEndpointsRequest())
            await anyio.sleep(5)
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == 0
    finally:
        channels.close()


async def test_a_call_on_a_connection_that_is_being_closed_takes_another(hanging_up: str) -> None:
    channels = Channels(plaintext=True)
    channel = channels.to(hanging_up)
    try:
        before = await channel.__connect__()
        before.processor.connection.close()
        with pytest.raises(BROKEN):  # that the server hung up on, once it had been sent
            await v1.CatalogStub(channel, timeout=5).list_endpoints(v1.ListEndpointsRequest())
        assert channel._protocol is not before
    finally:
        channels.close()
