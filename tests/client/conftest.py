from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mulligan.client.client import Client
from mulligan.tls import TlsFiles
from tests.client.fakes import SECRET, Cluster, FakeRegion, throwaway_tls


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return throwaway_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def region() -> FakeRegion:
    return FakeRegion()


@pytest.fixture
async def cluster(region: FakeRegion, tls: TlsFiles) -> AsyncIterator[Cluster]:
    cluster = Cluster(region, tls)
    await cluster.start()
    yield cluster
    await cluster.close()


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    async with Client(cluster.context(), secret=SECRET, patience=5) as client:
        yield client


@pytest.fixture
def wrong_ca(tmp_path: Path) -> Path:
    return throwaway_tls(tmp_path).ca
