"""Every verb from every state, against the table of states in the design."""

from collections.abc import Callable

import pytest

from mulligan.errors import FailedPrecondition
from mulligan.handlers import deployment
from mulligan.handlers import operations as ops
from mulligan.handlers.decision import Command
from mulligan.handlers.enrolment import DeleteMachine
from mulligan.model import CommitId

from .given import C1, M1, OS, Given

OP = CommitId("the-operation")


def enrolled(given: Given) -> None:
    given.enrolled()


def inspecting(given: Given) -> None:
    given.enrolled()
    given.do(ops.InspectMachine(machine=M1, operation=CommitId("inspect")))


def failed_inspect(given: Given) -> None:
    inspecting(given)
    given.fail()


def manageable(given: Given) -> None:
    inspecting(given)
    given.finish()


def cleaning(given: Given) -> None:
    manageable(given)
    given.do(ops.ProvideMachine(machine=M1, operation=CommitId("clean")))


def failed_clean(given: Given) -> None:
    cleaning(given)
    given.fail()


def available(given: Given) -> None:
    given.available()
    given.claimed(M1)


def deploying(given: Given) -> None:
    given.deploying()


def failed_deploy(given: Given) -> None:
    given.deploying()
    given.fail()


def active(given: Given) -> None:
    given.active()


def switching(given: Given) -> None:
    given.active()
    given.do(ops.PowerMachine(machine=M1, target="off", operation=CommitId("power")))


STATES: dict[str, Callable[[Given], None]] = {
    "enrolled": enrolled,
    "inspecting": inspecting,
    "failed(inspect)": failed_inspect,
    "manageable": manageable,
    "cleaning": cleaning,
    "failed(clean)": failed_clean,
    "available": available,
    "deploying": deploying,
    "failed(deploy)": failed_deploy,
    "active": active,
    "active, switching": switching,
}

VERBS: dict[str, Command] = {
    "inspect": ops.InspectMachine(machine=M1, operation=OP),
    "provide": ops.ProvideMachine(machine=M1, operation=OP),
    "manage": ops.ManageMachine(machine=M1),
    "deploy": deployment.DeployMachine(claim=C1, image=OS, operation=OP, machine=M1),
    "release": deployment.ReleaseMachine(machine=M1),
    "power": ops.PowerMachine(machine=M1, target="restart", operation=OP),
    "abort": ops.AbortMachine(machine=M1, by="ann"),
    "retry": ops.RetryMachine(machine=M1, operation=OP),
    "delete": DeleteMachine(machine=M1),
}

ALLOWED = {
    "enrolled": {"inspect": "inspecting", "delete": "deleted"},
    "inspecting": {"abort": "failed(inspect)"},
    "failed(inspect)": {"inspect": "inspecting", "retry": "inspecting", "delete": "deleted"},
    "manageable": {
        "inspect": "inspecting",
        "provide": "cleaning",
        "power": "manageable",
        "delete": "deleted",
    },
    "cleaning": {"abort": "failed(clean)"},
    "failed(clean)": {"manage": "manageable", "retry": "cleaning"},
    "available": {"deploy": "deploying", "manage": "manageable", "power": "available"},
    "deploying": {"abort": "failed(deploy)", "release": "cleaning"},
    "failed(deploy)": {"deploy": "deploying", "retry": "deploying", "release": "cleaning"},
    "active": {"deploy": "deploying", "release": "cleaning", "power": "active"},
    "active, switching": {"abort": "active", "release": "cleaning"},
}


def state_of(given: Given) -> str:
    machine = given.machine()
    if machine.deleted:
        return "deleted"
    return f"failed({machine.failed})" if machine.state == "failed" else machine.state


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_allowed_in_the_states_of_the_table_alone(state: str, verb: str) -> None:
    given = Given()
    STATES[state](given)
    if verb == "deploy":
        given.hold(M1)
    expected = ALLOWED[state].get(verb)
    if expected is None:
        before = given.machine()
        with pytest.raises(FailedPrecondition):
            given.do(VERBS[verb])
        assert given.machine() == before
    else:
        given.do(VERBS[verb])
        assert state_of(given) == expected


@pytest.mark.parametrize("state", STATES)
def test_a_machine_is_deleted_by_force_from_every_state(state: str) -> None:
    given = Given()
    STATES[state](given)
    given.do(DeleteMachine(machine=M1, force=True, reason="burnt"))
    assert given.machine().deleted and given.machine().operation is None
    assert given.machine().claim == ""


@pytest.mark.parametrize("state", STATES)
def test_a_state_in_transition_has_an_operation_with_a_deadline(state: str) -> None:
    given = Given()
    STATES[state](given)
    machine = given.machine()
    moving = machine.state in {"inspecting", "cleaning", "deploying"}
    assert (machine.operation is not None) == (moving or state == "active, switching")
    if machine.operation is not None:
        assert machine.operation.deadline > given.now
    assert bool(machine.claim) == (machine.state in {"deploying", "active"} or "deploy" in state)
