"""The console as a web page: each browser tab drives a console process of its own.

Whoever reaches the page acts as the account of the process that serves it. So it listens on this
host alone unless told otherwise, and asks for a key that is made anew at each start: other users
of this host do not know it, and neither does a page that a browser has open elsewhere. Everything
the page needs comes from here, nothing from other sites.
"""

import asyncio
import contextlib
import ipaddress
import secrets
import shlex
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import textual_serve
from aiohttp import WSMsgType, web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from mulligan.console.web.page import PAGE, SCRIPT

SESSIONS_AT_MOST = 16
"""Consoles that run at the same time; each is a process."""
START_S = 15.0
END_S = 3.0
LARGEST_MESSAGE = 1 << 16
"""Bytes that a browser may send at once; keys and pasted text are short."""
_STATIC = Path(textual_serve.__file__).parent / "static"
_SAFE = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
        " font-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class WebConsole:
    """Serves the console that ``command`` runs, at ``host`` and ``port`` (0: a free one)."""

    def __init__(self, command: Sequence[str], host: str = "127.0.0.1", port: int = 7080) -> None:
        self.key = secrets.token_urlsafe(24)
        self.port = port
        self._host = host
        self._command = shlex.join(command)
        self._running = 0

    @property
    def url(self) -> str:
        """The page's address with the key."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}/?key={self.key}"

    async def serve(self, ready: Callable[[str], None]) -> None:
        """Serve until cancelled or asked to stop by a signal; ``ready`` is given the address."""
        runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=END_S)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            ready(self.url)
            await _asked_to_stop()
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()

    def app(self) -> web.Application:
        """Return the application: the page, what it loads, and the line to a console."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/console.js", _script),
                web.get("/ws", self._drive),
                web.static("/static", _STATIC),
            ]
        )
        return app

    @property
    def _cookie(self) -> str:
        return f"mulligan-console-{self.port}"

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let in who shows the key, from this very page only."""
        given = request.query.get("key", "")
        if request.path == "/" and given and self._fits(given):
            entry = web.HTTPFound("/")
            entry.set_cookie(self._cookie, self.key, httponly=True, samesite="Strict", path="/")
            raise entry
        if not self._fits(request.cookies.get(self._cookie, "")):
            raise web.HTTPForbidden(
                text="Open the address that `mulligan console --web` printed.\n"
            )
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="This page is not for other sites.\n")
        answer = await handler(request)
        if not answer.prepared:
            answer.headers.update(_SAFE)
        return answer

    def _fits(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.key.encode())

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def _drive(self, request: web.Request) -> web.StreamResponse:
        """Run a console for one browser tab, until either ends."""
        if request.headers.get("Origin") is None:
            raise web.HTTPForbidden(text="Only browsers speak to this address.\n")
        if self._running >= SESSIONS_AT_MOST:
            raise web.HTTPServiceUnavailable(
                text=f"{SESSIONS_AT_MOST} consoles run already; close one.\n"
            )
        self._running += 1
        try:
            return await self._session(request)
        finally:
            self._running -= 1

    async def _session(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=15, max_msg_size=LARGEST_MESSAGE)
        await socket.prepare(request)
        console = AppService(
            self._command,
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=_closing(socket),
            download_manager=DownloadManager(),
        )
        try:
            with anyio.fail_after(START_S):
                await console.start(_size(request, "width", 80), _size(request, "height", 24))
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await _pass_on(message.json(), console, socket)
        except (ConnectionError, TimeoutError, ValueError):
            pass  # the tab went away, or sent what no tab sends
        finally:
            with anyio.CancelScope(shield=True):
                await _end(console)
                await socket.close()
        return socket


def is_local(host: str) -> bool:
    """Tell whether only this host can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _script(request: web.Request) -> web.Response:
    return web.Response(text=SCRIPT, content_type="text/javascript")


async def _pass_on(envelope: Any, console: AppService, socket: web.WebSocketResponse) -> None:
    """Pass on what a tab tells: keys, its size, whether it has the focus."""
    match envelope:
        case ["stdin", str(keys)]:
            await console.send_bytes(keys.encode())
        case ["resize", {"width": int(width), "height": int(height)}]:
            await console.set_terminal_size(_bounded(width), _bounded(height))
        case ["ping", sent]:
            await socket.send_json(["pong", sent])
        case ["focus", *_]:
            await console.focus()
        case ["blur", *_]:
            await console.blur()
        case _:
            raise ValueError("a tab sends nothing else")


async def _end(console: AppService) -> None:
    """Ask a console to end, and make it."""
    process = console._process
    with anyio.move_on_after(END_S), contextlib.suppress(ConnectionError):
        await console.stop()
    if process is not None and process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _closing(socket: web.WebSocketResponse) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        await socket.close()

    return close


def _size(request: web.Request, name: str, usual: int) -> int:
    given = request.query.get(name, "")
    return _bounded(int(given)) if given.isdecimal() else usual


def _bounded(size: int) -> int:
    return min(max(size, 1), 1000)


async def _asked_to_stop() -> None:
    """Wait for SIGINT or SIGTERM."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    try:
        await asked.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
