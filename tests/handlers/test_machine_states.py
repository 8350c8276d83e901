"""Every verb from every state, against the table of states in the design."""

from collections.abc import Callable
from typing import get_args

import pytest

from mulligan.errors import FailedPrecondition
from mulligan.events.claim import ClaimEnded
from mulligan.handlers import deployment, machine_release, upkeep
from mulligan.handlers import operations as ops
from mulligan.handlers.decision import Command
from mulligan.handlers.enrolment import DeleteMachine
from mulligan.handlers.operation import State
from mulligan.model import AccountId, CommitId, ProviderId

from .given import C1, M1, OS, WEB, Given

OP = CommitId("the-operation")
ANN = AccountId("ann")


def enrolled(given: Given) -> None:
    given.project()
    given.enrolled()


def inspecting(given: Given) -> None:
    enrolled(given)
    given.do(ops.InspectMachine(machine=M1, operation=CommitId("inspect")))


def adopting(given: Given) -> None:
    enrolled(given)
    given.do(ops.AdoptMachine(machine=M1, operation=CommitId("adopt"), project=WEB, account=ANN))


def manageable(given: Given) -> None:
    inspecting(given)
    given.finish()


def cleaning(given: Given) -> None:
    manageable(given)
    given.do(ops.ProvideMachine(machine=M1, operation=CommitId("clean")))


def cleaning_a_step(given: Given) -> None:
    cleaning(given)
    given.request()
    given.attempt()


def available(given: Given) -> None:
    given.project()
    given.available()


def deploying(given: Given) -> None:
    given.project()
    given.deploying()


def active(given: Given) -> None:
    deploying(given)
    given.finish()


def adopted(given: Given) -> None:
    adopting(given)
    given.finish()


def switching(given: Given) -> None:
    active(given)
    given.do(ops.PowerMachine(machine=M1, target="off", operation=CommitId("power")))


def rescuing(given: Given) -> None:
    active(given)
    given.do(deployment.RescueMachine(machine=M1, image=OS, operation=CommitId("rescue")))


def rescue(given: Given) -> None:
    rescuing(given)
    given.finish()


def restoring(given: Given) -> None:
    rescue(given)
    given.do(deployment.RestoreMachine(machine=M1, operation=CommitId("restore")))


def retired(given: Given) -> None:
    available(given)
    given.do(upkeep.RetireMachine(machine=M1))


def kept(given: Given) -> None:
    """Its claim has ended, and it is kept for its holder, off."""
    active(given)
    changes = machine_release.kept(given.states, ProviderId(M1), C1, given.now)
    given.happened("machine", M1, *(c.event for c in changes if c.stream == f"machine/{M1}"))
    given.happened("claim", C1, ClaimEnded(planned=given.now, actual=given.now))
    given.finish()


def failed(prepare: Callable[[Given], None]) -> Callable[[Given], None]:
    def fails(given: Given) -> None:
        prepare(given)
        given.fail()

    return fails


STATES: dict[str, Callable[[Given], None]] = {
    "enrolled": enrolled,
    "inspecting": inspecting,
    "inspecting, to adopt": adopting,
    "failed(inspect)": failed(inspecting),
    "failed(adopt)": failed(adopting),
    "manageable": manageable,
    "cleaning": cleaning,
    "cleaning, a step under way": cleaning_a_step,
    "failed(clean)": failed(cleaning),
    "available": available,
    "deploying": deploying,
    "failed(deploy)": failed(deploying),
    "active": active,
    "active, adopted": adopted,
    "active, switching": switching,
    "active, kept": kept,
    "rescuing": rescuing,
    "failed(rescue)": failed(rescuing),
    "rescue": rescue,
    "restoring": restoring,
    "failed(restore)": failed(restoring),
    "retired": retired,
}

VERBS: dict[str, Command] = {
    "inspect": ops.InspectMachine(machine=M1, operation=OP),
    "adopt": ops.AdoptMachine(machine=M1, operation=OP, project=WEB, account=ANN),
    "provide": ops.ProvideMachine(machine=M1, operation=OP),
    "manage": ops.ManageMachine(machine=M1),
    "retire": upkeep.RetireMachine(machine=M1),
    "reinstate": upkeep.ReinstateMachine(machine=M1),
    "deploy": deployment.DeployMachine(claim=C1, image=OS, operation=OP, machine=M1),
    "release": deployment.ReleaseMachine(machine=M1),
    "rescue": deployment.RescueMachine(machine=M1, image=OS, operation=OP),
    "restore": deployment.RestoreMachine(machine=M1, operation=OP),
    "power": ops.PowerMachine(machine=M1, target="restart", operation=OP),
    "nmi": ops.PowerMachine(machine=M1, target="nmi", operation=OP),
    "abort": ops.AbortMachine(machine=M1, by="ann"),
    "retry": ops.RetryMachine(machine=M1, operation=OP),
    "delete": DeleteMachine(machine=M1),
    "cordon": upkeep.CordonMachine(machine=M1, by=ANN, reason="a fan is loud"),
    "uncordon": upkeep.UncordonMachine(machine=M1, by=ANN),
}

SAME = "="
"""The verb is allowed and changes an axis other than the state."""

ALWAYS = {"cordon": SAME, "uncordon": SAME}
HELD = {"deploy": "deploying", "release": "cleaning", "rescue": "rescuing", "nmi": SAME}
UNINSPECTED = {"inspect": "inspecting", "adopt": "inspecting", "delete": "deleted"}

ALLOWED: dict[str, dict[str, str]] = {
    "enrolled": UNINSPECTED,
    "inspecting": {"abort": "failed(inspect)"},
    "inspecting, to adopt": {"abort": "failed(adopt)"},
    "failed(inspect)": {**UNINSPECTED, "retry": "inspecting"},
    "failed(adopt)": {**UNINSPECTED, "retry": "inspecting"},
    "manageable": {**UNINSPECTED, "provide": "cleaning", "retire": "retired", "power": SAME},
    "cleaning": {"abort": "failed(clean)"},
    "cleaning, a step under way": {},
    "failed(clean)": {"manage": "manageable", "retire": "retired", "retry": "cleaning"},
    "available": {
        "deploy": "deploying",
        "manage": "manageable",
        "retire": "retired",
        "power": SAME,
    },
    "deploying": {"abort": "failed(deploy)"},
    "failed(deploy)": {"deploy": "deploying", "release": "cleaning", "retry": "deploying"},
    "active": {**HELD, "power": SAME},
    "active, adopted": {"release": "cleaning", "rescue": "rescuing", "power": SAME, "nmi": SAME},
    "active, switching": {"abort": "active", "release": "cleaning"},
    "active, kept": {"release": "cleaning", "power": SAME, "nmi": SAME},
    "rescuing": {"abort": "failed(rescue)"},
    "failed(rescue)": {
        "rescue": "rescuing",
        "restore": "restoring",
        "release": "cleaning",
        "retry": "rescuing",
    },
    "rescue": {"restore": "restoring", "release": "cleaning", "power": SAME, "nmi": SAME},
    "restoring": {},
    "failed(restore)": {"restore": "restoring", "release": "cleaning", "retry": "restoring"},
    "retired": {"delete": "deleted", "reinstate": "manageable"},
}

ENDS = {
    "inspecting": ("manageable", "failed(inspect)"),
    "inspecting, to adopt": ("active", "failed(adopt)"),
    "cleaning": ("available", "failed(clean)"),
    "deploying": ("active", "failed(deploy)"),
    "active, switching": ("active", "active"),
    "rescuing": ("rescue", "failed(rescue)"),
    "restoring": ("active", "failed(restore)"),
}
"""Where an operation leads when it goes well, and when it fails."""

NEEDS_NO_BMC = {"release", "abort", "delete", "cordon", "uncordon"}
"""What may be asked in maintenance. A release starts a cleaning, which waits for its end."""


def state_of(given: Given) -> str:
    machine = given.machine()
    if machine.deleted:
        return "deleted"
    return f"failed({machine.failed})" if machine.state == "failed" else machine.state


def test_the_table_has_every_state() -> None:
    plain = {state.partition("(")[0].partition(",")[0] for state in STATES}
    assert plain == set(get_args(State))
    assert ALLOWED.keys() == STATES.keys()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_allowed_in_the_states_of_the_table_alone(state: str, verb: str) -> None:
    given = Given()
    STATES[state](given)
    if verb == "deploy":
        given.hold(M1)
    before, was = dict(given.states), state_of(given)
    expected = {**ALLOWED[state], **ALWAYS}.get(verb)
    if expected is None:
        with pytest.raises(FailedPrecondition):
            given.do(VERBS[verb])
        assert given.states == before
    else:
        given.do(VERBS[verb])
        assert state_of(given) == (was if expected == SAME else expected)


@pytest.mark.parametrize("state", STATES)
def test_in_maintenance_nothing_is_asked_that_takes_the_bmc(state: str) -> None:
    given = Given()
    STATES[state](given)
    given.hold(M1)
    given.do(upkeep.CordonMachine(machine=M1, by=ANN, reason="new fans", maintenance=True))
    for verb in VERBS:
        if verb not in NEEDS_NO_BMC:
            with pytest.raises(FailedPrecondition):
                given.do(VERBS[verb])


@pytest.mark.parametrize("state", STATES)
def test_in_maintenance_what_needs_no_bmc_is_allowed_as_ever(state: str) -> None:
    for verb in NEEDS_NO_BMC & ALLOWED[state].keys():
        given = Given()
        STATES[state](given)
        given.do(upkeep.CordonMachine(machine=M1, by=ANN, reason="new fans", maintenance=True))
        given.do(VERBS[verb])
        assert state_of(given) == ALLOWED[state][verb]


@pytest.mark.parametrize("state", ENDS)
def test_an_operation_ends_in_the_states_of_the_table(state: str) -> None:
    given = Given()
    STATES[state](given)
    given.finish()
    assert state_of(given) == ENDS[state][0]
    assert given.machine().operation is None and given.machine().fault is None
    given = Given()
    STATES[state](given)
    claim = given.machine().claim
    given.fail()
    assert state_of(given) == ENDS[state][1]
    assert given.machine().claim == claim, "who held it holds it still"
    assert given.machine().operation is None and given.machine().fault is not None


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
    assert (machine.operation is not None) == (state in {*ENDS, "cleaning, a step under way"})
    if machine.operation is not None:
        assert machine.operation.deadline > given.now


@pytest.mark.parametrize("state", STATES)
def test_a_machine_is_held_from_its_deploy_to_its_release(state: str) -> None:
    given = Given()
    STATES[state](given)
    machine = given.machine()
    held = machine.state in {"deploying", "active", "rescuing", "rescue", "restoring"}
    assert bool(machine.claim) == (held or machine.failed in {"deploy", "rescue", "restore"})
    assert bool(machine.claim) == bool(machine.project)
