"""One machine, one time, one thing to do."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from mulligan.events.machine import Bmc
from mulligan.handlers import plans
from mulligan.handlers.machine import Action, Machine, Operation, Retry
from mulligan.model import ActionId, CommitId, CredentialId, MachineId
from mulligan.reconcile.machine_plan import Complete, Fail, Plan, Request, Rest, Wait, plan

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
