from datetime import timedelta

import pytest

from mulligan.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from mulligan.events import machine as ev
from mulligan.events.machine import Bmc
from mulligan.handlers import actions, completion, deployment, image, observations, plans
from mulligan.handlers import operations as ops
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.decision import Command
from mulligan.handlers.enrolment import DeleteMachine, EnrolMachine, bmc_stream
from mulligan.handlers.machine import Machine
from mulligan.handlers.steps import MODES
from mulligan.model import (
    ActionId,
    CommitId,
    CredentialId,
    ImageId,
    MachineId,
    ProjectId,
    ProviderId,
    stream_id,
)

from .given import C1, HOUR, M1, MACHINE, MEMORY, NOON, OS, WEB, Given, claim_of, types

OP = CommitId("op")
DB = ProjectId("db")


def bmc(address: str = "https://m1", system: str = "") -> Bmc:
    return Bmc(address=address, system=system, credential=CredentialId("root"))


def enrol(key: str, where: Bmc) -> EnrolMachine:
    return EnrolMachine(machine=MachineId(key), name=key, bmc=where)


def test_enrolment_makes_a_machine_its_names_and_a_provider_that_takes_no_claims() -> None:
    given = Given()
    given.enrolled("other")
    assert types(given.do(enrol("m1", bmc()))) == [
        "machine.enrolled",
        "name.assigned",
        "name.assigned",
        "name.assigned",
        "provider.created",
        "provider.cordoned",
    ]
    assert given.provider(M1).cordons == {"not-provided": ""}


def test_one_system_of_one_bmc_is_enrolled_once() -> None:
    given = Given()
    given.enrolled("m1")
    with pytest.raises(AlreadyExists, match="machine m1 already"):
        given.do(enrol("m2", bmc("HTTPS://M1")))
    given.do(enrol("m2", bmc(system="2")))
    given.do(DeleteMachine(machine=M1))
    given.do(enrol("m3", bmc()))
    assert given.states[bmc_stream(bmc())].object == "m3"


def test_a_machine_id_is_used_once() -> None:
    given = Given()
    given.enrolled("m1")
    given.do(DeleteMachine(machine=M1))
    with pytest.raises(AlreadyExists):
        given.do(enrol("m1", bmc()))


def test_enrolment_needs_its_credential_and_its_parent() -> None:
    with pytest.raises(NotFound, match="credential"):
        Given().do(enrol("m1", bmc()))
    given = Given()
    given.enrolled("other")
    with pytest.raises(InvalidArgument) as refused:
        given.do(EnrolMachine(machine=M1, name="m1", bmc=bmc(), parent=ProviderId("rack")))
    assert refused.value.violations[0].field == "parent"


@pytest.mark.parametrize(
    ("where", "field"),
    [
        (bmc("ftp://m1"), "bmc.address"),
        (bmc("m1"), "bmc.address"),
        (bmc("https://"), "bmc.address"),
        (bmc("https://m1:99999"), "bmc.address"),
        (bmc("https://m1/redfish"), "bmc.address"),
        (bmc("https://u:p@m1"), "bmc.address"),
        (bmc(system="a/b"), "bmc.system"),
        (Bmc(address="https://m1", credential=CredentialId("root"), fingerprint="x"), "bmc.f"),
    ],
)
def test_a_bmc_that_cannot_be_addressed_is_refused(where: Bmc, field: str) -> None:
    given = Given()
    given.enrolled("other")
    with pytest.raises(InvalidArgument) as refused:
        given.do(enrol("m2", where))
    assert refused.value.violations[0].field.startswith(field)


def test_operations_run_their_steps_in_order_and_end_where_they_said() -> None:
    given = Given()
    machine = given.enrolled()
    given.do(ops.InspectMachine(machine=machine, operation=OP))
    assert tuple(given.finish()) == plans.INSPECT
    assert given.machine().facts is not None
    given.do(ops.ProvideMachine(machine=machine, operation=OP))
    assert tuple(given.finish()) == plans.clean()
    assert given.provider(M1).cordons == {}
    given.claimed(M1)
    given.do(deployment.DeployMachine(claim=C1, image=OS, operation=OP))
    assert tuple(given.finish()) == plans.deploy("iso", "power-on", user_data=False)
    assert (given.machine().state, given.machine().claim) == ("active", C1)
    assert (given.machine().project, given.machine().image) == (WEB, OS)


def test_every_step_of_every_plan_is_known() -> None:
    planned = {
        *plans.INSPECT,
        *plans.clean(),
        *plans.deploy("iso", "power-on", user_data=False),
    }.union(*plans.POWER.values())
    assert planned <= set(MODES)
    assert {"power_on", "power_off", "reset", "insert_media"} <= {
        step for step, mode in MODES.items() if mode == "once"
    }


def test_a_retry_keeps_the_step_and_counts_the_attempts() -> None:
    given = Given()
    given.deploying()
    given.step(outcome="retry", fault="busy")
    given.step(outcome="retry", fault="busy")
    retry = given.operation().retry
    assert retry is not None and (retry.attempt, retry.fatal) == (2, False)
    assert given.operation().done == 0
    given.step()
    assert (given.operation().done, given.operation().retry) == (1, None)


def request(given: Given, action: str = "a1", done: int = 0) -> actions.RequestAction:
    return actions.RequestAction(
        machine=M1,
        operation=given.operation().id,
        action=ActionId(action),
        done=done,
        attempt=1,
    )


def attempt(
    given: Given, owner: str, action: str = "a1", instead_of: str = ""
) -> actions.AttemptStep:
    return actions.AttemptStep(
        machine=M1,
        operation=given.operation().id,
        action=ActionId(action),
        owner=owner,
        instead_of=instead_of,
    )


def observe(given: Given, operation: CommitId, action: str = "a1") -> actions.ObserveStep:
    observed = ev.StepObserved(action=ActionId(action), outcome="done", at=given.now)
    return actions.ObserveStep(machine=M1, operation=operation, observed=observed)


def test_of_two_reconcilers_one_requests_and_of_two_executors_one_attempts() -> None:
    given = Given()
    given.deploying()
    assert len(given.do(request(given))) == 1
    assert given.do(request(given, "a2")) == []
    assert types(given.do(attempt(given, "e1"))) == ["machine.step_attempted"]
    assert given.do(attempt(given, "e2")) == []
    assert given.do(attempt(given, "e1", action="a2")) == []


def test_a_dead_executors_step_is_resumed_by_one_other() -> None:
    given = Given()
    given.deploying()
    given.do(request(given))
    given.do(attempt(given, "e1"))
    (event,) = given.do(attempt(given, "e2", instead_of="e1"))
    assert event == ev.StepAttempted(action=ActionId("a1"), owner="e2", resumes=True)
    assert given.do(attempt(given, "e3", instead_of="e1")) == []


def test_a_late_outcome_of_an_operation_that_was_given_up_is_ignored() -> None:
    given = Given()
    given.deploying()
    given.do(request(given))
    given.do(attempt(given, "e1"))
    late = observe(given, given.operation().id)
    given.do(ops.AbortMachine(machine=M1, by="ann"))
    assert given.do(late) == []
    given.do(ops.RetryMachine(machine=M1, operation=CommitId("again")))
    assert given.do(late) == []


def test_an_outcome_is_recorded_once() -> None:
    given = Given()
    given.deploying()
    given.do(request(given))
    given.do(attempt(given, "e1"))
    outcome = observe(given, given.operation().id)
    assert len(given.do(outcome)) == 1
    assert given.do(outcome) == []
    assert given.operation().done == 1


def test_an_operation_is_not_completed_with_steps_left_nor_failed_at_another_step() -> None:
    given = Given()
    given.deploying()
    operation = given.operation().id
    assert given.do(completion.CompleteOperation(machine=M1, operation=operation)) == []
    stale = completion.FailOperation(
        machine=M1, operation=operation, step="power_on", fault="x", message="x"
    )
    assert given.do(stale) == []
    assert given.machine().state == "deploying"


def test_a_failed_machine_says_why_and_keeps_its_claim() -> None:
    given = Given()
    given.deploying()
    given.step()
    given.fail(fault="checksum-mismatch")
    machine = given.machine()
    assert (machine.state, machine.failed, machine.claim) == ("failed", "deploy", C1)
    assert machine.fault is not None
    assert (machine.fault.fault, machine.fault.step) == ("checksum-mismatch", "stage_image")
    assert machine.fault.since == NOON


def test_a_machine_that_could_not_be_cleaned_takes_no_claims() -> None:
    given = Given()
    given.active()
    given.do(deployment.ReleaseMachine(machine=M1))
    given.fail()
    assert "cleaning" in given.provider(M1).cordons
    given.do(ops.ManageMachine(machine=M1))
    assert {"cleaning", "not-provided"} <= given.provider(M1).cordons.keys()
    given.do(ops.ProvideMachine(machine=M1, operation=OP))
    given.finish()
    assert given.provider(M1).cordons == {}


def test_a_failed_power_operation_leaves_the_machine_in_its_state() -> None:
    given = Given()
    given.active()
    given.do(ops.PowerMachine(machine=M1, target="off", operation=OP))
    given.fail(fault="refused")
    machine = given.machine()
    assert (machine.state, machine.fault and machine.fault.fault) == ("active", "refused")
    given.do(ops.PowerMachine(machine=M1, target="off", operation=OP))
    assert given.finish() == ["power_off"]
    assert (given.machine().state, given.machine().power) == ("active", "off")
    assert given.machine().fault is None


def test_a_power_action_names_its_reset_type() -> None:
    given = Given()
    given.active()
    given.do(ops.PowerMachine(machine=M1, target="shutdown", operation=OP))
    (event,) = given.do(request(given))
    assert isinstance(event, ev.ActionRequested)
    assert (event.step, event.mode, event.params) == (
        "power_off",
        "once",
        {"target": "GracefulShutdown"},
    )


def test_power_seen_outside_of_operations_is_recorded_when_it_changes() -> None:
    given = Given()
    given.available()
    seen = observations.ObservePower(machine=M1, power="on")
    assert types(given.do(seen)) == ["machine.power_observed"]
    assert given.do(seen) == []
    given.do(ops.ManageMachine(machine=M1))
    given.do(ops.ProvideMachine(machine=M1, operation=OP))
    assert given.do(observations.ObservePower(machine=M1, power="off")) == []


def test_a_deploy_needs_an_open_claim() -> None:
    given = Given()
    given.available()
    given.claimed(M1, start=NOON + HOUR, end=NOON + 2 * HOUR)
    deploy = deployment.DeployMachine(claim=C1, image=OS, operation=OP)
    with pytest.raises(FailedPrecondition, match="begins at"):
        given.do(deploy)
    given.now += HOUR
    given.do(deploy)
    given.finish()
    given.now += HOUR
    with pytest.raises(FailedPrecondition, match="is over"):
        given.do(deploy)


def test_a_deploy_needs_a_machine_that_its_claim_holds() -> None:
    given = Given()
    given.available("m1")
    given.available("m2")
    given.do(claim_of({"m1": {MACHINE: 1}, "m2": {MEMORY: 1}}))
    wrong = deployment.DeployMachine(claim=C1, image=OS, operation=OP, machine=MachineId("m2"))
    with pytest.raises(FailedPrecondition, match="does not hold"):
        given.do(wrong)
    given.do(deployment.DeployMachine(claim=C1, image=OS, operation=OP))
    assert given.machine("m1").state == "deploying"


def test_a_claim_of_two_machines_asks_which_one() -> None:
    given = Given()
    given.available("m1")
    given.available("m2")
    given.claimed("m1", "m2")
    with pytest.raises(InvalidArgument, match="holds 2 machines"):
        given.do(deployment.DeployMachine(claim=C1, image=OS, operation=OP))


def test_a_deploy_needs_a_live_image() -> None:
    given = Given()
    given.available()
    given.claimed(M1)
    for gone in (ImageId("none"), OS):
        if gone == OS:
            given.do(image.DeleteImage(image=OS))
        with pytest.raises(NotFound, match="image"):
            given.do(deployment.DeployMachine(claim=C1, image=gone, operation=OP))


def test_an_image_deleted_under_way_is_still_booted_this_once() -> None:
    given = Given()
    given.deploying()
    given.do(image.DeleteImage(image=OS))
    given.step()
    given.step()
    given.fail()
    with pytest.raises(NotFound, match="image"):
        given.do(ops.RetryMachine(machine=M1, operation=OP))


def test_a_failed_deploy_is_not_retried_after_its_claim_is_over() -> None:
    given = Given()
    given.available()
    given.claimed(M1, end=NOON + HOUR)
    given.do(deployment.DeployMachine(claim=C1, image=OS, operation=OP))
    given.fail()
    given.now += HOUR
    with pytest.raises(FailedPrecondition, match="is over"):
        given.do(ops.RetryMachine(machine=M1, operation=OP))


def test_an_operation_retried_begins_at_its_first_step_with_a_new_deadline() -> None:
    given = Given()
    given.deploying()
    given.step()
    given.step()
    given.fail()
    given.now += timedelta(minutes=5)
    given.do(ops.RetryMachine(machine=M1, operation=OP))
    operation = given.operation()
    assert (operation.id, operation.done, operation.image) == (OP, 0, OS)
    assert operation.deadline == given.now + plans.DEADLINES["deploy"]


def test_a_release_detaches_frees_and_cleans_in_one_commit() -> None:
    given = Given()
    given.active()
    assert types(given.do(deployment.ReleaseMachine(machine=M1))) == [
        "claim.released",
        "provider.capacity_freed",
        "machine.claim_detached",
        "machine.operation_started",
        "provider.cordoned",
    ]
    assert given.provider(M1).use == {}
    assert given.claim(C1).state == "released"


def test_a_claim_is_released_with_the_last_of_its_machines() -> None:
    given = Given()
    machines = [given.available(key) for key in ("m1", "m2")]
    given.do(claim_of({m: {MACHINE: 1} for m in machines}, name="pair"))
    for machine in machines:
        given.do(
            deployment.DeployMachine(
                claim=C1, image=OS, operation=CommitId(f"d-{machine}"), machine=machine
            )
        )
        given.finish(machine)
    first = given.do(deployment.ReleaseMachine(machine=machines[0]))
    assert types(first)[0] == "claim.allocation_released"
    assert given.claim(C1).state == "active"
    assert [a.provider for a in given.claim(C1).held] == ["m2"]
    assert given.provider("m1").use == {} and given.provider("m2").use != {}
    last = given.do(deployment.ReleaseMachine(machine=machines[1]))
    assert types(last)[:2] == ["claim.released", "provider.capacity_freed"]
    assert "name.released" in types(last)


def test_releasing_the_claim_gives_up_what_runs_on_its_machines() -> None:
    given = Given()
    given.deploying()
    given.do(request(given))
    given.do(attempt(given, "e1"))
    late = observe(given, given.operation().id)
    events = given.do(ReleaseClaim(claim=C1))
    assert types(events) == [
        "claim.released",
        "provider.capacity_freed",
        "machine.operation_failed",
        "machine.claim_detached",
        "machine.operation_started",
        "provider.cordoned",
    ]
    assert given.do(late) == []
    assert (given.machine().state, given.operation().done) == ("cleaning", 0)


@pytest.mark.parametrize(
    "command",
    [
        deployment.DeployMachine(claim=C1, image=OS, operation=OP, project=DB),
        deployment.ReleaseMachine(machine=M1, project=DB),
        ops.PowerMachine(machine=M1, target="off", operation=OP, project=DB),
    ],
)
def test_another_projects_machines_and_claims_are_not_found(command: Command) -> None:
    given = Given()
    given.active()
    with pytest.raises(NotFound):
        given.do(command)


@pytest.mark.parametrize("project", [WEB, ProjectId("")])
def test_the_holder_and_an_operator_find_them(project: ProjectId) -> None:
    given = Given()
    given.active()
    given.do(ops.PowerMachine(machine=M1, target="off", operation=OP, project=project))
    given.finish()
    given.do(deployment.DeployMachine(claim=C1, image=OS, operation=OP, project=project))
    given.finish()
    given.do(deployment.ReleaseMachine(machine=M1, project=project))


def test_a_released_machine_is_nobodys() -> None:
    given = Given()
    given.active()
    given.do(deployment.ReleaseMachine(machine=M1))
    given.finish()
    with pytest.raises(NotFound):
        given.do(ops.PowerMachine(machine=M1, target="on", operation=OP, project=WEB))


def test_deleting_frees_every_name() -> None:
    given = Given()
    given.enrolled()
    events = given.do(DeleteMachine(machine=M1))
    assert types(events) == [
        "machine.deleted",
        "name.released",
        "name.released",
        "provider.deleted",
        "name.released",
    ]
    with pytest.raises(NotFound):
        given.do(DeleteMachine(machine=M1))


def test_force_needs_a_reason() -> None:
    given = Given()
    given.enrolled()
    with pytest.raises(InvalidArgument, match="reason"):
        given.do(DeleteMachine(machine=M1, force=True, reason=" "))


def test_force_ends_the_hold_and_records_that_the_machine_was_not_wiped() -> None:
    given = Given()
    given.active()
    events = given.do(DeleteMachine(machine=M1, force=True, reason="burnt"))
    abandoned = next(e for e in events if isinstance(e, ev.MachineAbandoned))
    assert (abandoned.unwiped, abandoned.serial) == (True, "S-m1")
    assert given.claim(C1).state == "released"
    assert given.provider(M1).deleted, "with its only claim gone nothing keeps the provider"
    given.do(enrol("m9", bmc()))


@pytest.mark.parametrize(
    ("prepare", "unwiped"),
    [("enrolled", False), ("available", False), ("deploying", True), ("active", True)],
)
def test_only_what_was_never_a_tenants_counts_as_wiped(prepare: str, unwiped: bool) -> None:
    given = Given()
    getattr(given, prepare)()
    events = given.do(DeleteMachine(machine=M1, force=True, reason="burnt"))
    assert [e.unwiped for e in events if isinstance(e, ev.MachineAbandoned)] == [unwiped]


def test_a_provider_with_other_claims_outlives_its_abandoned_machine_and_takes_no_more() -> None:
    given = Given()
    given.active()
    given.do(ReleaseClaim(claim=C1))
    given.finish()
    given.claimed(M1, claim="ahead", start=NOON + HOUR)
    given.do(DeleteMachine(machine=M1, force=True, reason="burnt"))
    assert not given.provider(M1).deleted
    assert "machine-abandoned" in given.provider(M1).cordons
    assert given.claim("ahead").state == "reserved"
    with pytest.raises(NotFound):
        given.do(ops.InspectMachine(machine=M1, operation=OP))


def test_no_machine_is_ever_held_by_a_claim_that_is_over() -> None:
    given = Given()
    given.active()
    given.do(ReleaseClaim(claim=C1))
    machine: Machine = given.states[stream_id("machine", M1)]
    assert (machine.claim, machine.project, machine.image) == ("", "", "")


def test_a_machine_that_could_not_be_cleaned_is_not_forgotten_in_passing() -> None:
    given = Given()
    given.active()
    given.do(deployment.ReleaseMachine(machine=M1))
    given.fail()
    given.do(ops.ManageMachine(machine=M1))
    with pytest.raises(FailedPrecondition, match="never cleaned"):
        given.do(DeleteMachine(machine=M1))
    events = given.do(DeleteMachine(machine=M1, force=True, reason="scrapped"))
    assert [e.unwiped for e in events if isinstance(e, ev.MachineAbandoned)] == [True]
