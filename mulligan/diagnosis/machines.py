"""What is said of a machine in an operation, or failed."""

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mulligan.proto.v1 import Machine

LONG = 600.0
"""Seconds after which an operation without a deadline is worth a look."""


def operation_shown(machine: "Machine") -> str:
    """Return what is under way and how far it is: ``deploy: insert_media 5/9 (attempt 2)``."""
    operation = machine.operation
    if operation is None:
        return ""
    text = f"{operation.verb}: {operation.step} {operation.step_number}/{operation.steps}"
    return f"{text} (attempt {operation.attempt})" if operation.attempt > 1 else text


def age_of(machine: "Machine", now: datetime) -> float:
    """Return for how many seconds a machine has been failed or in its operation."""
    since = machine.updated_at
    if machine.fault is not None and machine.fault.since is not None:
        since = machine.fault.since
    if machine.operation is not None and machine.operation.started_at is not None:
        since = machine.operation.started_at
    return max(0.0, (now - since).total_seconds()) if since else 0.0


def is_late(machine: "Machine", now: datetime) -> bool:
    """Tell whether a machine's operation is past its deadline, or has run for long without one."""
    operation = machine.operation
    if operation is None:
        return False
    if operation.deadline is not None:
        return now > operation.deadline
    return age_of(machine, now) > LONG
