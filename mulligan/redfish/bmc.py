"""One BMC as a machine's steps see it: read freely, write once, say when an outcome is open."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import anyio

from mulligan.events.machine import Bmc
from mulligan.redfish.answers import (
    ABSENT,
    Reply,
    decode,
    last_segment,
    link,
    links,
    own_path,
    reference,
    text,
)
from mulligan.redfish.auth import USUAL, Breaker, Login, LoginTerms
from mulligan.redfish.channel import Channel, Timings, asks_to_wait, worth_repeating
from mulligan.redfish.digests import note
from mulligan.redfish.faults import Ambiguous, BmcFault
from mulligan.redfish.tasks import has_ended, monitor_in, report_monitor
from mulligan.redfish.transport import Answer

__all__ = ["BmcClient", "Login", "Timings"]

_MAX_PAGES = 50
_FAILED_LOOKS = 5
_NOTHING = Answer(status=0, headers={}, body=b"")


class BmcClient:
    """The one client of one system's BMC: at most one write and two reads at a time.

    ``limiter`` bounds the threads of the whole process and is shared by all clients, ``breaker`` by
    the clients of one account of one BMC; ``terms`` say how to log in; ``channel`` makes the way
    there. Cancelling a call returns at once: the thread is woken, and a request not yet sent never
    is.
    """

    def __init__(
        self,
        bmc: Bmc,
        login: Login,
        *,
        limiter: anyio.CapacityLimiter,
        timings: Timings | None = None,
        ca_file: str | None = None,
        breaker: Breaker | None = None,
        terms: LoginTerms = USUAL,
        channel: Callable[..., Channel] = Channel,
    ) -> None:
        self.bmc = bmc
        self.timings = timings or Timings()
        self.ca_file = ca_file
        self._channel = channel(
            bmc,
            login,
            limiter=limiter,
            timings=self.timings,
            ca_file=ca_file,
            breaker=breaker,
            terms=terms,
        )
        self.origin = self._channel.origin
        self._reads = anyio.Semaphore(2, fast_acquire=True)
        self._writes = anyio.Lock(fast_acquire=True)
        self._system_path = ""

    # -- reading -----------------------------------------------------------------------------

    async def get(self, path: str, *, pauses: tuple[float, ...] | None = None) -> Reply:
        """Return a resource; tries again on 5xx and dropped connections. Raise BmcFault.

        ``pauses`` are the seconds before each further try, ``timings.get_pauses`` by default; a
        BMC that asks for more by Retry-After is given it.
        """
        path = self._channel.local(path)
        for pause in self.timings.get_pauses if pauses is None else pauses:
            try:
                return await self._get_once(path)
            except BmcFault as fault:
                if not worth_repeating(fault):
                    raise
                pause = max(pause, fault.retry_after)
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
            following = reference(reply.body.get("Members@odata.nextLink"))
            if not following or len(found) >= limit:
                break
        return found[:limit]

    async def root(self) -> dict[str, Any]:
        """Return the service root; empty when the BMC wants credentials even for that."""
        return await self._channel.root()

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
            answer = await self._channel.ask("GET", path)
        target = answer.headers.get("location", "")
        if answer.status in (301, 302, 307, 308) and target:
            path = self._channel.local(target)
            async with self._reads:
                answer = await self._channel.ask("GET", path)
        return self._reply("GET", path, answer)

    # -- writing -----------------------------------------------------------------------------

    async def post(self, path: str, body: dict[str, Any], *, slow: bool = False) -> Reply:
        """Send one POST and follow its task, if any. Raise Ambiguous when its outcome is open.

        Any other BmcFault means that it was not applied.
        """
        path = self._channel.local(path)
        async with self._writes:
            answer = await self._write("POST", path, body, slow=slow)
        return await self._completed("POST", path, answer)

    async def patch(self, path: str, body: dict[str, Any], *, etag: str = "") -> Reply:
        """Send one PATCH under ``etag``; on 412 re-read it and try weak, strong and none.

        Each dropped condition is noted. Raises like ``post``.
        """
        path = self._channel.local(path)
        async with self._writes:
            answer = await self._write("PATCH", path, body, etag=etag)
            if answer.status == 412:
                answer = await self._patch_anyway(path, body, etag)
        return await self._completed("PATCH", path, answer)

    async def delete(self, path: str) -> Reply:
        """Send one DELETE. Raises like ``post``."""
        path = self._channel.local(path)
        async with self._writes:
            answer = await self._write("DELETE", path, None)
        return await self._completed("DELETE", path, answer)

    async def _write(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        *,
        etag: str = "",
        slow: bool = False,
    ) -> Answer:
        """Send a write, and again only where it is known not to have been applied.

        That is so when no connection came about, and when the BMC refuses by 429 or 503 and says
        by Retry-After when to come again. Any other 5xx and a lost answer leave it open; a 409,
        and a 503 without a time, are left to the step, which may look first.
        """
        headers = {"If-Match": etag} if etag else {}
        for pause in (*self.timings.write_pauses, None):
            try:
                answer = await self._channel.ask(
                    method, path, body=body, headers=headers, slow=slow
                )
            except BmcFault as fault:
                if pause is None or fault.fault != "unreachable":
                    raise
                note(f"{method} {path}: sent again, for it was never sent: {fault.message}")
                await anyio.sleep(pause)
                continue
            if pause is None or not asks_to_wait(answer):
                return answer
            wait = max(pause, self._channel.wanted_pause(answer))
            note(f"{method} {path}: {answer.status}, sent again after {wait:.0f} s as it asked")
            await anyio.sleep(wait)
        raise AssertionError("the last try returns or raises")

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
            answer = await self._write("PATCH", path, body, etag=tag)
            if answer.status != 412:
                break
        if answer is None:
            raise BmcFault("refused", f"{self.origin} answered PATCH {path} with 412 without cause")
        return answer

    async def _completed(self, method: str, path: str, answer: Answer) -> Reply:
        if answer.status != 202:
            return self._reply(method, path, answer)
        where = monitor_in(self.origin, path, answer)
        monitor = own_path(where, self.origin)
        if where and not monitor:
            raise Ambiguous(f"{self.origin}: the task of {method} {path} is at no place of its own")
        if not monitor:
            note(f"{method} {path}: 202 without a task monitor, so its effect is looked for")
            return Reply(path=path, status=202, body={})
        note(f"{method} {path}: followed task {monitor}")
        await report_monitor(monitor)
        await self._follow(
            f"{self.origin}: the task of {method} {path} ({monitor})", monitor, answer
        )
        return Reply(path=path, status=202, body={})

    async def follow(self, monitor: str) -> None:
        """Wait for the end of a task that was begun earlier, perhaps by another process.

        Raise ``refused`` when the task failed, Ambiguous when its end cannot be learnt.
        """
        path = own_path(monitor, self.origin)
        if not path:
            raise Ambiguous(f"{self.origin}: {monitor[:80]!r} is no task of its own")
        note(f"followed task {path} again")
        await self._follow(f"{self.origin}: the task {path}", path, None)

    async def _follow(self, what: str, monitor: str, answer: Answer | None) -> None:
        """Wait for a task's end; what cannot be learnt of it is Ambiguous."""
        trouble = "it is still under way"
        failed = 0
        with anyio.move_on_after(self.timings.task):
            while True:
                if answer is not None:
                    await anyio.sleep(self._channel.wanted_pause(answer))
                try:
                    async with self._reads:
                        answer = await self._channel.ask("GET", monitor)
                    if has_ended(what, monitor, answer):
                        return
                    failed = 0
                except BmcFault as fault:
                    trouble = fault.message
                    failed += fault.fault == "server-error"
                    if isinstance(fault, Ambiguous) or fault.fault == "refused":
                        raise
                    if not fault.heals or failed == _FAILED_LOOKS:
                        raise Ambiguous(f"{what} cannot be followed: {trouble}") from fault
                    answer = answer or _NOTHING
        raise Ambiguous(f"{what} has no end after {self.timings.task:.0f} s: {trouble}")

    def _reply(self, method: str, path: str, answer: Answer) -> Reply:
        fault = self._channel.judge(method, path, answer)
        if fault is not None:
            raise fault
        body: dict[str, Any] = {}
        if method == "GET":
            body = decode(self.origin, path, answer)
        etag = answer.headers.get("etag", "") or text(body.get("@odata.etag"))
        return Reply(path=path, status=answer.status, body=body, etag=etag)

    # -- streaming ---------------------------------------------------------------------------

    def local(self, path: str) -> str:
        """Return ``path`` as one of this BMC; raise ``not-redfish`` when it leads elsewhere."""
        return self._channel.local(path)

    async def prove_login(self) -> None:
        """Log in, and have the BMC accept that. Raise BmcFault."""
        await self._channel.prove_login()

    @property
    def login_was_refused(self) -> bool:
        """Whether the BMC's last answer to a login of this account was that it refuses this one."""
        return self._channel.login_was_refused

    @property
    def expired_account(self) -> str:
        """The path of the account that is logged in, if it may only change its password."""
        return self._channel.expired_account

    async def login_headers(self) -> dict[str, str]:
        """Return the headers of this client's session, for a stream beside it. Raise BmcFault.

        They are secret, and a later login replaces them.
        """
        return await self._channel.login_headers()

    # -- life --------------------------------------------------------------------------------

    def reset_breaker(self) -> None:
        """Allow logins again after they were stopped to avoid a lock-out."""
        self._channel.reset_breaker()

    def release_connections(self) -> None:
        """Close idle connections; the session with the BMC stays."""
        self._channel.release_connections()

    async def close(self) -> None:
        """End the session with the BMC and let go of everything; never raises BmcFault."""
        await self._channel.close()


def _choice(systems: list[str]) -> str:
    names = ", ".join(last_segment(path) for path in systems[:5])
    more = f" and {len(systems) - 5} more" if len(systems) > 5 else ""
    return f"enrol it with one of: {names}{more}" if names else "it lists none"
