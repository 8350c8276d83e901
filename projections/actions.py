"""Read model ``actions``: every step tried on a BMC, and the operations they belong to.

Rows are keyed ``<machine>/<action>`` and ``<machine>/<operation>``: an operation's id is that of
its command, which may start one on several machines.
"""

from datetime import datetime
from typing import Literal, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.events import machine as ev
from mulligan.events.machine import Exchange, Mode, Verb
from mulligan.model import ActionId, CommitId
from mulligan.projections.schema import ReadModel, Row, StateTable, columns

ActionStatus = Literal["requested", "attempted", "done", "retry", "fatal"]
OperationStatus = Literal["running", "completed", "failed"]


class ActionRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of an operation, from its request to what was observed."""

    id: ActionId
    operation: CommitId
    step: str
    mode: Mode
    attempt: int
    requested_at: datetime
    status: ActionStatus = "requested"
    owner: str = ""
    attempted_at: datetime | None = None
    observed_at: datetime | None = None
    message: str = ""
    fault: str = ""
    recovered: bool = False
    notes: tuple[str, ...] = ()
    exchanges: tuple[Exchange, ...] = ()


class OperationRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An operation on one machine, from its start to its end."""

    id: CommitId
    verb: Verb
    steps: tuple[str, ...]
    started_at: datetime
    deadline: datetime
    status: OperationStatus = "running"
    ended_at: datetime | None = None
    failed_step: str = ""
    fault: str = ""
    message: str = ""


ActionEvent = ev.ActionRequested | ev.StepAttempted | ev.StepObserved
OperationEvent = ev.OperationStarted | ev.OperationCompleted | ev.OperationFailed


def evolve_action(state: ActionRecord | None, event: ActionEvent, at: datetime) -> ActionRecord:
    """Return the action as it is after the event."""
    if isinstance(event, ev.ActionRequested):
        return ActionRecord(
            id=event.action,
            operation=event.operation,
            step=event.step,
            mode=event.mode,
            attempt=event.attempt,
            requested_at=at,
        )
    assert state is not None, "the first event of an action requests it"
    match event:
        case ev.StepAttempted():
            return replace(state, status="attempted", owner=event.owner, attempted_at=at)
        case ev.StepObserved():
            return replace(
                state,
                status=event.outcome,
                observed_at=event.at,
                message=event.message,
                fault=event.fault,
                recovered=event.recovered,
                notes=event.notes,
                exchanges=event.exchanges,
            )
        case _:
            assert_never(event)


def evolve_operation(
    state: OperationRecord | None, event: OperationEvent, at: datetime
) -> OperationRecord:
    """Return the operation as it is after the event."""
    if isinstance(event, ev.OperationStarted):
        return OperationRecord(
            id=event.operation,
            verb=event.verb,
            steps=event.steps,
            started_at=at,
            deadline=event.deadline,
        )
    assert state is not None, "the first event of an operation starts it"
    match event:
        case ev.OperationCompleted():
            return replace(state, status="completed", ended_at=at)
        case ev.OperationFailed():
            return replace(
                state,
                status="failed",
                ended_at=event.at,
                failed_step=event.step,
                fault=event.fault,
                message=event.message,
            )
        case _:
            assert_never(event)


def _action_key(machine: str, event: ActionEvent) -> str:
    return f"{machine}/{event.action}"


def _operation_key(machine: str, event: OperationEvent) -> str:
    return f"{machine}/{event.operation}"


def _action(key: str, action: ActionRecord) -> Row:
    return (key.partition("/")[0], action.operation, action.status)


def _operation(key: str, operation: OperationRecord) -> Row:
    return (key.partition("/")[0], operation.verb, operation.status)


MODEL = ReadModel(
    name="actions",
    tables=(
        StateTable(
            name="action",
            kind="machine",
            state=ActionRecord,
            evolve=evolve_action,
            types=frozenset({ev.ActionRequested.TYPE, ev.StepAttempted.TYPE, ev.StepObserved.TYPE}),
            key=_action_key,
            columns=columns(machine="text", operation="text", status="text"),
            row=_action,
            indices=("(machine, created_seq, key)",),
        ),
        StateTable(
            name="operation",
            kind="machine",
            state=OperationRecord,
            evolve=evolve_operation,
            types=frozenset(
                {ev.OperationStarted.TYPE, ev.OperationCompleted.TYPE, ev.OperationFailed.TYPE}
            ),
            key=_operation_key,
            columns=columns(machine="text", verb="text", status="text"),
            row=_operation,
            indices=("(machine, created_seq, key)",),
        ),
    ),
)
