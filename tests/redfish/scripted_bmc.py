"""A small Redfish service with state, whose answers can be scripted to be bad."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import msgspec
from aiohttp import encode_basic_auth, web

SYSTEM = "/redfish/v1/Systems/one"
MEDIA = f"{SYSTEM}/VirtualMedia/Cd"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
INSERT = f"{MEDIA}/Actions/VirtualMedia.InsertMedia"
EJECT = f"{MEDIA}/Actions/VirtualMedia.EjectMedia"
SESSIONS = "/redfish/v1/SessionService/Sessions"

Proceed = Callable[[], Awaitable[web.StreamResponse]]
Behaviour = Callable[[web.Request, Proceed], Awaitable[web.StreamResponse]]


def status(code: int, message: str = "", **headers: str) -> Behaviour:
    """Answer with an error, and do nothing."""

    async def behave(request: web.Request, proceed: Proceed) -> web.StreamResponse:
        body = {"error": {"@Message.ExtendedInfo": [{"Message": message}]}}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(body, status=code, headers=named)

    return behave


def answer(body: Any, content_type: str = "application/json", **headers: str) -> Behaviour:
    """Answer 200 with this, and do nothing."""

    async def behave(request: web.Request, proceed: Proceed) -> web.StreamResponse:
        text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(text=text, content_type=content_type, headers=named)

    return behave


def drop(*, apply: bool) -> Behaviour:
    """Close the connection without an answer, before or after doing what was asked."""

    async def behave(request: web.Request, proceed: Proceed) -> web.StreamResponse:
        if apply:
            await proceed()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return behave


def stall(seconds: float, *, apply: bool) -> Behaviour:
    """Do what was asked or not, then keep the client waiting."""

    async def behave(request: web.Request, proceed: Proceed) -> web.StreamResponse:
        if apply:
            await proceed()
        await anyio.sleep(seconds)
        return web.Response(status=204)

    return behave


def trickle(seconds: float) -> Behaviour:
    """Answer a byte at a time, fast enough for any time-out between bytes."""

    async def behave(request: web.Request, proceed: Proceed) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with anyio.move_on_after(seconds):
            while True:
                await response.write(b" ")
                await anyio.sleep(0.05)
        return response

    return behave


async def ignored(request: web.Request, proceed: Proceed) -> web.StreamResponse:
    """Say that it was done, and do nothing."""
    return web.Response(status=204)


async def fails_after_applying(request: web.Request, proceed: Proceed) -> web.StreamResponse:
    """Do what was asked and answer 500."""
    await proceed()
    return web.json_response({}, status=500)


class ScriptedBmc:
    """Serves one system. ``log`` is every request so far; ``script`` changes the next answers."""

    def __init__(self, *, sessions: bool = True) -> None:
        self.sessions = sessions
        self.user, self.password = "admin", "s3cret-Passw0rd"
        self.tokens: set[str] = set()
        self.log: list[tuple[str, str]] = []
        self.sent: list[tuple[str, Any]] = []
        self.power = "Off"
        self.image: str | None = None
        self.inserted = False
        self.boot: dict[str, Any] = {
            "BootSourceOverrideEnabled": "Disabled",
            "BootSourceOverrideTarget": "None",
        }
        self.system_extra: dict[str, Any] = {}
        self.media_at = SYSTEM
        self.resources: dict[str, Any] = {}
        self._script: list[tuple[str, re.Pattern[str], Behaviour, int]] = []
        self._runner: web.AppRunner | None = None
        self.address = ""

    def script(self, method: str, path: str, behaviour: Behaviour, times: int = 1) -> None:
        """Have the next ``times`` requests of this method and path (a pattern) behave so."""
        self._script.append((method, re.compile(path + r"/?\Z"), behaviour, times))

    def count(self, method: str, path: str) -> int:
        """Tell how often a path was asked."""
        return self.log.count((method, path))

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.log.append((request.method, request.path))
        for number, (method, path, behaviour, times) in enumerate(self._script):
            if method == request.method and path.match(request.path):
                self._script[number] = (method, path, behaviour, times - 1)
                if times == 1:
                    del self._script[number]
                return await behaviour(request, lambda: self._serve(request))
        return await self._serve(request)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        if request.method == "POST" and path == SESSIONS and self.sessions:
            return await self._log_in(request)
        if path != "/redfish/v1" and not self._known(request):
            return web.json_response({}, status=401)
        body = await request.json() if request.can_read_body else None
        if request.method == "GET":
            found = self._get(path)
            return web.json_response(found or {}, status=200 if found else 404)
        if request.method == "DELETE":
            self.tokens.discard(request.headers.get("X-Auth-Token", ""))
            return web.Response(status=204)
        self.sent.append((path, body))
        return self._write(path, body)

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if (body["UserName"], body["Password"]) != (self.user, self.password):
            return web.json_response({}, status=401)
        token = f"token-{len(self.log)}"
        self.tokens.add(token)
        headers = {"X-Auth-Token": token, "Location": f"{SESSIONS}/{token}"}
        return web.json_response({}, status=201, headers=headers)

    def _known(self, request: web.Request) -> bool:
        if request.headers.get("X-Auth-Token", "") in self.tokens:
            return True
        basic = encode_basic_auth(self.user, self.password)
        return request.headers.get("Authorization") == basic

    def _get(self, path: str) -> Any:
        media = self.media_at + "/VirtualMedia"
        known: dict[str, Any] = {
            "/redfish/v1": self._root(),
            "/redfish/v1/Systems": {"Members": [{"@odata.id": SYSTEM}]},
            SYSTEM: self._system(),
            media: {"Members": [{"@odata.id": MEDIA}]},
            MEDIA: self._media(),
            **self.resources,
        }
        return known.get(path)

    def _root(self) -> dict[str, Any]:
        root: dict[str, Any] = {
            "RedfishVersion": "1.15.0",
            "Systems": {"@odata.id": "/redfish/v1/Systems"},
        }
        if self.sessions:
            root["Links"] = {"Sessions": {"@odata.id": SESSIONS}}
        return root

    def _system(self) -> dict[str, Any]:
        kinds = ["On", "ForceOff", "GracefulShutdown", "ForceRestart"]
        system: dict[str, Any] = {
            "Id": "one",
            "PowerState": self.power,
            "Boot": self.boot,
            "Actions": {
                "#ComputerSystem.Reset": {
                    "target": RESET,
                    "ResetType@Redfish.AllowableValues": kinds,
                }
            },
        }
        if self.media_at == SYSTEM:
            system["VirtualMedia"] = {"@odata.id": f"{SYSTEM}/VirtualMedia"}
        else:
            system["Links"] = {"ManagedBy": [{"@odata.id": self.media_at}]}
        return {**system, **self.system_extra}

    def _media(self) -> dict[str, Any]:
        return {
            "MediaTypes": ["CD", "DVD"],
            "Image": self.image,
            "Inserted": self.inserted,
            "Actions": {
                "#VirtualMedia.InsertMedia": {"target": INSERT},
                "#VirtualMedia.EjectMedia": {"target": EJECT},
            },
        }

    def _write(self, path: str, body: Any) -> web.StreamResponse:
        match path:
            case x if x == RESET:
                self.power = "Off" if "Off" in body["ResetType"] else "On"
            case x if x == INSERT:
                self.image, self.inserted = body["Image"], True
            case x if x == EJECT:
                self.image, self.inserted = None, False
            case x if x == SYSTEM:
                self.boot = {**self.boot, **body["Boot"]}
            case x if x == MEDIA:
                self.image, self.inserted = body["Image"], body["Inserted"]
            case _:
                return web.json_response({}, status=404)
        return web.Response(status=204)
