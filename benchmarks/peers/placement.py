"""OpenStack Placement on the same Postgres server, with the same fleet and the same requests.

Two worker processes behind gunicorn, noauth2, a database of its own. What it is asked for is what
its own clients ask: allocation candidates, at most ten, then the allocations of one of them, and
once more from the start when somebody else was faster.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks._fleet import Fleet
from benchmarks.peers.placement_client import Run, run
from benchmarks.peers.placement_fleet import load_fleet
from benchmarks.peers.placement_server import installed, serving
from mulligan.config import Config
from mulligan.embedded.region import embedded_postgres

__all__ = ["LACKS", "Peer", "run", "running"]

LACKS = ("windows", "earliest")
"""Scenarios that it has no request for: its allocations have no time in them."""
_DATABASE = "placement"


class Peer(msgspec.Struct, frozen=True):
    """A Placement that serves at ``url`` with the fleet loaded."""

    url: str

    def run(self, args: Any, fleet: Fleet, in_flight: int) -> Run:
        """Return what the client process is to do."""
        return Run(
            url=self.url,
            fleet=fleet,
            scenario=args.scenario,
            in_flight=in_flight,
            seconds=args.seconds,
        )


@asynccontextmanager
async def running(config: Config, fleet: Fleet) -> AsyncIterator[Peer]:
    """Run it beside a region, on the region's Postgres server."""
    environment = installed()
    postgres = embedded_postgres(config)
    dsn = str(postgres.create_database(_DATABASE))
    with TemporaryDirectory(prefix="placement-") as folder:
        async with serving(environment, Path(folder), dsn) as url:
            await load_fleet(url, dsn, fleet)
            yield Peer(url)
