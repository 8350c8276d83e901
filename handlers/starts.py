"""Events that start an operation which several commands start: cleaning, and switching power."""

from datetime import datetime

from mulligan.events import machine as ev
from mulligan.handlers import plans
from mulligan.handlers.decision import States
from mulligan.handlers.machine import Machine
from mulligan.handlers.plans import PowerTarget
from mulligan.handlers.profile import terms_of
from mulligan.model import CommitId


def clean_started(
    states: States, machine: Machine, operation: CommitId, now: datetime
) -> ev.OperationStarted:
    """Return the event that starts cleaning by the machine's profile, to end in the pool."""
    terms = terms_of(states, machine, "clean", now)
    return ev.OperationStarted(
        operation=operation,
        verb="clean",
        steps=plans.clean(terms.clean),
        deadline=terms.deadline,
        then="available",
        image=terms.wipe_image,
        profile=terms.profile,
    )


def power_started(
    states: States,
    machine: Machine,
    target: PowerTarget,
    operation: CommitId,
    now: datetime,
    cause: str = "",
) -> ev.OperationStarted:
    """Return the event that starts a power operation in the machine's present state."""
    terms = terms_of(states, machine, "power", now)
    return ev.OperationStarted(
        operation=operation,
        verb="power",
        steps=plans.POWER[target],
        deadline=terms.deadline,
        then=machine.state,
        target=target,
        profile=terms.profile,
        cause=cause,
    )
