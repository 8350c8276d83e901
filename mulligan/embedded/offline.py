"""A region's etcd for tools on its host, while no service of the region runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio import to_thread

from mulligan.config import Config
from mulligan.embedded.region import embedded_etcd
from mulligan.errors import FailedPrecondition, Unavailable
from mulligan.log.etcd import Etcd
from mulligan.log.keys import Keys
from mulligan.model import RegionName
from mulligan.services.runtime import etcd_settings

LEASES_END_S = 20.0
"""Services that were killed, or came back with an older snapshot, stay registered for a while."""

_POLL_S = 0.5


@asynccontextmanager
async def etcd_of(config: Config) -> AsyncIterator[Etcd]:
    """Connect to a region's etcd; an embedded one that does not run is run for as long.

    Raise Unavailable when it cannot be reached, StartFailed when it does not start.
    """
    server = embedded_etcd(config) if config.etcd.embedded else None
    started = server is not None and not await to_thread.run_sync(server.healthy)
    if server is not None and started:
        await to_thread.run_sync(server.start)
    try:
        async with Etcd(etcd_settings(config)) as etcd:
            await etcd.status()
            yield etcd
    finally:
        if server is not None and started:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(server.stop)


async def require_stopped(etcd: Etcd, region: RegionName, within: float = LEASES_END_S) -> None:
    """Return once no service is registered; raise FailedPrecondition if some stay so."""
    prefix = Keys(region).service("")[:-1]
    with anyio.move_on_after(within):
        while (await etcd.range_prefix(prefix, keys_only=True)).kvs:
            await anyio.sleep(_POLL_S)
    try:
        found = (await etcd.range_prefix(prefix, keys_only=True)).kvs
    except Unavailable as error:
        raise FailedPrecondition(f"cannot tell whether services run: {error.message}") from error
    names = sorted({kv.key[len(prefix) :].split("/")[0] for kv in found})
    if names:
        raise FailedPrecondition(f"stop every service of {region} first: {', '.join(names)} run")
