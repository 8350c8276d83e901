"""What a machine needs next, from its exact state and the time alone."""

from datetime import datetime

import msgspec

from mulligan.handlers import plans
from mulligan.handlers.machine import Machine, Operation


class Rest(msgspec.Struct, frozen=True):
    """Nothing is asked of the machine."""


class Wait(msgspec.Struct, frozen=True):
    """Somebody else, or time, has to do something first; look again at ``until``."""

    reason: str
    until: datetime


class Request(msgspec.Struct, frozen=True):
    """Ask an executor for the next step, for the ``attempt``-th time."""

    operation: Operation
    attempt: int


class Complete(msgspec.Struct, frozen=True):
    """Every step is done."""

    operation: Operation


class Fail(msgspec.Struct, frozen=True):
    """The operation cannot go on."""

    operation: Operation
    fault: str
    message: str


Plan = Rest | Wait | Request | Complete | Fail


def plan(machine: Machine, now: datetime) -> Plan:
    """Return the one thing to do now."""
    operation = machine.operation
    if operation is None or machine.deleted:
        return Rest()
    if not operation.step:
        return Complete(operation)
    if now >= operation.deadline:
        return Fail(operation, "deadline", f"out of time: {waiting_for(machine)}")
    if operation.action is not None:
        return Wait(waiting_for(machine), operation.deadline)
    retry = operation.retry
    if retry is None:
        return Request(operation, 1)
    if retry.fatal:
        return Fail(operation, retry.fault, retry.message)
    if retry.attempt >= plans.ATTEMPTS:
        message = f"tried {retry.attempt} times, last: {retry.message}"
        return Fail(operation, retry.fault, message)
    due = retry.at + plans.backoff(operation.id, operation.step, retry.attempt)
    if now < due:
        return Wait(waiting_for(machine), min(due, operation.deadline))
    return Request(operation, retry.attempt + 1)


def waiting_for(machine: Machine) -> str:
    """Say in words what the machine waits for; empty when it rests."""
    operation = machine.operation
    if operation is None:
        return ""
    if not operation.step:
        return "the reconciler to note that every step is done"
    action, retry = operation.action, operation.retry
    if action is not None and action.owner:
        return f"{action.owner} to finish {action.step} (attempt {action.attempt})"
    if action is not None:
        return f"an executor to take {action.step} (attempt {action.attempt})"
    if retry is not None and not retry.fatal:
        due = retry.at + plans.backoff(operation.id, operation.step, retry.attempt)
        return (
            f"{operation.step} to be tried again at {due:%H:%M:%S} UTC, after attempt"
            f" {retry.attempt} of {plans.ATTEMPTS} failed: {retry.message}"
        )
    return f"the reconciler to ask for {operation.step}"
