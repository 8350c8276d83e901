"""The state table: in which resting states each verb may be asked of a machine."""

from collections.abc import Mapping
from types import MappingProxyType

from mulligan.errors import FailedPrecondition
from mulligan.handlers.decision import States, existing
from mulligan.handlers.machine import Machine
from mulligan.model import MachineId
from mulligan.quantities import format_time

FAILURES = ("inspect", "adopt", "clean", "deploy", "rescue", "restore")
"""The verbs whose failure leaves a machine in ``failed(<verb>)``."""

ALLOWED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "inspect": ("enrolled", "manageable", "failed(inspect)", "failed(adopt)"),
        "adopt": ("enrolled", "manageable", "failed(inspect)", "failed(adopt)"),
        "provide": ("manageable",),
        "manage": ("available", "failed(clean)"),
        "retire": ("manageable", "available", "failed(clean)"),
        "reinstate": ("retired",),
        "deploy": ("available", "active", "failed(deploy)"),
        "release": ("active", "rescue", "failed(deploy)", "failed(rescue)", "failed(restore)"),
        "rescue": ("active", "failed(rescue)"),
        "restore": ("rescue", "failed(rescue)", "failed(restore)"),
        "power": ("active", "rescue", "manageable", "available"),
        "nmi": ("active", "rescue"),
        "retry": tuple(f"failed({verb})" for verb in FAILURES),
        "delete": ("enrolled", "manageable", "failed(inspect)", "failed(adopt)", "retired"),
    }
)
"""``abort`` is in ``require_abortable``; cordons and settings are allowed always."""


def condition(machine: Machine) -> str:
    """Return the machine's state, with the verb that failed where that is what it is."""
    return f"failed({machine.failed})" if machine.state == "failed" else machine.state


def resting(states: States, machine: MachineId, verb: str) -> Machine:
    """Return the machine if ``verb`` may be asked of it now; raise FailedPrecondition.

    Nothing is asked of a machine that is busy or in maintenance.
    """
    state = existing(states, "machine", machine, Machine)
    require_quiet(state, verb)
    if condition(state) not in ALLOWED[verb]:
        raise FailedPrecondition(
            f"machine {state.name} is {condition(state)}; to {verb} it, it must be"
            f" {' or '.join(ALLOWED[verb])}"
        )
    return state


def require_abortable(state: Machine) -> None:
    """Raise FailedPrecondition unless an operation runs that may be stopped now.

    Cleaning stops between two steps: a disk is not left half wiped with nobody looking. Restoring
    runs to its end or its deadline, for the machine has no other system to go back to.
    """
    operation = state.operation
    if operation is None:
        raise FailedPrecondition(f"machine {state.name} has no operation to abort")
    if operation.verb == "restore":
        raise FailedPrecondition(
            f"machine {state.name} is restoring, which cannot be aborted; it ends by"
            f" {format_time(operation.deadline)}"
        )
    in_hand = operation.action
    if operation.verb == "clean" and in_hand is not None and in_hand.owner:
        raise FailedPrecondition(
            f"machine {state.name} is cleaning and {in_hand.step} is under way; abort it between"
            " two steps, when that has ended"
        )


def occupied(state: Machine) -> bool:
    """Whether an operation runs or the machine is in maintenance, so that nothing is begun."""
    return state.operation is not None or (state.cordon is not None and state.cordon.maintenance)


def require_quiet(state: Machine, verb: str) -> None:
    """Raise FailedPrecondition while an operation runs or the machine is in maintenance."""
    if state.operation is not None:
        raise FailedPrecondition(
            f"machine {state.name} is busy: {state.operation.verb} is at"
            f" {state.operation.step or 'its end'}; wait for it, or abort it"
        )
    if state.cordon is not None and state.cordon.maintenance:
        raise FailedPrecondition(
            f"machine {state.name} is in maintenance ({state.cordon.reason}); to {verb} it, end"
            " that first: mulligan machine uncordon"
        )
