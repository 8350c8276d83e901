"""One HTTP exchange with a BMC, blocking: the DMTF ``redfish`` client, made safe to depend on.

What the library (3.4) does by itself and why it is changed here, by reading ``redfish.rest.v1``:

- it retries ten times, writes included, a second apart: always called with ``max_retry=0``;
- it follows redirects and takes the session token along to another host: never followed here;
- it does not check TLS unless given a CA file, and knows no pinned certificate;
- it joins base URL and path as text, so that a path ``@host`` would go to another host;
- it reads bodies of any size, and takes proxies and ``.netrc`` from the environment;
- it logs request bodies at debug level.
"""

import logging
import re
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import msgspec
import requests
from redfish.rest.v1 import HttpClient, RetriesExhaustedError
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import InsecureRequestWarning
from urllib3.util.ssl_ import create_urllib3_context

from mulligan.events.machine import Bmc
from mulligan.redfish.turns import TurnedResponse, taking_turns, waiting

logging.getLogger("redfish.rest.v1").setLevel(logging.WARNING)
# Who opts out of checking is told so at enrolment and in each check; once a request is too often.
warnings.simplefilter("ignore", InsecureRequestWarning)

MAX_BODY = 4 * 1024 * 1024
"""Longest answer accepted, in bytes; a collection of 10,000 systems takes about 1 MiB."""


_OBJECT = re.compile(r"^<?[\w.]+(?:\(.*?\)| object at 0x[0-9a-f]+)>?: ")
"""urllib3 begins its messages with the connection that they are of, as Python shows it."""
_OTHER = re.compile(r'Fingerprints did not match\..* got "([0-9a-f]+)"')
_HEADERS = dict(requests.utils.default_headers())


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back: header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Broken(Exception):
    """No usable answer. ``sent`` tells that the request may have reached the BMC."""

    def __init__(self, fault: str, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
        self.sent = sent


class TooLarge(Exception):
    """The answer is longer than ``MAX_BODY``."""


class Abandoned(Exception):
    """Nobody waits for this exchange any more; it was stopped before it was sent."""


class Flight:
    """One exchange as seen from outside its thread: how far it came, and how to end it."""

    def __init__(self) -> None:
        self.sent = False
        self._abandoned = False
        self._connection: HTTPConnection | None = None
        self._lock = threading.Lock()

    def departs(self, connection: HTTPConnection) -> None:
        """Note that bytes are about to be sent; raise Abandoned when that is no longer wanted."""
        with self._lock:
            if self._abandoned:
                raise Abandoned
            self._connection = connection
            self.sent = True

    def lands(self) -> None:
        """Note that the thread is done; the connection may serve others from now on."""
        with self._lock:
            self._connection = None

    def abandon(self) -> None:
        """Have the thread return at once: nothing is sent from now on, no answer awaited."""
        with self._lock:
            self._abandoned = True
            sock = None if self._connection is None else self._connection.sock
        if sock is not None:
            try:
                # Wakes a thread that is blocked in recv, which close() would not.
                sock.shutdown(2)
            except OSError:
                return


class _Current(threading.local):
    flight: Flight | None = None


_current = _Current()


def _depart(connection: HTTPConnection) -> None:
    if _current.flight is not None:
        _current.flight.departs(connection)


class _PlainConnection(HTTPConnection):
    response_class = TurnedResponse

    def connect(self) -> None:
        with waiting():
            super().connect()
        _depart(self)

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            _depart(self)
        super().request(*args, **kwargs)


class _TlsConnection(HTTPSConnection):
    response_class = TurnedResponse

    def connect(self) -> None:
        with waiting():
            super().connect()
        _depart(self)

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            _depart(self)
        super().request(*args, **kwargs)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    """Few connections, a bounded body and, where asked for, a pinned certificate."""

    def __init__(self, fingerprint: str, authorities: str | bool) -> None:
        self._fingerprint = fingerprint
        self._authorities = authorities
        super().__init__(pool_connections=1, pool_maxsize=3)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if self._fingerprint:
            kwargs["assert_fingerprint"] = self._fingerprint
        kwargs["ssl_context"] = tls_context(self._authorities)
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the authorities to the context, which has read them once."""
        conn.cert_reqs = "CERT_REQUIRED" if self._authorities else "CERT_NONE"
        conn.ca_certs = conn.ca_cert_dir = None

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        response = super().send(*args, **kwargs)
        # ``requests`` reads the body itself unless it finds it read already.
        setattr(response, "_content", b"".join(_bounded(response)))  # noqa: B010
        setattr(response, "_content_consumed", True)  # noqa: B010
        return response


def _bounded(response: requests.Response) -> Iterator[bytes]:
    size = 0
    for chunk in response.iter_content(65536):
        size += len(chunk)
        if size > MAX_BODY:
            response.close()
            raise TooLarge
        yield chunk


class _Session:
    """What the library asks of a session: one of ``requests`` costs as much as the exchange."""

    def __init__(self, adapter: HTTPAdapter) -> None:
        self._adapter = adapter

    def request(
        self,
        method: str,
        url: str,
        *,
        data: str | None,
        headers: Mapping[str, str],
        timeout: tuple[float, float],
        verify: str | bool,
        **_: object,
    ) -> requests.Response:
        """Send one request; its answer is read to its end."""
        prepared = requests.PreparedRequest()
        prepared.prepare_method(method)
        prepared.prepare_url(url, None)
        prepared.prepare_headers({**_HEADERS, **headers})
        prepared.prepare_body(data, None)
        return self._adapter.send(prepared, timeout=timeout, verify=verify)

    def close(self) -> None:
        """Let go of idle connections."""
        self._adapter.close()


class Wire(HttpClient):  # type: ignore[misc]
    """The library's client with one way in: ``exchange``. Safe to call from several threads."""

    def __init__(self, origin: str, bmc: Bmc, *, connect: float, ca_file: str | None) -> None:
        authorities = _authorities(bmc, ca_file)
        adapter = _Adapter(bmc.fingerprint, authorities)
        super().__init__(
            origin,
            cafile=authorities,
            max_retry=0,
            check_connectivity=False,
            https_adapter=adapter,
        )
        self._connect_timeout = connect
        self._session = _Session(adapter)

    def exchange(
        self, flight: Flight, method: str, path: str, call: "Call", on_ms: Callable[[int], None]
    ) -> Answer:
        """Send one request, block, and return the answer whatever its status; raise Broken."""
        _current.flight = flight
        start = time.monotonic()
        try:
            with taking_turns():
                response = self._rest_request(
                    path,
                    method=method,
                    body=call.body,
                    headers=dict(call.headers),
                    timeout=(self._connect_timeout, call.read_timeout),
                    allow_redirects=False,
                    max_retry=0,
                )
        except RetriesExhaustedError as error:
            raise broken(error.__cause__ or error, flight) from error
        finally:
            _current.flight = None
            flight.lands()
            on_ms(round((time.monotonic() - start) * 1000))
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=response.read,
        )

    def close_connections(self) -> None:
        """Let go of idle connections; the next exchange opens one again."""
        self._session.close()


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """The variable part of an exchange; the time-out is in seconds between two bytes."""

    read_timeout: float
    body: dict[str, Any] | None = None
    headers: Mapping[str, str] = {}


def _authorities(bmc: Bmc, ca_file: str | None) -> str | bool:
    # A pinned certificate is most often self-signed: the pin replaces the chain. The library
    # hands this value to ``requests``, where True means the bundled authorities.
    if bmc.fingerprint or not bmc.verify:
        return False
    return ca_file or True


@cache
def tls_context(authorities: str | bool) -> ssl.SSLContext:
    """Return the one context for these authorities: reading them takes longer than a request.

    True are those that the host trusts, not the bundle that ``requests`` brings.
    """
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if authorities else ssl.CERT_NONE)
    if authorities is True:
        context.load_default_certs()
    elif authorities:
        context.load_verify_locations(authorities)
    return context


def _untrusted(said: str) -> str:
    """Return why a certificate is not trusted; of one that is not the pinned one, its digest."""
    other = _OTHER.search(said)
    return f"shows another certificate than the pinned one: {other[1]}" if other else said


def broken(error: BaseException, flight: Flight) -> Broken:
    """Map what the libraries raise to a class of fault and whether the request was sent."""
    sent = flight.sent
    match error:
        case TooLarge():
            return Broken("bad-answer", f"answered with more than {MAX_BODY} bytes", sent=sent)
        case Abandoned():
            return Broken("timeout", "was given up before it was sent", sent=False)
        case requests.exceptions.SSLError() if not sent:
            return Broken("tls", _untrusted(_innermost(error)), sent=False)
        case requests.exceptions.ConnectTimeout():
            return Broken("unreachable", "no connection within the time allowed", sent=False)
        case requests.exceptions.Timeout():
            return Broken("timeout", "no answer within the time allowed", sent=sent)
        case _ if sent:
            if "timed out" in str(error).lower():
                return Broken("timeout", "the answer stopped half-way", sent=True)
            return Broken("dropped", "closed the connection before it had answered", sent=True)
        case _:
            return Broken("unreachable", _innermost(error), sent=False)


def _innermost(error: BaseException) -> str:
    """Return the cause below the libraries' wrappers, on one line."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        reason = getattr(error, "reason", None)
        inner = reason if isinstance(reason, BaseException) else None
        inner = inner or next((a for a in error.args if isinstance(a, BaseException)), None)
        if inner is None:
            break
        error = inner
    text = _OBJECT.sub("", str(error))
    return " ".join((text or type(error).__name__).split())[:200]
