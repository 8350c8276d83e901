"""First contact over TLS: the fingerprint of the certificate that a BMC shows, to be pinned."""

from hashlib import sha256
from urllib.parse import urlsplit

import anyio
from anyio.streams.tls import TLSAttribute, TLSStream

from mulligan.redfish.faults import BmcFault
from mulligan.redfish.transport import tls_context


async def certificate_fingerprint(address: str, *, limit: float = 10.0) -> str:
    """Return the sha256 (hex) of the certificate that ``address`` shows now.

    Nothing is verified and nothing but a handshake is sent: whoever pins it trusts the network of
    this moment. Takes ``limit`` seconds at most. Raise BmcFault: ``unreachable``, ``timeout``,
    ``tls`` when it speaks no TLS, ``bad-params`` for what is no https URL.
    """
    host, port = _place(address)
    try:
        with anyio.fail_after(limit):
            return await _shown(host, port)
    except TimeoutError:
        raise BmcFault(
            "timeout", f"{address} made no TLS connection within {limit:.0f} s; check the address"
        ) from None
    except OSError as error:
        raise BmcFault("unreachable", f"{address}: {error}; check the address and port") from None


async def _shown(host: str, port: int) -> str:
    async with await anyio.connect_tcp(host, port) as plain:
        try:
            stream = await TLSStream.wrap(
                plain, hostname=host, ssl_context=tls_context(False), standard_compatible=False
            )
        except (anyio.BrokenResourceError, anyio.EndOfStream, OSError) as error:
            raise BmcFault(
                "tls", f"https://{host}:{port} speaks no TLS that can be used: {error}"
            ) from None
        shown = stream.extra(TLSAttribute.peer_certificate_binary)
        if shown is None:
            raise BmcFault("tls", f"https://{host}:{port} shows no certificate")
        return sha256(shown).hexdigest()


def _place(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        port = parts.port or 443
    except ValueError:
        raise BmcFault("bad-params", f"{address[:80]!r} is no URL") from None
    if parts.scheme != "https" or not parts.hostname:
        raise BmcFault("bad-params", f"{address[:80]!r} is no https URL: it has no certificate")
    return parts.hostname, port
