"""The event streams that a watcher keeps open: one task each, opened again when they end."""

import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import aiohttp
import anyio
from anyio.abc import TaskGroup

from mulligan.errors import MulliganError
from mulligan.handlers.machine import Machine
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.event_stream import (
    StreamBroken,
    listen,
    offered_stream,
    open_session,
    unfiltered,
)
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.sse import EventParser, ServerSentEvent
from mulligan.redfish.watch import Watch, WatchTimings, jittered

log = logging.getLogger(__name__)

FAILURES = 3
"""Failures in a row after which a machine is polled instead."""

ClientOf = Callable[[Machine], Awaitable[BmcClient]]
"""Return the one client of a machine's BMC; raise NotFound when its login is gone."""


class Audience(Protocol):
    """Who wants to know what happens to streams."""

    async def machine(self, key: str) -> Machine | None:
        """Return a machine as it is now; raise Unavailable."""

    async def heard(self, watch: Watch, event: ServerSentEvent) -> None:
        """Take in an event."""

    def missed(self, watch: Watch) -> None:
        """Know that events may have been missed: the stream ended, and is opened again."""

    def over(self, watch: Watch) -> None:
        """Know that the machine has no stream any more."""


class Streams:
    """Keeps up to ``most`` streams open; ``count`` are."""

    def __init__(
        self,
        audience: Audience,
        *,
        client_of: ClientOf,
        timings: WatchTimings,
        most: int,
        rng: random.Random,
    ) -> None:
        self.count = 0
        self._audience = audience
        self._client_of = client_of
        self._timings = timings
        self._most = most
        self._rng = rng
        self._tasks: TaskGroup | None = None
        self._http: aiohttp.ClientSession | None = None

    async def run(self) -> None:
        """Keep streams open for ever; cancellation closes all of them."""
        async with open_session() as self._http, anyio.create_task_group() as self._tasks:
            await anyio.sleep_forever()

    async def offer(self, client: BmcClient, watch: Watch) -> None:
        """Open the BMC's stream if it has one, it is time to ask, and there is room for it."""
        now = anyio.current_time()
        if watch.streaming is not None or now < watch.stream_at or self.count >= self._most:
            return
        path = await self._offered(client, watch)
        self._not_before_long(watch)
        if path and self._tasks is not None and self.count < self._most:
            watch.streaming = anyio.CancelScope()
            self.count += 1
            self._tasks.start_soon(self._stream, watch, watch.streaming, path)

    async def _offered(self, client: BmcClient, watch: Watch) -> str:
        try:
            with anyio.move_on_after(self._timings.read):
                return await offered_stream(client)
        except BmcFault as fault:
            log.debug("no stream", extra={"key": watch.key, "reason": fault.message})
        return ""

    def _not_before_long(self, watch: Watch) -> None:
        again = jittered(self._timings.stream_again, self._rng)
        watch.stream_at = anyio.current_time() + again

    async def _stream(self, watch: Watch, scope: anyio.CancelScope, path: str) -> None:
        try:
            with scope:
                await self._keep_open(watch, path)
        finally:
            self.count -= 1
            watch.streaming = None
        log.info("a machine is polled from now on", extra={"key": watch.key})
        self._not_before_long(watch)
        self._audience.over(watch)

    async def _keep_open(self, watch: Watch, path: str) -> None:
        """Return when the stream failed three times in a row, or is not there after all."""
        failures = 0
        parser = EventParser()
        while failures < FAILURES:
            machine = await self._machine(watch)
            if machine is not None and machine.operation is None:
                opened = anyio.current_time()
                broken = await self._once(machine, watch, path, parser)
                log.debug("a stream ended", extra={"key": watch.key, "reason": str(broken)})
                if broken.for_good and path == unfiltered(path):
                    return
                path = unfiltered(path) if broken.refused else path
                lived = anyio.current_time() - opened
                failures = 0 if lived >= self._timings.proven else failures + 1
                self._audience.missed(watch)
            await anyio.sleep(self._pause(failures, parser.retry))
            parser = EventParser(parser.last_id)

    def _pause(self, failures: int, wanted: float) -> float:
        longest = self._timings.longest_reopen
        pause = min(self._timings.reopen * 2.0 ** max(0, failures - 1), longest)
        return max(jittered(pause, self._rng), min(wanted, longest))

    async def _machine(self, watch: Watch) -> Machine | None:
        try:
            return await self._audience.machine(watch.key)
        except MulliganError:
            return None  # the log or Postgres is away: it is asked again after the pause

    async def _once(
        self, machine: Machine, watch: Watch, path: str, parser: EventParser
    ) -> StreamBroken:
        """Listen to one stream, and return how it ended."""
        assert self._http is not None, "streams are opened while this runs"
        try:
            with anyio.fail_after(self._timings.read):
                client = await self._client_of(machine)
            await listen(
                self._http,
                client,
                path,
                parser,
                partial(self._audience.heard, watch),
                silence=self._timings.silence,
            )
        except StreamBroken as broken:
            return broken
        except (BmcFault, MulliganError, TimeoutError) as error:
            return StreamBroken(str(error))
        except Exception as error:
            log.exception("listening failed", extra={"key": watch.key})
            return StreamBroken(type(error).__name__)
        return StreamBroken("the BMC ended it")
