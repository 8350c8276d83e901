"""What a process tells Prometheus: one registry a process, and the plain HTTP that it is read by.

A service adds what is its own by registering a collector: see ``projection_metrics``. Names and
meanings are in ``docs/metrics.md``, which a test holds against the registry.
"""

import logging
from collections.abc import Callable

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.stapled import MultiListener
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from mulligan import __version__

log = logging.getLogger(__name__)

_HEAD_BYTES = 8192
_DEADLINE_S = 5.0
_READY = ("200 OK", b"serving\n")
_NOT_READY = ("503 Service Unavailable", b"not serving\n")
_AT_ONCE = 8
"""Scrapes at once; more wait, and give up by their own deadline."""


class Metrics:
    """The metrics of one process; ``registry`` is where a service adds its own."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        built = Gauge(
            "mulligan_build_info",
            "Always 1; the labels say what runs.",
            ["service", "version"],
            registry=self.registry,
        )
        built.labels(service, __version__).set(1)

    def page(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        return generate_latest(self.registry)


class MetricsPage:
    """Answers ``GET /metrics`` on one address: ``open``, then ``serve`` until cancelled.

    ``GET /ready`` answers 200 or 503, as ``serving`` says: it is for probes that know neither the
    region's certificates nor gRPC.
    """

    def __init__(
        self,
        metrics: Metrics,
        host: str,
        port: int,
        *,
        serving: Callable[[], bool] = lambda: True,
    ) -> None:
        self._metrics = metrics
        self._serving = serving
        self._address = (host, port)
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self._listener: MultiListener[SocketStream] | None = None

    async def open(self) -> int:
        """Listen, and return the port; raise OSError when it is taken."""
        host, port = self._address
        self._listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
        port = int(self._listener.extra(SocketAttribute.local_port))
        log.info("metrics are served", extra={"address": f"{host}:{port}"})
        return port

    async def serve(self) -> None:
        """Answer whoever asks, until cancelled."""
        assert self._listener is not None, "open comes first"
        async with self._listener:
            await self._listener.serve(self._answer)

    async def _answer(self, stream: SocketStream) -> None:
        try:
            with anyio.move_on_after(_DEADLINE_S):
                async with stream, self._limiter:
                    await stream.send(self._reply(await _request_line(stream)))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            return  # it hung up

    def _reply(self, line: str) -> bytes:
        method, _, rest = line.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if path not in {"/metrics", "/ready"}:
            return _http("404 Not Found", "text/plain", b"there are /metrics and /ready\n")
        if method not in {"GET", "HEAD"}:
            return _http("405 Method Not Allowed", "text/plain", b"use GET\n")
        if path == "/ready":
            status, body = _READY if self._serving() else _NOT_READY
            return _http(status, "text/plain", body, head=method == "HEAD")
        page = self._metrics.page()
        return _http("200 OK", CONTENT_TYPE_LATEST, page, head=method == "HEAD")


async def _request_line(stream: SocketStream) -> str:
    """Read a request to the end of its head, and return its first line."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES:
        head += await stream.receive(_HEAD_BYTES - len(head))
    return head.partition(b"\r\n")[0].decode("latin-1")


def _http(status: str, kind: str, body: bytes, *, head: bool = False) -> bytes:
    """Return an answer after which the connection ends."""
    lines = (
        f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}",
        "Connection: close", "", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode() + (b"" if head else body)
