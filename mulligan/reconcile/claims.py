"""Opens and closes the windows of claims in time: each start and end is noted once.

Capacity does not wait for this, it follows the windows themselves; what does is the state a tenant
sees, and machines whose claim is over.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

import anyio
import msgspec

from mulligan.commands.runner import Commands, Request
from mulligan.errors import MulliganError
from mulligan.events.envelope import Actor
from mulligan.handlers.claim import EndClaim, StartClaim
from mulligan.handlers.decision import Command
from mulligan.log.protocol import Fence, Fenced, Stored
from mulligan.model import ClaimId, CommitId, new_id

log = logging.getLogger(__name__)

ACTOR = Actor(account="service:resource")
_RETRY_S = 1.0
_LONGEST_WAIT_S = 60.0
_SHORTEST_WAIT_S = 0.01


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """What is due at a time, from the read model, and when something is due next."""

    starts: tuple[ClaimId, ...]
    ends: tuple[ClaimId, ...]
    next_at: datetime | None


FindDue = Callable[[datetime], Awaitable[Due]]
"""Return the claims that are due at a time, in order, at most a batch of them."""


class ClaimTimers:
    """Notes the starts and ends that are due; only the instance for which ``mine`` holds does."""

    def __init__(
        self,
        commands: Commands,
        *,
        mine: Callable[[], bool],
        fence: Callable[[], Fence],
        find_due: FindDue,
    ) -> None:
        self._commands = commands
        self._mine = mine
        self._fence = fence
        self._find_due = find_due
        self._changed = anyio.Event()

    async def run(self) -> None:
        """Keep the time for ever."""
        stop = self._commands.log.listen(self._on_entry)
        try:
            while True:
                self._changed = anyio.Event()
                delay = _RETRY_S
                try:
                    delay = await self._note_due()
                except (MulliganError, Fenced) as error:
                    log.info("will keep the time again", extra={"reason": str(error)})
                with anyio.move_on_after(delay):
                    await self._changed.wait()
        finally:
            stop()

    async def _note_due(self) -> float:
        """Note what is due and return how long to wait for the next, in seconds."""
        if not self._mine():
            return _RETRY_S
        now = self._commands.now()
        due = await self._find_due(now)
        commands: list[Command] = [StartClaim(claim=c) for c in due.starts]
        commands += [EndClaim(claim=c) for c in due.ends]
        for command in commands:
            request = Request(id=CommitId(new_id()), actor=ACTOR)
            await self._commands.execute(command, request, fence=self._fence())
        if commands:
            return _SHORTEST_WAIT_S * 5  # the read model needs a moment to know
        if due.next_at is None:
            return _LONGEST_WAIT_S
        ahead = (due.next_at - self._commands.now()).total_seconds()
        return min(max(ahead, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)

    def _on_entry(self, stored: Stored) -> None:
        for commit in stored.entry.commits:
            if any(record.type == "claim.made" for record in commit.events):
                self._changed.set()
