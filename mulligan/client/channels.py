"""Connections: one TLS channel an address, opened on first use and kept."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from grpclib.client import Channel, Stream
from grpclib.config import Configuration
from grpclib.encoding.proto import ProtoCodec, ProtoStatusDetailsCodec

from mulligan.errors import InvalidArgument

KEEPALIVE = 10.0
"""Seconds between the pings that find out that an instance is gone without a word."""


class Details(ProtoStatusDetailsCodec):
    """Reads the details of errors; what it needs for that is imported at the first error."""

    def decode(self, status: Any, message: str | None, data: bytes) -> Any:
        """Return the details as messages."""
        import_module("google.rpc.error_details_pb2")
        return super().decode(status, message, data)


class TidyChannel(Channel):
    """A channel whose failed calls leave no cancellation behind.

    grpclib wakes a call whose connection is lost by cancelling its task, and turns that into an
    error without taking the request back. Any timeout around the call that comes later would then
    take its own cancellation for somebody else's, and end the task instead of raising.
    """

    under_way = 0
    """Calls that have begun and not ended."""

    def request(self, *arguments: Any, **more: Any) -> Any:
        """Return a call to open, as Channel does."""
        return self._tidied(super().request(*arguments, **more))

    @property
    def _connected(self) -> bool:
        """Tell whether a call can go out: not on a connection that is being closed.

        grpclib hears of a connection's end only once it has ended, and until then would put calls
        on what it has taken apart already.
        """
        protocol = self._protocol
        return super()._connected and (
            protocol is not None and not protocol.processor.connection.is_closing()
        )

    @asynccontextmanager
    async def _tidied(self, call: Stream[Any, Any]) -> AsyncIterator[Stream[Any, Any]]:
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        self.under_way += 1
        try:
            async with call as opened:
                yield opened
        except Exception:
            while task.cancelling() > before:
                task.uncancel()
            raise
        finally:
            self.under_way -= 1


class Channels:
    """The open channels of one client.

    ``ca`` is the PEM file that vouches for the services, ``ca_pem`` the same as text; neither
    means the system's trust store.
    ``cert`` and ``key`` are the PEM files of the certificate that the client shows, if any.
    ``plaintext`` does without TLS.
    """

    def __init__(
        self,
        ca: str = "",
        *,
        ca_pem: str = "",
        cert: str = "",
        key: str = "",
        plaintext: bool = False,
    ) -> None:
        self.ca = ca or ("what the region's record says" if ca_pem else "")
        self._ssl = None if plaintext else _trust(ca, ca_pem)
        if self._ssl is not None and cert:
            _show(self._ssl, cert, key)
        self._open: dict[str, TidyChannel] = {}

    def to(self, address: str) -> TidyChannel:
        """Return the channel to ``host:port``; it connects when it is first used."""
        channel = self._open.get(address)
        if channel is None:
            host, port = split_address(address)
            # grpclib keeps these two settings underscored, and has no other door to them.
            config = Configuration(_keepalive_time=KEEPALIVE, _keepalive_timeout=5.0)
            channel = TidyChannel(
                host,
                port,
                codec=ProtoCodec(),
                status_details_codec=Details(),
                ssl=self._ssl,
                config=config,
            )
            self._open[address] = channel
        return channel

    def close_others(self, known: Collection[str]) -> None:
        """Close the channels to any address but these, once no call is under way on them."""
        for address in [a for a, c in self._open.items() if a not in known and not c.under_way]:
            self._open.pop(address).close()

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


def _trust(ca: str, pem: str = "") -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca or None, cadata=pem or None)
    except (OSError, ssl.SSLError) as error:
        what = f"cannot read the CA file {ca}" if ca else "the CA that was given is no PEM"
        raise InvalidArgument("ca", f"{what}: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context


def _show(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Have a context show a client certificate; raise InvalidArgument when it cannot be used."""

    def no_password() -> str:
        raise InvalidArgument("key", f"{key or cert} is encrypted; give the key without a password")

    try:
        context.load_cert_chain(cert, key or None, no_password)
    except (OSError, ssl.SSLError) as error:
        files = f"{cert} with the key {key}" if key else cert
        raise InvalidArgument("cert", f"cannot use the certificate {files}: {error}") from error
