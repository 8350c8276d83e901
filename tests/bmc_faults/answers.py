"""Faults of the answer: refusals, and what is no Redfish at all."""

import random
from typing import Any, Literal

import anyio
from aiohttp import web

from tests.bmc_faults.rules import (
    Proceed,
    Rule,
    Seconds,
    Share,
    Status,
    Turn,
    body_of,
    error,
    retry_after,
    with_body,
)


class Refuse(Rule, frozen=True, kw_only=True, tag="refuse"):
    """Answers ``status`` with a Redfish error, and does nothing.

    ``retry_after`` adds the header, as ``seconds`` or as a ``date``. With ``times`` or ``window``
    it is a while of 409 or 503.
    """

    status: Status = 503
    message: str = "The service is temporarily unavailable"
    message_id: str = "ServiceTemporarilyUnavailable"
    retry_after: float | None = None
    retry_after_form: Literal["seconds", "date"] = "seconds"

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        turn.say(str(self.status))
        response = error(self.status, self.message, self.message_id)
        response.headers.update(retry_after(self.retry_after, self.retry_after_form))
        return response


class Unsupported(Rule, frozen=True, kw_only=True, tag="unsupported"):
    """Answers ``status`` (501, 404 …), as for an optional resource that is not there."""

    status: Status = 501

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        turn.say(str(self.status))
        return error(self.status, "Not implemented", "OperationNotAllowed")


class Html(Rule, frozen=True, kw_only=True, tag="html"):
    """Answers ``status`` with a web page."""

    status: Status = 200

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        turn.say(str(self.status))
        page = "<!DOCTYPE html><html><head><title>Log in</title></head><body></body></html>"
        return web.Response(text=page, status=self.status, content_type="text/html")


class InvalidJson(Rule, frozen=True, kw_only=True, tag="invalid_json"):
    """Breaks the BMC's JSON: cut short, or ``text`` instead."""

    text: str = ""

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        response = await proceed()
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            whole = response.body
            cut = whole[: max(1, int(len(whole) * turn.chance.uniform(0.1, 0.9)))]
            response.body = self.text.encode() or cut
            turn.say(f"{len(response.body)} of {len(whole)} bytes")
        return response


class WrongTypes(Rule, frozen=True, kw_only=True, tag="wrong_types"):
    """Changes the type of a ``share`` of the values in the BMC's JSON."""

    method: str = "GET"
    share: Share = 0.3

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        response = await proceed()
        body = body_of(response)
        if body is None:
            return response
        turn.say(f"{self.share:.0%} of the values")
        return with_body(
            response, {k: _twisted(v, self.share, turn.chance) for k, v in body.items()}
        )


def _twisted(value: Any, share: float, chance: random.Random) -> Any:
    if chance.random() < share:
        others: list[Any] = [None, True, -1, 1e300, "", "x" * 300, [], [None], {}, {"@odata.id": 7}]
        return chance.choice([other for other in others if type(other) is not type(value)])
    if isinstance(value, dict):
        return {name: _twisted(item, share, chance) for name, item in value.items()}
    if isinstance(value, list):
        return [_twisted(item, share, chance) for item in value]
    return value


class Endless(Rule, frozen=True, kw_only=True, tag="endless"):
    """Answers 200 with JSON that does not end, 64 KiB each ``pause`` seconds."""

    pause: Seconds = 0.0

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        turn.say("until the client leaves")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(turn.request)
        await response.write(b'{"Members": [')
        try:
            while turn.request.transport is not None and not turn.request.transport.is_closing():
                await response.write(b'{"@odata.id": "/redfish/v1/Systems/x"},' * 1638)
                await anyio.sleep(self.pause)
        except ConnectionError:
            pass
        return response


class Redirect(Rule, frozen=True, kw_only=True, tag="redirect"):
    """Answers ``status`` with a redirection to ``location``."""

    location: str = "https://bmc.example/redfish/v1/"
    status: Literal[301, 302, 303, 307, 308] = 302

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        turn.say(f"to {self.location}")
        return web.Response(status=self.status, headers={"Location": self.location})
