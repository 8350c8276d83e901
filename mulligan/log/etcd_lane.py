"""Connections to etcd: made with or without TLS, failed over, and their errors put in our words."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import anyio
import anyio.lowlevel
import grpc
import grpc.aio

from mulligan.errors import Exhausted, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from mulligan.log.etcd_kv import EtcdSettings
from mulligan.log.store import Compacted, OutcomeUnknown
from mulligan.tls_live import stamp_of

_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def read_pem(path: str) -> bytes | None:
    """Return a PEM file's bytes, None for no path."""
    if not path:
        return None
    with open(path, "rb") as file:
        return file.read()


def bare(endpoint: str) -> str:
    """Return the ``host:port`` of an endpoint that may be a URL."""
    return endpoint.rpartition("://")[2].rstrip("/")


class Preferred:
    """The endpoint in use. What one lane learns of it, by a deadline say, holds for all lanes."""

    def __init__(self) -> None:
        self.index = 0


class Lane:
    """One connection per endpoint, used one at a time; a failing one makes way for the next.

    Lanes never share connections, so bulk reads on one cannot hold up a write on another. When a
    connection is lost, the next one goes by the certificates as they are then.
    """

    def __init__(self, settings: EtcdSettings, preferred: Preferred) -> None:
        self._targets = [bare(endpoint) for endpoint in settings.endpoints]
        self._settings = settings
        self._files = tuple(filter(None, (settings.ca, settings.cert, settings.key)))
        self._seen = stamp_of(self._files)
        self._credentials = _credentials(settings)
        self._channels: dict[int, grpc.aio.Channel] = {}
        self._outdated: list[grpc.aio.Channel] = []
        self._preferred = preferred

    @property
    def endpoints(self) -> int:
        """How many endpoints there are to try."""
        return len(self._targets)

    async def connected(self) -> grpc.aio.Channel:
        """Return a connected channel; raise Unavailable when no endpoint can be reached now."""
        for _ in self._targets:
            channel = self._channel(self._preferred.index)
            if channel.get_state() is not grpc.ChannelConnectivity.READY and await self._renewed():
                channel = self._channel(self._preferred.index)
            if await _is_ready(channel, self._settings.connect_timeout):
                return channel
            self.leave(channel)
        raise Unavailable(f"etcd cannot be reached at {', '.join(self._targets)}")

    def leave(self, channel: grpc.aio.Channel) -> None:
        """Go on with the next endpoint, unless somebody already did."""
        preferred = self._preferred
        if self._channels.get(preferred.index) is channel:
            preferred.index = (preferred.index + 1) % len(self._targets)

    async def close(self) -> None:
        """Close every connection."""
        for channel in (*self._channels.values(), *self._outdated):
            await channel.close()
        self._channels.clear()
        self._outdated.clear()

    async def _renewed(self) -> bool:
        """Give up channels made with certificates that were replaced since; tell whether any was.

        Calls may still wait on those; they are closed when the next certificates come.
        """
        stamp = stamp_of(self._files)
        if stamp == self._seen:
            return False
        try:
            self._credentials = _credentials(self._settings)
        except OSError:
            return False  # amid a renewal; the old ones may still do
        self._seen = stamp
        outdated, self._outdated = self._outdated, list(self._channels.values())
        self._channels.clear()
        for channel in outdated:
            await channel.close()
        return True

    def _channel(self, index: int) -> grpc.aio.Channel:
        channel = self._channels.get(index)
        if channel is None:
            options = _options(self._settings)
            target = self._targets[index]
            if self._credentials is None:
                channel = grpc.aio.insecure_channel(target, options=options)
            else:
                channel = grpc.aio.secure_channel(target, self._credentials, options=options)
            self._channels[index] = channel
        return channel


def _credentials(settings: EtcdSettings) -> grpc.ChannelCredentials | None:
    if not settings.ca:
        return None
    return grpc.ssl_channel_credentials(
        read_pem(settings.ca), read_pem(settings.key), read_pem(settings.cert)
    )


def _options(settings: EtcdSettings) -> list[tuple[str, Any]]:
    return [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 3_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # How long connecting may take, for all its name; less, and a busy host never gets there.
        ("grpc.min_reconnect_backoff_ms", int(settings.connect_timeout * 1000)),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.enable_http_proxy", 0),
    ]


async def _is_ready(channel: grpc.aio.Channel, timeout: float) -> bool:
    state = channel.get_state(try_to_connect=True)
    if state is grpc.ChannelConnectivity.READY:
        return True
    with anyio.move_on_after(timeout):
        while state is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                return False
            await channel.wait_for_state_change(state)
            state = channel.get_state(try_to_connect=True)
        return True
    return False


async def answered(call: Awaitable[Any]) -> Any:
    """Await a gRPC answer; the way to do so under deadlines and in task groups.

    grpc.aio waits on tasks of its own, so that what ends us is their cancellation: anyio does not
    know it for its own, a deadline does not end there, and the task group around it is cancelled
    without a word. A call that only its channel's closing has cancelled is Unavailable.
    """
    try:
        return await call
    except asyncio.CancelledError:
        await anyio.lowlevel.checkpoint_if_cancelled()
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unavailable("the connection to etcd was closed") from None


def is_lost(error: grpc.aio.AioRpcError) -> bool:
    """Tell whether the endpoint, rather than the request, is at fault."""
    return error.code() in _LOST


def in_our_words(error: grpc.aio.AioRpcError, *, write: bool) -> Exception:
    """Map a gRPC error of etcd to ours; a lost ``write`` becomes OutcomeUnknown."""
    code, text = error.code(), error.details() or ""
    match code:
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            then = "; `mulligan status` says how to make some" if "space" in text else ""
            return Exhausted(f"etcd has no room: {text}{then}", retry_after=5.0)
        case grpc.StatusCode.OUT_OF_RANGE:
            return Compacted(text)
        case grpc.StatusCode.NOT_FOUND:
            return NotFound("etcd object", text)
        case grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidArgument("etcd", text)
        case grpc.StatusCode.FAILED_PRECONDITION:
            return FailedPrecondition(f"etcd: {text}")
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return Unavailable(f"etcd does not accept our certificate or login: {text}", 5.0)
        case _ if write:
            return OutcomeUnknown(f"etcd did not answer a write ({code.name}: {text})")
        case _:
            return Unavailable(f"etcd did not answer ({code.name}: {text})")
