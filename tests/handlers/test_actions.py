"""What reconcilers ask, executors try and machines report: once, in order, and not too late."""

import pytest

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.events import machine as ev
from mulligan.events.provider import ProviderMoved
from mulligan.handlers import actions, brake, deployment, image, plans, reports, upkeep
from mulligan.handlers import operations as ops
from mulligan.handlers.brake import Brake, brake_stream
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.enrolment import EnrolMachine
from mulligan.handlers.steps import MODES
from mulligan.model import (
    AccountId,
    ActionId,
    CommitId,
    CredentialId,
    ImageId,
    ProviderId,
)

from .given import C1, HOUR, M1, MINUTE, NOON, Given, types

OP = CommitId("op")
ANN = AccountId("ann")
PHONES = ImageId("phones")
RACK = ProviderId("rack")


def request(given: Given, *, done: int = 0, attempt: int = 1) -> list[object]:
    command = actions.RequestAction(
        machine=M1,
        operation=given.operation().id,
        action=ActionId(given.fresh("a")),
        done=done,
        attempt=attempt,
    )
    return [*given.do(command)]


def observe(given: Given, outcome: ev.Outcome = "done") -> list[object]:
    operation = given.operation()
    assert operation.action is not None
    seen = ev.StepObserved(action=operation.action.id, outcome=outcome, at=given.now, fault="busy")
    return [*given.do(actions.ObserveStep(machine=M1, operation=operation.id, observed=seen))]


def test_an_action_is_requested_for_the_present_step_and_the_next_attempt_alone() -> None:
    given = Given()
    given.deploying()
    for done, attempt in ((1, 1), (0, 2), (0, 0)):
        assert request(given, done=done, attempt=attempt) == []
    assert len(request(given)) == 1
    assert request(given) == [], "it is in hand"
    given.attempt()
    observe(given, "retry")
    for attempt in (1, 3):
        assert request(given, attempt=attempt) == []
    assert len(request(given, attempt=2)) == 1
    given.attempt()
    observe(given)
    assert request(given, done=0, attempt=1) == [], "that step is done"
    assert len(request(given, done=1)) == 1


def test_nothing_is_requested_of_another_operation_or_of_none() -> None:
    given = Given()
    given.deploying()
    old = given.operation()
    stale = actions.RequestAction(
        machine=M1, operation=old.id, action=ActionId("x"), done=0, attempt=1
    )
    given.do(ops.AbortMachine(machine=M1, by="ann"))
    assert given.do(stale) == []
    given.do(ops.RetryMachine(machine=M1, operation=OP))
    assert given.do(stale) == []


def test_no_executor_is_asked_for_what_the_machine_reports() -> None:
    given = phoning()
    until(given, "phone_home")
    assert "phone_home" not in MODES and "wipe_report" not in MODES
    assert given.request() == []


def until(given: Given, step: str) -> None:
    while given.operation().step != step:
        given.step()


def phoning() -> Given:
    """A machine that is deployed with an image that phones home."""
    given = Given()
    given.available()
    given.claimed(M1)
    given.do(
        image.CreateImage(
            image=PHONES, name="p", url="file:p.iso", sha256="a" * 64, ready_when="phone-home"
        )
    )
    given.do(deployment.DeployMachine(claim=C1, image=PHONES, operation=OP))
    return given


HOME = reports.PhoneHome(
    machine=M1,
    operation=OP,
    address="192.0.2.7",
    hostname="web",
    host_keys={"ssh-ed25519": "SHA256:x"},
)


def test_a_machine_that_phones_home_is_up_and_told_its_host_keys() -> None:
    given = phoning()
    until(given, "phone_home")
    given.now += MINUTE
    (event,) = given.do(HOME)
    assert isinstance(event, ev.PhonedHome)
    assert (event.address, event.hostname, event.at) == ("192.0.2.7", "web", given.now)
    machine = given.machine()
    assert (machine.host_keys, machine.phoned_at) == ({"ssh-ed25519": "SHA256:x"}, given.now)
    assert given.operation().step == "eject_media"
    given.finish()
    assert given.machine().state == "active"


@pytest.mark.parametrize("step", ["check", "boot_once", "power_on"])
def test_a_machine_that_phones_home_before_its_turn_is_not_waited_for(step: str) -> None:
    given = phoning()
    until(given, step)
    given.do(HOME)
    assert given.operation().step == step
    given.finish()
    assert given.machine().state == "active"
    assert given.machine().host_keys


def test_a_machine_phones_home_once() -> None:
    given = phoning()
    until(given, "power_on")
    given.do(HOME)
    with pytest.raises(FailedPrecondition, match="once"):
        given.do(HOME)
    until(given, "eject_media")
    with pytest.raises(FailedPrecondition, match="once"):
        given.do(HOME)


def test_who_phones_home_after_the_operation_is_too_late() -> None:
    given = phoning()
    until(given, "phone_home")
    given.fail(fault="deadline")
    with pytest.raises(FailedPrecondition, match="is over"):
        given.do(HOME)
    given.do(ops.RetryMachine(machine=M1, operation=CommitId("again")))
    with pytest.raises(FailedPrecondition, match="is over"):
        given.do(HOME)
    assert given.machine().phoned_at is None


def test_nobody_phones_home_where_that_is_not_awaited() -> None:
    given = Given()
    given.deploying()
    late = reports.PhoneHome(machine=M1, operation=given.operation().id)
    with pytest.raises(FailedPrecondition):
        given.do(late)
    wipe = reports.ReportWipe(machine=M1, operation=given.operation().id, proofs=())
    with pytest.raises(FailedPrecondition):
        given.do(wipe)
    with pytest.raises(FailedPrecondition):
        Given().do(HOME)


def test_what_a_machine_told_is_forgotten_with_its_next_deploy_and_its_release() -> None:
    given = phoning()
    given.finish()
    assert given.machine().phoned_at is not None
    again = deployment.DeployMachine(claim=C1, image=PHONES, operation=CommitId("again"))
    given.do(again)
    assert (given.machine().host_keys, given.machine().phoned_at) == ({}, None)
    given.finish()
    given.do(ReleaseClaim(claim=C1))
    assert given.machine().phoned_at is None


def test_a_task_that_a_step_became_is_kept_for_whoever_resumes_it() -> None:
    given = Given()
    given.deploying()
    given.request()
    action = given.attempt()
    start = actions.StartTask(
        machine=M1, operation=given.operation().id, action=action, monitor="/tasks/7"
    )
    assert types(given.do(start)) == ["machine.task_started"]
    assert given.do(start) == []
    in_hand = given.operation().action
    assert in_hand is not None and in_hand.monitor == "/tasks/7"
    other = actions.AttemptStep(
        machine=M1,
        operation=given.operation().id,
        action=action,
        owner="e2",
        instead_of="executor",
    )
    given.do(other)
    in_hand = given.operation().action
    assert in_hand is not None and (in_hand.owner, in_hand.monitor) == ("e2", "/tasks/7")
    observe(given)
    assert given.do(start) == [], "the step is done"
    given.do(ops.AbortMachine(machine=M1, by="ann"))
    assert given.do(start) == []


def in_a_rack() -> Given:
    """A machine that is deployed, in a rack."""
    given = Given()
    given.offers(RACK, {})
    given.with_catalogue()
    bmc = ev.Bmc(address="https://m1", credential=CredentialId("root"))
    given.do(EnrolMachine(machine=M1, name="m1", bmc=bmc, parent=RACK))
    for command in (ops.InspectMachine, ops.ProvideMachine):
        given.do(command(machine=M1, operation=CommitId(given.fresh("op"))))
        given.finish()
    given.do(ops.PowerMachine(machine=M1, target="off", operation=OP))
    return given


APPLY = brake.ApplyBrake(domain=RACK, failed=4, total=20, window=600)
RELEASE = brake.ReleaseBrake(domain=RACK, by=ANN, reason="the feed is back")


def test_under_a_brake_nothing_is_asked_that_changes_something() -> None:
    given = in_a_rack()
    assert types(given.do(APPLY)) == ["brake.applied"]
    assert given.do(APPLY) == [], "it is applied"
    assert given.request() == []
    given.do(RELEASE)
    assert types(given.request()) == ["machine.action_requested"]


def test_under_a_brake_machines_are_still_looked_at() -> None:
    given = in_a_rack()
    given.finish()
    given.do(APPLY)
    given.do(ops.ManageMachine(machine=M1))
    given.do(ops.InspectMachine(machine=M1, operation=CommitId("look")))
    given.finish()
    assert given.machine().state == "manageable"
    given.do(ops.ProvideMachine(machine=M1, operation=CommitId("clean")))
    given.step()
    assert given.operation().step == "power_off"
    assert given.request() == []


def test_a_brake_holds_its_own_domain_alone() -> None:
    given = in_a_rack()
    given.do(brake.ApplyBrake(domain="region", failed=4, total=20, window=600))
    assert types(given.request()) == ["machine.action_requested"]
    given = Given()
    given.deploying()
    given.step()
    given.step()
    given.do(brake.ApplyBrake(domain="region", failed=4, total=20, window=600))
    assert given.request() == [], "what stands under nothing is of the region"


def test_a_machine_that_is_moved_leaves_the_brake_of_its_rack() -> None:
    given = in_a_rack()
    given.do(APPLY)
    given.offers("other-rack", {})
    other = ProviderId("other-rack")
    given.happened("provider", M1, ProviderMoved(parent=other, ancestors=(other,)))
    assert types(given.request()) == ["machine.action_requested"]


def test_a_brake_is_released_with_a_reason_and_what_was_before_no_longer_counts() -> None:
    given = in_a_rack()
    with pytest.raises(FailedPrecondition, match="no brake"):
        given.do(RELEASE)
    given.do(APPLY)
    for reason in (" ", "x" * 501):
        with pytest.raises(InvalidArgument, match="reason"):
            given.do(brake.ReleaseBrake(domain=RACK, by=ANN, reason=reason))
    given.now += HOUR
    given.do(RELEASE)
    state: Brake = given.states[brake_stream(RACK)]
    assert (state.applied, state.counts_from) == (None, NOON + HOUR)
    given.do(APPLY)
    with pytest.raises(FailedPrecondition):
        given.do(brake.ReleaseBrake(domain="other", by=ANN, reason="x"))


def test_a_brake_says_what_it_saw() -> None:
    given = in_a_rack()
    given.do(APPLY)
    state: Brake = given.states[brake_stream(RACK)]
    assert state.applied is not None
    assert brake.described(state.applied) == ("4 of 20 machines failed or lost power within 10 min")


@pytest.mark.parametrize("step", sorted(MODES))
def test_every_step_has_a_budget(step: str) -> None:
    assert 1 <= plans.attempts(step) <= 8


def test_a_step_that_switches_power_has_the_smallest_budget_and_a_download_the_largest() -> None:
    budgets = {step: plans.attempts(step) for step in MODES}
    assert budgets.pop("change_password") == 2, "each failed one may cost a refused login"
    assert min(budgets.values()) == budgets["reset"] == budgets["power_on"] == 3
    assert max(budgets.values()) == budgets["stage_image"] == 8


def test_a_step_that_will_not_heal_says_so_and_names_its_fault() -> None:
    given = Given()
    given.deploying()
    given.step(outcome="fatal", fault="bad-credentials")
    retry = given.operation().retry
    assert retry is not None and (retry.fatal, retry.fault) == (True, "bad-credentials")


@pytest.mark.parametrize(
    ("fault", "closed"),
    [
        ("bmc-away", True),
        ("deadline", True),
        ("checksum-mismatch", False),
        ("image-unavailable", False),
        ("aborted", False),
    ],
)
def test_a_machine_that_failed_by_its_own_fault_takes_no_claims_until_it_goes_well(
    fault: str, closed: bool
) -> None:
    given = Given()
    given.deploying()
    given.fail(fault=fault)
    assert ("machine-failed" in given.provider(M1).cordons) == closed
    given.do(ops.RetryMachine(machine=M1, operation=OP))
    given.finish()
    assert given.provider(M1).cordons == {}


def test_a_failed_inspection_says_nothing_of_the_hardware_that_was_offered() -> None:
    given = Given()
    given.available()
    given.do(ops.ManageMachine(machine=M1))
    before = given.provider(M1)
    given.do(ops.InspectMachine(machine=M1, operation=OP))
    given.fail()
    assert given.provider(M1) == before
    assert given.machine().facts is not None


def test_an_operation_in_maintenance_is_not_forgotten_by_its_deadline() -> None:
    given = Given()
    given.deploying()
    given.do(upkeep.CordonMachine(machine=M1, by=ANN, reason="fans", maintenance=True))
    given.now = given.operation().deadline
    given.fail(fault="deadline")
    assert (given.machine().state, given.machine().failed) == ("failed", "deploy")
    with pytest.raises(FailedPrecondition, match="in maintenance"):
        given.do(ops.RetryMachine(machine=M1, operation=OP))
