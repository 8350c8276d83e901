"""An operation on a machine as it goes on: its steps, the action in hand, what came of the last."""

from datetime import datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from mulligan.events import machine as ev
from mulligan.events.machine import DiskProof, Facts, Mode, Verb
from mulligan.handlers.plans import WAITED
from mulligan.model import (
    AccountId,
    ActionId,
    ClaimId,
    CommitId,
    ImageId,
    ProjectId,
    UserDataId,
)

State = Literal[
    "enrolled", "inspecting", "manageable", "cleaning", "available", "deploying", "active",
    "rescuing", "rescue", "restoring", "failed", "retired",
]  # fmt: skip

DURING: dict[Verb, State] = {
    "inspect": "inspecting",
    "adopt": "inspecting",
    "clean": "cleaning",
    "deploy": "deploying",
    "rescue": "rescuing",
    "restore": "restoring",
}
"""The state a machine is in while the operation runs; a power operation changes none."""


class Action(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The step in hand. ``owner`` is set once an executor is about to run it.

    ``monitor`` is where the BMC tells of the task that the step became there.
    """

    id: ActionId
    step: str
    mode: Mode
    attempt: int
    requested_at: datetime
    params: dict[str, str] = {}
    owner: str = ""
    attempted_at: datetime | None = None
    monitor: str = ""


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """The last attempt at the present step failed; ``fatal`` when it will not heal."""

    attempt: int
    fatal: bool
    at: datetime
    fault: str
    message: str


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An operation in progress: ``done`` counts the finished ``steps``.

    ``signals`` are the awaited steps that the machine has reported already.
    """

    id: CommitId
    verb: Verb
    steps: tuple[str, ...]
    started_at: datetime
    deadline: datetime
    then: State
    done: int = 0
    action: Action | None = None
    retry: Retry | None = None
    claim: ClaimId = ClaimId("")
    project: ProjectId = ProjectId("")
    account: AccountId = AccountId("")
    image: ImageId = ImageId("")
    target: str = ""
    user_data: UserDataId = UserDataId("")
    hostname: str = ""
    profile: str = ""
    cause: str = ""
    facts: Facts | None = None
    before: State = "enrolled"
    signals: tuple[str, ...] = ()
    proofs: tuple[DiskProof, ...] = ()

    @property
    def step(self) -> str:
        """The step to do now; empty when all are done."""
        return self.steps[self.done] if self.done < len(self.steps) else ""


def begun(event: ev.OperationStarted, before: State, at: datetime) -> Operation:
    """Return the operation that the event starts on a machine in the state ``before``."""
    return Operation(
        id=event.operation,
        verb=event.verb,
        steps=event.steps,
        started_at=at,
        deadline=event.deadline,
        then=_resting(event.then),
        claim=event.claim,
        project=event.project,
        account=event.account,
        image=event.image,
        target=event.target,
        user_data=event.user_data,
        hostname=event.hostname,
        profile=event.profile,
        cause=event.cause,
        before=before,
    )


def _resting(name: str) -> State:
    resting: State = msgspec.convert(name, State)
    return resting


def requested(operation: Operation, event: ev.ActionRequested, at: datetime) -> Operation:
    """Put the action in hand."""
    if operation.id != event.operation:
        return operation
    action = Action(
        id=event.action,
        step=event.step,
        mode=event.mode,
        attempt=event.attempt,
        requested_at=at,
        params=event.params,
    )
    return replace(operation, action=action, retry=None)


def attempted(operation: Operation, event: ev.StepAttempted, at: datetime) -> Operation:
    """Note who runs the action in hand."""
    action = operation.action
    if action is None or action.id != event.action:
        return operation
    return replace(operation, action=replace(action, owner=event.owner, attempted_at=at))


def became_task(operation: Operation, event: ev.TaskStarted) -> Operation:
    """Note where the BMC tells of the task that the action in hand became."""
    action = operation.action
    if action is None or action.id != event.action:
        return operation
    return replace(operation, action=replace(action, monitor=event.monitor))


def observed(operation: Operation, event: ev.StepObserved) -> Operation:
    """Take the outcome of the action in hand; that of another is too late."""
    action = operation.action
    if action is None or action.id != event.action:
        return operation
    if event.outcome == "done":
        after = replace(operation, done=operation.done + 1, action=None, retry=None)
        if event.facts is not None:
            after = replace(after, facts=event.facts)
        return _past_signals(after)
    retry = Retry(
        attempt=action.attempt,
        fatal=event.outcome == "fatal",
        at=event.at,
        fault=event.fault,
        message=event.message,
    )
    return replace(operation, action=None, retry=retry)


def signalled(operation: Operation, step: str) -> Operation:
    """Note that the machine reported an awaited step; it may do so before its turn."""
    return _past_signals(replace(operation, signals=(*operation.signals, step)))


def _past_signals(operation: Operation) -> Operation:
    while operation.step in WAITED and operation.step in operation.signals:
        operation = replace(operation, done=operation.done + 1)
    return operation
