from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from mulligan.embedded.fleet import EmulatedFleet
from mulligan.events.machine import Bmc
from mulligan.model import CredentialId
from mulligan.redfish.bmc import BmcClient, Login, Timings
from mulligan.redfish.media_server import MediaServer
from tests.bmc_faults.proxy import FaultProxy
from tests.bmc_faults.rules import Rule
from tests.redfish.scripted_bmc import ScriptedBmc

QUICK = Timings(
    connect=1,
    read=0.4,
    slow=0.4,
    get_pauses=(0.01, 0.01),
    write_pauses=(0.01, 0.01),
    least_retry=0.01,
    settle=0.3,
    media_pause=0.01,
    poll=0.01,
    look_for=0.3,
    power=0.5,
    graceful=0.5,
    ready=0.5,
    task=3,
)
"""Time-outs for a scripted BMC, which answers at once unless told otherwise."""

Connect = Callable[..., BmcClient]
Faulty = Callable[..., BmcClient]
"""Given rules, return a client of the scripted BMC that meets their faults."""


@pytest.fixture
async def bmc() -> AsyncIterator[ScriptedBmc]:
    scripted = ScriptedBmc()
    await scripted.start()
    yield scripted
    await scripted.stop()


@pytest.fixture
async def connect(bmc: ScriptedBmc) -> AsyncIterator[Connect]:
    """Make clients of the scripted BMC, or of another address; they are closed at the end."""
    made: list[BmcClient] = []
    limiter = anyio.CapacityLimiter(20)

    def make(
        *, address: str = "", password: str = "", system: str = "", timings: Timings = QUICK
    ) -> BmcClient:
        target = Bmc(address=address or bmc.address, credential=CredentialId("lab"), system=system)
        login = Login(bmc.user, password or bmc.password)
        made.append(BmcClient(target, login, limiter=limiter, timings=timings))
        return made[-1]

    yield make
    for client in made:
        await client.close()


@pytest.fixture
def client(connect: Connect) -> BmcClient:
    return connect()


@pytest.fixture
async def proxy(bmc: ScriptedBmc) -> AsyncIterator[FaultProxy]:
    """The fault proxy before the scripted BMC."""
    async with FaultProxy(bmc.address, seed=1, one_bmc="one") as running:
        yield running


@pytest.fixture
def faulty(proxy: FaultProxy, connect: Connect) -> Faulty:
    def make(*rules: Rule, **options: Any) -> BmcClient:
        proxy.use(*rules)
        return connect(address=proxy.address, **options)

    return make


@pytest.fixture(scope="session")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmulatedFleet]:
    async with EmulatedFleet(tmp_path_factory.mktemp("fleet"), 12, slowest=3) as running:
        yield running


@pytest.fixture
async def media(tmp_path: Path) -> AsyncIterator[MediaServer]:
    images = tmp_path / "images"
    images.mkdir()
    server = MediaServer(tmp_path / "cache", secret=b"0123456789abcdef", images=images)
    async with server:
        yield server
