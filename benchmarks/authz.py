"""What authentication and authorization cost a unary call, and the first call of a token.

One process serves the same method twice, over TLS: as every service does, and without looking at
who calls. A client in a process of its own calls the one and the other in turn. The method is
Meta.Resolve of one name, which is answered from memory: the cheapest that reads anything.
"""

import argparse
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from statistics import median
from typing import Any

import anyio
import uvloop
from grpclib.client import Channel
from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.events import RecvRequest, listen

from benchmarks._authz_client import BLOCK
from benchmarks._loop import machine
from benchmarks._region import Region, running_region
from mulligan.client import Client
from mulligan.model import AccountId, ProjectId, utc_now
from mulligan.proto import v1
from mulligan.services.gate.call import Call, Gate, Method
from mulligan.services.gate.caller import Caller, WireCodec, set_caller
from mulligan.services.gate.http2 import EdgeServer
from mulligan.services.log.denials import Denials
from mulligan.services.meta.service import Meta
from mulligan.services.runtime import Parts, Runtime
from mulligan.tls import TlsFiles, client_context, server_context

_NAME = "bench"
_RATE = 1_000_000.0
_CLIENT_S = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--blocks", type=int, default=100, help="blocks of calls of each sort")
    parser.add_argument("--tokens", type=int, default=40, help="tokens whose first call is timed")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Return figures.

    ``overhead_ratio`` is the processor time of the serving process for a call with, by one
    without; ``latency_ratio`` the same of the medians that the client sees, which hold its own
    work too. ``new_token_ms`` is the first call of a token, ``known_token_ms`` its next ones.
    """
    figures: dict[str, Any] = {"calls": args.blocks * BLOCK, "machine": machine()}
    figures.update(uvloop.run(_measure(args)))
    return figures


class Meter:
    """The processor time that this process spends on each block of calls of one sort."""

    def __init__(self) -> None:
        self.blocks: dict[str, list[float]] = {"guarded": [], "unguarded": []}
        self._sort = ""
        self._since = 0.0

    def note(self, sort: str) -> None:
        """Note that a call comes; the first of another sort ends a block."""
        if sort == self._sort:
            return
        now = time.process_time()
        if self._sort:
            self.blocks[self._sort].append((now - self._since) / BLOCK * 1e6)
        self._sort, self._since = sort, now


class Guarded(Gate):
    """The gate of every service, and its meter."""

    sort = "guarded"
    meter: Meter

    async def on_request(self, event: RecvRequest) -> None:
        self.meter.note(self.sort)
        await super().on_request(event)


class Unguarded(Guarded):
    """A gate that asks nobody who they are: everybody is this one."""

    sort = "unguarded"

    whoever = Caller(
        account=AccountId("nobody"),
        project=ProjectId(""),
        roles=("admin",),
        expires_at=utc_now() + timedelta(days=1),
    )

    async def _private(self, call: Call, method: Method, stream: Any) -> None:
        set_caller(self.whoever)
        await self._bounded(call, method, stream)


async def _measure(args: argparse.Namespace) -> dict[str, Any]:
    meter = Meter()
    async with running_region(()) as region, _serving(region, meter) as ports:
        async with Client(region.context, secret=region.secret) as client:
            await client.resource.create_group(v1.CreateGroupRequest(name=_NAME))
        tokens = [await _token(region) for _ in range(args.tokens)]
        await _calls(region, ports, tokens[0], args.blocks // 10)
        meter.blocks = {sort: [] for sort in meter.blocks}
        seen = await _calls(region, ports, tokens[0], args.blocks)
        new, known = await _first_calls(region, ports[0], tokens[1:])
    guarded, unguarded = median(meter.blocks["guarded"]), median(meter.blocks["unguarded"])
    return {
        "guarded_us": round(guarded, 1),
        "unguarded_us": round(unguarded, 1),
        "overhead_ratio": round(guarded / unguarded, 3),
        "latency_ratio": round(seen[0] / seen[1], 3),
        "new_token_ms": round(new * 1e3, 2),
        "known_token_ms": round(known * 1e3, 2),
    }


@asynccontextmanager
async def _serving(region: Region, meter: Meter) -> AsyncIterator[list[int]]:
    """Serve Meta with and without a guard; yield the ports."""
    runtime = Runtime(region.config, "bench", "127.0.0.1:1")
    runtime.limits.configure(rate=_RATE, burst=0, in_flight=0)
    ready, done = anyio.Event(), anyio.Event()

    async def body(parts: Parts) -> None:
        ready.set()
        await done.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runtime.run, body)
        await ready.wait()
        servers = [await _server(runtime, gate, meter) for gate in (Guarded, Unguarded)]
        yield [_port(server) for server in servers]
        for server in servers:
            server.close()
        done.set()


async def _server(runtime: Runtime, gate: type[Guarded], meter: Meter) -> EdgeServer:
    server = EdgeServer(
        [Meta(runtime)],
        message_bytes=runtime.limits.message_bytes,
        codec=WireCodec(),
        status_details_codec=ProtoStatusDetailsCodec(),
    )
    guard = gate(runtime, Denials("bench"), server.streams)
    guard.meter = meter
    listen(server, RecvRequest, guard.on_request)
    tls = runtime.config.tls
    assert tls.ca is not None
    assert tls.cert is not None
    assert tls.key is not None
    files = TlsFiles(ca=tls.ca, cert=tls.cert, key=tls.key)
    await server.listen("127.0.0.1", 0, server_context(files))
    return server


def _port(server: EdgeServer) -> int:
    assert server._server is not None
    return int(server._server.sockets[0].getsockname()[1])  # type: ignore[attr-defined]


async def _calls(region: Region, ports: list[int], token: str, blocks: int) -> list[float]:
    """Make blocks of calls from another process; return the medians that it saw, in µs."""
    words = [*map(str, ports), str(region.config.tls.ca), token, _NAME, str(blocks)]
    with anyio.fail_after(_CLIENT_S):
        done = await anyio.run_process(
            [sys.executable, "-m", "benchmarks._authz_client", *words], stderr=None
        )
    return [float(word) for word in done.stdout.split()]


async def _token(region: Region) -> str:
    address, ca = region.config.listen.iam, region.config.tls.ca
    assert ca is not None
    async with Channel(address.host, address.port, ssl=client_context(ca)) as channel:
        request = v1.LoginRequest(account="admin", secret=region.secret)
        return (await v1.IamStub(channel).login(request)).access_token


async def _first_calls(region: Region, port: int, tokens: list[str]) -> tuple[float, float]:
    """Return the medians of the first call of each token and of the ones after it, in seconds."""
    first: list[float] = []
    later: list[float] = []
    request = v1.ResolveRequest(kind="group", names=[_NAME])
    ca = region.config.tls.ca
    assert ca is not None
    async with Channel("127.0.0.1", port, ssl=client_context(ca)) as channel:
        stub = v1.MetaStub(channel)
        for token in tokens:
            for took in (first, later, later, later):
                began = time.perf_counter()
                await stub.resolve(request, metadata={"authorization": f"Bearer {token}"})
                took.append(time.perf_counter() - began)
    return median(first), median(later)
