"""Logging in to a BMC: one session where it has them, HTTP basic where not, and no lock-outs."""

import base64
import html
import math
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio
import msgspec

from mulligan.redfish.answers import (
    account_to_change,
    complaint,
    decode,
    link,
    local_path,
    message_ids,
    own_path,
    text,
)
from mulligan.redfish.digests import note, redact
from mulligan.redfish.faults import Ambiguous, BmcFault
from mulligan.redfish.transport import Answer, Wire

_ALLOWED_FAILURES = 2
_NO_SESSIONS = (400, 404, 405, 501)
_FULL = {"SessionLimitExceeded", "CreateLimitReachedForResource"}


class Login(msgspec.Struct, frozen=True):
    """A BMC account. Its ``repr`` does not show the password."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login(user={self.user!r}, password=***)"


Spare = Callable[[Login], Awaitable[Login | None]]
"""Given a login that was just refused, return the other one that the account may have by now."""


class LoginTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What is special about logging in.

    ``spare`` is asked when a login is refused, and what it gives is tried once. ``hidden`` are
    further secrets that no record may show. With ``to_change`` a session is taken that is good for
    changing an expired password only.
    """

    spare: Spare | None = None
    hidden: tuple[str, ...] = ()
    to_change: bool = False


USUAL = LoginTerms()


class Breaker:
    """Counts the logins in a row that one account of one BMC was refused, whoever tried them.

    ``refused`` is the last of them; None while the last login was taken.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.refused: Login | None = None

    def refuse(self, login: Login) -> None:
        """Count a login that was refused."""
        self.failures += 1
        self.refused = login

    def reset(self) -> None:
        """Count from nothing: a login was taken, or somebody allows them again."""
        self.failures = 0
        self.refused = None

    @property
    def is_open(self) -> bool:
        """Whether no more logins are tried, so that the account is not locked."""
        return self.failures >= _ALLOWED_FAILURES


def spelt(password: str) -> tuple[str, ...]:
    """Return a password as it is and as JSON and web pages write it."""
    quoted = msgspec.json.encode(password).decode()[1:-1]
    return tuple(dict.fromkeys((password, quoted, html.escape(password))))


class _Ask(Protocol):
    async def __call__(
        self, method: str, path: str, *, body: dict[str, Any] | None = None
    ) -> Answer: ...


class Authentication:
    """Keeps ``wire`` logged in.

    After two failed logins in a row no more are tried until ``reset_breaker``, so that the BMC
    does not lock the account. A BMC that had no session to give is asked by HTTP basic, and for a
    session again after ``again`` seconds.
    """

    def __init__(
        self,
        origin: str,
        login: Login,
        wire: Wire,
        call: _Ask,
        root: Callable[[], Awaitable[dict[str, Any]]],
        *,
        again: float,
        breaker: Breaker | None = None,
        terms: LoginTerms = USUAL,
    ) -> None:
        self._origin = origin
        self._terms = terms
        self._spare_used = False
        self._token = ""
        self.expired_account = ""
        self._wire = wire
        self._call = call
        self._root = root
        self._lock = anyio.Lock(fast_acquire=True)
        self._ticket = 0
        self._open = False
        self._basic = False
        self._gave = False
        self._again = again
        self._ask_again_at = 0.0
        self._proven = False
        self._breaker = breaker or Breaker()
        self._go_by(login)

    def _go_by(self, login: Login) -> None:
        self._login = login
        basic = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
        self._basic_header = f"Basic {basic}"
        self._own = (*spelt(login.password), basic)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may stand in no record: passwords as BMCs may echo them, and the session's token."""
        return (*self._own, *self._terms.hidden, *((self._token,) if self._token else ()))

    async def ticket(self) -> int:
        """Be logged in, and return the number of this login for ``renew``."""
        async with self._lock:
            if not self._open or (self._basic and anyio.current_time() >= self._ask_again_at):
                await self._log_in()
            return self._ticket

    async def headers(self) -> dict[str, str]:
        """Be logged in, and return the headers that say so; they are secret."""
        await self.ticket()
        token = self._wire.get_session_key()
        if token:
            return {"X-Auth-Token": token}
        return {"Authorization": self._basic_header}

    async def by_session(self) -> bool:
        """Be logged in; tell whether by a session, which the BMC gave for the password."""
        await self.ticket()
        return not self._basic

    async def renew(self, ticket: int) -> None:
        """Log in again after a 401 under ``ticket``, unless somebody has meanwhile."""
        async with self._lock:
            if self._ticket != ticket:
                return
            if self._basic and not self._proven:
                refused = self.rejected()
                if not await self._has_spare():
                    raise refused
            self._proven = False
            # It may be good all the same, and a BMC has few of them.
            await self._end_session()
            await self._log_in()

    def proven(self) -> None:
        """Note that the BMC accepted the credentials."""
        self._proven = True
        self._spare_used = False
        self._breaker.reset()

    def rejected(self) -> BmcFault:
        """Count a failed login and return the fault that says so."""
        self._breaker.refuse(self._login)
        self._open = False
        return BmcFault(
            "bad-credentials",
            f"{self._origin} refused the user {self._login.user!r} or its password; correct the "
            "machine's credential",
            status=401,
        )

    @property
    def may_go_by_spare(self) -> bool:
        """Whether a password that was good until now is refused, and another one may be."""
        return self._basic and self._terms.spare is not None and not self._spare_used

    def refused_again(self, method: str, path: str) -> BmcFault:
        """Return the fault for a 401 right after a login."""
        if self._basic:
            return self.rejected()
        return BmcFault(
            "server-error",
            f"{self._origin} gave a session and refuses {method} {path} with it all the same; it "
            "is tried again, else reset the BMC",
            status=401,
        )

    def reset_breaker(self) -> None:
        """Allow logins again."""
        self._breaker.reset()

    @property
    def was_refused(self) -> bool:
        """Whether this very login is the last that the account was refused."""
        return self._breaker.refused == self._login

    async def _has_spare(self) -> bool:
        """Go by the other login from now on, if there is one that was not tried yet."""
        spare = self._terms.spare
        if spare is None or self._spare_used or self._breaker.is_open:
            return False
        other = await spare(self._login)
        if other is None or other == self._login:
            return False
        self._spare_used = True
        self._go_by(other)
        note("the BMC refused the login's one password: its other one is tried, once")
        return True

    async def _log_in(self) -> None:
        if self._breaker.is_open:
            raise BmcFault(
                "bad-credentials",
                f"{self._origin} refused {self._breaker.failures} logins in a row; no more are "
                "tried, so that the account is not locked. Correct the machine's credential, then "
                "allow them again: mulligan machine allow-logins",
            )
        self._open = False
        if not self._basic or anyio.current_time() >= self._ask_again_at:
            try:
                await self._choose()
            except BmcFault as refused:
                if refused.status != 401 or not await self._has_spare():
                    raise
                await self._choose()
        if self._basic:
            self._forget_session()
            self._wire.set_authorization_key(self._basic_header)
        self._open = True
        self._ticket += 1

    async def _choose(self) -> None:
        """Open a session, or else go on by HTTP basic; either change is noted."""
        sessions = await self._sessions_path()
        if sessions and await self._open_session(sessions):
            if self._basic:
                note("the BMC gives sessions again: HTTP basic is no longer used")
            self._basic = False
            return
        if not self._basic:
            note("the BMC offers no session: HTTP basic is used")
        self._basic = True
        self._ask_again_at = anyio.current_time() + (self._again if sessions else math.inf)

    async def _sessions_path(self) -> str:
        root = await self._root()
        if not root:
            return "/redfish/v1/SessionService/Sessions"
        path = link(root, "Links", "Sessions")
        if not path and link(root, "SessionService"):
            path = link(root, "SessionService").rstrip("/") + "/Sessions"
        if not path:
            return ""
        try:
            return local_path(path, self._origin)
        except ValueError:
            note("the BMC's session service is on another host: not used")
            return ""

    def _forget_session(self) -> None:
        self._wire.set_session_key(None)
        self._wire.set_session_location(None)
        self._wire.set_authorization_key(None)

    async def _open_session(self, path: str) -> bool:
        """Open a session; False when the BMC has none to give."""
        self._forget_session()
        body = {"UserName": self._login.user, "Password": self._login.password}
        try:
            answer = await self._call("POST", path, body=body)
        except Ambiguous as lost:
            # Of the login alone: whatever was to be sent after it never was.
            raise BmcFault("dropped", f"{lost.message}; it is tried again") from lost
        said = message_ids(answer)
        usable = self._terms.to_change and answer.status in (200, 201)
        if "PasswordChangeRequired" in said and not usable:
            raise BmcFault(
                "bad-credentials",
                f"{self._origin} wants the password of {self._login.user!r} changed before use",
            )
        token = answer.headers.get("x-auth-token", "")
        if answer.status in (200, 201, 204) and token:
            self._keep_session(path, token, answer)
            self.expired_account = account_to_change(answer) if usable else ""
            return True
        if answer.status in (401, 403) and not said & _FULL and await self._root():
            raise self.rejected()
        if answer.status >= 500 and self._gave and not said & _FULL:
            why = redact(complaint(answer), self.secrets)
            raise BmcFault(
                "server-error",
                f"{self._origin} gives no session at present ({answer.status} {why}); it is tried"
                " again",
                status=answer.status,
            )
        if answer.status not in (*_NO_SESSIONS, 401, 403) and not self._basic:
            why = redact(complaint(answer), self.secrets)
            note(f"the BMC gave no session ({answer.status} {why})".replace(" )", ")"))
        return False

    def _keep_session(self, path: str, token: str, answer: Answer) -> None:
        self._token = token
        self._gave = True
        self._wire.set_session_key(token)
        where = answer.headers.get("location", "")
        try:
            where = where or text(decode(self._origin, path, answer).get("@odata.id"))
        except BmcFault:
            where = ""
        where = own_path(where, self._origin)
        if where:
            self._wire.set_session_location(where)
        else:
            note("the BMC does not say where its session is: it will be left to expire")

    async def log_out(self) -> None:
        """Delete the session, if there is one; what fails is left to expire."""
        async with self._lock:
            await self._end_session()
            self._open = False

    async def _end_session(self) -> None:
        where = self._wire.get_session_location()
        if where:
            try:
                await self._call("DELETE", where)
            except BmcFault:
                note("the BMC's session could not be deleted: it will expire")
        self._forget_session()
