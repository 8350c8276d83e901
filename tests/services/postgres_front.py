"""TLS in front of a real Postgres, as its own would be: asked for by SSLRequest, or no service.

The Postgres of the wheel is built without TLS; what comes through here is its own protocol.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio

_SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")


@asynccontextmanager
async def postgres_front(socket: Path, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Serve the Postgres at a unix socket over TLS; yield the port on 127.0.0.1."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if await reader.readexactly(8) == _SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(context)
                await _joined(reader, writer, socket)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, socket: Path) -> None:
    inner_reader, inner_writer = await asyncio.open_unix_connection(str(socket))

    async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                to.write(data)
                await to.drain()
        tasks.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pump, reader, inner_writer)
            tasks.start_soon(pump, inner_reader, writer)
    finally:
        inner_writer.close()
