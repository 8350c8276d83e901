"""Moves reservations off providers that have failed, to equals that have room.

What fits nowhere is flagged once, and tried again: when providers come, open or grow, and now and
then, as claims end too.
"""

import logging
from collections.abc import Callable

import anyio

from mulligan.commands.runner import Commands, Request
from mulligan.errors import Exhausted, FailedPrecondition, MulliganError, NotFound
from mulligan.events.envelope import Actor
from mulligan.events.provider import (
    InventoriesSet,
    ProviderCordoned,
    ProviderCreated,
    ProviderUncordoned,
)
from mulligan.handlers.claim import Claim
from mulligan.handlers.claim_changes import FlagStranded
from mulligan.handlers.provider import Provider
from mulligan.log.protocol import Fence, Fenced, Stored
from mulligan.model import CommitId, stream_id
from mulligan.queries.claims import Afflicted, find_afflicted
from mulligan.queries.database import Database
from mulligan.queries.freshness import wait_until
from mulligan.reconcile.relocation import move_to_equal

log = logging.getLogger(__name__)

ACTOR = Actor(account="service:resource")
_AGAIN_S = 30.0
_RETRY_S = 1.0
_PAUSE_S = 0.5
_ROOM = frozenset({ProviderCreated.TYPE, ProviderUncordoned.TYPE, InventoriesSet.TYPE})


class ClaimMigration:
    """Looks after failed providers' reservations; only the instance for which ``mine`` holds."""

    def __init__(
        self,
        commands: Commands,
        database: Database,
        *,
        mine: Callable[[], bool],
        fence: Callable[[], Fence],
    ) -> None:
        self._commands = commands
        self._database = database
        self._mine = mine
        self._fence = fence
        self._changed = anyio.Event()
        self._stranded = False

    async def run(self) -> None:
        """Go on for ever: at every failure, when room may have come, and now and then."""
        stop = self._commands.log.listen(self._on_entry)
        try:
            while True:
                self._changed = anyio.Event()
                delay = _RETRY_S
                try:
                    if self._mine():
                        self._stranded = True  # as far as is known, until all have been looked at
                        self._stranded = await self.settle()
                        delay = _AGAIN_S
                except (MulliganError, Fenced) as error:
                    log.info("will look at failed providers again", extra={"reason": str(error)})
                if self._stranded:
                    await anyio.sleep(_PAUSE_S)  # a search in vain is the dearest there is
                with anyio.move_on_after(delay):
                    await self._changed.wait()
        finally:
            stop()

    def _on_entry(self, stored: Stored) -> None:
        for commit in stored.entry.commits:
            for record in commit.events:
                room = self._stranded and record.type in _ROOM
                if room or record.type == ProviderCordoned.TYPE:
                    self._changed.set()

    async def settle(self) -> bool:
        """Move or flag each reservation at a failed provider, once; tell whether any is left there.

        One that cannot be moved for now does not keep the others waiting.
        """
        head = self._commands.position().seq
        await wait_until(self._database, ("claims", "providers"), head)
        left = False
        for one in await find_afflicted(self._database):
            try:
                await self._settle(one)
            except NotFound:
                continue
            except (Exhausted, FailedPrecondition) as error:
                log.info("left where it is for now", extra={"reason": str(error)})
                left = True
        return left

    async def _settle(self, one: Afflicted) -> None:
        """Move one; raise Exhausted when it fits nowhere, after flagging it."""
        streams = [stream_id("claim", one.claim), stream_id("provider", one.provider)]
        states = await self._commands.states(streams)
        claim: Claim | None = states[streams[0]].state
        failed: Provider | None = states[streams[1]].state
        if claim is None or claim.state != "reserved":
            return
        name = failed.name if failed is not None else one.provider
        reason = await move_to_equal(
            self._commands,
            self._database,
            claim,
            one.provider,
            reason=f"provider {name} failed",
            request=self._request(),
            fence=self._fence(),
        )
        if not reason:
            return
        flag = FlagStranded(claim=claim.id, provider=one.provider, reason=reason)
        await self._commands.execute(flag, self._request(), fence=self._fence())
        raise Exhausted(reason)

    def _request(self) -> Request:
        return Request(id=CommitId(self._commands.new_id()), actor=ACTOR)
