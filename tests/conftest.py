"""Real servers that all tests share, one a session, and a corner of them for each test."""

import uuid
from collections.abc import Iterator

import pytest

from mulligan.config import Dsn
from mulligan.embedded.etcd import EmbeddedEtcd
from mulligan.embedded.postgres import EmbeddedPostgres
from mulligan.model import RegionName


@pytest.fixture(scope="session")
def etcd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedEtcd]:
    """An etcd in plain text that all tests share; keep to a region of your own."""
    server = EmbeddedEtcd(tmp_path_factory.mktemp("servers") / "etcd")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A Postgres that all tests share; keep to a database of your own."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("servers") / "postgres")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def database(postgres_server: EmbeddedPostgres) -> Iterator[Dsn]:
    """The URL of an empty database, dropped after the test."""
    name = f"t_{uuid.uuid4().hex}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


@pytest.fixture
def region_prefix() -> RegionName:
    """A region name that no other test uses, for keys in the shared etcd."""
    return RegionName(f"t-{uuid.uuid4().hex}")
