"""A scripted BMC with an event stream, which tests write into."""

import ssl
from typing import Any

import anyio
import msgspec
from aiohttp import web

from tests.redfish.scripted_bmc import SESSIONS, SYSTEM, ScriptedBmc

SSE = "/redfish/v1/EventService/SSE"
EVENTS = "/redfish/v1/EventService"


class StreamingBmc(ScriptedBmc):
    """Serves one system and streams of events.

    ``opened`` are the requests for a stream so far. A stream stays open until ``end_streams``.
    """

    def __init__(self, *, sessions: bool = True, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(sessions=sessions)
        self.opened: list[dict[str, str]] = []
        self.queries: list[str] = []
        self.streams: dict[web.StreamResponse, anyio.Event] = {}
        self.offers: dict[str, Any] = {"ServiceEnabled": True, "ServerSentEventUri": SSE}
        self._tls = tls

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        scheme = "https" if self._tls else "http"
        self.address = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self.end_streams()
        await super().stop()

    @property
    def reads(self) -> int:
        """How often the system was read."""
        return self.count("GET", SYSTEM)

    def end_streams(self) -> None:
        """Close every stream."""
        for ended in self.streams.values():
            ended.set()

    async def write(self, data: bytes) -> None:
        """Write bytes into every stream."""
        for stream in list(self.streams):
            await stream.write(data)

    async def tell(self, id: str = "", **message: Any) -> None:
        """Send one event with one message."""
        body = msgspec.json.encode({"@odata.type": "#Event.v1_7_0.Event", "Events": [message]})
        await self.write(f"id: {id}\n".encode() + b"data: " + body + b"\n\n")

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.path == SSE:
            return await self._stream(request)
        return await super()._serve(request)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == SSE:
            self.queries.append(request.rel_url.raw_query_string)
        return await super()._handle(request)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.opened.append(dict(request.headers))
        if not self._known(request):
            return web.json_response({}, status=401)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream;charset=UTF-8"})
        await stream.prepare(request)
        await stream.write(b": stream keep-alive\n\n")
        ended = self.streams[stream] = anyio.Event()
        try:
            await ended.wait()
        finally:
            del self.streams[stream]
        return stream

    def _get(self, path: str) -> Any:
        if path == EVENTS and path not in self.resources:
            return self.offers
        return super()._get(path)

    def _root(self) -> dict[str, Any]:
        root = {**super()._root(), "EventService": {"@odata.id": EVENTS}}
        if self.sessions:
            root["Links"] = {"Sessions": {"@odata.id": SESSIONS}}
        return root
