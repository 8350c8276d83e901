"""Makes unary calls for ``benchmarks.authz``, in a process of its own, at each port in turn.

Prints the median of a call at each port, in µs.
"""

import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

import anyio
import uvloop
from grpclib.client import Channel

from mulligan.proto import v1
from mulligan.tls import client_context

BLOCK = 160
"""Calls at one port before it is the other's turn."""
IN_FLIGHT = 8


async def call(ports: list[int], ca: Path, token: str, name: str, blocks: int) -> list[float]:
    """Resolve a name in so many blocks of calls at each port; return the medians in µs."""
    took: dict[int, list[float]] = {port: [] for port in ports}
    request = v1.ResolveRequest(kind="group", names=[name])
    metadata = {"authorization": f"Bearer {token}"}
    async with AsyncExitStack() as stack:
        stubs = {}
        for port in ports:
            channel = Channel("127.0.0.1", port, ssl=client_context(ca))
            stubs[port] = v1.MetaStub(await stack.enter_async_context(channel))

        async def some(port: int) -> None:
            for _ in range(BLOCK // IN_FLIGHT):
                began = time.perf_counter()
                answer = await stubs[port].resolve(request, metadata=metadata)
                took[port].append(time.perf_counter() - began)
                assert answer.names

        for _ in range(blocks):
            for port in ports:
                async with anyio.create_task_group() as tasks:
                    for _ in range(IN_FLIGHT):
                        tasks.start_soon(some, port)
    return [median(took[port]) * 1e6 for port in ports]


if __name__ == "__main__":
    *ports, ca, token, name, blocks = sys.argv[1:]
    print(*uvloop.run(call([int(port) for port in ports], Path(ca), token, name, int(blocks))))
