"""What a machine needs next, from its exact state and the time alone."""

from datetime import datetime

import msgspec

from mulligan.handlers import plans, upkeep
from mulligan.handlers.actions import acts
from mulligan.handlers.machine import Machine
from mulligan.handlers.operation import Operation
from mulligan.handlers.steps import MODES


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


class Enforce(msgspec.Struct, frozen=True):
    """The machine has left the power that it is to be kept in."""


class Uncordon(msgspec.Struct, frozen=True):
    """The time of its cordon is over."""


Plan = Rest | Wait | Request | Complete | Fail | Enforce | Uncordon


def plan(machine: Machine, now: datetime, braked: str = "") -> Plan:
    """Return the one thing to do now; ``braked`` says why a brake holds its domain, if one does."""
    if machine.deleted:
        return Rest()
    ends = machine.cordon.until if machine.cordon is not None else None
    if ends is not None and now >= ends:
        return Uncordon()
    found = (
        _operation(machine, now, braked)
        if machine.operation is not None
        else _idle(machine, now, braked)
    )
    match found:
        case Rest() if ends is not None:
            return Wait("the end of its cordon", ends)
        case Wait(reason=reason, until=until) if ends is not None:
            return Wait(reason, min(until, ends))
        case _:
            return found


def _idle(machine: Machine, now: datetime, braked: str) -> Plan:
    if not upkeep.strays(machine) or not upkeep.enforceable(machine) or braked:
        return Rest()
    last = machine.enforced_at
    if last is not None and now < last + upkeep.ENFORCE_EVERY:
        return Wait(
            f"its power to be seen to again, {_strayed(machine)}", last + upkeep.ENFORCE_EVERY
        )
    return Enforce()


def _operation(machine: Machine, now: datetime, braked: str) -> Plan:
    operation = machine.operation
    assert operation is not None
    if not operation.step:
        return Complete(operation)
    if now >= operation.deadline:
        fault = "held" if held(machine, braked) else "deadline"
        return Fail(operation, fault, f"out of time: {waiting_for(machine, braked)}")
    if operation.action is not None or operation.step in plans.WAITED:
        return Wait(waiting_for(machine, braked), operation.deadline)
    retry = operation.retry
    if retry is not None and retry.fatal:
        return Fail(operation, retry.fault, retry.message)
    if retry is not None and retry.attempt >= plans.attempts(operation.step):
        message = f"tried {retry.attempt} times, last: {retry.message}"
        return Fail(operation, retry.fault, message)
    if held(machine, braked):
        return Wait(waiting_for(machine, braked), operation.deadline)
    if retry is None:
        return Request(operation, 1)
    due = retry.at + plans.backoff(operation.id, operation.step, retry.attempt)
    if now < due:
        return Wait(waiting_for(machine, braked), min(due, operation.deadline))
    return Request(operation, retry.attempt + 1)


def _in_maintenance(machine: Machine) -> bool:
    return machine.cordon is not None and machine.cordon.maintenance


def held(machine: Machine, braked: str) -> str:
    """Say what keeps the next step of a running operation from being asked for, if anything."""
    operation, cordon = machine.operation, machine.cordon
    if operation is None or operation.step not in MODES:
        return ""
    if cordon is not None and cordon.maintenance:
        return f"the end of its maintenance, by {cordon.by}: {cordon.reason}"
    if braked and acts(operation):
        return f"the brake of its failure domain to be released: {braked}"
    return ""


def waiting_for(machine: Machine, braked: str = "") -> str:
    """Say in words what the machine waits for; empty when it rests."""
    operation = machine.operation
    if operation is None:
        return _strayed(machine, braked) if upkeep.strays(machine) else ""
    if not operation.step:
        return "the reconciler to note that every step is done"
    if operation.step == "phone_home":
        return f"the machine to phone home, until {operation.deadline:%H:%M:%S} UTC"
    if operation.step == "wipe_report":
        return f"the wipe image to report, until {operation.deadline:%H:%M:%S} UTC"
    action, retry = operation.action, operation.retry
    if action is not None and action.owner:
        task = f", following {action.monitor}" if action.monitor else ""
        return f"{action.owner} to finish {action.step} (attempt {action.attempt}{task})"
    if action is not None:
        return f"an executor to take {action.step} (attempt {action.attempt})"
    if keeps := held(machine, braked):
        return keeps
    if retry is not None and not retry.fatal:
        due = retry.at + plans.backoff(operation.id, operation.step, retry.attempt)
        return (
            f"{operation.step} to be tried again at {due:%H:%M:%S} UTC, after attempt"
            f" {retry.attempt} of {plans.attempts(operation.step)} failed: {retry.message}"
        )
    return f"the reconciler to ask for {operation.step}"


def _strayed(machine: Machine, braked: str = "") -> str:
    wanted = f"it is {machine.power} and is to be kept {machine.desired}"
    if _in_maintenance(machine):
        return f"the end of its maintenance: {wanted}"
    if braked:
        return f"the brake of its failure domain to be released ({braked}): {wanted}"
    if machine.enforced_at is None:
        return wanted
    due = machine.enforced_at + upkeep.ENFORCE_EVERY
    return f"{wanted}; it is seen to again at {due:%H:%M:%S} UTC"
