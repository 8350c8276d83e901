"""Connections: one TLS channel an address, opened on first use and kept."""

import ssl

from grpclib.client import Channel
from grpclib.config import Configuration

from mulligan.errors import InvalidArgument

KEEPALIVE = 10.0
"""Seconds between the pings that find out that an instance is gone without a word."""


class Channels:
    """The open channels of one client.

    ``ca`` is the PEM file that vouches for the services; empty means the system's trust store.
    ``plaintext`` does without TLS.
    """

    def __init__(self, ca: str = "", *, plaintext: bool = False) -> None:
        self.ca = ca
        self._ssl = None if plaintext else _trust(ca)
        self._open: dict[str, Channel] = {}

    def to(self, address: str) -> Channel:
        """Return the channel to ``host:port``; it connects when it is first used."""
        channel = self._open.get(address)
        if channel is None:
            host, port = split_address(address)
            # grpclib keeps these two settings underscored, and has no other door to them.
            config = Configuration(_keepalive_time=KEEPALIVE, _keepalive_timeout=5.0)
            channel = self._open[address] = Channel(host, port, ssl=self._ssl, config=config)
        return channel

    def close(self) -> None:
        """Close every channel; calls under way on them fail."""
        for channel in self._open.values():
            channel.close()
        self._open.clear()


def split_address(address: str) -> tuple[str, int]:
    """Take ``host:port`` apart (an IPv6 host is in brackets); raise InvalidArgument otherwise."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidArgument("address", f"{address!r} is not host:port")
    return host.strip("[]"), int(port)


def _trust(ca: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgument("ca", f"cannot read the CA file {ca}: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context
