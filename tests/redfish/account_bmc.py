"""A scripted BMC with accounts whose passwords can be changed, which counts refused logins."""

import ssl
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.redfish.certificates import self_signed
from tests.redfish.scripted_bmc import SESSIONS, ScriptedBmc

SERVICE = "/redfish/v1/AccountService"
ACCOUNTS = f"{SERVICE}/Accounts"
ACCOUNT = f"{ACCOUNTS}/2"


class AccountBmc(ScriptedBmc):
    """``refused_in_a_row`` is the most that it saw; a BMC would lock the account at three.

    ``policy`` is the id of the message by which it refuses every new password; ``ends_sessions``
    tells that a changed password ends the sessions of before; ``needs_etag`` that a PATCH must
    have the account's tag. With ``expired`` the password has to be changed before anything else.
    """

    def __init__(self, *, sessions: bool = True) -> None:
        super().__init__(sessions=sessions)
        self.refused_in_a_row = 0
        self.passwords: list[str] = []
        self.policy = ""
        self.echoes = False
        self.ends_sessions = False
        self.needs_etag = False
        self.expired = False
        self.about: dict[str, Any] = {}
        self._refused = 0
        self._tag = 1

    async def start_tls(self, folder: Path) -> Path:
        """Serve over HTTPS; return the certificate."""
        pem, key = self_signed(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self.address = f"https://127.0.0.1:{self._runner.addresses[0][1]}"
        return pem

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        answer = await super()._log_in(request)
        self._count(answer.status == 401)
        if not self.expired or answer.status == 401:
            return answer
        wanted = {"MessageId": "Base.1.13.PasswordChangeRequired", "MessageArgs": [ACCOUNT]}
        named = {key: answer.headers[key] for key in ("X-Auth-Token", "Location")}
        return web.json_response({"@Message.ExtendedInfo": [wanted]}, status=201, headers=named)

    def _known(self, request: web.Request) -> bool:
        known = super()._known(request)
        if "Authorization" in request.headers:
            self._count(not known)
        return known

    def _count(self, refused: bool) -> None:
        self._refused = self._refused + 1 if refused else 0
        self.refused_in_a_row = max(self.refused_in_a_row, self._refused)

    def _root(self) -> dict[str, Any]:
        return {**super()._root(), "AccountService": {"@odata.id": SERVICE}}

    def _get(self, path: str) -> Any:
        slots: dict[str, Any] = {
            f"{ACCOUNTS}/1": {"UserName": "", "Enabled": False},
            ACCOUNT: {"UserName": self.user, "Password": None, "@odata.etag": self._etag()},
        }
        known: dict[str, Any] = {
            SERVICE: {"Accounts": {"@odata.id": ACCOUNTS}, **self.about},
            ACCOUNTS: {"Members": [{"@odata.id": one} for one in slots]},
            **slots,
        }
        return self.resources.get(path) or known.get(path) or super()._get(path)

    def _etag(self) -> str:
        return f'"{self._tag}"'

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        allowed = request.path.rstrip("/") in ("/redfish/v1", ACCOUNT)
        if self.expired and not allowed and not request.path.startswith(SESSIONS):
            return web.json_response({}, status=403)
        tag = request.headers.get("If-Match", "")
        if request.method == "PATCH" and self.needs_etag and tag != self._etag():
            return web.json_response({}, status=412)
        return await super()._serve(request)

    def _write(self, path: str, body: Any) -> web.StreamResponse:
        if path != ACCOUNT:
            return super()._write(path, body)
        if self.policy:
            said = (
                f"The password {body['Password']} is not strong enough." if self.echoes else "No."
            )
            info = {"MessageId": f"Base.1.12.{self.policy}", "Message": said}
            return web.json_response({"error": {"@Message.ExtendedInfo": [info]}}, status=400)
        self.password = body["Password"]
        self.passwords.append(self.password)
        self._tag += 1
        self.expired = False
        if self.ends_sessions:
            self.tokens.clear()
        return web.Response(status=204)
