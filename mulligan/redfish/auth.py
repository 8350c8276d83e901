"""Logging in to a BMC: one session where it has them, HTTP basic where not, and no lock-outs."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio
import msgspec

from mulligan.redfish.answers import complaint, decode, link, local_path, message_ids, text
from mulligan.redfish.digests import note, redact
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.transport import Answer, Wire

_ALLOWED_FAILURES = 2
_NO_SESSIONS = (400, 404, 405, 501)


class Login(msgspec.Struct, frozen=True):
    """A BMC account. Its ``repr`` does not show the password."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login(user={self.user!r}, password=***)"


class _Ask(Protocol):
    async def __call__(
        self, method: str, path: str, *, body: dict[str, Any] | None = None
    ) -> Answer: ...


class Authentication:
    """Keeps ``wire`` logged in.

    After two failed logins in a row no more are tried until ``reset_breaker``, so that the BMC
    does not lock the account.
    """

    def __init__(
        self,
        origin: str,
        login: Login,
        wire: Wire,
        call: _Ask,
        root: Callable[[], Awaitable[dict[str, Any]]],
    ) -> None:
        self._origin = origin
        self._login = login
        self._wire = wire
        self._call = call
        self._root = root
        self._lock = anyio.Lock()
        self._ticket = 0
        self._open = False
        self._basic = False
        self._proven = False
        self._failures = 0
        basic = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
        self._basic_header = f"Basic {basic}"
        self.secrets: tuple[str, ...] = (login.password, basic)

    async def ticket(self) -> int:
        """Be logged in, and return the number of this login for ``renew``."""
        async with self._lock:
            if not self._open:
                await self._log_in()
            return self._ticket

    async def headers(self) -> dict[str, str]:
        """Be logged in, and return the headers that say so; they are secret."""
        await self.ticket()
        token = self._wire.get_session_key()
        if token:
            return {"X-Auth-Token": token}
        return {"Authorization": self._basic_header}

    async def renew(self, ticket: int) -> None:
        """Log in again after a 401 under ``ticket``, unless somebody has meanwhile."""
        async with self._lock:
            if self._ticket != ticket:
                return
            if self._basic and not self._proven:
                raise self.rejected()
            self._proven = False
            await self._log_in()

    def proven(self) -> None:
        """Note that the BMC accepted the credentials."""
        self._proven = True
        self._failures = 0

    def rejected(self) -> BmcFault:
        """Count a failed login and return the fault that says so."""
        self._failures += 1
        self._open = False
        return BmcFault(
            "bad-credentials",
            f"{self._origin} refused the user {self._login.user!r} or its password; correct the "
            "machine's credential",
            status=401,
        )

    def reset_breaker(self) -> None:
        """Allow logins again."""
        self._failures = 0

    async def _log_in(self) -> None:
        if self._failures >= _ALLOWED_FAILURES:
            raise BmcFault(
                "bad-credentials",
                f"{self._origin} refused {self._failures} logins in a row; no more are tried, so "
                "that the account is not locked. Correct the machine's credential and try again",
            )
        sessions = await self._sessions_path()
        if self._basic or not sessions or not await self._open_session(sessions):
            self._use_basic()
        self._open = True
        self._ticket += 1

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

    def _use_basic(self) -> None:
        note("the BMC offers no session: HTTP basic is used")
        self._basic = True
        self._forget_session()
        self._wire.set_authorization_key(self._basic_header)

    def _forget_session(self) -> None:
        self._wire.set_session_key(None)
        self._wire.set_session_location(None)
        self._wire.set_authorization_key(None)

    async def _open_session(self, path: str) -> bool:
        """Open a session; False when the BMC has none to give."""
        self._forget_session()
        body = {"UserName": self._login.user, "Password": self._login.password}
        answer = await self._call("POST", path, body=body)
        if "PasswordChangeRequired" in message_ids(answer):
            raise BmcFault(
                "bad-credentials",
                f"{self._origin} wants the password of {self._login.user!r} changed before use",
            )
        token = answer.headers.get("x-auth-token", "")
        if answer.status in (200, 201, 204) and token:
            self._keep_session(path, token, answer)
            return True
        if answer.status in (401, 403) and await self._root():
            raise self.rejected()
        if answer.status not in (*_NO_SESSIONS, 401, 403):
            said = redact(complaint(answer), self.secrets)
            note(f"the BMC gave no session ({answer.status} {said})".replace(" )", ")"))
        return False

    def _keep_session(self, path: str, token: str, answer: Answer) -> None:
        self.secrets = (*self.secrets[:2], token)
        self._wire.set_session_key(token)
        where = answer.headers.get("location", "")
        try:
            where = where or text(decode(self._origin, path, answer).get("@odata.id"))
            self._wire.set_session_location(local_path(where, self._origin))
        except (BmcFault, ValueError):
            note("the BMC does not say where its session is: it will be left to expire")

    async def log_out(self) -> None:
        """Delete the session, if there is one; what fails is left to expire."""
        where = self._wire.get_session_location()
        if self._open and where:
            try:
                await self._call("DELETE", where)
            except BmcFault:
                note("the BMC's session could not be deleted: it will expire")
        self._open = False
        self._forget_session()
