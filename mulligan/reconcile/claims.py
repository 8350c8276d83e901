"""Opens and closes the windows of claims in time: starts, notices and ends are noted once each.

Capacity does not wait for this, it follows the windows themselves; what does is the state a tenant
sees, and machines whose claim is over.
"""

import heapq
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

import anyio

from mulligan.commands.runner import Commands, Request
from mulligan.errors import MulliganError
from mulligan.events.claim import ClaimMade, ClaimRescheduled
from mulligan.events.codec import Codec, UnreadableEvent
from mulligan.events.envelope import Actor, EventRecord
from mulligan.handlers.claim import LIVE, Claim
from mulligan.handlers.claim_ends import EndClaim, StartClaim, WarnClaim
from mulligan.handlers.decision import Command
from mulligan.log.protocol import Fence, Fenced, Stored
from mulligan.model import ClaimId, CommitId, stream_id, stream_key
from mulligan.queries.claims import DueClaims

log = logging.getLogger(__name__)

ACTOR = Actor(account="service:resource")
_TIMED = frozenset({ClaimMade.TYPE, ClaimRescheduled.TYPE})
_RETRY_S = 1.0
_LONGEST_WAIT_S = 60.0
_SHORTEST_WAIT_S = 0.01
_LOOK_AGAIN_S = 0.05


FindDue = Callable[[datetime], Awaitable[DueClaims]]
"""Return the claims that are due at a time, the earliest of them; it may lag behind the log."""


class _Timer(NamedTuple):
    """Something due; at one instant the ends come first, as [a, b) and [b, c) do."""

    at: datetime
    rank: int
    claim: ClaimId
    command: Command


_END, _START, _NOTICE = range(3)


class ClaimTimers:
    """Notes the starts and ends that are due; only the instance for which ``mine`` holds does.

    What the log tells of the next minutes is remembered here, so that a start or an end is noted in
    time however far the read model lags.
    """

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
        self._codec = Codec()
        self._soon: list[tuple[datetime, ClaimId]] = []
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
        now = self._commands.now()
        if not self._mine():
            self._forget(now)
            return _RETRY_S
        due = await self._find_due(now)
        heard = {claim for at, claim in self._soon if at <= now}
        timers = await self._timers({*due.claims, *heard}, now)
        for timer in timers:
            request = Request(id=CommitId(self._commands.new_id()), actor=ACTOR)
            await self._commands.execute(timer.command, request, fence=self._fence())
        if timers or due.claims:
            return _LOOK_AGAIN_S  # there may be more, and the read model needs a moment to know
        self._forget(now)
        times = [at for at, _ in self._soon[:1]] + ([due.next_at] if due.next_at else [])
        if not times:
            return _LONGEST_WAIT_S
        ahead = (min(times) - self._commands.now()).total_seconds()
        return min(max(ahead, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)

    async def _timers(self, claims: Iterable[ClaimId], now: datetime) -> list[_Timer]:
        """Return, in order, what is due by the claims' exact states.

        None lies beyond what every claim has due first: there, others may have to come between.
        """
        streams = {stream_id("claim", claim): claim for claim in claims}
        states = await self._commands.states(list(streams))
        due = [_due(states[stream].state, now) for stream in streams]
        horizon = max((timers[0].at for timers in due if timers), default=now)
        found = [t for timers in due for t in timers if t.at <= horizon]
        return sorted(found, key=lambda t: (t.at, t.rank, t.claim))

    def _forget(self, now: datetime) -> None:
        while self._soon and self._soon[0][0] <= now:
            heapq.heappop(self._soon)

    def _on_entry(self, stored: Stored) -> None:
        for commit in stored.entry.commits:
            for record in commit.events:
                if record.type in _TIMED:
                    self._hear(record, commit.at)

    def _hear(self, record: EventRecord, at: datetime) -> None:
        try:
            event = self._codec.event(record)
        except UnreadableEvent:
            return  # whoever needs its state is told what is wrong
        assert isinstance(event, ClaimMade | ClaimRescheduled)
        claim = ClaimId(stream_key(record.stream))
        times = [event.start, event.end]
        if event.end is not None and isinstance(event, ClaimMade) and event.ending_notice:
            notice = event.end - timedelta(seconds=event.ending_notice)
            times.append(max(event.start, notice))
        horizon = at + timedelta(seconds=2 * _LONGEST_WAIT_S)
        for time in times:
            if time is not None and at <= time <= horizon:
                heapq.heappush(self._soon, (time, claim))
                if self._soon[0] == (time, claim):
                    self._changed.set()


def _due(claim: Claim | None, now: datetime) -> list[_Timer]:
    if claim is None or claim.state not in LIVE:
        return []
    timers = []
    if claim.state == "reserved" and claim.start <= now:
        timers.append(_Timer(claim.start, _START, claim.id, StartClaim(claim=claim.id)))
    if claim.end is not None and claim.end <= now:
        timers.append(_Timer(claim.end, _END, claim.id, EndClaim(claim=claim.id)))
    elif claim.notice_at is not None and claim.notice_at <= now:
        timers.append(_Timer(claim.notice_at, _NOTICE, claim.id, WarnClaim(claim=claim.id)))
    return timers
