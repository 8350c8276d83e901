import socket
from collections.abc import Iterator

import pytest

from tests.client.conftest import client, cluster, region, tls
from tests.client.fakes import listen_locally

__all__ = ["client", "cluster", "region", "tls"]


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of a listener that takes connections, and never says a word."""
    listener: socket.socket = listen_locally()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
