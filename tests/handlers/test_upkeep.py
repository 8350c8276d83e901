"""What concerns one axis of a machine: its cordon, retirement, power, BMC and profile."""

from datetime import datetime, timedelta

import pytest

from mulligan.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from mulligan.events import machine as ev
from mulligan.events.machine import Bmc
from mulligan.handlers import observations, plans, profile, provider_commands, upkeep
from mulligan.handlers import operations as ops
from mulligan.handlers.actions import ObserveStep
from mulligan.handlers.claim_ends import EndClaim, ReleaseClaim
from mulligan.handlers.decision import Command
from mulligan.handlers.deployment import DeployMachine
from mulligan.handlers.enrolment import DeleteMachine, EnrolMachine, bmc_stream
from mulligan.handlers.plans import DEADLINES
from mulligan.handlers.provider import DoesNotFit
from mulligan.model import AccountId, ClaimId, CommitId, CredentialId, MachineId, ProviderId

from .given import C1, HOUR, M1, MACHINE, MINUTE, NOON, OS, Given, claim_of, types

OP = CommitId("op")
ANN = AccountId("ann")


def cordon(
    reason: str = "a fan is loud", until: datetime | None = None, maintenance: bool = False
) -> upkeep.CordonMachine:
    return upkeep.CordonMachine(
        machine=M1, by=ANN, reason=reason, until=until, maintenance=maintenance
    )


UNCORDON = upkeep.UncordonMachine(machine=M1, by=ANN)
TIME_IS_OVER = upkeep.UncordonMachine(machine=M1)


def test_a_cordon_keeps_new_claims_away_and_touches_none_that_is_there() -> None:
    given = Given()
    given.active()
    given.now += MINUTE
    given.do(cordon())
    cordoned = given.machine().cordon
    assert cordoned is not None
    assert (cordoned.by, cordoned.reason, cordoned.since) == (ANN, "a fan is loud", given.now)
    assert (given.machine().state, given.claim(C1).state) == ("active", "active")
    given.do(ReleaseClaim(claim=C1))
    given.finish()
    assert given.machine().state == "available"
    with pytest.raises(DoesNotFit, match="operator"):
        given.claimed(M1, claim="c2")
    assert types(given.do(UNCORDON)) == ["machine.uncordoned", "provider.uncordoned"]
    given.claimed(M1, claim="c2")


def test_a_cordon_ends_by_itself_when_its_time_is_over_and_not_before() -> None:
    given = Given()
    given.available()
    given.do(cordon(until=NOON + HOUR))
    assert given.do(TIME_IS_OVER) == []
    given.now += HOUR
    assert types(given.do(TIME_IS_OVER)) == ["machine.uncordoned", "provider.uncordoned"]
    assert given.do(TIME_IS_OVER) == []
    given.claimed(M1)


def test_a_cordon_without_an_end_is_lifted_by_a_person_alone() -> None:
    given = Given()
    given.available()
    given.do(cordon())
    given.now += 1000 * HOUR
    assert given.do(TIME_IS_OVER) == []
    given.do(UNCORDON)
    assert given.machine().cordon is None


def test_a_cordon_is_changed_by_another() -> None:
    given = Given()
    given.available()
    given.do(cordon(until=NOON + HOUR))
    assert types(given.do(cordon(maintenance=True))) == ["machine.cordoned"]
    cordoned = given.machine().cordon
    assert cordoned is not None and cordoned.maintenance and cordoned.until is None


def test_lifting_a_cordon_lifts_no_other_cause() -> None:
    given = Given()
    given.enrolled()
    given.do(cordon())
    given.do(UNCORDON)
    assert given.provider(M1).cordons == {"not-provided": ""}
    assert given.do(UNCORDON) == []


def test_an_operator_lifts_what_was_cordoned_as_a_provider_too() -> None:
    given = Given()
    given.available()
    given.do(provider_commands.CordonProvider(provider=ProviderId(M1), note="dusty"))
    assert given.do(TIME_IS_OVER) == []
    assert types(given.do(UNCORDON)) == ["provider.uncordoned"]


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (cordon(reason=" "), "reason"),
        (cordon(reason="x" * 501), "reason"),
        (cordon(until=NOON), "until"),
    ],
)
def test_a_senseless_cordon_is_refused_with_its_field(command: Command, field: str) -> None:
    given = Given()
    given.available()
    with pytest.raises(InvalidArgument) as refused:
        given.do(command)
    assert refused.value.violations[0].field == field


def test_in_maintenance_an_operation_stops_between_two_steps_and_then_goes_on() -> None:
    given = Given()
    given.deploying()
    given.request()
    given.do(cordon(maintenance=True))
    action = given.attempt()
    seen = ev.StepObserved(action=action, outcome="done", at=given.now)
    operation = given.operation().id
    given.do(observe(operation, seen))
    assert given.operation().done == 1, "what was under way is seen through"
    assert given.request() == []
    given.do(UNCORDON)
    assert types(given.request()) == ["machine.action_requested"]


def observe(operation: CommitId, seen: ev.StepObserved) -> ObserveStep:
    return ObserveStep(machine=M1, operation=operation, observed=seen)


def test_a_claims_end_in_maintenance_cleans_the_machine_after_it() -> None:
    given = Given()
    given.available()
    given.claimed(M1, end=NOON + HOUR)
    given.hold(M1)
    given.do(deploy())
    given.finish()
    given.do(cordon(maintenance=True))
    given.now += HOUR
    given.do(EndClaim(claim=C1))
    assert given.machine().state == "cleaning"
    assert given.request() == []
    given.do(UNCORDON)
    given.finish()
    assert given.machine().state == "available"


def deploy() -> DeployMachine:
    return DeployMachine(claim=C1, image=OS, operation=OP, machine=M1)


RETIRE = upkeep.RetireMachine(machine=M1, reason="ten years old")


def test_a_retired_machine_takes_no_claims_until_it_is_reinstated_and_cleaned() -> None:
    given = Given()
    given.available()
    assert types(given.do(RETIRE)) == ["machine.retired", "provider.cordoned"]
    with pytest.raises(DoesNotFit):
        given.claimed(M1)
    given.do(upkeep.ReinstateMachine(machine=M1))
    assert given.machine().state == "manageable"
    with pytest.raises(DoesNotFit):
        given.claimed(M1)
    given.do(ops.ProvideMachine(machine=M1, operation=OP))
    given.finish()
    given.claimed(M1)


def test_a_machine_that_is_claimed_now_or_later_is_not_retired() -> None:
    given = Given()
    given.available()
    given.claimed(M1, start=NOON + HOUR)
    with pytest.raises(FailedPrecondition, match="claimed, now or later"):
        given.do(RETIRE)
    given.do(ReleaseClaim(claim=C1))
    given.do(RETIRE)


def test_a_machine_that_could_not_be_cleaned_is_retired_and_deleted_by_force_alone() -> None:
    given = Given()
    given.active()
    given.do(ReleaseClaim(claim=C1))
    given.fail()
    given.do(RETIRE)
    assert given.machine().fault is None
    with pytest.raises(FailedPrecondition, match="never cleaned"):
        given.do(DeleteMachine(machine=M1))
    given.do(DeleteMachine(machine=M1, force=True, reason="shredded"))


def test_a_retired_machine_is_no_longer_kept_in_a_power() -> None:
    given = Given()
    given.available()
    given.do(upkeep.KeepPower(machine=M1, power="on"))
    given.do(RETIRE)
    assert given.machine().desired == ""


KEEP_ON = upkeep.KeepPower(machine=M1, power="on")
ENFORCE = upkeep.EnforcePower(machine=M1, operation=OP)


def see(given: Given, power: ev.Power) -> None:
    given.do(observations.ObservePower(machine=M1, power=power))


def kept_on() -> Given:
    """An active machine that is to be kept on, and is."""
    given = Given()
    given.active()
    given.do(KEEP_ON)
    return given


def test_nothing_is_switched_that_nobody_asked_to_be_kept() -> None:
    given = Given()
    given.active()
    see(given, "off")
    assert given.do(ENFORCE) == []


def test_a_machine_that_strays_is_brought_back_once() -> None:
    given = kept_on()
    assert given.do(ENFORCE) == [], "it is on"
    see(given, "off")
    (event,) = given.do(ENFORCE)
    assert isinstance(event, ev.OperationStarted)
    assert (event.verb, event.target, event.cause, event.then) == (
        "power", "on", "desired-power", "active",
    )  # fmt: skip
    assert given.do(ENFORCE) == [], "it is under way"
    assert given.finish() == ["power_on"]
    assert given.do(ENFORCE) == []


@pytest.mark.parametrize("power", ["unknown", "powering_on", "powering_off"])
def test_power_that_is_not_known_to_be_off_is_left_alone(power: ev.Power) -> None:
    given = kept_on()
    see(given, power)
    assert given.do(ENFORCE) == []


def test_a_machine_that_strays_again_is_seen_to_every_ten_minutes_at_most() -> None:
    given = kept_on()
    see(given, "off")
    given.do(ENFORCE)
    given.finish()
    see(given, "off")
    given.now += 10 * MINUTE - timedelta(seconds=1)
    assert given.do(ENFORCE) == []
    given.now += timedelta(seconds=1)
    assert len(given.do(ENFORCE)) == 1
    given.fail(fault="bmc-away")
    assert given.machine().state == "active"
    given.now += 9 * MINUTE
    assert given.do(ENFORCE) == []


def test_another_wish_is_seen_to_at_once() -> None:
    given = kept_on()
    see(given, "off")
    given.do(ENFORCE)
    given.finish()
    given.do(upkeep.KeepPower(machine=M1, power="off"))
    assert types(given.do(ENFORCE)) == ["machine.operation_started"]
    assert given.finish() == ["power_off"]


def test_in_maintenance_or_after_a_failure_power_is_not_enforced() -> None:
    given = kept_on()
    given.do(cordon(maintenance=True))
    see(given, "off")
    assert given.do(ENFORCE) == []
    given.do(UNCORDON)
    given.do(deploy())
    given.fail()
    see(given, "off")
    assert given.do(ENFORCE) == []


def test_a_wish_that_is_so_already_is_no_event() -> None:
    given = kept_on()
    assert given.do(KEEP_ON) == []
    assert types(given.do(upkeep.KeepPower(machine=M1, power=""))) == ["machine.desired_power_set"]
    see(given, "off")
    assert given.do(ENFORCE) == []


@pytest.mark.parametrize(
    ("target", "desired"),
    [("off", "off"), ("shutdown", "off"), ("on", "on"), ("restart", "on"), ("nmi", "on")],
)
def test_who_switches_a_kept_machine_wants_it_kept_so(
    target: plans.PowerTarget, desired: str
) -> None:
    given = kept_on()
    given.do(ops.PowerMachine(machine=M1, target=target, operation=OP))
    given.finish()
    assert given.machine().desired == desired
    assert given.do(upkeep.EnforcePower(machine=M1, operation=CommitId("o2"))) == []


def test_an_interrupt_switches_nothing_and_changes_no_wish() -> None:
    given = Given()
    given.active()
    given.do(upkeep.KeepPower(machine=M1, power="off"))
    given.do(ops.PowerMachine(machine=M1, target="nmi", operation=OP))
    assert given.machine().desired == "off"
    given = Given()
    given.active()
    given.do(ops.PowerMachine(machine=M1, target="off", operation=OP))
    assert given.machine().desired == "", "keeping is opt-in"


@pytest.mark.parametrize(
    ("seen", "lost"),
    [
        (("on", "off"), True),
        (("on", "off", "unknown"), True),
        (("on", "off", "unknown", "off"), True),
        (("on", "off", "on"), False),
        (("on", "unknown"), False),
        (("on", "powering_off", "off"), False),
        (("off",), False),
    ],
)
def test_power_is_lost_where_it_went_from_on_to_off_unasked(
    seen: tuple[ev.Power, ...], lost: bool
) -> None:
    given = Given()
    given.available()
    for power in seen:
        given.now += MINUTE
        see(given, power)
    assert (given.machine().power_lost is not None) == lost


def test_a_machine_that_was_switched_off_by_an_operation_lost_no_power() -> None:
    given = kept_on()
    see(given, "off")
    assert given.machine().power_lost == given.now
    given.do(ENFORCE)
    given.finish()
    given.do(ops.PowerMachine(machine=M1, target="off", operation=OP))
    given.finish()
    assert (given.machine().power, given.machine().power_lost) == ("off", None)


def bmc(
    address: str = "https://m1", credential: str = "root", fingerprint: str = "", pin: bool = False
) -> Bmc:
    return Bmc(
        address=address, credential=CredentialId(credential), fingerprint=fingerprint, pin=pin
    )


def set_bmc(where: Bmc) -> upkeep.SetBmc:
    return upkeep.SetBmc(machine=M1, bmc=where)


def test_a_bmc_at_another_address_takes_its_name_along() -> None:
    given = Given()
    given.active()
    assert types(given.do(set_bmc(bmc("https://new")))) == [
        "machine.bmc_set", "name.released", "name.assigned",
    ]  # fmt: skip
    assert given.machine().bmc.address == "https://new"
    assert given.states[bmc_stream(bmc())].object == ""
    other = EnrolMachine(machine=MachineId("m2"), name="m2", bmc=bmc())
    given.do(other)
    with pytest.raises(AlreadyExists, match="m2"):
        given.do(set_bmc(bmc()))


def test_a_bmc_trusted_in_another_way_keeps_its_name() -> None:
    given = Given()
    given.active()
    assert given.do(set_bmc(bmc())) == []
    assert types(given.do(set_bmc(bmc(fingerprint="a" * 64)))) == ["machine.bmc_set"]
    assert types(given.do(set_bmc(bmc("HTTPS://M1")))) == ["machine.bmc_set"]


def test_a_bmc_is_changed_between_operations_and_by_a_login_that_is_known() -> None:
    given = Given()
    given.deploying()
    with pytest.raises(FailedPrecondition, match="busy"):
        given.do(set_bmc(bmc("https://new")))
    given.finish()
    with pytest.raises(NotFound, match="credential"):
        given.do(set_bmc(bmc(credential="none")))
    with pytest.raises(InvalidArgument, match="https://host"):
        given.do(set_bmc(bmc("new")))
    given.do(cordon(maintenance=True))
    given.do(set_bmc(bmc("https://new")))


def test_a_certificate_is_pinned_at_first_contact_and_then_kept() -> None:
    given = Given()
    given.enrolled()
    given.do(set_bmc(bmc(pin=True)))
    given.do(ops.InspectMachine(machine=M1, operation=OP))
    (event,) = given.request()
    assert isinstance(event, ev.ActionRequested) and event.params == {"pin": "yes"}
    action = given.attempt()
    seen = ev.StepObserved(action=action, outcome="done", at=given.now, fingerprint="a" * 64)
    given.do(observe(OP, seen))
    assert given.machine().bmc.fingerprint == "a" * 64
    given.finish()
    given.do(ops.InspectMachine(machine=M1, operation=CommitId("again")))
    (event,) = given.request()
    assert isinstance(event, ev.ActionRequested) and event.params == {}
    seen = ev.StepObserved(
        action=given.attempt(), outcome="done", at=given.now, fingerprint="b" * 64
    )
    given.do(observe(CommitId("again"), seen))
    assert given.machine().bmc.fingerprint == "a" * 64, "another certificate is not taken"


def test_a_profile_is_assigned_if_there_is_one_and_counts_from_the_next_operation() -> None:
    given = Given()
    given.available()
    with pytest.raises(NotFound, match="profile"):
        given.do(upkeep.AssignProfile(machine=M1, profile="slow"))
    given.do(profile.SetProfile(name="slow", manufacturer="nobody", deadlines={"clean": 7200}))
    given.do(upkeep.AssignProfile(machine=M1, profile="slow"))
    assert given.do(upkeep.AssignProfile(machine=M1, profile="slow")) == []
    given.do(ops.ManageMachine(machine=M1))
    given.do(ops.ProvideMachine(machine=M1, operation=OP))
    assert given.operation().deadline == given.now + 2 * HOUR
    given.do(upkeep.AssignProfile(machine=M1, profile=""))
    assert given.operation().deadline == given.now + 2 * HOUR
    given.finish()
    given.do(ops.ManageMachine(machine=M1))
    given.do(ops.ProvideMachine(machine=M1, operation=CommitId("again")))
    assert given.operation().deadline == given.now + DEADLINES["clean"]


def test_logins_are_counted_as_they_are_allowed_again() -> None:
    given = Given()
    given.enrolled()
    given.do(upkeep.AllowLogins(machine=M1))
    given.do(upkeep.AllowLogins(machine=M1))
    assert given.machine().logins == 2


@pytest.mark.parametrize(
    "command",
    [
        cordon(), UNCORDON, TIME_IS_OVER, RETIRE, KEEP_ON, ENFORCE,
        upkeep.ReinstateMachine(machine=M1), upkeep.AllowLogins(machine=M1), set_bmc(bmc()),
        upkeep.AssignProfile(machine=M1, profile=""),
        observations.ObservePower(machine=M1, power="on"),
        observations.ObserveHealth(machine=M1, health="ok"),
        observations.SeeHardwareEvent(
            machine=M1, kind="fan", condition=ev.Condition(component="fan 1", severity="warning")
        ),
    ],
    ids=lambda command: command.NAME,
)  # fmt: skip
def test_nothing_happens_to_a_machine_that_is_gone(command: Command) -> None:
    given = Given()
    with pytest.raises(NotFound):
        given.do(command)
    given.enrolled()
    given.do(DeleteMachine(machine=M1))
    with pytest.raises(NotFound):
        given.do(command)


def test_health_is_recorded_when_it_changes_with_the_worst_conditions_only() -> None:
    given = Given()
    given.available()
    faults = tuple(ev.Condition(component=f"fan {n}", severity="warning") for n in range(40))
    seen = observations.ObserveHealth(machine=M1, health="warning", conditions=faults)
    assert types(given.do(seen)) == ["machine.health_observed"]
    assert given.do(seen) == []
    machine = given.machine()
    assert (machine.health, machine.conditions) == ("warning", faults[:16])
    given.do(observations.ObserveHealth(machine=M1, health="ok"))
    assert (given.machine().health, given.machine().conditions) == ("ok", ())


def test_a_claim_of_a_kept_machine_that_ended_leaves_it_kept_off_until_it_is_released() -> None:
    given = Given()
    given.available()
    given.do(claim_of({M1: {MACHINE: 1}}, end=NOON + HOUR, on_end="keep_power_off"))
    given.do(deploy())
    given.finish()
    given.now += HOUR
    given.do(EndClaim(claim=ClaimId(C1)))
    given.fail(fault="bmc-away")
    assert (given.machine().desired, given.machine().power) == ("off", "on")
    assert types(given.do(ENFORCE)) == ["machine.operation_started"]
    given.finish()
    assert given.machine().power == "off"
