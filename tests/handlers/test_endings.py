"""What comes ahead of a claim's end, at it, and after."""

from datetime import timedelta

import pytest

from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound
from mulligan.events.claim import ClaimEnding
from mulligan.handlers import deployment, plans
from mulligan.handlers import operations as ops
from mulligan.handlers.claim import MAX_NOTICE
from mulligan.handlers.claim_changes import RescheduleClaim
from mulligan.handlers.claim_ends import EndClaim, ReleaseClaim, StartClaim, WarnClaim
from mulligan.handlers.enrolment import DeleteMachine
from mulligan.handlers.provider import DoesNotFit
from mulligan.model import CommitId, MachineId, ProjectId

from .given import C1, HOUR, M1, MACHINE, MEMORY, MINUTE, NOON, OS, WEB, Given, claim_of, types
from .given import field as field_of

WARN = WarnClaim(claim=C1)
END = EndClaim(claim=C1)
OFF = CommitId("off")


def given_claim(start: float = 0, end: float | None = 4, notice: timedelta = HOUR) -> Given:
    given = Given()
    given.offers("p", {"memory": 10})
    command = claim_of(
        {"p": {MEMORY: 1}},
        start=NOON + start * HOUR,
        end=None if end is None else NOON + end * HOUR,
        ending_notice=int(notice.total_seconds()),
    )
    given.do(command)
    return given


def test_an_end_is_announced_once_ahead_of_it_with_the_planned_and_the_actual_time() -> None:
    given = given_claim()
    given.now += 3 * HOUR - timedelta(seconds=1)
    assert given.do(WARN) == []
    given.now = NOON + 3.5 * HOUR
    assert given.do(WARN) == [
        ClaimEnding(planned=NOON + 3 * HOUR, actual=given.now, end=NOON + 4 * HOUR)
    ]
    assert given.do(WARN) == []
    assert given.claim(C1).notice_at is None


def test_another_end_is_announced_anew() -> None:
    given = given_claim()
    given.now += 3 * HOUR
    given.do(WARN)
    given.do(RescheduleClaim(claim=C1, end=NOON + 8 * HOUR))
    assert given.do(WARN) == []
    given.now = NOON + 7 * HOUR
    assert len(given.do(WARN)) == 1
    given.do(RescheduleClaim(claim=C1, end=NOON + 7.5 * HOUR))
    assert len(given.do(WARN)) == 1, "a shortened claim ends at another time than was said"
    assert given.do(WARN) == []


def test_a_short_claim_is_told_of_its_end_as_it_starts() -> None:
    given = given_claim(1, 1.5)
    assert given.claim(C1).notice_at == NOON + HOUR
    given.now += HOUR
    assert given.do(WARN) == [], "it has not started yet"
    given.do(StartClaim(claim=C1))
    assert len(given.do(WARN)) == 1


def test_without_a_notice_or_an_end_nothing_is_announced() -> None:
    for given in (given_claim(notice=timedelta(0)), given_claim(end=None)):
        given.now += 4 * HOUR - MINUTE
        assert given.claim(C1).notice_at is None
        assert given.do(WARN) == []


def test_an_end_that_has_passed_is_not_announced() -> None:
    given = given_claim()
    given.now += 4 * HOUR
    assert given.do(WARN) == []
    given.do(END)
    assert given.do(WARN) == []


def test_what_was_given_back_is_not_announced() -> None:
    given = given_claim()
    given.now += 3.5 * HOUR
    given.do(ReleaseClaim(claim=C1))
    assert given.do(WARN) == []
    with pytest.raises(NotFound):
        Given().do(WARN)


@pytest.mark.parametrize(
    ("field", "on_end", "notice"),
    [
        ("on_end", "burn", 0),
        ("on_end", "", 0),
        ("ending_notice", "release", -1),
        ("ending_notice", "release", MAX_NOTICE + 1),
    ],
)
def test_a_senseless_ending_is_refused_with_its_field(field: str, on_end: str, notice: int) -> None:
    given = Given()
    given.offers("p", {"memory": 10})
    with pytest.raises(InvalidArgument) as refused:
        given.do(claim_of({"p": {MEMORY: 1}}, on_end=on_end, ending_notice=notice))
    assert field_of(refused) == field


def deployed(given: Given, *keys: str, on_end: str = "keep_power_off", name: str = "db") -> None:
    for key in keys:
        given.available(key)
    given.do(
        claim_of({k: {MACHINE: 1} for k in keys}, end=NOON + 4 * HOUR, on_end=on_end, name=name)
    )
    for key in keys:
        given.do(
            deployment.DeployMachine(
                claim=C1, image=OS, operation=CommitId(f"deploy-{key}"), machine=MachineId(key)
            )
        )


@pytest.fixture
def kept() -> Given:
    """A machine kept after its claim's end, switched off."""
    given = Given()
    given.project()
    given.limited("web", {MACHINE: 2})
    deployed(given, M1)
    given.finish()
    given.now += 4 * HOUR
    assert types(given.do(END)) == [
        "claim.ended",
        "machine.desired_power_set",
        "machine.operation_started",
        "provider.cordoned",
        "name.released",
    ]
    assert given.finish() == ["power_off"]
    return given


def test_a_kept_machine_is_off_stays_its_holders_and_takes_no_claims(kept: Given) -> None:
    machine = kept.machine()
    assert (machine.state, machine.power, machine.claim) == ("active", "off", C1)
    assert (machine.project, machine.image, machine.unwiped) == (WEB, OS, True)
    assert kept.provider(M1).cordons == {"kept": ""}
    with pytest.raises(DoesNotFit, match="kept"):
        kept.claimed(M1, claim="c2")
    assert kept.claim(C1).state == "ended"


def test_a_kept_machine_is_cleaned_and_offered_again_once_its_holder_releases_it(
    kept: Given,
) -> None:
    events = kept.do(deployment.ReleaseMachine(machine=M1, project=WEB))
    assert types(events) == [
        "machine.claim_detached",
        "machine.operation_started",
        "provider.cordoned",
        "provider.uncordoned",
    ]
    assert kept.provider(M1).cordons == {"cleaning": ""}
    kept.finish()
    assert kept.provider(M1).cordons == {}
    kept.claimed(M1, claim="c2")


def test_a_kept_machine_is_released_while_it_is_still_being_switched_off() -> None:
    given = Given()
    deployed(given, M1)
    given.finish()
    given.now += 4 * HOUR
    given.do(END)
    given.do(deployment.ReleaseMachine(machine=M1))
    assert given.machine().state == "cleaning"
    given.finish()
    assert given.provider(M1).cordons == {}


def test_a_kept_machine_is_forgotten_by_force_alone(kept: Given) -> None:
    with pytest.raises(FailedPrecondition, match="release"):
        kept.do(DeleteMachine(machine=M1))
    events = kept.do(DeleteMachine(machine=M1, force=True, reason="burnt"))
    assert "machine.abandoned" in types(events)
    assert kept.machine().deleted and kept.provider(M1).deleted


def test_its_holder_does_not_switch_a_kept_machine_on_again_nor_deploy_it(kept: Given) -> None:
    targets: tuple[plans.PowerTarget, ...] = ("on", "restart")
    for target in targets:
        with pytest.raises(FailedPrecondition, match="is over"):
            kept.do(ops.PowerMachine(machine=M1, target=target, operation=OFF, project=WEB))
    with pytest.raises(FailedPrecondition, match="is over"):
        kept.do(deployment.DeployMachine(claim=C1, image=OS, operation=OFF, project=WEB))
    kept.do(ops.PowerMachine(machine=M1, target="off", operation=OFF, project=WEB))
    kept.finish()
    kept.do(ops.PowerMachine(machine=M1, target="on", operation=OFF, project=ProjectId("")))


def test_a_deploy_under_way_at_the_end_is_given_up_and_the_machine_kept_as_it_is() -> None:
    given = Given()
    deployed(given, M1)
    given.step()
    given.now += 4 * HOUR
    assert types(given.do(END))[1:5] == [
        "machine.operation_failed",
        "machine.desired_power_set",
        "machine.operation_started",
        "provider.cordoned",
    ]
    assert given.finish() == ["power_off"]
    machine = given.machine()
    assert (machine.state, machine.failed, machine.claim) == ("failed", "deploy", C1)
    assert machine.fault is not None and machine.fault.fault == "released"
    given.do(deployment.ReleaseMachine(machine=M1))
    given.finish()
    assert given.machine().state == "available"


def test_a_kept_machine_that_cannot_be_switched_off_is_kept_all_the_same() -> None:
    given = Given()
    deployed(given, M1)
    given.finish()
    given.now += 4 * HOUR
    given.do(END)
    given.fail(fault="bmc-away")
    machine = given.machine()
    assert (machine.state, machine.fault and machine.fault.fault) == ("active", "bmc-away")
    assert given.provider(M1).cordons == {"kept": ""}


def test_a_machine_that_never_ran_is_not_kept() -> None:
    given = Given()
    given.available()
    given.do(claim_of({M1: {MACHINE: 1}}, end=NOON + HOUR, on_end="keep_power_off"))
    given.now += HOUR
    assert types(given.do(END)) == ["claim.ended"]
    given.claimed(M1, claim="c2")


@pytest.mark.parametrize("hour", [2, 5])
def test_who_releases_the_claim_wants_nothing_kept_though_its_end_has_come(hour: int) -> None:
    given = Given()
    deployed(given, M1)
    given.finish()
    given.now += hour * HOUR
    given.do(ReleaseClaim(claim=C1))
    assert (given.machine().state, given.machine().claim) == ("cleaning", "")


def test_a_machine_given_back_early_frees_its_capacity_and_quota_alone() -> None:
    given = Given()
    given.project()
    given.limited("web", {MACHINE: 2})
    deployed(given, "m1", "m2")
    given.finish("m1")
    given.now += HOUR
    assert given.used_by("web", MACHINE) == [(0, 4, 2)]
    assert types(given.do(deployment.ReleaseMachine(machine=MachineId("m1"))))[:3] == [
        "claim.allocation_released",
        "quota.freed",
        "provider.capacity_freed",
    ]
    assert given.used_by("web", MACHINE) == [(1, 4, 1)]
    assert (given.used("m1", MACHINE), given.used("m2", MACHINE)) == ([], [(0, 4, 1)])
    given.finish("m1")
    given.do(claim_of({"m1": {MACHINE: 1}}, claim="c2"))
    given.finish("m2")
    given.do(deployment.ReleaseMachine(machine=MachineId("m2")))
    assert given.claim(C1).state == "released"
    assert given.used_by("web", MACHINE) == [(1, None, 1)]


def test_a_machine_given_back_early_by_its_deletion_frees_its_quota() -> None:
    given = Given()
    given.project()
    given.limited("web", {MACHINE: 2})
    deployed(given, "m1", "m2")
    given.now += HOUR
    given.do(DeleteMachine(machine=MachineId("m1"), force=True, reason="burnt"))
    assert given.used_by("web", MACHINE) == [(1, 4, 1)]
    assert given.claim(C1).state == "active"
