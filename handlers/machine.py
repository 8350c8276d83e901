"""Stream ``machine/…``: the state of a machine and how its events change it.

The commands are beside it: ``enrolment`` (enrol, delete), ``operations`` (what people ask for),
``actions`` (what reconcilers and executors append), ``machine_release`` (giving back).
"""

from datetime import datetime
from typing import Literal, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.events import machine as ev
from mulligan.events.machine import Bmc, Facts, Mode, Power, Verb
from mulligan.model import ActionId, ClaimId, CommitId, ImageId, MachineId, ProjectId

State = Literal[
    "enrolled", "inspecting", "manageable", "cleaning", "available", "deploying", "active", "failed"
]

DURING: dict[Verb, State] = {"inspect": "inspecting", "clean": "cleaning", "deploy": "deploying"}
"""The state a machine is in while the operation runs; a power operation changes none."""


class Action(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The step in hand. ``owner`` is set once an executor is about to run it."""

    id: ActionId
    step: str
    mode: Mode
    attempt: int
    requested_at: datetime
    params: dict[str, str] = {}
    owner: str = ""
    attempted_at: datetime | None = None


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """The last attempt at the present step failed; ``fatal`` when it will not heal."""

    attempt: int
    fatal: bool
    at: datetime
    fault: str
    message: str


class Operation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An operation in progress: ``done`` counts the finished ``steps``."""

    id: CommitId
    verb: Verb
    steps: tuple[str, ...]
    started_at: datetime
    deadline: datetime
    then: State
    done: int = 0
    action: Action | None = None
    retry: Retry | None = None
    image: ImageId = ImageId("")
    target: str = ""
    facts: Facts | None = None
    before: State = "enrolled"

    @property
    def step(self) -> str:
        """The step to do now; empty when all are done."""
        return self.steps[self.done] if self.done < len(self.steps) else ""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why the last operation failed: ``fault`` is its class."""

    fault: str
    message: str
    step: str
    since: datetime


class Machine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A machine. ``failed`` is the verb whose failure holds it, while ``state`` is failed.

    ``unwiped`` from the first deploy until cleaning is done: a tenant's data may be on it.
    """

    id: MachineId
    name: str
    bmc: Bmc
    state: State
    failed: str = ""
    power: Power = "unknown"
    power_at: datetime | None = None
    claim: ClaimId = ClaimId("")
    project: ProjectId = ProjectId("")
    image: ImageId = ImageId("")
    facts: Facts | None = None
    operation: Operation | None = None
    fault: Fault | None = None
    unwiped: bool = False
    deleted: bool = False


def evolve(state: Machine | None, event: ev.Event, at: datetime) -> Machine:
    """Return the machine as it is after the event."""
    if isinstance(event, ev.MachineEnrolled):
        return Machine(id=event.machine, name=event.name, bmc=event.bmc, state="enrolled")
    assert state is not None, "the first event of a machine enrols it"
    match event:
        case ev.OperationStarted():
            return _started(state, event, at)
        case ev.ActionRequested():
            return _action_requested(state, event, at)
        case ev.StepAttempted():
            return _step_attempted(state, event, at)
        case ev.StepObserved():
            return _step_observed(state, event)
        case ev.OperationCompleted():
            return _completed(state, event)
        case ev.OperationFailed():
            return _failed(state, event)
        case ev.ClaimDetached():
            return replace(state, claim=ClaimId(""), project=ProjectId(""), image=ImageId(""))
        case ev.PowerObserved():
            return replace(state, power=event.power, power_at=event.at)
        case ev.MachineWithdrawn():
            return replace(state, state="manageable", failed="", fault=None)
        case ev.MachineDeleted() | ev.MachineAbandoned():
            return replace(state, deleted=True, operation=None)
        case _:
            assert_never(event)


def _started(state: Machine, event: ev.OperationStarted, at: datetime) -> Machine:
    operation = Operation(
        id=event.operation,
        verb=event.verb,
        steps=event.steps,
        started_at=at,
        deadline=event.deadline,
        then=_resting(event.then),
        image=event.image,
        target=event.target,
        before=state.state,
    )
    state = replace(state, operation=operation)
    if event.verb == "power" and state.state == "failed":
        return state  # what failed is still what is wrong with it
    state = replace(state, fault=None, failed="")
    if event.verb == "deploy":
        state = replace(
            state, claim=event.claim, project=event.project, image=event.image, unwiped=True
        )
    return replace(state, state=DURING.get(event.verb, state.state))


def _resting(name: str) -> State:
    resting: State = msgspec.convert(name, State)
    return resting


def _action_requested(state: Machine, event: ev.ActionRequested, at: datetime) -> Machine:
    if state.operation is None or state.operation.id != event.operation:
        return state
    action = Action(
        id=event.action,
        step=event.step,
        mode=event.mode,
        attempt=event.attempt,
        requested_at=at,
        params=event.params,
    )
    return replace(state, operation=replace(state.operation, action=action, retry=None))


def _step_attempted(state: Machine, event: ev.StepAttempted, at: datetime) -> Machine:
    operation = state.operation
    if operation is None or operation.action is None or operation.action.id != event.action:
        return state
    action = replace(operation.action, owner=event.owner, attempted_at=at)
    return replace(state, operation=replace(operation, action=action))


def _step_observed(state: Machine, event: ev.StepObserved) -> Machine:
    if event.power is not None:
        state = replace(state, power=event.power, power_at=event.at)
    operation = state.operation
    action = operation.action if operation is not None else None
    if operation is None or action is None or action.id != event.action:
        return state
    if event.outcome == "done":
        operation = replace(operation, done=operation.done + 1, action=None, retry=None)
        if event.facts is not None:
            operation = replace(operation, facts=event.facts)
    else:
        retry = Retry(
            attempt=action.attempt,
            fatal=event.outcome == "fatal",
            at=event.at,
            fault=event.fault,
            message=event.message,
        )
        operation = replace(operation, action=None, retry=retry)
    return replace(state, operation=operation)


def _completed(state: Machine, event: ev.OperationCompleted) -> Machine:
    operation = state.operation
    if operation is None or operation.id != event.operation:
        return state
    if operation.then == "failed":
        return replace(state, operation=None)
    return replace(
        state,
        state=operation.then,
        facts=operation.facts or state.facts,
        unwiped=state.unwiped and operation.verb != "clean",
        operation=None,
        fault=None,
        failed="",
    )


def _failed(state: Machine, event: ev.OperationFailed) -> Machine:
    operation = state.operation
    if operation is None or operation.id != event.operation:
        return state
    fault = Fault(fault=event.fault, message=event.message, step=event.step, since=event.at)
    if operation.verb == "power" and state.state == "failed":
        return replace(state, operation=None)
    if operation.verb == "power":
        return replace(state, operation=None, fault=fault)
    return replace(state, state="failed", failed=operation.verb, operation=None, fault=fault)
