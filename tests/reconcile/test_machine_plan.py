"""One machine, one time, one thing to do."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from mulligan.events.machine import Bmc, Power
from mulligan.handlers import plans
from mulligan.handlers.machine import Action, Cordon, Machine, Operation, Retry
from mulligan.handlers.operation import State
from mulligan.model import AccountId, ActionId, CommitId, CredentialId, MachineId
from mulligan.reconcile.machine_plan import (
    Complete,
    Enforce,
    Fail,
    Plan,
    Request,
    Rest,
    Uncordon,
    Wait,
    plan,
    waiting_for,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DEADLINE = NOON + timedelta(hours=1)
SECOND = timedelta(seconds=1)
STEPS = ("check", "power_off")
ACTION = Action(id=ActionId("a"), step="check", mode="observe", attempt=2, requested_at=NOON)
ATTEMPTED = msgspec.structs.replace(ACTION, owner="executor-1", attempted_at=NOON)


def operation(done: int = 0, action: Action | None = None, retry: Retry | None = None) -> Operation:
    return Operation(
        id=CommitId("op"),
        verb="clean",
        steps=STEPS,
        started_at=NOON,
        deadline=DEADLINE,
        then="available",
        done=done,
        action=action,
        retry=retry,
    )


def machine(running: Operation | None, *, deleted: bool = False) -> Machine:
    return Machine(
        id=MachineId("m"),
        name="m",
        bmc=Bmc(address="https://m", credential=CredentialId("c")),
        state="cleaning",
        operation=running,
        deleted=deleted,
    )


def retry(attempt: int = 1, *, fatal: bool = False) -> Retry:
    return Retry(attempt=attempt, fatal=fatal, at=NOON, fault="busy", message="503")


def pause(attempt: int) -> timedelta:
    return plans.backoff("op", "check", attempt)


FRESH = operation()
DONE = operation(done=2)


@pytest.mark.parametrize(
    ("running", "now", "expected"),
    [
        (None, NOON, Rest()),
        (FRESH, NOON, Request(FRESH, 1)),
        (operation(done=1), NOON, Request(operation(done=1), 1)),
        (DONE, NOON, Complete(DONE)),
        (DONE, DEADLINE + SECOND, Complete(DONE)),
        (
            operation(action=ACTION),
            NOON,
            Wait("an executor to take check (attempt 2)", DEADLINE),
        ),
        (
            operation(action=ATTEMPTED),
            DEADLINE - SECOND,
            Wait("executor-1 to finish check (attempt 2)", DEADLINE),
        ),
        (
            operation(action=ATTEMPTED),
            DEADLINE,
            Fail(
                operation(action=ATTEMPTED),
                "deadline",
                "out of time: executor-1 to finish check (attempt 2)",
            ),
        ),
        (
            FRESH,
            DEADLINE,
            Fail(FRESH, "deadline", "out of time: the reconciler to ask for check"),
        ),
        (operation(retry=retry()), NOON + pause(1), Request(operation(retry=retry()), 2)),
        (
            operation(retry=retry(4)),
            NOON + pause(4),
            Request(operation(retry=retry(4)), 5),
        ),
        (
            operation(retry=retry(plans.ATTEMPTS)),
            NOON,
            Fail(operation(retry=retry(plans.ATTEMPTS)), "busy", "tried 5 times, last: 503"),
        ),
        (
            operation(retry=retry(fatal=True)),
            NOON,
            Fail(operation(retry=retry(fatal=True)), "busy", "503"),
        ),
    ],
)
def test_what_to_do(running: Operation | None, now: datetime, expected: Plan) -> None:
    assert plan(machine(running), now) == expected


@pytest.mark.parametrize("attempt", [1, 2, 3, 4])
def test_a_step_is_not_tried_again_before_its_pause_is_over(attempt: int) -> None:
    running = operation(retry=retry(attempt))
    due = NOON + pause(attempt)
    waiting = plan(machine(running), due - timedelta(microseconds=1))
    assert isinstance(waiting, Wait) and waiting.until == due
    assert f"after attempt {attempt} of 5 failed: 503" in waiting.reason


def test_a_pause_never_reaches_beyond_the_deadline() -> None:
    late = msgspec.structs.replace(retry(4), at=DEADLINE - SECOND)
    waiting = plan(machine(operation(retry=late)), DEADLINE - SECOND)
    assert isinstance(waiting, Wait) and waiting.until == DEADLINE


def test_a_deleted_machine_rests() -> None:
    assert plan(machine(FRESH, deleted=True), NOON) == Rest()


def test_pauses_double_up_to_a_minute_and_are_jittered_by_half() -> None:
    for attempt in range(1, 12):
        longest = timedelta(seconds=min(2 ** (attempt - 1), 60))
        pauses = {plans.backoff(f"op-{n}", "check", attempt) for n in range(50)}
        assert longest / 2 <= min(pauses) and max(pauses) <= longest
        assert len(pauses) > 40, "operations do not all come back at once"
        assert plans.backoff("op", "check", attempt) == plans.backoff("op", "check", attempt)


def cordon(until: datetime | None = None, *, maintenance: bool = False) -> Cordon:
    return Cordon(
        by=AccountId("ann"), reason="new fans", since=NOON, until=until, maintenance=maintenance
    )


def with_steps(*steps: str, action: Action | None = None, failed: Retry | None = None) -> Operation:
    return msgspec.structs.replace(operation(action=action, retry=failed), steps=steps)


def of(running: Operation | None = None, cordoned: Cordon | None = None) -> Machine:
    return msgspec.structs.replace(machine(running), cordon=cordoned)


def test_a_cordon_is_lifted_when_its_time_is_over_before_anything_else() -> None:
    cordoned = of(FRESH, cordon(NOON + SECOND))
    assert plan(cordoned, NOON) == Request(FRESH, 1)
    assert plan(cordoned, NOON + SECOND) == Uncordon()
    assert plan(of(None, cordon(NOON)), NOON) == Uncordon()
    assert plan(of(None, cordon()), NOON + 1000 * SECOND) == Rest()


def test_whoever_waits_wakes_for_the_end_of_the_cordon_too() -> None:
    assert plan(of(None, cordon(NOON + SECOND)), NOON) == Wait(
        "the end of its cordon", NOON + SECOND
    )
    busy = of(operation(action=ATTEMPTED), cordon(NOON + SECOND))
    assert plan(busy, NOON) == Wait("executor-1 to finish check (attempt 2)", NOON + SECOND)
    late = of(operation(action=ATTEMPTED), cordon(DEADLINE + SECOND))
    assert plan(late, NOON) == Wait("executor-1 to finish check (attempt 2)", DEADLINE)


def test_in_maintenance_no_step_is_asked_for_and_the_deadline_stays() -> None:
    for running in (FRESH, operation(retry=retry())):
        waiting = plan(of(running, cordon(maintenance=True)), NOON)
        assert waiting == Wait("the end of its maintenance, by ann: new fans", DEADLINE)
        failed = plan(of(running, cordon(maintenance=True)), DEADLINE)
        assert isinstance(failed, Fail) and "the end of its maintenance" in failed.message
    attempted = of(operation(action=ATTEMPTED), cordon(maintenance=True))
    assert plan(attempted, NOON) == Wait("executor-1 to finish check (attempt 2)", DEADLINE)
    assert plan(of(DONE, cordon(maintenance=True)), NOON) == Complete(DONE)


def test_in_maintenance_what_will_not_heal_fails_at_once_all_the_same() -> None:
    running = operation(retry=retry(fatal=True))
    assert plan(of(running, cordon(maintenance=True)), NOON) == Fail(running, "busy", "503")


BRAKE = "4 of 20 machines failed or lost power within 10 min"


def test_under_a_brake_only_looking_is_asked_for() -> None:
    assert plan(of(FRESH), NOON, BRAKE) == Request(FRESH, 1)
    writes = operation(done=1)
    assert plan(of(writes), NOON, BRAKE) == Wait(
        f"the brake of its failure domain to be released: {BRAKE}", DEADLINE
    )
    assert plan(of(writes), NOON) == Request(writes, 1)


@pytest.mark.parametrize(
    ("step", "says"), [("phone_home", "phone home"), ("wipe_report", "the wipe image to report")]
)
def test_what_the_machine_reports_is_waited_for_until_the_deadline(step: str, says: str) -> None:
    running = with_steps(step, "clear_boot")
    waiting = plan(of(running), NOON, BRAKE)
    assert isinstance(waiting, Wait) and waiting.until == DEADLINE
    assert says in waiting.reason and "until 13:00:00 UTC" in waiting.reason
    failed = plan(of(running), DEADLINE)
    assert isinstance(failed, Fail) and failed.fault == "deadline" and says in failed.message


@pytest.mark.parametrize("step", ["power_on", "stage_image", "boot_once"])
def test_each_step_has_a_budget_of_its_own(step: str) -> None:
    budget = plans.attempts(step)
    last = with_steps(step, failed=retry(budget - 1))
    assert plan(of(last), NOON + timedelta(minutes=5)) == Request(last, budget)
    spent = with_steps(step, failed=retry(budget))
    assert plan(of(spent), NOON) == Fail(spent, "busy", f"tried {budget} times, last: 503")


def resting(
    power: Power = "off",
    state: State = "active",
    enforced_at: datetime | None = None,
    cordoned: Cordon | None = None,
) -> Machine:
    return Machine(
        id=MachineId("m"),
        name="m",
        bmc=Bmc(address="https://m", credential=CredentialId("c")),
        state=state,
        power=power,
        desired="on",
        enforced_at=enforced_at,
        cordon=cordoned,
    )


TEN = timedelta(minutes=10)


def test_a_machine_that_strays_from_its_desired_power_is_seen_to() -> None:
    assert plan(resting(), NOON) == Enforce()
    assert plan(msgspec.structs.replace(resting(), desired=""), NOON) == Rest()


@pytest.mark.parametrize("power", ["on", "unknown", "powering_on", "powering_off"])
def test_power_that_is_not_known_to_be_wrong_is_left_alone(power: Power) -> None:
    assert plan(resting(power), NOON) == Rest()


@pytest.mark.parametrize("state", ["enrolled", "failed", "retired"])
def test_power_is_kept_where_it_may_be_switched_alone(state: State) -> None:
    strayed = msgspec.structs.replace(resting(state=state), failed="clean")
    assert plan(strayed, NOON) == Rest()


def test_power_is_seen_to_again_after_ten_minutes() -> None:
    strayed = resting(enforced_at=NOON)
    waiting = plan(strayed, NOON + TEN - SECOND)
    assert isinstance(waiting, Wait) and waiting.until == NOON + TEN
    assert "it is off and is to be kept on" in waiting.reason
    assert plan(strayed, NOON + TEN) == Enforce()


def test_in_maintenance_power_is_left_alone_and_says_so() -> None:
    strayed = resting(cordoned=cordon(maintenance=True))
    assert plan(strayed, NOON) == Rest()
    assert waiting_for(strayed).startswith("the end of its maintenance: it is off")


def test_a_task_that_is_followed_is_named() -> None:
    action = msgspec.structs.replace(ATTEMPTED, monitor="/tasks/7")
    running = of(operation(action=action))
    assert waiting_for(running) == "executor-1 to finish check (attempt 2, following /tasks/7)"


def test_who_rests_waits_for_nothing() -> None:
    assert waiting_for(resting("on")) == ""
    assert waiting_for(of()) == ""
