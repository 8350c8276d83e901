"""Connections: one TLS channel an address, opened on first use and kept."""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncGenerator, Collection
from contextlib import suppress
from importlib import import_module
from types import TracebackType
from typing import Any
from weakref import WeakSet

from grpclib.client import Channel, Stream
from grpclib.config import Configuration
from grpclib.encoding.proto import ProtoCodec, ProtoStatusDetailsCodec

from mulligan.errors import FailedPrecondition, InvalidArgument

log = logging.getLogger(__name__)

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

    async def _create_connection(self) -> Any:
        began = time.perf_counter()
        protocol = await super()._create_connection()
        log.debug("connected to %s:%s in %s", self._host, self._port, since(began))
        return protocol

    def request(self, *arguments: Any, **more: Any) -> Any:
        """Return a call to open, as Channel does."""
        return _Tidied(self, super().request(*arguments, **more))

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


class _Tidied:
    """One call of a channel, as a context. It is no generator, which could be closed twice."""

    def __init__(self, channel: TidyChannel, call: Stream[Any, Any]) -> None:
        self._channel = channel
        self._call = call
        self._before = 0

    async def __aenter__(self) -> Stream[Any, Any]:
        self._before = _task().cancelling()
        self._channel.under_way += 1
        try:
            return await self._call.__aenter__()
        except BaseException as error:
            self._ended(error)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        raised = error
        try:
            await self._call.__aexit__(kind, error, trace)
        except BaseException as other:
            raised = other
            raise
        finally:
            self._ended(raised)

    def _ended(self, error: BaseException | None) -> None:
        self._channel.under_way -= 1
        if isinstance(error, Exception):
            task = _task()
            while task.cancelling() > self._before:
                task.uncancel()


def _task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None, "calls are made in tasks"
    return task


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
        self._streams: WeakSet[AsyncGenerator[Any, None]] = WeakSet()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def require_usable(self) -> None:
        """Raise FailedPrecondition once they are closed, and in another loop than their first."""
        if self._closed:
            raise FailedPrecondition("the client is closed; make another one")
        here = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = here
        elif self._loop is not here:
            raise FailedPrecondition(
                "a client belongs to the event loop of its first call, and this is another one: "
                "make a client in each, or use mulligan.client.sync"
            )

    def to(self, address: str) -> TidyChannel:
        """Return the channel to ``host:port``; it connects when it is first used.

        Raise FailedPrecondition as ``require_usable`` does.
        """
        self.require_usable()
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

    def note(self, stream: AsyncGenerator[Any, None]) -> None:
        """Have a stream end with the channels, whether or not whoever reads it ends it."""
        self._streams.add(stream)

    async def end_streams(self) -> None:
        """End the streams that nobody waits for; the others end when their channel is closed."""
        for stream in list(self._streams):
            with suppress(RuntimeError):  # somebody waits for its next message
                await stream.aclose()

    def close(self) -> None:
        """Close every channel, for good; calls under way on them fail."""
        self._closed = True
        over = self._loop is not None and self._loop.is_closed()
        for channel in self._open.values():
            if not over:  # what belongs to a loop that has ended cannot be told to close
                channel.close()
        self._open.clear()


def since(began: float) -> str:
    """Return how long ago ``time.perf_counter`` said so, for the log."""
    return f"{(time.perf_counter() - began) * 1000:.0f} ms"


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
        raise InvalidArgument("ca", f"{what}: {error.strerror or error}") from error
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
