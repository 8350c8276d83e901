"""The state table: in which resting states each verb may be asked of a machine."""

from collections.abc import Mapping
from types import MappingProxyType

from mulligan.errors import FailedPrecondition
from mulligan.handlers.decision import States, existing
from mulligan.handlers.machine import Machine
from mulligan.model import MachineId

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
"""``abort`` is allowed while an operation runs, cordons and settings always."""


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
