"""Moves machines through their operations, one requested action after another."""

from collections.abc import Callable

from mulligan.commands.runner import Commands, Request
from mulligan.commands.sharedwork import FindBusy, SharedWork
from mulligan.events.envelope import Actor
from mulligan.handlers.actions import RequestAction
from mulligan.handlers.completion import CompleteOperation, FailOperation
from mulligan.handlers.decision import Command
from mulligan.handlers.machine import Machine, Operation
from mulligan.log.protocol import Fence
from mulligan.model import ActionId, CommitId, MachineId, new_id, stream_id
from mulligan.reconcile import machine_plan as plans

ACTOR = Actor(account="service:control")
_AT_ONCE = 64


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
        self._work = SharedWork(
            "machines",
            commands.log,
            look=self._look,
            concerns=lambda record: record.stream.startswith("machine/"),
            find_busy=find_busy,
            at_once=_AT_ONCE,
        )

    async def run(self) -> None:
        """Reconcile for ever."""
        await self._work.run()

    def shares_changed(self) -> None:
        """Look at every busy machine again: some may be ours now."""
        self._work.shares_changed()

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
