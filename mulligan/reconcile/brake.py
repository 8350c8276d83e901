"""The blast-radius brake: stops actions in a failure domain where too much fails at once.

What counts is a machine that failed by its own fault or was seen to lose its power; whoever
released the brake has looked at what was before.
"""

import logging
from collections.abc import Callable
from datetime import timedelta

import anyio
import msgspec

from mulligan.commands.runner import Commands, Request
from mulligan.errors import MulliganError
from mulligan.events.envelope import Actor
from mulligan.events.machine import OperationFailed, PowerObserved
from mulligan.handlers.brake import ApplyBrake, Brake, brake_stream
from mulligan.log.protocol import Fence, Fenced, Stored
from mulligan.model import CommitId
from mulligan.queries.database import Database
from mulligan.queries.domains import trouble_in, troubled_domains
from mulligan.queries.freshness import wait_until

log = logging.getLogger(__name__)

ACTOR = Actor(account="service:control")
_TROUBLES = frozenset({OperationFailed.TYPE, PowerObserved.TYPE})
_RETRY_S = 1.0
_AGAIN_S = 60.0


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """When a brake is applied: so many per cent, and machines, within ``window`` seconds.

    0 per cent is never.
    """

    percent: float
    at_least: int
    window: int

    def reached(self, failed: int, total: int) -> bool:
        """Whether so much trouble among ``total`` machines is too much."""
        if not self.percent:
            return False
        return failed >= self.at_least and failed * 100 >= self.percent * total


class BrakeWatch:
    """Counts troubles by domain, for the domains that are ``mine``, and applies their brakes."""

    def __init__(
        self,
        commands: Commands,
        database: Database,
        threshold: Threshold,
        *,
        mine: Callable[[str], bool],
        fence: Callable[[], Fence],
    ) -> None:
        self._commands = commands
        self._database = database
        self._threshold = threshold
        self._mine = mine
        self._fence = fence
        self._changed = anyio.Event()

    async def run(self) -> None:
        """Watch for ever: at every trouble, and now and then."""
        stop = self._commands.log.listen(self._on_entry)
        try:
            while True:
                self._changed = anyio.Event()
                delay = _AGAIN_S
                try:
                    await self.check()
                except (MulliganError, Fenced) as error:
                    log.info("will count troubles again", extra={"reason": str(error)})
                    delay = _RETRY_S
                with anyio.move_on_after(delay):
                    await self._changed.wait()
        finally:
            stop()

    def _on_entry(self, stored: Stored) -> None:
        for commit in stored.entry.commits:
            if any(record.type in _TROUBLES for record in commit.events):
                self._changed.set()

    async def check(self) -> None:
        """Apply the brake wherever it is due."""
        head = self._commands.position().seq
        await wait_until(self._database, ("machines", "providers"), head)
        since = self._commands.now() - timedelta(seconds=self._threshold.window)
        for domain in await troubled_domains(self._database, since):
            if self._mine(f"brake/{domain}"):
                await self._check(domain)

    async def _check(self, domain: str) -> None:
        brake: Brake | None = (await self._commands.state(brake_stream(domain))).state
        if brake is not None and brake.applied is not None:
            return
        since = self._commands.now() - timedelta(seconds=self._threshold.window)
        if brake is not None and brake.counts_from is not None:
            since = max(since, brake.counts_from)
        found = await trouble_in(self._database, domain, since)
        if not self._threshold.reached(found.failed, found.total):
            return
        log.warning(
            "brake applied",
            extra={"domain": domain, "failed": found.failed, "total": found.total},
        )
        apply = ApplyBrake(
            domain=domain,
            failed=found.failed,
            total=found.total,
            window=self._threshold.window,
        )
        request = Request(id=CommitId(self._commands.new_id()), actor=ACTOR)
        await self._commands.execute(apply, request, fence=self._fence())
