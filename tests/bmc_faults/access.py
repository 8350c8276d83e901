"""Faults of logging in: few sessions, locked accounts, and tokens that are refused at times."""

import time
from fnmatch import fnmatchcase
from typing import ClassVar

import msgspec
from aiohttp import web

from tests.bmc_faults.rules import Count, Proceed, Rule, Seconds, Status, Turn, error

_SESSIONS = "*/Sessions"


def _logs_in(turn: Turn) -> bool:
    return turn.method == "POST" and fnmatchcase(turn.path, _SESSIONS)


class _Open(msgspec.Struct):
    count: int = 0


class Sessions(Rule, frozen=True, kw_only=True, tag="sessions"):
    """Gives at most ``limit`` sessions at a time, and answers ``status`` beyond."""

    WATCHES: ClassVar = True
    method: str = "POST"
    path: str = _SESSIONS
    limit: Count = 1
    status: Status = 503
    message_id: str = "SessionLimitExceeded"

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        opened = turn.kept(_Open)
        if _logs_in(turn) and turn.due and opened.count >= self.limit:
            turn.say(f"{opened.count} are open")
            return error(self.status, "The session limit is reached", self.message_id)
        response = await proceed()
        if response.status < 300 and _logs_in(turn):
            opened.count += 1
        if response.status < 300 and turn.method == "DELETE":
            opened.count -= fnmatchcase(turn.path, f"{_SESSIONS}/*")
        return response


class _Failed(msgspec.Struct):
    count: int = 0
    until: float = 0.0


class Lockout(Rule, frozen=True, kw_only=True, tag="lockout"):
    """Refuses every login for ``seconds`` after ``failures`` refused ones, the right one too."""

    WATCHES: ClassVar = True
    failures: Count = 3
    seconds: Seconds = 300.0

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        failed = turn.kept(_Failed)
        attempt = _logs_in(turn) or "Authorization" in turn.request.headers
        if attempt and time.monotonic() < failed.until:
            turn.say("the account is locked")
            return error(401, "The account is locked", "NoValidSession")
        response = await proceed()
        if attempt and response.status == 401:
            failed.count += 1
            if failed.count >= self.failures:
                turn.say(f"the account is locked for {self.seconds} s from now on")
                failed.count, failed.until = 0, time.monotonic() + self.seconds
        elif attempt:
            failed.count = 0
        return response


class Unauthorized(Rule, frozen=True, kw_only=True, tag="unauthorized"):
    """Answers 401 though the token or the password is right."""

    times: Count = 1

    async def play(self, turn: Turn, proceed: Proceed) -> web.StreamResponse:
        headers = turn.request.headers
        if _logs_in(turn) or not ("X-Auth-Token" in headers or "Authorization" in headers):
            return await proceed()
        turn.say("401")
        return error(401, "There is no valid session", "NoValidSession")
