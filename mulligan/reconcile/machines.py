"""Moves machines through their operations, one requested action after another."""

from collections.abc import Callable
from typing import Any

from mulligan import tracing
from mulligan.commands.runner import Commands, Request
from mulligan.commands.sharedwork import FindBusy, SharedWork
from mulligan.events.envelope import Actor
from mulligan.handlers import brake, upkeep
from mulligan.handlers.actions import RequestAction, acts
from mulligan.handlers.completion import CompleteOperation, FailOperation
from mulligan.handlers.decision import Command
from mulligan.handlers.machine import Machine
from mulligan.handlers.upkeep import EnforcePower, UncordonMachine
from mulligan.log.protocol import Fence, Stored
from mulligan.model import ActionId, CommitId, MachineId, StreamId, stream_id
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

    @property
    def waiting(self) -> int:
        """How many machines wait to be looked at, or are."""
        return self._work.waiting

    async def run(self) -> None:
        """Reconcile for ever."""
        stop = self._commands.log.listen(self._on_entry)
        try:
            await self._work.run()
        finally:
            stop()

    def shares_changed(self) -> None:
        """Look at every busy machine again: some may be ours now."""
        self._work.shares_changed()

    def _on_entry(self, stored: Stored) -> None:
        """Look at every busy machine when a brake is let go."""
        for commit in stored.entry.commits:
            if any(record.stream.startswith("brake/") for record in commit.events):
                self._work.shares_changed()

    async def _look(self, key: str) -> float | None:
        if not self._mine(key):
            return None
        machine: Machine | None = (await self._commands.state(stream_id("machine", key))).state
        if machine is None:
            return None
        now = self._commands.now()
        todo = plans.plan(machine, now, await why_braked(self._commands, machine))
        match todo:
            case plans.Rest():
                return None
            case plans.Wait(until=until):
                return max((until - now).total_seconds(), 0.01)
            case _:
                await self._append(machine, todo)
                return None

    async def _append(self, machine: Machine, todo: plans.Plan) -> None:
        new_id = self._commands.new_id
        command = _command(machine, todo, new_id)
        cause = machine.operation.id if machine.operation is not None else CommitId("")
        request = Request(id=CommitId(new_id()), actor=ACTOR, causation=cause, correlation=cause)
        with (
            tracing.following(self._commands.trace_of(cause)),
            tracing.concerning(machine=machine.id, operation=cause),
            tracing.span("reconcile", about={"machine": machine.id}),
        ):
            await self._commands.execute(command, request, fence=self._fence())


async def why_braked(commands: Commands, machine: Machine) -> str:
    """Say why a brake holds back what the machine is due; empty when none does."""
    operation = machine.operation
    if not (acts(operation) if operation is not None else upkeep.strays(machine)):
        return ""
    states: dict[StreamId, Any] = {}
    while new := [s for s in brake.streams(states, machine.id) if s not in states]:
        states |= {s: known.state for s, known in (await commands.states(new)).items()}
    applied = brake.applied_to(states, machine.id)
    return brake.described(applied) if applied is not None else ""


def _command(machine: Machine, todo: plans.Plan, new_id: Callable[[], str]) -> Command:
    match todo:
        case plans.Request(operation=operation, attempt=attempt):
            return RequestAction(
                machine=MachineId(machine.id),
                operation=operation.id,
                action=ActionId(new_id()),
                done=operation.done,
                attempt=attempt,
            )
        case plans.Complete(operation=operation):
            return CompleteOperation(machine=machine.id, operation=operation.id)
        case plans.Fail(operation=operation, fault=fault, message=message):
            return FailOperation(
                machine=machine.id,
                operation=operation.id,
                step=operation.step,
                fault=fault,
                message=message,
            )
        case plans.Enforce():
            return EnforcePower(machine=machine.id, operation=CommitId(new_id()))
        case plans.Uncordon():
            return UncordonMachine(machine=machine.id)
        case _:
            raise AssertionError(f"{todo} is nothing to append")
