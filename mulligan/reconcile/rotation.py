"""Sees rotations through: starts machines, ends a rotation, has former passwords destroyed.

Nothing is kept here: what is to be done follows from the log, so whoever takes over goes on.
"""

import logging
from collections.abc import Awaitable, Callable

import anyio

from mulligan.commands.runner import Commands, Request
from mulligan.errors import MulliganError
from mulligan.events.envelope import Actor
from mulligan.handlers.credential import Credential
from mulligan.handlers.decision import Command
from mulligan.handlers.rotation import FinishRotation, ForgetVersions, ProveBeside, RotateMachine
from mulligan.log.protocol import Fence, Fenced, Stored
from mulligan.model import CommitId, CredentialId, stream_id
from mulligan.queries.database import Database
from mulligan.queries.freshness import wait_until
from mulligan.queries.rotations import Progress, list_rotating, progress
from mulligan.reconcile.rotation_plan import Todo, plan

log = logging.getLogger(__name__)

ACTOR = Actor(account="service:control")

Destroy = Callable[[str, str], Awaitable[None]]
"""Destroy one version of a credential's login; nothing happens if it is gone."""

FindProgress = Callable[[CredentialId, str], Awaitable[Progress]]
"""Tell how far a login's machines have come to a version, as of now or later."""

FindRotating = Callable[[], Awaitable[list[CredentialId]]]
"""Return the credentials whose rotation is under way, as of now or later."""

_LOOKED_AT = 500
_RETRY_S = 1.0
_AGAIN_S = 60.0
_PAUSE_S = 0.1
_MOVES = frozenset(
    f"machine.{name}"
    for name in (
        "operation_completed", "operation_failed", "bmc_password_proven", "uncordoned",
        "logins_allowed", "bmc_set", "enrolled", "deleted", "abandoned",
    )
)  # fmt: skip


class RotationReads:
    """What the read models tell of rotations, waited for until they have what is in the log."""

    def __init__(self, commands: Commands, database: Database) -> None:
        self._commands = commands
        self._database = database

    async def rotating(self) -> list[CredentialId]:
        """Return the credentials whose rotation is under way."""
        await self._caught_up("images")
        return [*await list_rotating(self._database)]

    async def progress(self, credential: CredentialId, version: str) -> Progress:
        """Tell how far a login's machines have come."""
        await self._caught_up("machines")
        return await progress(self._database, credential, version, limit=_LOOKED_AT)

    async def _caught_up(self, model: str) -> None:
        await wait_until(self._database, (model,), self._commands.position().seq)


class Rotations:
    """Looks after the rotations of the credentials that are ``mine``; ``fence`` guards appends."""

    def __init__(
        self,
        commands: Commands,
        *,
        find_rotating: FindRotating,
        find_progress: FindProgress,
        destroy: Destroy,
        mine: Callable[[str], bool],
        fence: Callable[[], Fence],
    ) -> None:
        self._commands = commands
        self._find_rotating = find_rotating
        self._find_progress = find_progress
        self._destroy = destroy
        self._mine = mine
        self._fence = fence
        self._changed = anyio.Event()
        self._open = False

    async def run(self) -> None:
        """Go on for ever: whenever a rotation starts, a machine moves, and now and then."""
        stop = self._commands.log.listen(self._on_entry)
        try:
            while True:
                self._changed = anyio.Event()
                try:
                    delay = await self.check()
                except (MulliganError, Fenced) as error:
                    log.info("will look at rotations again", extra={"reason": str(error)})
                    delay = _RETRY_S
                if self._open:
                    await anyio.sleep(_PAUSE_S)  # machines end in crowds
                with anyio.move_on_after(delay):
                    await self._changed.wait()
        finally:
            stop()

    def shares_changed(self) -> None:
        """Look again: some rotations may be ours now."""
        self._changed.set()

    def _on_entry(self, stored: Stored) -> None:
        for commit in stored.entry.commits:
            for record in commit.events:
                moves = record.type in _MOVES or record.stream.startswith("brake/")
                if record.stream.startswith("credential/") or (self._open and moves):
                    self._changed.set()

    async def check(self) -> float:
        """See to every rotation once; return in how many seconds at the latest to do it again."""
        self._open = True  # as far as is known, until all have been looked at
        found = await self._find_rotating()
        self._open = bool(found)
        delay = _AGAIN_S
        for credential in found:
            if self._mine(f"credential/{credential}"):
                delay = min(delay, await self._see_to(credential))
        return delay

    async def _see_to(self, credential: CredentialId) -> float:
        # The state comes before the progress: what is destroyed rests on machines as they were
        # after the rotation's end, or later.
        known = await self._commands.state(stream_id("credential", credential))
        state: Credential | None = known.state
        if state is None or state.deleted or not state.goal:
            return _AGAIN_S
        now = self._commands.now()
        todo = plan(await self._find_progress(credential, state.goal), state.goal, now)
        if todo.finished:
            await self._finish(state)
        await self._move(state, todo)
        if todo.again is None:
            return _AGAIN_S
        return max((todo.again - now).total_seconds(), 0.01)

    async def _finish(self, state: Credential) -> None:
        """End the rotation; once it has ended, destroy what nobody has any more."""
        if state.next_version:
            await self._do(FinishRotation(credential=state.id, version=state.next_version))
            return
        for version in state.older:
            await self._destroy(state.id, version)
        await self._do(ForgetVersions(credential=state.id, versions=state.older))

    async def _move(self, state: Credential, todo: Todo) -> None:
        for machine, other in todo.prove:
            await self._do(ProveBeside(machine=machine, by=other, version=state.goal))
        if todo.held:
            log.warning("rotation held", extra={"credential": state.id, "reason": todo.held})
        room = todo.room
        for machine in todo.start:
            if room == 0:
                return
            command = RotateMachine(
                machine=machine,
                credential=state.id,
                version=state.goal,
                operation=CommitId(self._commands.new_id()),
            )
            room -= await self._do(command)

    async def _do(self, command: Command) -> bool:
        """Execute a command; tell whether it changed anything."""
        request = Request(id=CommitId(self._commands.new_id()), actor=ACTOR)
        outcome = await self._commands.execute(command, request, fence=self._fence())
        return outcome.commit is not None
