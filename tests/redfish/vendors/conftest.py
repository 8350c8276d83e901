from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from mulligan.events.machine import Bmc
from mulligan.model import CredentialId
from mulligan.redfish.bmc import BmcClient, Login
from mulligan.redfish.media_server import MediaServer
from tests.redfish.conftest import QUICK
from tests.redfish.vendors.service import Vendor
from tests.redfish.vendors.simulated import SimulatedBmc

Meet = Callable[..., Awaitable[tuple[SimulatedBmc, BmcClient]]]


@pytest.fixture
async def meet() -> AsyncIterator[Meet]:
    """Start a vendor's BMC, with some of its behaviour changed, and return it with a client."""
    async with AsyncExitStack() as stack:

        async def start(vendor: Vendor, **changes: Any) -> tuple[SimulatedBmc, BmcClient]:
            changed = msgspec.structs.replace(vendor, **changes)
            simulated = await stack.enter_async_context(SimulatedBmc(changed))
            client = BmcClient(
                Bmc(address=simulated.address, credential=CredentialId("lab")),
                Login(simulated.user, simulated.password),
                limiter=anyio.CapacityLimiter(8),
                timings=QUICK,
            )
            stack.push_async_callback(client.close)
            return simulated, client

        yield start


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The folder that the media server takes ``file:`` images from."""
    return tmp_path / "images"


@pytest.fixture
def media_server(media: MediaServer) -> MediaServer:
    """The media server, under a name beside the module ``media``."""
    return media
