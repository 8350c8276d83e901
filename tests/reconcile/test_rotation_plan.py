"""What a rotation does next: one machine first, each BMC once, nothing while all refuse."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from mulligan.model import MachineId
from mulligan.queries.rotations import Left, Progress
from mulligan.reconcile.rotation_plan import AT_ONCE, plan

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def left(number: int, **more: object) -> Left:
    one = Left(
        machine=MachineId(f"m{number}"),
        bmc=f"https://m{number}",
        verb="",
        maintenance=False,
        tried="",
        fault="",
        times=0,
        tried_at=None,
        beside="",
    )
    return replace(one, **more)


def found(*those: Left, proven: int = 0, running: int = 0, last: tuple[str, ...] = ()) -> Progress:
    return Progress(
        machines=len(those) + proven, proven=proven, running=running, last=last, left=those
    )


def test_one_machine_goes_first_and_the_others_when_it_went_well() -> None:
    many = [left(n) for n in range(50)]
    assert plan(found(*many), "2", NOW).room == 1
    assert plan(found(*many, running=1), "2", NOW).start == ()
    assert plan(found(*many, proven=1), "2", NOW).room == AT_ONCE
    assert plan(found(*many, proven=1, running=30), "2", NOW).room == AT_ONCE - 30
    assert plan(found(*many, proven=1, running=40), "2", NOW).room == 0


@pytest.mark.parametrize("proven", [0, 3])
def test_it_is_finished_when_nothing_is_left(proven: int) -> None:
    assert plan(found(proven=proven), "2", NOW).finished


def test_it_is_not_finished_while_more_are_left_than_were_looked_at() -> None:
    seen = Progress(machines=600, proven=599, running=0, last=(), left=())
    assert not plan(seen, "2", NOW).finished


def test_busy_and_held_machines_are_not_started() -> None:
    those = (left(1, verb="deploy"), left(2, maintenance=True), left(3))
    assert plan(found(*those, proven=1), "2", NOW).start == ("m3",)


def test_each_bmc_is_changed_once() -> None:
    one = "https://shared"
    todo = plan(found(left(1, bmc=one), left(2, bmc=one), left(3), proven=1), "2", NOW)
    assert todo.start == ("m1", "m3")
    todo = plan(found(left(1, bmc=one, verb="rotate"), left(2, bmc=one), proven=1), "2", NOW)
    assert todo.start == ()
    todo = plan(found(left(2, bmc=one, beside="m1"), proven=1), "2", NOW)
    assert (todo.start, todo.prove) == ((), (("m2", "m1"),))


def test_a_machine_that_failed_is_due_later_and_less_and_less_often() -> None:
    failed = left(1, tried="2", fault="unreachable", times=2, tried_at=NOW - 9 * MINUTE)
    todo = plan(found(failed), "2", NOW)
    assert (todo.start, todo.again) == ((), NOW + MINUTE)
    assert plan(found(failed), "2", NOW + MINUTE).start == ("m1",)
    assert plan(found(failed), "3", NOW).start == ("m1",), "that was another password"


def test_a_machine_that_waits_for_somebody_is_never_due() -> None:
    refused = left(1, tried="2", fault="password-refused", times=1, tried_at=NOW)
    todo = plan(found(refused), "2", NOW + timedelta(days=9))
    assert (todo.start, todo.again) == ((), None)


@pytest.mark.parametrize(
    ("last", "held"),
    [
        (("bad-credentials",) * 3, True),
        (("password-refused", "bad-credentials", "password-refused"), True),
        (("bad-credentials",) * 2, False),
        (("bad-credentials", "", "bad-credentials"), False),
        (("bad-credentials", "unreachable", "bad-credentials"), False),
    ],
)
def test_three_refusals_in_a_row_hold_the_rest(last: tuple[str, ...], held: bool) -> None:
    todo = plan(found(left(1), left(2), proven=5, last=last), "2", NOW)
    assert bool(todo.held) == held
    assert (todo.start == ()) == held
