"""Requests to one BMC: authenticated, timed, bounded, recorded; one place for every exchange."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import msgspec
from anyio import get_cancelled_exc_class

from mulligan import tracing
from mulligan.events.machine import Bmc, Exchange
from mulligan.model import utc_now
from mulligan.redfish.answers import (
    complaint,
    decode,
    judge,
    link,
    local_path,
    retry_after,
    scrubbed,
    text,
)
from mulligan.redfish.auth import USUAL, Authentication, Breaker, Login, LoginTerms
from mulligan.redfish.digests import digest, keep, note, redact
from mulligan.redfish.faults import Ambiguous, BmcFault
from mulligan.redfish.transport import Answer, Broken, Call, Flight, Wire

_READABLE = {"GET", "HEAD"}


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait for what, in seconds; tests use shorter ones."""

    connect: float = 10.0
    read: float = 60.0
    slow: float = 240.0
    slack: float = 5.0
    """Added to connect and read for an exchange as a whole, which a trickle would stretch."""
    patience: float = 0.25
    """How long a request keeps its place among those of all BMCs."""
    get_pauses: tuple[float, ...] = (0.5, 2.0)
    """Between the tries of a GET that met a 5xx or a dropped connection."""
    write_pauses: tuple[float, ...] = (1.0, 5.0)
    """Between the tries of a write that is known not to have been applied."""
    least_retry: float = 1.0
    """The least that a Retry-After counts for."""
    session_again: float = 300.0
    """When a BMC that gave no session is asked for one again."""
    media_pause: float = 3.0
    """Between the tries of a virtual media action that met a 5xx."""
    poll: float = 1.0
    settle: float = 30.0
    """How long a machine may be powering on or off before that is taken for its state."""
    look_for: float = 15.0
    """How long an effect may take to show before it counts as not applied."""
    power: float = 120.0
    graceful: float = 300.0
    ready: float = 180.0
    boot: float = 1200.0
    """How long a BMC that tells the boot's progress may take to tell that it began."""
    post: float = 300.0
    """How long firmware may take to come to booting, where the BMC tells nothing of it."""
    task: float = 600.0


OnExchange = Callable[[str, str, float], None]
"""Takes the method of an exchange, its outcome (2xx, 4xx, … or a fault), and its seconds."""


def _untold(method: str, outcome: str, seconds: float) -> None:
    """Tell nobody."""


class Channel:
    """The way to one BMC.

    ``limiter`` bounds the requests of the whole process and is shared by all channels. A request
    that takes longer than ``timings.patience`` gives its place back, so that slow BMCs hold up no
    other; they hold at most four threads each. Cancelling a call returns at once: the thread is
    woken, and a request not yet sent never is.
    """

    def __init__(
        self,
        bmc: Bmc,
        login: Login,
        *,
        limiter: anyio.CapacityLimiter,
        timings: Timings,
        ca_file: str | None,
        breaker: Breaker | None = None,
        terms: LoginTerms = USUAL,
        on_exchange: OnExchange = _untold,
    ) -> None:
        self._on_exchange = on_exchange
        self.timings = timings
        self.origin = _origin(bmc.address)
        self._limiter = limiter
        self._own = anyio.CapacityLimiter(4)
        self._opening = anyio.Lock(fast_acquire=True)
        self._wire = self._wired(bmc, ca_file)
        self._auth = Authentication(
            self.origin,
            login,
            self._wire,
            self._call,
            self.root,
            again=timings.session_again,
            breaker=breaker,
            terms=terms,
        )
        self._root: dict[str, Any] | None = None

    def _wired(self, bmc: Bmc, ca_file: str | None) -> Wire:
        return Wire(self.origin, bmc, connect=self.timings.connect, ca_file=ca_file)

    async def root(self) -> dict[str, Any]:
        """Return the service root, read without credentials once and kept.

        Empty when the BMC wants credentials even for that. Raise ``not-redfish`` for anything
        that is no Redfish service.
        """
        async with self._opening:
            if self._root is None:
                self._root = await self._read_root()
            return self._root

    async def _read_root(self) -> dict[str, Any]:
        path = "/redfish/v1/"
        for pause in (*self.timings.get_pauses, None):
            answer = await self._call("GET", path)
            if answer.status == 401:
                note("the BMC wants credentials for its service root, against the standard")
                return {}
            fault = self.judge("GET", path, answer)
            if fault is None:
                return self._checked_root(decode(self.origin, path, answer))
            if fault.fault in ("unsupported", "refused"):
                raise BmcFault("not-redfish", f"{fault.message}; {_NO_REDFISH}")
            if pause is None or not worth_repeating(fault):
                raise fault
            await anyio.sleep(max(pause, fault.retry_after))
        raise AssertionError("the last try returns or raises")

    def _checked_root(self, body: dict[str, Any]) -> dict[str, Any]:
        if not (text(body.get("RedfishVersion")) or link(body, "Systems")):
            raise BmcFault("not-redfish", f"{self.origin} is no Redfish service; {_NO_REDFISH}")
        return body

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        slow: bool = False,
    ) -> Answer:
        """Send one authenticated request; on 401 log in again, once."""
        ticket = await self._auth.ticket()
        answer = await self._call(method, path, body=body, headers=headers, slow=slow)
        if answer.status == 401:
            await self._auth.renew(ticket)
            answer = await self._call(method, path, body=body, headers=headers, slow=slow)
            if answer.status == 401 and self._auth.may_go_by_spare:
                await self._auth.renew(await self._auth.ticket())
                answer = await self._call(method, path, body=body, headers=headers, slow=slow)
            if answer.status == 401:
                raise self._auth.refused_again(method, path)
        if answer.status < 500 and answer.status not in (408, 429):
            self._auth.proven()
        return answer

    def judge(self, method: str, path: str, answer: Answer) -> BmcFault | None:
        """Return what is wrong with an answer, None when it is good."""
        fault = judge(self.origin, method, path, answer)
        if fault is not None and "retry-after" in answer.headers:
            fault.retry_after = self.wanted_pause(answer)
        return fault

    def wanted_pause(self, answer: Answer) -> float:
        """Return how long the BMC wants to be left alone, in seconds; a poll if it does not say."""
        timings = self.timings
        return retry_after(answer.headers, utc_now(), timings.poll, timings.least_retry)

    async def prove_login(self) -> None:
        """Log in; where there are no sessions, by reading something that needs it."""
        if await self._auth.by_session():
            self._auth.proven()
            return
        path = self.local(link(await self.root(), "Systems") or "/redfish/v1/Systems")
        fault = self.judge("GET", path, await self.ask("GET", path))
        if fault is not None and fault.heals:
            raise fault

    @property
    def login_was_refused(self) -> bool:
        """Whether this very login is the last that the account was refused."""
        return self._auth.was_refused

    @property
    def expired_account(self) -> str:
        """The path of the account that is logged in, if it may only change its password."""
        return self._auth.expired_account

    async def login_headers(self) -> dict[str, str]:
        """Be logged in, and return the headers that say so; they are secret. Raise BmcFault."""
        return await self._auth.headers()

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        slow: bool = False,
    ) -> Answer:
        """Make one exchange, as a span of its own, and tell of it."""
        began, outcome = anyio.current_time(), "cancelled"
        about = {"http.request.method": method, "url.path": path, "server.address": self.origin}
        with tracing.span(f"redfish {method}", "client", about) as span:
            try:
                answer = await self._exchange(method, path, body, headers, slow=slow)
                outcome = f"{answer.status // 100}xx"
                span.set("http.response.status_code", answer.status)
                return answer
            except BmcFault as fault:
                outcome = fault.fault
                raise
            finally:
                self._on_exchange(method, outcome, anyio.current_time() - began)

    async def _exchange(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        headers: Mapping[str, str] | None,
        *,
        slow: bool,
    ) -> Answer:
        """Make one exchange in a thread and keep its digest, whatever comes of it."""
        read = self.timings.slow if slow else self.timings.read
        call = Call(read_timeout=read, body=body, headers=headers or {})
        flight = Flight()
        took: list[int] = []
        try:
            async with _Place(self._limiter, self.timings.patience):
                answer = await self._fly(flight, method, path, call, took)
        except Broken as broken:
            said = redact(broken.detail, self._auth.secrets)
            keep(Exchange(method=method, path=path, status=0, ms=sum(took), excerpt=said))
            raise self._fault(method, path, broken, said) from broken
        excerpt = ""
        body_sha256 = digest(answer.body)
        if answer.status >= 400:
            # Messages and digests quote errors, and some BMCs echo what they were sent.
            answer = scrubbed(answer, self._auth.secrets)
            excerpt = complaint(answer)
        keep(
            Exchange(
                method=method,
                path=path,
                status=answer.status,
                ms=sum(took),
                body_sha256=body_sha256,
                excerpt=excerpt,
            )
        )
        return answer

    async def _fly(
        self, flight: Flight, method: str, path: str, call: Call, took: list[int]
    ) -> Answer:
        limit = self.timings.connect + call.read_timeout + self.timings.slack
        exchange = partial(self._wire.exchange, flight, method, path, call, took.append)
        try:
            with anyio.fail_after(limit):
                return await anyio.to_thread.run_sync(
                    exchange, abandon_on_cancel=True, limiter=self._own
                )
        except TimeoutError:
            flight.abandon()
            took.append(round(limit * 1000))
            detail = f"no complete answer within {limit:.0f} s"
            raise Broken("timeout", detail, sent=flight.sent) from None
        except get_cancelled_exc_class():
            flight.abandon()
            raise

    def _fault(self, method: str, path: str, broken: Broken, said: str) -> BmcFault:
        if broken.sent and method not in _READABLE:
            return Ambiguous(f"{self.origin}: {method} {path} was sent, then: {said}")
        return BmcFault(
            broken.fault, f"{self.origin}: {method} {path}: {said}; {_FIX[broken.fault]}"
        )

    def local(self, path: str) -> str:
        """Return ``path`` as one of this BMC; raise ``not-redfish`` when it leads elsewhere."""
        try:
            return local_path(path, self.origin)
        except ValueError as error:
            raise BmcFault(
                "not-redfish",
                f"{self.origin} refers to a place that is not its own: {error}; it is not followed",
            ) from None

    def reset_breaker(self) -> None:
        """Allow logins again after they were stopped to avoid a lock-out."""
        self._auth.reset_breaker()

    def release_connections(self) -> None:
        """Close idle connections; the session with the BMC stays."""
        self._wire.close_connections()

    async def close(self) -> None:
        """End the session with the BMC and let go of everything; never raises BmcFault."""
        with anyio.move_on_after(self.timings.connect):
            await self._auth.log_out()
        self._wire.close_connections()


_NO_REDFISH = "check the address and port, and that Redfish is enabled on the BMC"
_FIX = {
    "unreachable": "check that the BMC is powered, its address and port, and the network between",
    "timeout": "the BMC is overloaded or hangs; it is tried again, else reset the BMC",
    "dropped": "it is tried again; else reset the BMC",
    "tls": "check the certificate: trust its CA, pin its fingerprint, or opt out for this BMC",
    "bad-answer": "check that the address is that of a BMC",
}


def _origin(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise BmcFault("bad-params", f"BMC address {parts.hostname or ''!r} is no http(s) URL")
    return f"{parts.scheme}://{parts.netloc}"


class _Place:
    """A place in a limiter that is given back at the end, or when its time is over."""

    def __init__(self, limiter: anyio.CapacityLimiter, patience: float) -> None:
        self._limiter = limiter
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        await self._limiter.acquire_on_behalf_of(self)
        self._timer = asyncio.get_running_loop().call_later(self._patience, self._leave)

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._leave()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer = None
            self._limiter.release_on_behalf_of(self)


def worth_repeating(fault: BmcFault) -> bool:
    """Tell whether a read that met this may go through a moment later."""
    return fault.fault in ("server-error", "dropped") or fault.status in (429, 503)


def asks_to_wait(answer: Answer) -> bool:
    """Tell whether the BMC refused for now and said when to come again."""
    return answer.status in (429, 503) and "retry-after" in answer.headers
