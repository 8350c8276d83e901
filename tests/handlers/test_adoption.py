"""Taking over machines that run already: verified, held by a claim at once, never switched."""

import pytest

from mulligan.errors import FailedPrecondition, NotFound
from mulligan.events import machine as ev
from mulligan.events.provider import InventoriesSet, Inventory
from mulligan.handlers import deployment, plans
from mulligan.handlers import operations as ops
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.enrolment import DeleteMachine
from mulligan.handlers.provider import DoesNotFit
from mulligan.model import AccountId, ClaimId, CommitId, MachineId, ProjectId

from .given import HOUR, M1, MACHINE, MEMORY, NOON, WEB, Given, types

OP = CommitId("adopt-1")
ANN = AccountId("ann")
SWITCHING = {"power_on", "power_off", "reset"}


def adopt(machine: str = M1, operation: str = OP) -> ops.AdoptMachine:
    return ops.AdoptMachine(
        machine=MachineId(machine), operation=CommitId(operation), project=WEB, account=ANN
    )


def adopting(given: Given, machine: str = M1) -> None:
    given.project()
    given.enrolled(machine)
    given.do(adopt(machine))


def ready_to_complete(given: Given, machine: str = M1) -> None:
    while given.operation(machine).step:
        given.step(machine)


def test_an_adopted_machine_is_active_for_a_claim_of_all_of_it_in_one_commit() -> None:
    given = Given()
    adopting(given)
    ready_to_complete(given)
    assert given.machine().claim == ""
    events = given.complete()
    assert types(events)[:3] == [
        "serial.held",
        "machine.operation_completed",
        "provider.inventories_set",
    ]
    machine, claim = given.machine(), given.claim(OP)
    assert (machine.state, machine.claim, machine.project) == ("active", ClaimId(OP), WEB)
    assert (claim.state, claim.project, claim.account, claim.end) == ("active", WEB, ANN, None)
    (hold,) = claim.held
    offered = {c: i.total for c, i in given.provider(M1).inventories.items()}
    assert hold.amounts == offered and {MACHINE, MEMORY} <= offered.keys()
    assert given.provider(M1).cordons == {}
    with pytest.raises(DoesNotFit):
        given.claimed(M1, claim="c2")


def test_adoption_never_takes_a_step_that_switches_power() -> None:
    given = Given()
    adopting(given)
    steps = given.finish()
    assert steps == list(plans.ADOPT) and not SWITCHING & set(steps)
    given = Given()
    adopting(given)
    given.fail()
    given.do(ops.RetryMachine(machine=M1, operation=CommitId("adopt-2")))
    assert not SWITCHING & set(given.finish())
    assert given.machine().claim == "adopt-2"


def test_what_an_adopted_machine_holds_is_not_wiped_before_it_is_released() -> None:
    given = Given()
    adopting(given)
    given.finish()
    assert given.machine().unwiped
    given.do(ReleaseClaim(claim=ClaimId(OP)))
    assert given.machine().state == "cleaning"
    given.finish()
    assert (given.machine().state, given.machine().unwiped) == ("available", False)


def test_an_adopted_machine_is_released_by_its_holder() -> None:
    given = Given()
    adopting(given)
    given.finish()
    given.do(deployment.ReleaseMachine(machine=M1, project=WEB))
    assert given.claim(OP).state == "released"


def test_adoption_needs_its_project() -> None:
    given = Given()
    given.enrolled()
    with pytest.raises(NotFound, match="project"):
        given.do(adopt())


def test_adoption_over_quota_fails_and_says_so() -> None:
    given = Given()
    given.project()
    given.limited("web", {MACHINE: 0})
    given.enrolled()
    given.do(adopt())
    ready_to_complete(given)
    assert types(given.complete()) == ["machine.operation_failed"]
    machine = given.machine()
    assert (machine.state, machine.failed, machine.claim) == ("failed", "adopt", "")
    assert machine.fault is not None and machine.fault.fault == "over-quota"
    given.limited("web", {MACHINE: 1})
    given.do(ops.RetryMachine(machine=M1, operation=CommitId("adopt-2")))
    given.finish()
    assert given.machine().state == "active"
    assert given.used_by("web", MACHINE) == [(0, None, 1)]


def test_a_machine_that_others_claimed_ahead_is_not_adopted() -> None:
    given = Given()
    given.project()
    given.available()
    given.claimed(M1, claim="ahead", start=NOON + HOUR)
    given.do(ops.ManageMachine(machine=M1))
    given.do(adopt())
    ready_to_complete(given)
    given.complete()
    machine = given.machine()
    assert machine.fault is not None and machine.fault.fault == "claimed-ahead"
    assert given.claim("ahead").state == "reserved"
    given.do(ReleaseClaim(claim=ClaimId("ahead")))
    given.do(adopt(operation="adopt-2"))
    given.finish()
    assert given.machine().claim == "adopt-2"


def test_a_machine_whose_inventory_is_reserved_is_not_adopted() -> None:
    given = Given()
    given.project()
    given.available()
    given.do(ops.ManageMachine(machine=M1))
    held = given.provider(M1).inventories
    reserved = {**held, MACHINE: Inventory(total=1, reserved=1)}
    given.happened("provider", M1, InventoriesSet(inventories=reserved))
    given.do(adopt())
    ready_to_complete(given)
    given.complete()
    assert given.machine().fault is not None
    assert (given.machine().failed, given.machine().claim) == ("adopt", "")


def test_only_what_may_be_taken_in_one_piece_is_claimed() -> None:
    given = Given()
    given.project()
    given.available()
    given.do(ops.ManageMachine(machine=M1))
    held = given.provider(M1).inventories
    shaped = {**held, MEMORY: Inventory(total=1000, reserved=1, max_unit=500, step_size=64)}
    given.happened("provider", M1, InventoriesSet(inventories=shaped))
    given.hardware[M1] = ev.Facts(serial="S-m1", memory_bytes=1000)
    given.do(adopt())
    given.finish()
    (hold,) = given.claim(OP).held
    assert hold.amounts[MEMORY] == 448


def test_a_chassis_that_was_abandoned_with_data_is_not_adopted_before_it_is_clean() -> None:
    given = Given()
    given.project()
    given.active()
    given.do(DeleteMachine(machine=M1, force=True, reason="its BMC is dead"))
    given.enrolled("m2")
    given.hardware["m2"] = given.facts(M1)
    given.do(adopt("m2"))
    ready_to_complete(given, "m2")
    given.complete("m2")
    machine = given.machine("m2")
    assert machine.fault is not None and machine.fault.fault == "abandoned"
    assert (machine.failed, machine.claim) == ("adopt", "")
    given.do(ops.InspectMachine(machine=MachineId("m2"), operation=CommitId("i")))
    given.finish("m2")
    assert given.machine("m2").unwiped
    with pytest.raises(FailedPrecondition, match="never cleaned"):
        given.do(adopt("m2", "adopt-2"))
    given.do(ops.ProvideMachine(machine=MachineId("m2"), operation=CommitId("p")))
    given.finish("m2")
    given.do(ops.ManageMachine(machine=MachineId("m2")))
    given.do(adopt("m2", "adopt-3"))
    given.finish("m2")
    assert given.machine("m2").state == "active"


def test_what_a_tenant_left_on_a_machine_is_not_given_to_who_adopts_it() -> None:
    given = Given()
    given.project()
    given.active()
    given.do(deployment.ReleaseMachine(machine=M1))
    given.fail()
    given.do(ops.ManageMachine(machine=M1))
    with pytest.raises(FailedPrecondition, match="never cleaned"):
        given.do(adopt())


def test_the_claim_of_an_adoption_is_made_no_earlier_than_it_ends() -> None:
    given = Given()
    adopting(given)
    given.now += HOUR / 10
    given.finish()
    assert given.claim(OP).start == given.now


def test_a_project_is_named_again_for_an_adoption_that_is_tried_again() -> None:
    given = Given()
    adopting(given)
    given.fail()
    assert (given.machine().adopt_for, given.machine().adopter) == (WEB, ANN)
    given.do(ops.RetryMachine(machine=M1, operation=CommitId("adopt-2")))
    operation = given.operation()
    assert (operation.project, operation.account) == (ProjectId("web"), ANN)
