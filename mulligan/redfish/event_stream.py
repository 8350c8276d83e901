"""A BMC's event stream: whether it has one, and listening to it beside its client.

A stream lives on the event loop, for hours and without a thread; it goes by the login of the BMC's
one client, so that the BMC still has one session of ours.
"""

import ssl
from collections.abc import Awaitable, Callable

import aiohttp
import anyio
from yarl import URL

from mulligan.redfish.answers import link, reference, section
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.sse import EventParser, ServerSentEvent
from mulligan.redfish.transport import tls_context

BYTES_PER_S = 256 * 1024
"""What is read of one stream in a second: a BMC that talks without end takes no more of us."""

_READ_AHEAD = 16 * 1024
_NOT_THERE = (404, 405, 406, 410, 501)
_FILTER = "?$filter=EventFormatType%20eq%20Event"

OnEvent = Callable[[ServerSentEvent], Awaitable[None]]


class StreamBroken(Exception):
    """A stream could not be opened, or ended.

    ``refused`` when the BMC answered with a status, ``for_good`` when it has no stream after all.
    """

    def __init__(self, reason: str, *, refused: bool = False, for_good: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused
        self.for_good = for_good


def open_session() -> aiohttp.ClientSession:
    """Return what streams are opened with: no proxies, cookies, redirects or decompression."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=_READ_AHEAD,
    )


async def offered_stream(client: BmcClient) -> str:
    """Return the path of the BMC's event stream, empty when it offers none. Raise BmcFault.

    Where the BMC filters, metric reports are left out.
    """
    service = link(await client.root(), "EventService")
    found = await client.get_optional(service) if service else None
    if found is None or found.body.get("ServiceEnabled") is False:
        return ""
    uri = reference(found.body.get("ServerSentEventUri"))
    if not uri:
        return ""
    path = client.local(uri)
    filters = section(found.body, "SSEFilterPropertiesSupported")
    if filters.get("EventFormatType") is True and "?" not in path:
        path += _FILTER
    return path


def unfiltered(path: str) -> str:
    """Return the path without our filter, which some BMCs offer and then refuse."""
    return path.removesuffix(_FILTER)


async def listen(
    http: aiohttp.ClientSession,
    client: BmcClient,
    path: str,
    parser: EventParser,
    on_event: OnEvent,
    *,
    silence: float,
) -> None:
    """Hand each event to ``on_event`` until the BMC ends the stream.

    ``silence`` is how many seconds may pass without a byte. Raise StreamBroken, and BmcFault when
    the login fails.
    """
    headers = {
        **await client.login_headers(),
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
        "Cache-Control": "no-cache",
    }
    if parser.last_id:
        headers["Last-Event-ID"] = parser.last_id
    connect = client.timings.connect
    try:
        async with http.get(
            URL(client.origin + path, encoded=True),
            headers=headers,
            ssl=_tls(client),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(sock_connect=connect, sock_read=silence),
        ) as response:
            _require_stream(response)
            await _read(response, parser, on_event)
    except aiohttp.ServerTimeoutError as error:
        raise StreamBroken(f"it was silent for {silence:.0f} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise StreamBroken(type(error).__name__) from error


def _require_stream(response: aiohttp.ClientResponse) -> None:
    if response.status != 200:
        raise StreamBroken(
            f"it was answered with {response.status}",
            refused=True,
            for_good=response.status in _NOT_THERE,
        )
    if response.content_type != "text/event-stream":
        raise StreamBroken(f"it is {response.content_type[:80]}, no event stream", for_good=True)


async def _read(response: aiohttp.ClientResponse, parser: EventParser, on_event: OnEvent) -> None:
    since, taken = anyio.current_time(), 0
    async for chunk in response.content.iter_any():
        for event in parser.feed(chunk):
            await on_event(event)
        taken += len(chunk)
        elapsed = anyio.current_time() - since
        if elapsed >= 1:
            since, taken = anyio.current_time(), 0
        elif taken > BYTES_PER_S:
            await anyio.sleep(1 - elapsed)


def _tls(client: BmcClient) -> ssl.SSLContext | aiohttp.Fingerprint | bool:
    bmc = client.bmc
    if bmc.fingerprint:
        return aiohttp.Fingerprint(bytes.fromhex(bmc.fingerprint.replace(":", "")))
    if bmc.pin:
        raise StreamBroken("its certificate is not pinned yet")
    return tls_context(client.ca_file or True) if bmc.verify else False
