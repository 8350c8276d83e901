"""Looking for BMCs by their service root, which needs no login; nothing is written anywhere."""

import ipaddress
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from urllib.parse import urlsplit

import aiohttp
import anyio
import msgspec

from mulligan.errors import InvalidArgument
from mulligan.redfish.answers import Json, link, text
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.first_contact import certificate_fingerprint

MAX_ADDRESSES = 4096
AT_ONCE = 128
_LONGEST = 256 * 1024
"""Bytes of a service root that are read; real ones have a few thousand."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What an address answered; ``problem`` says why it is no BMC, empty when it is one."""

    address: str
    problem: str = ""
    redfish_version: str = ""
    vendor: str = ""
    product: str = ""
    service_uuid: str = ""
    fingerprint: str = ""


def addresses_of(given: Sequence[str], *, port: int, scheme: str) -> list[str]:
    """Return the base URLs that are meant: hosts, URLs, and the hosts of networks.

    Raise InvalidArgument naming the one that cannot be read, or when there are more than 4,096.
    """
    found: dict[str, None] = {}
    for index, one in enumerate(given):
        for address in _expanded(one.strip(), f"addresses[{index}]", port, scheme):
            found[address] = None
            if len(found) > MAX_ADDRESSES:
                raise InvalidArgument(
                    "addresses", f"at most {MAX_ADDRESSES} at once; scan in parts"
                )
    if not found:
        raise InvalidArgument("addresses", "give at least one host or network")
    return list(found)


def _expanded(one: str, field: str, port: int, scheme: str) -> Iterator[str]:
    if "/" in one and "://" not in one:
        try:
            network = ipaddress.ip_network(one, strict=False)
        except ValueError as error:
            raise InvalidArgument(field, f"{one!r} is no network: {error}") from error
        if network.num_addresses > MAX_ADDRESSES + 2:
            raise InvalidArgument(field, f"{one} has more than {MAX_ADDRESSES} hosts")
        yield from (_base(str(host), field, port, scheme) for host in network.hosts())
        return
    yield _base(one, field, port, scheme)


def _base(one: str, field: str, port: int, scheme: str) -> str:
    """Return ``https://host[:port]``; raise InvalidArgument for what is none."""
    if "://" not in one and one.count(":") > 1 and not one.startswith("["):
        one = f"[{one}]"
    try:
        parts = urlsplit(one if "://" in one else f"{scheme}://{one}")
        host, own = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidArgument(field, f"{one!r}: {error}") from error
    bare = parts.path in {"", "/"} and not parts.query and parts.username is None
    bare = bare and re.fullmatch(r"[!-~]{1,512}", one) is not None
    if parts.scheme not in {"http", "https"} or not host or not bare or own == 0:
        raise InvalidArgument(field, f"{one!r}: write HOST, HOST:PORT or https://HOST[:PORT]")
    name = f"[{host}]" if ":" in host else host
    used = own or port
    return f"{parts.scheme}://{name}:{used}" if used else f"{parts.scheme}://{name}"


async def scan(addresses: Sequence[str], *, limit: float = 8.0) -> AsyncGenerator[Found, None]:
    """Yield what each address answers, as they come, 128 at a time, each within ``limit`` s."""
    send, receive = anyio.create_memory_object_stream[Found](AT_ONCE)
    slots = anyio.Semaphore(AT_ONCE)

    async def look(http: aiohttp.ClientSession, address: str) -> None:
        async with slots:
            await send.send(await _look(http, address, limit))

    async def look_at_all() -> None:
        async with send, _session() as http, anyio.create_task_group() as group:
            for address in addresses:
                group.start_soon(look, http, address)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look_at_all)
        async with receive:
            async for found in receive:
                yield found


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True, ssl=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


async def _look(http: aiohttp.ClientSession, address: str, limit: float) -> Found:
    try:
        with anyio.fail_after(limit):
            body = await _root(http, address)
            fingerprint = ""
            if address.startswith("https:"):
                fingerprint = await certificate_fingerprint(address, limit=limit)
    except TimeoutError:
        return Found(address=address, problem=f"no answer within {limit:g} s")
    except (aiohttp.ClientError, OSError) as error:
        return Found(address=address, problem=_words(error))
    except BmcFault as fault:
        return Found(address=address, problem=fault.message)
    if body is None:
        return Found(address=address, problem="something answers that is no Redfish service")
    return Found(
        address=address,
        redfish_version=_clipped(body, "RedfishVersion"),
        vendor=_clipped(body, "Vendor") or _oem_vendor(body),
        product=_clipped(body, "Product"),
        service_uuid=_clipped(body, "UUID"),
        fingerprint=fingerprint,
    )


async def _root(http: aiohttp.ClientSession, address: str) -> Json | None:
    """Return the service root, None for anything else; without a login or a redirect."""
    url = f"{address}/redfish/v1/"
    async with http.get(url, allow_redirects=False) as response:
        if response.status != 200:
            return None
        raw = bytearray()
        async for chunk in response.content.iter_any():
            raw += chunk
            if len(raw) > _LONGEST:
                return None
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    return body if text(body.get("RedfishVersion")) or link(body, "Systems") else None


def _oem_vendor(body: Json) -> str:
    """Return the vendor by the first key below Oem: firmware before Redfish 1.5 names none."""
    oem = body.get("Oem")
    return text(next(iter(oem)))[:128] if isinstance(oem, dict) and oem else ""


def _clipped(body: Json, key: str) -> str:
    return text(body.get(key))[:128]


def _words(error: BaseException) -> str:
    words = " ".join(str(error).split())[:160]
    return words or type(error).__name__
