"""Faults of the way: slow, silent and broken connections, and writes whose outcome is open."""

from typing import Literal

import anyio
from aiohttp import web

from tests.bmc_faults.rules import Count, Proceed, Rule, Seconds, Status, Turn, error

Applied = Literal["before", "after"]


class Delay(Rule, frozen=True, kw_only=True, tag="delay"):
    """Answers ``seconds`` later, and up to ``jitter`` more."""

    seconds: Seconds = 1.0
    jitter: Seconds = 0.0

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        pause = self.seconds + self.jitter * turn.chance.random()
        turn.say(f"{pause:.3f} s")
        await anyio.sleep(pause)
        return await proceed()


class Trickle(Rule, frozen=True, kw_only=True, tag="trickle"):
    """Sends the answer ``chunk`` bytes at a time, ``pause`` seconds apart."""

    chunk: Count = 1
    pause: Seconds = 0.05

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        response = await proceed()
        if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
            return response
        turn.say(f"{len(response.body)} bytes, {self.chunk} each {self.pause} s")
        slow = web.StreamResponse(status=response.status, headers=response.headers)
        slow.headers.pop("Content-Length", None)
        await slow.prepare(turn.request)
        step = max(self.chunk, 1)
        for start in range(0, len(response.body), step):
            if _gone(turn.request):
                break
            await slow.write(response.body[start : start + step])
            await anyio.sleep(self.pause)
        return slow


class Drop(Rule, frozen=True, kw_only=True, tag="drop"):
    """Closes the connection without an answer, ``before`` or ``after`` the BMC has done it."""

    applied: Applied = "before"

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        if self.applied == "after":
            await proceed()
        turn.say(f"{self.applied} it was done")
        if turn.request.transport is not None:
            turn.request.transport.abort()
        return web.Response()


class Hang(Rule, frozen=True, kw_only=True, tag="hang"):
    """Does not answer for ``seconds`` (0: until the client leaves), ``before`` or ``after``."""

    applied: Applied = "before"
    seconds: Seconds = 0.0

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        if self.applied == "after":
            await proceed()
        turn.say(f"{self.applied} it was done")
        with anyio.move_on_after(self.seconds or None):
            while not _gone(turn.request):
                await anyio.sleep(0.02)
        return await proceed() if self.applied == "before" and self.seconds else web.Response()


class FailAfter(Rule, frozen=True, kw_only=True, tag="fail_after"):
    """Has it done by the BMC, and answers ``status``."""

    method: str = "P*"
    status: Status = 500

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        await proceed()
        turn.say(f"done, answered {self.status}")
        return error(self.status, "An internal error occurred", "InternalError")


class Ignore(Rule, frozen=True, kw_only=True, tag="ignore"):
    """Answers ``status`` as if it were done, and does nothing."""

    method: str = "P*"
    status: Status = 204

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        turn.say(f"answered {self.status}, nothing done")
        return web.Response(status=self.status)


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
