"""The proxy: passes requests on to a Redfish service, through the rules that are for them."""

import logging
import random
import ssl
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp import web

from tests.bmc_faults.rules import Proceed, Rule, Turn, bmc_of, error

log = logging.getLogger(__name__)

_OWN_HOP = {
    "connection", "content-encoding", "content-length", "host", "keep-alive", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
_LOGGED = 10_000


class Injected(msgspec.Struct, frozen=True, kw_only=True):
    """One fault that was injected."""

    number: int
    bmc: str
    method: str
    path: str
    fault: str
    detail: str

    def __str__(self) -> str:
        where = f" of {self.bmc}" if self.bmc else ""
        return f"#{self.number} {self.method} {self.path}{where}: {self.fault}: {self.detail}"


class _Counted(msgspec.Struct):
    seen: int = 0
    fired: int = 0
    since: float = 0.0


class FaultProxy:
    """Stands before ``upstream`` and injects what the rules say; a context manager.

    The same seed and the same requests in the same order for each BMC give the same faults, but
    for those that depend on time. Rules are played in their order: the first is outermost.
    ``one_bmc`` names the BMC of all requests, where ``upstream`` is a single one.
    """

    def __init__(
        self,
        upstream: str,
        rules: Sequence[Rule] = (),
        *,
        seed: int = 0,
        one_bmc: str = "",
        listen: tuple[str, int] = ("127.0.0.1", 0),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.upstream = upstream.rstrip("/")
        self.log: deque[Injected] = deque(maxlen=_LOGGED)
        self.address = ""
        self._seed = seed
        self._one_bmc = one_bmc
        self._listen = listen
        self._tls = tls
        self._rules: tuple[Rule, ...] = ()
        self._counts: dict[tuple[int, str], _Counted] = {}
        self._states: dict[tuple[int, str], dict[str, Any]] = {}
        self._number = 0
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self.use(*rules)

    def use(self, *rules: Rule) -> None:
        """Go on with these rules, from their beginning."""
        self._rules = rules
        self._counts.clear()
        self._states.clear()

    def injected(self, fault: str = "") -> list[Injected]:
        """Return what was injected so far, all or one fault's."""
        return [entry for entry in self.log if fault in ("", entry.fault)]

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=False, limit=0),
            timeout=aiohttp.ClientTimeout(total=300),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, *self._listen, ssl_context=self._tls)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        host = f"[{host}]" if ":" in host else host
        self.address = f"http{'s' if self._tls else ''}://{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._number += 1
        body = await request.read()

        async def forward() -> web.StreamResponse:
            return await self._forward(request, body)

        proceed: Proceed = forward
        bmc = self._one_bmc or bmc_of(request.path)
        for number in reversed(range(len(self._rules))):
            proceed = self._played(number, bmc, request, body, proceed)
        return await proceed()

    def _played(
        self, number: int, bmc: str, request: web.Request, body: bytes, proceed: Proceed
    ) -> Proceed:
        """Return ``proceed`` with one rule around it, if the rule has a part in this request."""
        rule = self._rules[number]
        if not rule.of(bmc):
            return proceed
        chance, due = self._due(number, bmc, request)
        if not (due or rule.WATCHES):
            return proceed
        fault = str(rule.__struct_config__.tag)
        serial = self._number

        def say(detail: str) -> None:
            entry = Injected(
                number=serial,
                bmc=bmc,
                method=request.method,
                path=request.path,
                fault=fault,
                detail=detail,
            )
            self.log.append(entry)
            log.info("%s", entry)

        turn = Turn(
            request,
            body,
            bmc=bmc,
            due=due,
            chance=chance,
            state=self._states.setdefault((number, bmc), {}),
            say=say,
            read=lambda path: self._read(request, path),
        )
        return lambda: rule.play(turn, proceed)

    def _due(self, number: int, bmc: str, request: web.Request) -> tuple[random.Random, bool]:
        rule = self._rules[number]
        if not rule.matches(request.method, request.path):
            return random.Random(0), False
        counted = self._counts.setdefault((number, bmc), _Counted())
        counted.seen += 1
        counted.since = counted.since or time.monotonic()
        # Not one generator for all: another BMC's requests in between would change the faults.
        chance = random.Random(f"{self._seed}/{number}/{bmc}/{counted.seen}")
        due = (
            counted.seen > rule.after
            and (not rule.times or counted.fired < rule.times)
            and (not rule.window or time.monotonic() - counted.since < rule.window)
            and (rule.chance >= 1 or chance.random() < rule.chance)
        )
        counted.fired += due
        return chance, due

    async def _read(self, request: web.Request, path: str) -> web.StreamResponse:
        return await self._send("GET", path, self._headers(request), b"")

    async def _forward(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return await self._send(request.method, request.raw_path, self._headers(request), body)

    def _headers(self, request: web.Request) -> list[tuple[str, str]]:
        kept = [(k, v) for k, v in request.headers.items() if k.lower() not in _OWN_HOP]
        return [(k, v) for k, v in kept if k.lower() != "accept-encoding"]

    async def _send(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes
    ) -> web.Response:
        assert self._session is not None
        if method in ("GET", "HEAD"):
            headers = [(k, v) for k, v in headers if k.lower() not in ("if-match", "content-type")]
        try:
            async with self._session.request(
                method,
                self.upstream + path,
                headers=headers,
                data=body or None,
                allow_redirects=False,
            ) as answer:
                response = web.Response(status=answer.status, body=await answer.read())
                for name, value in answer.headers.items():
                    if name.lower() not in _OWN_HOP:
                        response.headers[name] = value.replace(self.upstream, self.address)
                return response
        except (TimeoutError, aiohttp.ClientError) as trouble:
            log.warning("the BMC behind the proxy did not answer: %s", trouble)
            return error(502, f"the service behind the proxy did not answer: {trouble}")
