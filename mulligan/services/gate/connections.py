"""Who is connected, how many there may be, and how the dead among them are noticed."""

import asyncio
import socket
from collections import Counter

from mulligan.services.gate.caller import Peer
from mulligan.services.gate.limits import network_of

MAX_CONNECTIONS, MAX_OF_HOST = 4096, 1024
"""Connections of a process, and of one host to it."""


class Connections:
    """The connections of a server, and how many each host has."""

    def __init__(self) -> None:
        self.count = 0
        self._by_host: Counter[str] = Counter()

    def enter(self, host: str) -> bool:
        """Count a connection; tell whether there is room for it."""
        host = network_of(host)
        if self.count >= MAX_CONNECTIONS or self._by_host[host] >= MAX_OF_HOST:
            return False
        self.count += 1
        self._by_host[host] += 1
        return True

    def leave(self, host: str) -> None:
        """Count a connection no more."""
        host = network_of(host)
        self.count -= 1
        self._by_host[host] -= 1
        if not self._by_host[host]:
            del self._by_host[host]


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Return who is at the other end of a connection."""
    address = transport.get_extra_info("peername") or ("",)
    secured = transport.get_extra_info("ssl_object")
    certificate = secured.getpeercert(True) if secured is not None else None
    return Peer(host=str(address[0]), certificate=certificate or b"")


def keep_alive(sock: socket.socket | None) -> None:
    """Notice peers that are gone without a word within some two minutes."""
    if sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, 60),
        (socket.TCP_KEEPINTVL, 15),
        (socket.TCP_KEEPCNT, 4),
    ):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
