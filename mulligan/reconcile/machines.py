"""Moves machines through their operations, one requested action after another."""

import logging
from collections.abc import Awaitable, Callable, Iterable

import anyio

from mulligan.commands.runner import Commands, Request
from mulligan.commands.workqueue import WorkQueue
from mulligan.errors import MulliganError
from mulligan.events.envelope import Actor
from mulligan.handlers.actions import CompleteOperation, FailOperation, RequestAction
from mulligan.handlers.decision import Command
from mulligan.handlers.machine import Machine, Operation
from mulligan.log.protocol import Fence, Stored
from mulligan.model import ActionId, CommitId, MachineId, new_id, stream_id, stream_key
from mulligan.reconcile import machine_plan as plans

log = logging.getLogger(__name__)

ACTOR = Actor(account="service:control")
_AT_ONCE = 64
_RETRY_S = 1.0

FindBusy = Callable[[], Awaitable[Iterable[str]]]
"""Return the machines that have an operation, as of now or later."""


class MachineReconciler:
    """Looks at every machine of this instance's share whenever its stream moves or time is due.

    ``mine`` tells which machines are this instance's; ``fence`` guards its appends.
    """

    def __init__(
        self,
        commands: Commands,
        *,
        mine: Callable[[str], bool],
        fence: Callable[[], Fence],
        find_busy: FindBusy,
    ) -> None:
        self._commands = commands
        self._mine = mine
        self._fence = fence
        self._find_busy = find_busy
        self._queue = WorkQueue("machines", self._look, _AT_ONCE)
        self._shares_changed = anyio.Event()

    async def run(self) -> None:
        """Reconcile for ever."""
        stop = self._commands.log.listen(self._on_entry)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._queue.run)
                tasks.start_soon(self._take_over)
        finally:
            stop()

    def shares_changed(self) -> None:
        """Look at every busy machine again: some may be ours now."""
        self._shares_changed.set()

    async def _take_over(self) -> None:
        while True:
            self._shares_changed = anyio.Event()
            try:
                for machine in await self._find_busy():
                    self._queue.add(machine)
            except MulliganError as error:
                log.info("will look for work again", extra={"reason": error.message})
                await anyio.sleep(_RETRY_S)
                continue
            await self._shares_changed.wait()

    def _on_entry(self, stored: Stored) -> None:
        for commit in stored.entry.commits:
            for record in commit.events:
                if record.stream.startswith("machine/"):
                    self._queue.add(stream_key(record.stream))

    async def _look(self, key: str) -> float | None:
        if not self._mine(key):
            return None
        machine: Machine | None = (await self._commands.state(stream_id("machine", key))).state
        if machine is None:
            return None
        now = self._commands.now()
        todo = plans.plan(machine, now)
        match todo:
            case plans.Rest():
                return None
            case plans.Wait(until=until):
                return max((until - now).total_seconds(), 0.01)
            case plans.Request() | plans.Complete() | plans.Fail():
                await self._append(machine, _command(machine, todo), todo.operation)
                return None

    async def _append(self, machine: Machine, command: Command, operation: Operation) -> None:
        request = Request(
            id=CommitId(new_id()), actor=ACTOR, causation=operation.id, correlation=operation.id
        )
        await self._commands.execute(command, request, fence=self._fence())


def _command(machine: Machine, todo: plans.Request | plans.Complete | plans.Fail) -> Command:
    operation = todo.operation
    match todo:
        case plans.Request(attempt=attempt):
            return RequestAction(
                machine=MachineId(machine.id),
                operation=operation.id,
                action=ActionId(new_id()),
                done=operation.done,
                attempt=attempt,
            )
        case plans.Complete():
            return CompleteOperation(machine=machine.id, operation=operation.id)
        case plans.Fail(fault=fault, message=message):
            return FailOperation(
                machine=machine.id,
                operation=operation.id,
                step=operation.step,
                fault=fault,
                message=message,
            )
