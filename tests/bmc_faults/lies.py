"""Faults of what a BMC reports: old states, wrong states, and actions that are not there."""

import time
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any, ClassVar, Literal

import msgspec
from aiohttp import web

from tests.bmc_faults.rules import (
    Count,
    Proceed,
    Rule,
    Seconds,
    Status,
    Turn,
    as_json,
    body_of,
    error,
    with_body,
)

_SYSTEM = "/redfish/v1/Systems/*"
_MEDIA = "*/VirtualMedia/*"


class _Lasting(msgspec.Struct):
    """How long a lie goes on: for so many reads, or until a time."""

    reads: int = 0
    until: float = 0.0
    before: dict[str, bytes] = {}
    was: str = ""

    def begin(self, reads: int, seconds: float) -> None:
        self.reads, self.until = reads, time.monotonic() + seconds

    def goes_on(self) -> bool:
        """Tell whether this read is lied to, and count it."""
        self.reads -= 1
        return self.reads >= 0 or time.monotonic() < self.until


class Stale(Rule, frozen=True, kw_only=True, tag="stale"):
    """After a write, GET shows what it showed before, for ``reads`` reads or ``seconds``."""

    WATCHES: ClassVar = True
    method: str = "GET"
    reads: Count = 2
    seconds: Seconds = 0.0

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        lasting = turn.kept(_Lasting)
        response = await proceed()
        if turn.method in ("POST", "PATCH", "PUT") and response.status < 300:
            if not fnmatchcase(turn.path, "*/Sessions"):
                lasting.begin(self.reads, self.seconds)
        elif turn.due and isinstance(response, web.Response) and isinstance(response.body, bytes):
            old = lasting.before.get(turn.path)
            if old is not None and lasting.goes_on():
                turn.say("as before the write")
                response.body = old
            elif len(lasting.before) < 1000 and response.status == 200:
                lasting.before[turn.path] = response.body
        return response


class _Ejected(msgspec.Struct):
    yes: bool = False


class StaleInsert(Rule, frozen=True, kw_only=True, tag="stale_insert"):
    """Has ``image`` inserted from somebody before, and refuses another until it is ejected."""

    WATCHES: ClassVar = True
    path: str = _MEDIA
    image: str = "http://192.0.2.9/left-behind.iso"
    status: Status = 409

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        ejected = turn.kept(_Ejected)
        if ejected.yes or not turn.due:
            return await proceed()
        body = _sent(turn)
        if "Eject" in turn.path or (turn.method == "PATCH" and body.get("Inserted") is False):
            turn.say("ejected")
            ejected.yes = True
            return web.Response(status=204)
        if turn.method in ("POST", "PATCH"):
            turn.say(f"{self.status}: inserted already")
            return error(self.status, "Virtual media is already connected", "ResourceInUse")
        response = await proceed()
        shown = body_of(response)
        if shown is None or "Inserted" not in shown:
            return response
        turn.say("shown as inserted")
        return with_body(response, {**shown, "Image": self.image, "Inserted": True})


class PowerFlap(Rule, frozen=True, kw_only=True, tag="power_flap"):
    """After a Reset, shows PoweringOn or PoweringOff for ``reads`` reads or ``seconds``.

    With ``flaps`` every other read shows the new state already.
    """

    WATCHES: ClassVar = True
    method: str = "GET"
    path: str = _SYSTEM
    reads: Count = 4
    seconds: Seconds = 0.0
    flaps: bool = False

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        lasting = turn.kept(_Lasting)
        response = await proceed()
        if turn.method == "POST" and turn.path.endswith("Reset") and response.status < 300:
            lasting.begin(self.reads, self.seconds)
        body = body_of(response)
        if not turn.due or body is None or body.get("PowerState") not in ("On", "Off"):
            return response
        if not lasting.goes_on() or (self.flaps and lasting.reads % 2):
            return response
        shown = f"Powering{body['PowerState']}"
        turn.say(shown)
        return with_body(response, {**body, "PowerState": shown})


class BootContinuous(Rule, frozen=True, kw_only=True, tag="boot_continuous"):
    """Reports a boot override that was set Once as Continuous."""

    method: str = "GET"
    path: str = _SYSTEM

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        response = await proceed()
        body = body_of(response)
        boot = (body or {}).get("Boot")
        if body is None or not isinstance(boot, dict):
            return response
        if boot.get("BootSourceOverrideEnabled") != "Once":
            return response
        turn.say("Continuous")
        shown = {**boot, "BootSourceOverrideEnabled": "Continuous"}
        return with_body(response, {**body, "Boot": shown})


class InsertWants(Rule, frozen=True, kw_only=True, tag="insert_wants"):
    """Refuses an insert that lacks one of ``properties``."""

    method: str = "POST"
    path: str = "*InsertMedia"
    properties: tuple[str, ...] = ("TransferProtocolType", "MediaType")
    status: Status = 400

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        missing = [name for name in self.properties if name not in _sent(turn)]
        if not missing:
            return await proceed()
        turn.say(f"{self.status}: {missing[0]}")
        message = f"The action requires the parameter {missing[0]} to be present"
        return error(self.status, message, "ActionParameterMissing")


class NoActions(Rule, frozen=True, kw_only=True, tag="no_actions"):
    """Shows no Actions and answers 404 to them: only PATCH works."""

    path: str = _MEDIA

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        if turn.method == "POST" and "/Actions/" in turn.path:
            turn.say("404")
            return error(404, "The action does not exist", "ActionNotSupported")
        response = await proceed()
        body = body_of(response)
        if body is None or "Actions" not in body:
            return response
        turn.say("hidden")
        return with_body(response, {k: v for k, v in body.items() if k != "Actions"})


class Etag(Rule, frozen=True, kw_only=True, tag="etag"):
    """GET ``gives`` an entity tag; PATCH is answered 412 unless it sends what is ``accepts``-ed."""

    gives: Literal["weak", "strong", "none"] = "weak"
    accepts: Literal["weak", "strong", "none", "never"] = "weak"

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        if turn.method == "PATCH":
            strong = f'"{_hash(await turn.read(turn.request.path))}"'
            wanted = {"weak": f"W/{strong}", "strong": strong, "none": ""}.get(self.accepts)
            if turn.request.headers.get("If-Match", "") != wanted:
                turn.say(f"412, accepts {self.accepts}")
                return error(412, "The entity tag does not match", "PreconditionFailed")
        response = await proceed()
        if turn.method == "GET" and response.status == 200 and self.gives != "none":
            strong = f'"{_hash(response)}"'
            response.headers["ETag"] = strong if self.gives == "strong" else f"W/{strong}"
        return response


def _hash(response: web.StreamResponse) -> str:
    body = response.body if isinstance(response, web.Response) else b""
    return sha256(body if isinstance(body, bytes) else b"").hexdigest()[:16]


def _sent(turn: Turn) -> dict[str, Any]:
    return body_of(as_json({}) if not turn.body else web.Response(body=turn.body)) or {}
