"""The console as a page: who is let in, and what the page loads."""

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mulligan.cli.main import main
from mulligan.console.web.page import PAGE, SCRIPT
from mulligan.console.web.server import WebConsole, is_local

Browser = TestClient[web.Request, web.Application]


@pytest.fixture
async def page() -> AsyncIterator[tuple[WebConsole, Browser]]:
    console = WebConsole(["false"])
    server = TestServer(console.app())
    await server.start_server()
    assert server.port is not None
    console.port = server.port
    jar = aiohttp.CookieJar(unsafe=True)
    async with TestClient(server, cookie_jar=jar) as client:
        yield console, client


async def test_nobody_is_let_in_without_the_key(page: tuple[WebConsole, Browser]) -> None:
    _, client = page
    for path in ("/", "/?key=guess", "/ws", "/console.js", "/static/js/textual.js"):
        assert (await client.get(path, allow_redirects=False)).status == 403, path


async def test_the_key_becomes_a_cookie_and_leaves_the_address(
    page: tuple[WebConsole, Browser],
) -> None:
    console, client = page
    entry = await client.get(f"/?key={console.key}", allow_redirects=False)
    assert entry.status == 302 and entry.headers["Location"] == "/"
    assert "HttpOnly" in entry.headers["Set-Cookie"] and "Strict" in entry.headers["Set-Cookie"]
    shown = await client.get("/")
    assert shown.status == 200 and "terminal" in await shown.text()
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]


async def test_other_sites_cannot_use_the_key_of_a_browser(
    page: tuple[WebConsole, Browser],
) -> None:
    console, client = page
    await client.get(f"/?key={console.key}")
    for origin in ({"Origin": "http://elsewhere.example"}, {"Origin": "null"}, {}):
        answer = await client.get("/ws", headers=origin)
        assert answer.status == 403, origin


async def test_a_console_that_cannot_start_closes_the_line(
    page: tuple[WebConsole, Browser],
) -> None:
    console, client = page
    await client.get(f"/?key={console.key}")
    origin = f"http://{client.host}:{client.port}"
    async with client.ws_connect("/ws?width=80&height=24", headers={"Origin": origin}) as line:
        await line.send_str("no JSON")
        assert (await line.receive(timeout=10)).type in (
            aiohttp.WSMsgType.CLOSE,
            aiohttp.WSMsgType.CLOSED,
        )


def test_the_page_loads_nothing_from_elsewhere() -> None:
    assert not re.findall(r"(?:https?:)?//[a-z]", PAGE)
    assert not re.findall(r"https?://[a-z]", SCRIPT)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_is_local(host: str) -> None:
    assert is_local(host)


def test_other_addresses_need_a_yes(capsys: pytest.CaptureFixture[str]) -> None:
    assert not is_local("0.0.0.0") and not is_local("node-1.example")
    assert main(["console", "--web", "--host", "0.0.0.0"]) == 2
    assert "without TLS" in capsys.readouterr().err


def test_without_a_terminal_the_console_says_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["console"]) == 6
    assert "needs a terminal" in capsys.readouterr().err
