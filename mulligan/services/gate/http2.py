"""The HTTP/2 server under gRPC: grpclib's, with bounds on what a connection may cost.

grpclib answers well-behaved clients; these classes see to the others. Everything that a peer can
make this process hold is bounded (connections, streams, headers, unread data, unsent answers,
frames that need an answer), and nothing that it can send ends in a traceback or without an answer.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from grpclib.const import Status
from grpclib.encoding.proto import ProtoCodec
from grpclib.metadata import decode_timeout
from grpclib.protocol import Connection, EventsProcessor, H2Protocol
from grpclib.protocol import Stream as AnyStream
from grpclib.server import Handler, Server
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    PingReceived,
    PriorityUpdated,
    RemoteSettingsChanged,
    RequestReceived,
    StreamReset,
    UnknownFrameReceived,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from mulligan.services.gate.caller import Peer
from mulligan.services.gate.connections import Connections, keep_alive, peer_of
from mulligan.services.gate.message_size import IncomingStream

log = logging.getLogger(__name__)

MAX_STREAMS = 256
"""Calls at once on one connection."""
MAX_HEADERS = 16 * 1024
"""Bytes of one call's metadata."""
CONNECTION_WINDOW, STREAM_WINDOW = 1024 * 1024, 128 * 1024
"""Bytes that may be under way to us and not yet read."""
HANDSHAKE_S = 5.0
"""TLS and then HTTP/2 must stand so soon."""
IDLE_S = 1800.0
"""A connection without calls is closed after so long; clients connect again when they need to."""
STALLED_S = 60.0
"""A peer that does not read its answers for so long is cut off."""
CONTROL_RATE, CONTROL_BURST = 500.0, 5_000.0
"""Frames a second that carry no call and yet cost something: settings, pings, resets, …"""
BACKLOG = 512

_LOOK_S = 30.0
_TIMEOUT = re.compile(r"[0-9]{1,8}[HMSmun]")
_CONTROL = (
    RemoteSettingsChanged,
    PingReceived,
    PriorityUpdated,
    StreamReset,
    UnknownFrameReceived,
)

Headers = list[tuple[str, str]]


class Refused(Exception):
    """A call that does not even name itself rightly: ``code`` of HTTP, a status, and why."""

    def __init__(self, code: int, status: Status, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message


class EdgeConnection(Connection):
    """A connection that knows its peer, and the longest message that may come over it."""

    peer: Peer
    limit: int

    def create_stream(self, *, stream_id: int | None = None, wrapper: Any = None) -> AnyStream:
        """Return a stream that looks at what comes in."""
        stream = IncomingStream(
            self, self._connection, self._transport, stream_id=stream_id, wrapper=wrapper
        )
        stream.limit = self.limit
        return stream

    def ack(self, stream_id: int, size: int) -> None:
        """Let the peer send as much again, if it is there still."""
        if self.is_closing():
            return
        try:
            super().ack(stream_id, size)
        except ProtocolError:
            return


class EdgeProcessor(EventsProcessor):
    """Processes what comes in; resets streams that bring their data in crumbs."""

    def process_data_received(self, event: DataReceived) -> None:
        """Take data; empty frames take none of our memory."""
        stream = self.streams.get(event.stream_id)
        if isinstance(stream, IncomingStream):
            if stream.charge(len(event.data)):
                stream.reset_nowait()
                stream.__terminated__("too many small frames")
                return
            if not event.data:
                self.connection.ack(event.stream_id, event.flow_controlled_length)
                return
        super().process_data_received(event)


class EdgeHandler(Handler):
    """Starts calls; answers those at once that no method could."""

    def accept(
        self, stream: AnyStream, headers: Headers, release_stream: Callable[[], Any]
    ) -> None:
        """Start the call, or say why there is none."""
        assert isinstance(stream, IncomingStream)
        try:
            sound = self._checked(stream, headers)
        except Refused as refused:
            answer = _refuse(stream, refused, release_stream)
            self._tasks[stream] = self.loop.create_task(answer)
        else:
            super().accept(stream, sound, release_stream)

    def cancel(self, stream: AnyStream) -> None:
        """Cancel a call, unless it has ended."""
        if stream in self._tasks:
            super().cancel(stream)

    def _checked(self, stream: IncomingStream, headers: Headers) -> Headers:
        """Return the headers as grpclib may see them; the deadline goes to the stream."""
        found = dict(headers)
        if found.get(":method") != "POST":
            raise Refused(405, Status.UNIMPLEMENTED, "gRPC calls are made with POST")
        base, _, kind = found.get("content-type", "").partition("+")
        if base != "application/grpc" or kind not in {"", ProtoCodec.__content_subtype__}:
            raise Refused(415, Status.INVALID_ARGUMENT, "the content-type is not application/grpc")
        if found.get("te") != "trailers":
            raise Refused(400, Status.INVALID_ARGUMENT, "the header te: trailers is missing")
        method = self.mapping.get(found.get(":path", ""))
        if method is None:
            raise Refused(200, Status.UNIMPLEMENTED, "there is no such method at this service")
        if found.get("grpc-encoding", "identity") != "identity":
            raise Refused(200, Status.UNIMPLEMENTED, "compressed messages are not taken")
        timeouts = [value for name, value in headers if name == "grpc-timeout"]
        if not all(_TIMEOUT.fullmatch(value) for value in timeouts):
            raise Refused(200, Status.INVALID_ARGUMENT, "the header grpc-timeout cannot be read")
        stream.deadline_s = min(map(decode_timeout, timeouts), default=None)
        stream.unary = not method.cardinality.client_streaming
        return [(k, v) for k, v in headers if k != "grpc-timeout" and not k.endswith("-bin")]


async def _refuse(
    stream: IncomingStream, refused: Refused, release_stream: Callable[[], Any]
) -> None:
    headers = [
        (":status", str(refused.code)),
        ("content-type", "application/grpc"),
        ("grpc-status", str(refused.status.value)),
        ("grpc-message", refused.message),
    ]
    try:
        await stream.send_headers(headers, end_stream=True)
        if stream.closable:
            stream.reset_nowait()
    except ProtocolError:
        return
    finally:
        release_stream()


class EdgeProtocol(H2Protocol):
    """One connection of a peer."""

    connection: EdgeConnection

    def __init__(self, server: "EdgeServer", handler: EdgeHandler) -> None:
        super().__init__(handler, server._config, server._h2_config)
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._entered = False
        self._greeted = False
        self._heard = self._loop.time()
        self._control = (CONTROL_BURST, self._heard)
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the peer with our settings, if there is room for it."""
        transport = cast(asyncio.Transport, transport)
        self._transport = transport
        self._peer = peer_of(transport)
        self._entered = self._server.connections.enter(self._peer.host)
        if not self._entered:
            transport.abort()
            return
        keep_alive(transport.get_extra_info("socket"))
        h2 = H2Connection(config=self.h2_config)
        h2.initiate_connection()
        h2.increment_flow_control_window(CONNECTION_WINDOW - 65_535)
        h2.update_settings(
            {
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADERS,
            }
        )
        h2.decoder.max_header_list_size = MAX_HEADERS
        self.connection = EdgeConnection(h2, transport, config=self.config)
        self.connection.peer = self._peer
        self.connection.limit = self._server.message_bytes
        self.connection.flush()
        self.connection.initialize()
        self.processor = EdgeProcessor(self.handler, self.connection)
        self._timer = self._loop.call_later(HANDSHAKE_S, self._look)

    def data_received(self, data: bytes) -> None:
        """Process what came; close the connection on what cannot be understood."""
        if not self._entered or self.connection.is_closing():
            return
        try:
            for event in self.connection.feed(data):
                self._process(event)
            if not self.connection.is_closing():
                self.connection.flush()
        except ProtocolError as error:
            self._end(f"it broke the protocol: {type(error).__name__}")
        except Exception as error:  # whatever a peer sends ends its connection, and nothing else
            log.info("could not read a connection", extra={"reason": repr(error)[:200]})
            self._end("it could not be read")

    def pause_writing(self) -> None:
        """Wait for the peer to read, and not for ever."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self._loop.call_later(STALLED_S, self._transport.abort)

    def resume_writing(self) -> None:
        """Write on."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the peer and cancel its calls."""
        for timer in (self._timer, self._stalled):
            if timer is not None:
                timer.cancel()
        if self._entered:
            self._server.connections.leave(self._peer.host)
            self._entered = False
            super().connection_lost(exc)

    def _process(self, event: Event) -> None:
        if isinstance(event, RemoteSettingsChanged):
            self._greeted = True
        if isinstance(event, _CONTROL):
            self._charge()
        elif isinstance(event, RequestReceived | DataReceived):
            self._heard = self._loop.time()
        if event.__class__ in getattr(self.processor, "processors", ()):
            self.processor.process(event)

    def _charge(self) -> None:
        level, at = self._control
        now = self._loop.time()
        level = min(CONTROL_BURST, level + (now - at) * CONTROL_RATE) - 1
        self._control = (level, now)
        if level < 0:
            raise ProtocolError("too many control frames")

    def _look(self) -> None:
        """Close a connection that does not come about, or is not used."""
        idle = self._loop.time() - self._heard
        if not self._greeted:
            self._transport.abort()
        elif not self.processor.streams and idle > IDLE_S:
            self._end("it was not used")
        else:
            self._timer = self._loop.call_later(_LOOK_S, self._look)

    def _end(self, reason: str) -> None:
        log.debug("closed a connection", extra={"peer": self._peer.host, "reason": reason})
        if self.connection.is_closing():
            return
        with suppress(ProtocolError):  # after which its GOAWAY waits to be sent already
            self.connection._connection.close_connection()
        self.connection.flush()
        self.processor.close(reason)


class EdgeServer(Server):
    """``grpclib.server.Server`` for peers that are not to be trusted."""

    def __init__(self, services: Any, *, message_bytes: int, **named: Any) -> None:
        super().__init__(services, **named)
        self.message_bytes = message_bytes
        self.connections = Connections()
        self._h2_config.header_encoding = "latin-1"  # which reads any bytes

    @property
    def streams(self) -> frozenset[str]:
        """The paths of methods that answer with a stream."""
        methods = self._mapping.items()
        return frozenset(path for path, made in methods if made.cardinality.server_streaming)

    def _protocol_factory(self) -> H2Protocol:
        self.__gc_step__()
        handler = EdgeHandler(
            self._mapping, self._codec, self._status_details_codec, self.__dispatch__
        )
        self._handlers.add(handler)
        return EdgeProtocol(self, handler)

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen; raise OSError when that is not possible. ``close`` and ``wait_closed`` end it."""
        loop = asyncio.get_running_loop()
        deadline = HANDSHAKE_S if tls is not None else None
        self._server = await loop.create_server(
            self._protocol_factory,
            host,
            port,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=deadline,
        )
        self._server_closed_fut = loop.create_future()
