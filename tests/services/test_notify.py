"""What systemd hears of a service."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mulligan.services.notify import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """Where systemd listens, as it says so, and what it hears with."""
    shown = str(tmp_path / "notify") if request.param == "path" else f"@mulligan-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{shown[1:]}" if shown.startswith("@") else shown)
        listening.setblocking(False)
        yield shown, listening


def test_each_state_is_told_once(systemd: tuple[str, socket.socket]) -> None:
    address, listening = systemd
    manager = ServiceManager({"NOTIFY_SOCKET": address})
    manager.waiting("etcd\nat 127.0.0.1")
    manager.serving()
    manager.serving()
    manager.stopping()
    heard = [listening.recv(1000).decode() for _ in range(3)]
    assert heard == [
        "STATUS=waiting for etcd at 127.0.0.1",
        "READY=1\nSTATUS=serving",
        "STOPPING=1\nSTATUS=draining",
    ]
    with pytest.raises(BlockingIOError):
        listening.recv(1000)


def test_nothing_is_told_where_nobody_listens(tmp_path: Path) -> None:
    ServiceManager({}).serving()
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).serving()
