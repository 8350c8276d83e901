"""An etcd that is slow to shake hands, as on a busy host, is reached all the same."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, SocketAttribute, SocketStream
from msgspec.structs import replace

from mulligan.log.etcd import Etcd

from .conftest import EtcdServer

DELAY_S = 0.08


@asynccontextmanager
async def slowed(address: str) -> AsyncIterator[str]:
    """Have whatever goes to and comes from an address wait a moment."""
    host, _, port = address.rpartition(":")

    async def relay(source: ByteReceiveStream, target: ByteSendStream) -> None:
        async for chunk in source:
            await anyio.sleep(DELAY_S)
            await target.send(chunk)

    async def handle(client: SocketStream) -> None:
        try:
            server = await anyio.connect_tcp(host, int(port))
            async with client, server, anyio.create_task_group() as both:
                both.start_soon(relay, client, server)
                both.start_soon(relay, server, client)
        except* (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            pass  # one side has gone

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


async def test_a_slow_handshake_does_not_keep_us_from_etcd(shared_etcd: EtcdServer) -> None:
    settings = replace(shared_etcd.settings, timeout=10, connect_timeout=3)
    (endpoint,) = settings.endpoints
    async with (
        slowed(endpoint.rpartition("://")[2]) as address,
        Etcd(replace(settings, endpoints=(address,))) as etcd,
    ):
        assert await etcd.get("nothing") is None
