"""Attempts that were denied: counted as they come, and written to the log every few seconds.

However many there are, a process makes at most one commit of at most ``MAX_EVENTS`` events in
``FLUSH_S``, and remembers at most ``MAX_KEYS`` kinds of attempts in between: whoever knocks
without a key fills neither the log nor the memory.
"""

import logging
from collections.abc import Callable
from datetime import datetime

import anyio
import msgspec

from mulligan.commands.runner import Commands, Request
from mulligan.errors import InvalidArgument, MulliganError, NotFound
from mulligan.events.denial import AttemptsDenied
from mulligan.events.envelope import Actor
from mulligan.handlers.denial import RecordDenials
from mulligan.model import AccountId, CommitId, ProjectId, new_id, stream_id, utc_now
from mulligan.services.objects import identify

log = logging.getLogger(__name__)

FLUSH_S = 5.0
MAX_KEYS = 1_000
MAX_EVENTS = 100
OTHERS = "others"
"""The method of attempts beyond ``MAX_KEYS``: counted, and no more told apart."""
_APPEND_S = 10.0


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted together. ``login`` is the account as somebody wrote it to log in.

    It is looked up before anything is recorded, and recorded only if there is such an account.
    """

    method: str
    reason: str
    account: AccountId = AccountId("")
    project: ProjectId = ProjectId("")
    permission: str = ""
    credential: str = ""
    login: str = ""


class _Tally:
    __slots__ = ("count", "first_at", "last_at", "peer")

    def __init__(self, at: datetime) -> None:
        self.count = 0
        self.first_at = self.last_at = at
        self.peer = ""


class Denials:
    """Counts denied attempts and, while ``run`` runs, records them."""

    def __init__(self, service: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._actor = Actor(account=f"service:{service}")
        self._clock = clock
        self._tallies: dict[Attempt, _Tally] = {}
        self._unsure: tuple[RecordDenials, Request] | None = None

    def note(self, attempt: Attempt, peer: str) -> None:
        """Count one attempt from the host ``peer``."""
        now = self._clock()
        if attempt not in self._tallies and len(self._tallies) >= MAX_KEYS:
            attempt = Attempt(method=OTHERS, reason=OTHERS)
        tally = self._tallies.get(attempt)
        if tally is None:
            tally = self._tallies[attempt] = _Tally(now)
        tally.count += 1
        tally.last_at = now
        tally.peer = peer

    @property
    def waiting(self) -> int:
        """How many kinds of attempts wait to be recorded."""
        return len(self._tallies)

    async def run(self, commands: Commands) -> None:
        """Record what there is, every few seconds, until cancelled."""
        while True:
            await anyio.sleep(FLUSH_S)
            await self.flush(commands)

    async def flush(self, commands: Commands) -> None:
        """Record up to ``MAX_EVENTS``; what cannot be recorded now is kept for the next time.

        An append whose outcome is not known is tried again under its own id, so that nothing is
        counted twice.
        """
        try:
            with anyio.fail_after(_APPEND_S):
                if self._unsure is None:
                    self._unsure = await self._next(commands)
                if self._unsure is not None:
                    command, request = self._unsure
                    await commands.execute(command, request)
                    self._unsure = None
        except (MulliganError, TimeoutError) as error:
            log.warning("denied attempts are not recorded yet", extra={"reason": str(error)})

    async def _next(self, commands: Commands) -> tuple[RecordDenials, Request] | None:
        taken = list(self._tallies.items())[:MAX_EVENTS]
        if not taken:
            return None
        accounts = {a.login: await _account(commands, a.login) for a, _ in taken if a.login}
        events = []
        for attempt, tally in taken:  # from here on nothing awaits: what is counted is recorded
            del self._tallies[attempt]
            events.append(
                AttemptsDenied(
                    method=attempt.method,
                    reason=attempt.reason,
                    count=tally.count,
                    first_at=tally.first_at,
                    last_at=tally.last_at,
                    account=accounts.get(attempt.login) or attempt.account,
                    project=attempt.project,
                    permission=attempt.permission,
                    credential=attempt.credential,
                    peer=tally.peer,
                )
            )
            log.warning(
                "denied",
                extra={"method": attempt.method, "reason": attempt.reason, "times": tally.count},
            )
        command = RecordDenials(attempts=tuple(events))
        return command, Request(id=CommitId(new_id()), actor=self._actor)


async def _account(commands: Commands, text: str) -> AccountId:
    """Return the account that somebody tried to log in to; empty if there is none."""
    try:
        uuid = await identify(commands, "account", text, "account")
    except (InvalidArgument, NotFound):
        return AccountId("")
    known = await commands.state(stream_id("account", uuid))
    return AccountId(uuid if known.state is not None else "")
