"""A fleet of simulated BMCs in a process of its own: quick, counted, as slow as told.

``python -m benchmarks._bmc --systems N`` prints how to reach it and serves until standard input
ends. Below ``/sim/`` it tells what happened: ``counts`` of applied writes by system, and ``load``.
"""

import argparse
import asyncio
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import anyio
import msgspec
import uvloop

from benchmarks._bmc_http import HttpConnection
from benchmarks._bmc_redfish import system_id
from benchmarks._bmc_service import PASSWORD, USER, Fleet, Load, Settings

__all__ = ["PASSWORD", "USER", "Load", "Settings", "SimulatedBmcs", "simulated_bmcs", "system_id"]

_STOP_S = 10.0


class SimulatedBmcs:
    """A fleet that runs: where its systems are, and what was done to them."""

    def __init__(self, addresses: Sequence[str], systems: int, pid: int) -> None:
        self.addresses = addresses
        self.systems = systems
        self.pid = pid

    def address(self, number: int) -> str:
        """Return the base URL of the n-th system's BMC."""
        return self.addresses[number % len(self.addresses)]

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return the writes that were applied, by system and by what they did."""
        found: dict[str, dict[str, int]] = await self._ask("counts")
        return found

    async def load(self) -> Load:
        """Return what there was to do since the last ``mark``."""
        return msgspec.convert(await self._ask("load"), Load)

    async def mark(self) -> None:
        """Begin to count anew; the writes that were applied stay counted."""
        await self._ask("mark")

    async def trace(self) -> list[tuple[str, str]]:
        """Return the requests since the last call, as method and path."""
        return [(method, path) for method, path in (await self._ask("trace"))["requests"]]

    async def _ask(self, what: str) -> Any:
        return await anyio.to_thread.run_sync(self._ask_now, what)

    def _ask_now(self, what: str) -> Any:
        context = ssl._create_unverified_context()
        with urlopen(f"{self.addresses[0]}/sim/{what}", context=context, timeout=30) as found:
            return json.load(found)


@asynccontextmanager
async def simulated_bmcs(settings: Settings) -> AsyncIterator[SimulatedBmcs]:
    """Run a fleet in a process of its own while the block runs."""
    with _spawn(settings) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = await anyio.to_thread.run_sync(process.stdout.readline)
            if not line:
                raise SystemExit("the simulated BMCs did not start")
            yield SimulatedBmcs(json.loads(line)["addresses"], settings.systems, process.pid)
        finally:
            process.stdin.close()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _spawn(settings: Settings) -> subprocess.Popen[bytes]:
    told = msgspec.json.encode(settings).decode()
    command = [sys.executable, "-m", "benchmarks._bmc", "--json", told]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def _serve(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    fleet = Fleet(settings)
    context = None
    if settings.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.certificate, settings.key)
    addresses = []
    for _ in range(settings.ports):
        server = await loop.create_server(
            lambda: HttpConnection(fleet, fleet.count_connections),
            "127.0.0.1",
            0,
            ssl=context,
            backlog=4096,
        )
        port = server.sockets[0].getsockname()[1]
        addresses.append(f"{'https' if context else 'http'}://127.0.0.1:{port}")
    described = {"addresses": addresses, "first_system": system_id(0), "user": USER}
    print(json.dumps({**described, "password": PASSWORD}), flush=True)
    ended = asyncio.Event()

    def read() -> None:
        if not os.read(0, 4096):
            ended.set()

    loop.add_reader(0, read)
    await ended.wait()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks._bmc", description=__doc__)
    parser.add_argument("--systems", type=int, default=100)
    parser.add_argument("--ports", type=int, default=1)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="of each answer")
    parser.add_argument("--jitter-ms", type=float, default=0.0, help="added at random, at most")
    parser.add_argument("--power-ms", type=float, default=50.0, help="until power follows a reset")
    parser.add_argument("--tls", type=Path, nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--json", help="all of the settings instead")
    args = parser.parse_args()
    certificate, key = args.tls or ("", "")
    settings = Settings(
        systems=args.systems,
        ports=args.ports,
        delay=args.delay_ms / 1000,
        jitter=args.jitter_ms / 1000,
        power=args.power_ms / 1000,
        certificate=str(certificate),
        key=str(key),
    )
    if args.json:
        settings = msgspec.json.decode(args.json, type=Settings)
    uvloop.run(_serve(settings))


if __name__ == "__main__":
    main()
