"""Waits until the services of a region answer that they serve."""

import ssl
from collections.abc import Sequence

import anyio
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from mulligan.client.channels import TidyChannel
from mulligan.config import Address, Config
from mulligan.services.serve import SERVICES
from mulligan.tls import client_context

_POLL_S = 0.05


class NotServing(TimeoutError):
    """Services of a region do not serve in time; ``names`` are theirs."""

    def __init__(self, names: Sequence[str], within: float) -> None:
        super().__init__(f"not serving after {within:g} s: {', '.join(names)}")
        self.names = tuple(names)


async def all_serving(config: Config, within: float) -> None:
    """Return once every service serves; raise NotServing naming those that do not."""
    missing = set(SERVICES)

    async def wait(name: str) -> None:
        await serving(getattr(config.listen, name), config)
        missing.discard(name)

    with anyio.move_on_after(within):
        async with anyio.create_task_group() as tasks:
            for name in SERVICES:
                tasks.start_soon(wait, name)
    if missing:
        raise NotServing(sorted(missing), within)


def _context(config: Config) -> ssl.SSLContext | None:
    if not config.tls.enabled:
        return None
    assert config.tls.ca is not None
    return client_context(config.tls.ca)


async def serving(address: Address, config: Config) -> None:
    """Return once the service at an address of the region serves."""
    context = _context(config)
    while True:
        channel = TidyChannel(address.host, address.port, ssl=context)
        try:
            with anyio.move_on_after(2):
                answer = await HealthStub(channel).Check(HealthCheckRequest())
                if answer.status == HealthCheckResponse.SERVING:
                    return
        except (OSError, GRPCError, StreamTerminatedError):
            pass
        finally:
            channel.close()
        await anyio.sleep(_POLL_S)
