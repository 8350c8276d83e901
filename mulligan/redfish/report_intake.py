"""The HTTP side of reports: ``POST /<kind>/<machine>/<operation>/<token>``.

A token is right or not by itself, so any executor with the same secret takes the report. Whether it
was used before is for ``on_report`` to say, which looks at exact state.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil

import anyio
from aiohttp import web
from aiohttp.typedefs import Handler
from msgspec.structs import replace

from mulligan.errors import Conflict, Exhausted, Unavailable
from mulligan.log.protocol import Fenced
from mulligan.redfish.reports import (
    KINDS,
    MAX_BODY,
    BadReport,
    OnReport,
    Report,
    ReportAnswer,
    ReportKind,
    facts_of,
    host_keys_of,
    read_phone_home,
    read_wipe_report,
)
from mulligan.redfish.tokens import TokenMaker

BURST = 5
"""Reports that one token may send at once; one more each second."""
_TOKENS_KEPT = 10_000
_AT_ONCE = 64
_READ_S = 10.0
_TAKE_S = 15.0


class ReportIntake:
    """Takes reports by their tokens; ``add_to`` an application.

    204 when taken; 400 with the field's name; 404 for a token not made by this secret; 408, 413,
    429 and 503 with ``Retry-After``; 410 when nobody waits for the report any more.
    """

    def __init__(
        self,
        tokens: TokenMaker,
        on_report: OnReport,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._on_report = on_report
        self._allowance = Allowance(clock)
        self._reading = anyio.Semaphore(_AT_ONCE)

    def add_to(self, app: web.Application) -> None:
        """Answer the reports that the application gets."""
        for kind in KINDS:
            app.router.add_post(f"/{kind}/{{machine}}/{{operation}}/{{token}}", self._handler(kind))

    def _handler(self, kind: ReportKind) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._take(kind, request)

        return handle

    async def _take(self, kind: ReportKind, request: web.Request) -> web.Response:
        told = request.match_info
        if not self._tokens.verifies(told["token"], kind, told["machine"], told["operation"]):
            raise web.HTTPNotFound
        if (pause := self._allowance.take(told["token"])) > 0:
            return _later(429, "too many reports", pause)
        try:
            async with self._reading:
                report = await _read(kind, request)
        except TimeoutError:
            return web.Response(status=408, text=f"the report took longer than {_READ_S:.0f} s\n")
        except BadReport as bad:
            return web.Response(status=400, text=f"{bad}\n")
        return await self._hand_on(report)

    async def _hand_on(self, report: Report) -> web.Response:
        try:
            with anyio.fail_after(_TAKE_S):
                answer: ReportAnswer = await self._on_report(report)
        except (Unavailable, Exhausted) as error:
            return _later(503, "the report cannot be recorded now", error.retry_after or 2.0)
        except (Conflict, Fenced, TimeoutError):
            answer = "away"
        if answer == "taken":
            return web.Response(status=204)
        if answer == "over":
            return web.Response(status=410, text="this report was made before, or comes too late\n")
        return _later(503, "the report cannot be recorded now", 2.0)


async def _read(kind: ReportKind, request: web.Request) -> Report:
    if (request.content_length or 0) > MAX_BODY:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY, request.content_length or 0)
    with anyio.fail_after(_READ_S):
        # Raises the same for a longer body that was not announced: ``client_max_size``.
        body = await request.read()
    told = request.match_info
    report = Report(
        kind=kind,
        machine=told["machine"],
        operation=told["operation"],
        address=request.remote or "",
    )
    return _with_body(report, body, request.content_type)


def _with_body(report: Report, body: bytes, content_type: str) -> Report:
    if report.kind == "wipe-report":
        return replace(report, proofs=read_wipe_report(body))
    fields = read_phone_home(body, content_type)
    return replace(report, fields=facts_of(fields), host_keys=host_keys_of(fields))


def _later(status: int, why: str, seconds: float) -> web.Response:
    headers = {"Retry-After": str(max(1, ceil(seconds)))}
    return web.Response(status=status, text=f"{why}; try again later\n", headers=headers)


class Allowance:
    """A small bucket for each token, of which the 10,000 used last are kept."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, token: str) -> float:
        """Count one report; return 0, or the seconds until the next is allowed."""
        now = self._clock()
        left, since = self._left.pop(token, (float(BURST), now))
        left = min(BURST, left + now - since)
        allowed = left >= 1
        self._left[token] = (left - 1 if allowed else left, now)
        if len(self._left) > _TOKENS_KEPT:
            self._left.popitem(last=False)
        return 0.0 if allowed else 1 - left
