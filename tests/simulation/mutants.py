"""Parts that are broken on purpose: a simulation that does not notice them proves nothing."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

from msgspec.structs import replace

from mulligan.commands.runner import Commands, Outcome, Request
from mulligan.commands.states import Known
from mulligan.errors import Unavailable
from mulligan.events.envelope import Commit
from mulligan.handlers.claim import MakeClaim
from mulligan.handlers.decision import Command
from mulligan.handlers.machine import Action, Machine, Operation
from mulligan.handlers.provider import Provider
from mulligan.log.appender import Batch, Pending
from mulligan.log.memory import MemoryLog
from mulligan.log.protocol import Acked, Fence, ReadSet
from mulligan.model import CommitId, Seq, StreamId
from mulligan.redfish.steps import Observation

from .bmcs import SimulatedExecutor


class RashLog(MemoryLog):
    """Appends what was decided on an older state, whatever has happened since."""

    @classmethod
    @asynccontextmanager
    async def open(cls, *args: Any, **kw: Any) -> AsyncIterator[MemoryLog]:
        """Open it with an appender that looks at no read set."""
        async with super().open(*args, **kw) as log:

            def judge(pending: Pending, batch: Batch) -> Literal["take"]:
                return "take"

            log._appender._judge = judge  # type: ignore[method-assign]
            yield log


class HastyLog(MemoryLog):
    """Acknowledges before it has written."""

    async def append(self, commit: Commit, *, read: ReadSet, fence: Fence | None = None) -> Acked:
        """Promise the next entry, and write some time."""
        asyncio.get_running_loop().create_task(self._later(commit, read, fence))
        return Acked(seq=Seq(self.head.seq + 1), commit=commit)

    async def _later(self, commit: Commit, read: ReadSet, fence: Fence | None) -> None:
        try:
            await super().append(commit, read=read, fence=fence)
        except Exception:
            return  # nobody is told, which is the fault


class LawlessLog(MemoryLog):
    """Forgets the fences of what it appends."""

    async def append(self, commit: Commit, *, read: ReadSet, fence: Fence | None = None) -> Acked:
        """Append, lease or no lease."""
        return await super().append(commit, read=read)


class ForgetfulCommands(Commands):
    """Takes an unknown outcome for none, and decides again under another id without a look."""

    async def execute(
        self,
        command: Command,
        request: Request,
        *,
        fence: Fence | None = None,
        versions: Mapping[StreamId, int] | None = None,
    ) -> Outcome:
        """Try twice, the second time as if it were another request."""
        try:
            return await super().execute(command, request, fence=fence, versions=versions)
        except Unavailable:
            await asyncio.sleep(3.0)
            again = replace(request, id=CommitId(self.new_id()))
            return await super().execute(command, again, fence=fence, versions=versions)


class GenerousCommands(Commands):
    """Shows claims providers that nobody uses."""

    async def _load(
        self, command: Command, made: CommitId, supposed: Mapping[StreamId, Known]
    ) -> dict[StreamId, tuple[Known, Sequence[CommitId]]]:
        found = await super()._load(command, made, supposed)
        if isinstance(command, MakeClaim):
            for stream, (known, commits) in found.items():
                if isinstance(known.state, Provider):
                    state = replace(known.state, use={})
                    found[stream] = replace(known, state=state), commits
        return found


class RepeatingExecutor(SimulatedExecutor):
    """Takes over a step that a dead executor had attempted as if it were new."""

    async def _run(self, machine: Machine, operation: Operation, action: Action) -> Observation:
        return await super()._run(machine, operation, replace(action, owner=""))
