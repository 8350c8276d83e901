"""One BMC, asked politely: bounded, authenticated, timed, and honest about unknown outcomes."""

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

import anyio
import anyio.to_thread
import msgspec
from anyio import get_cancelled_exc_class

from mulligan.events.machine import Bmc, Exchange
from mulligan.model import utc_now
from mulligan.redfish.answers import (
    ABSENT,
    Reply,
    complaint,
    decode,
    judge,
    last_segment,
    link,
    links,
    local_path,
    retry_after,
    scrubbed,
    text,
)
from mulligan.redfish.auth import Authentication, Login
from mulligan.redfish.digests import digest, keep, note, redact
from mulligan.redfish.faults import Ambiguous, BmcFault
from mulligan.redfish.transport import Answer, Broken, Call, Flight, Wire

__all__ = ["BmcClient", "Login", "Timings"]

_MAX_PAGES = 50
_READABLE = {"GET", "HEAD"}
_UNDER_WAY = {"New", "Starting", "Running", "Pending", "Suspended", "Interrupted", "Service",
              "Stopping", "Cancelling"}  # fmt: skip
_TASK_FAILED = {"Exception", "Killed", "Cancelled"}


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait for what, in seconds; tests use shorter ones."""

    connect: float = 10.0
    read: float = 60.0
    slow: float = 240.0
    slack: float = 5.0
    """Added to connect and read for an exchange as a whole, which a trickle would stretch."""
    get_pauses: tuple[float, ...] = (0.5, 2.0)
    """Between the tries of a GET that met a 5xx or a dropped connection."""
    media_pause: float = 3.0
    """Between the tries of a virtual media action that met a 5xx."""
    poll: float = 1.0
    look_for: float = 15.0
    """How long an effect may take to show before it counts as not applied."""
    power: float = 120.0
    graceful: float = 300.0
    ready: float = 180.0
    task: float = 600.0


class BmcClient:
    """The one client of one system's BMC: at most one write and two reads at a time.

    ``limiter`` bounds the threads of the whole process and is shared by all clients. Cancelling a
    call returns at once: the thread is woken, and a request not yet sent never is.
    """

    def __init__(
        self,
        bmc: Bmc,
        login: Login,
        *,
        limiter: anyio.CapacityLimiter,
        timings: Timings | None = None,
        ca_file: str | None = None,
    ) -> None:
        self.bmc = bmc
        self.timings = timings or Timings()
        self.origin = _origin(bmc.address)
        self._limiter = limiter
        self._own = anyio.CapacityLimiter(4)
        self._reads = anyio.Semaphore(2)
        self._writes = anyio.Lock()
        self._opening = anyio.Lock()
        self._wire = Wire(self.origin, bmc, connect=self.timings.connect, ca_file=ca_file)
        self._auth = Authentication(self.origin, login, self._wire, self._call, self.root)
        self._root: dict[str, Any] | None = None
        self._system_path = ""

    # -- reading -----------------------------------------------------------------------------

    async def get(self, path: str, *, pauses: tuple[float, ...] | None = None) -> Reply:
        """Return a resource; tries again on 5xx and dropped connections. Raise BmcFault.

        ``pauses`` are the seconds before each further try, ``timings.get_pauses`` by default.
        """
        path = self._local(path)
        for pause in self.timings.get_pauses if pauses is None else pauses:
            try:
                return await self._get_once(path)
            except BmcFault as fault:
                if not _worth_repeating(fault):
                    raise
            await anyio.sleep(pause)
        return await self._get_once(path)

    async def get_optional(self, path: str) -> Reply | None:
        """Return a resource, None when the BMC says by 404, 405 or 501 that it has none.

        It is tried again once only: some BMCs answer 500 for what they do not have.
        """
        try:
            return await self.get(path, pauses=self.timings.get_pauses[:1])
        except BmcFault as fault:
            if fault.status in ABSENT:
                return None
            raise

    async def members(self, path: str, *, limit: int = 1000) -> list[str]:
        """Return the paths of a collection's members, at most ``limit``, over all its pages."""
        found: list[str] = []
        following = path
        for _ in range(_MAX_PAGES):
            reply = await self.get(following)
            found += links(reply.body.get("Members"))
            following = text(reply.body.get("Members@odata.nextLink"))
            if not following or len(found) >= limit:
                break
        return found[:limit]

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
            fault = judge(self.origin, "GET", path, answer)
            if fault is None:
                return self._checked_root(decode(self.origin, path, answer))
            if fault.fault in ("unsupported", "refused"):
                raise BmcFault("not-redfish", f"{fault.message}; {_NO_REDFISH}")
            if pause is None or not _worth_repeating(fault):
                raise fault
            await anyio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _checked_root(self, body: dict[str, Any]) -> dict[str, Any]:
        if not (text(body.get("RedfishVersion")) or link(body, "Systems")):
            raise BmcFault("not-redfish", f"{self.origin} is no Redfish service; {_NO_REDFISH}")
        return body

    async def system_path(self) -> str:
        """Return the path of this machine's system.

        Raise ``no-such-system``, or ``ambiguous-system`` when none was named and there are several.
        """
        if not self._system_path:
            collection = link(await self.root(), "Systems") or "/redfish/v1/Systems"
            self._system_path = await self._find_system(collection)
        return self._system_path

    async def _find_system(self, collection: str) -> str:
        wanted = self.bmc.system
        if wanted:
            direct = f"{collection.rstrip('/')}/{quote(wanted, safe='')}"
            if await self.get_optional(direct) is not None:
                return direct
        systems = await self.members(collection)
        if wanted:
            matching = [path for path in systems if last_segment(path) == wanted]
            if matching:
                return matching[0]
            raise BmcFault(
                "no-such-system",
                f"{self.origin} has no system {wanted!r}; {_choice(systems)}",
            )
        if len(systems) == 1:
            return systems[0]
        if not systems:
            raise BmcFault("no-such-system", f"{self.origin} lists no system at all")
        raise BmcFault(
            "ambiguous-system",
            f"{self.origin} has {len(systems)} systems and the machine names none; "
            f"{_choice(systems)}",
        )

    async def system(self) -> Reply:
        """Return this machine's system as it is now."""
        return await self.get(await self.system_path())

    async def _get_once(self, path: str) -> Reply:
        async with self._reads:
            answer = await self._ask("GET", path)
        target = answer.headers.get("location", "")
        if answer.status in (301, 302, 307, 308) and target:
            path = self._local(target)
            async with self._reads:
                answer = await self._ask("GET", path)
        return self._reply("GET", path, answer)

    # -- writing -----------------------------------------------------------------------------

    async def post(self, path: str, body: dict[str, Any], *, slow: bool = False) -> Reply:
        """Send one POST and follow its task, if any. Raise Ambiguous when its outcome is open.

        Any other BmcFault means that it was not applied.
        """
        path = self._local(path)
        async with self._writes:
            answer = await self._ask("POST", path, body=body, slow=slow)
        return await self._completed("POST", path, answer)

    async def patch(self, path: str, body: dict[str, Any], *, etag: str = "") -> Reply:
        """Send one PATCH under ``etag``; on 412 re-read it and try weak, strong and none.

        Each dropped condition is noted. Raises like ``post``.
        """
        path = self._local(path)
        async with self._writes:
            answer = await self._ask("PATCH", path, body=body, headers=_if_match(etag))
            if answer.status == 412:
                answer = await self._patch_anyway(path, body, etag)
        return await self._completed("PATCH", path, answer)

    async def _patch_anyway(self, path: str, body: dict[str, Any], refused: str) -> Answer:
        fresh = (await self._get_once(path)).etag
        strong = fresh.removeprefix("W/")
        tried = {refused}
        answer: Answer | None = None
        for tag in (fresh, f"W/{strong}" if strong else "", strong, ""):
            if tag in tried:
                continue
            tried.add(tag)
            note(f"PATCH {path}: 412, so its condition became {tag or 'none'}")
            answer = await self._ask("PATCH", path, body=body, headers=_if_match(tag))
            if answer.status != 412:
                break
        if answer is None:
            raise BmcFault("refused", f"{self.origin} answered PATCH {path} with 412 without cause")
        return answer

    async def _completed(self, method: str, path: str, answer: Answer) -> Reply:
        if answer.status != 202:
            return self._reply(method, path, answer)
        monitor = answer.headers.get("location", "")
        if not monitor:
            note(f"{method} {path}: 202 without a task monitor")
            return Reply(path=path, status=202, body={})
        return await self._follow(method, path, self._local(monitor), answer)

    async def _follow(self, method: str, path: str, monitor: str, answer: Answer) -> Reply:
        """Wait for a task's end; what cannot be learnt of it is Ambiguous."""
        note(f"{method} {path}: followed task {monitor}")
        what = f"{self.origin}: the task of {method} {path} ({monitor})"
        trouble = "is still under way"
        with anyio.move_on_after(self.timings.task):
            while True:
                await anyio.sleep(retry_after(answer.headers, utc_now()))
                try:
                    async with self._reads:
                        answer = await self._ask("GET", monitor)
                    if _ended(what, monitor, answer):
                        return Reply(path=path, status=answer.status, body={})
                except BmcFault as fault:
                    if isinstance(fault, Ambiguous) or not fault.heals:
                        raise
                    trouble = fault.message
        raise Ambiguous(f"{what} has no end after {self.timings.task:.0f} s: {trouble}")

    # -- one request -------------------------------------------------------------------------

    async def _ask(
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
            if answer.status == 401:
                raise self._auth.rejected()
        self._auth.proven()
        return answer

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        slow: bool = False,
    ) -> Answer:
        """Make one exchange in a thread and keep its digest, whatever comes of it."""
        read = self.timings.slow if slow else self.timings.read
        call = Call(read_timeout=read, body=body, headers=headers or {})
        flight = Flight()
        took: list[int] = []
        try:
            async with self._limiter:
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

    def _reply(self, method: str, path: str, answer: Answer) -> Reply:
        fault = judge(self.origin, method, path, answer)
        if fault is not None:
            raise fault
        body: dict[str, Any] = {}
        if method in _READABLE:
            body = decode(self.origin, path, answer)
        etag = answer.headers.get("etag", "") or text(body.get("@odata.etag"))
        return Reply(path=path, status=answer.status, body=body, etag=etag)

    def _local(self, path: str) -> str:
        try:
            return local_path(path, self.origin)
        except ValueError as error:
            raise BmcFault(
                "not-redfish",
                f"{self.origin} refers to a place that is not its own: {error}; it is not followed",
            ) from None

    # -- life --------------------------------------------------------------------------------

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


def _ended(what: str, monitor: str, answer: Answer) -> bool:
    """Tell whether a task's monitor says that it is done; raise when it says that it failed."""
    if answer.status == 202:
        return False
    fault = judge(what, "GET", monitor, answer)
    if fault is not None and answer.status in (404, 410):
        raise Ambiguous(f"{what} is gone without a result", status=answer.status)
    if fault is not None:
        raise fault
    state = text(decode(what, monitor, answer).get("TaskState"))
    if state in _TASK_FAILED:
        raise BmcFault("refused", f"{what} ended as {state}: {complaint(answer) or 'no reason'}")
    return state not in _UNDER_WAY


def _worth_repeating(fault: BmcFault) -> bool:
    return fault.fault in ("server-error", "dropped") or fault.status == 503


def _if_match(etag: str) -> dict[str, str]:
    return {"If-Match": etag} if etag else {}


def _choice(systems: list[str]) -> str:
    names = ", ".join(last_segment(path) for path in systems[:5])
    more = f" and {len(systems) - 5} more" if len(systems) > 5 else ""
    return f"enrol it with one of: {names}{more}" if names else "it lists none"
