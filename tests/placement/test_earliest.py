"""The earliest window in which a request fits."""

from datetime import datetime, timedelta

from mulligan.placement.earliest import When, earliest
from tests.placement.fleets import HOUR, NOON, Busy, Fleet, group, request, split


def first(
    fleet: Fleet,
    memory: int = 10,
    *,
    duration: timedelta | None = HOUR,
    not_after: datetime | None = None,
    tries: int = 300,
    count: int = 1,
) -> When | None:
    return earliest(
        request(group(memory=memory, count=count)),
        fleet.space(),
        duration=duration,
        not_before=NOON,
        not_after=not_after,
        tries=tries,
    )


def host(*busy: Busy, turnaround: int = 0) -> Fleet:
    return Fleet().add("a", 10, busy=busy, turnaround=turnaround)


def hours(when: When | None) -> float | None:
    return None if when is None else (when.start - NOON) / HOUR


def test_now_when_there_is_room() -> None:
    when = first(host())
    assert when is not None
    assert (when.start, when.end, when.exact) == (NOON, NOON + HOUR, True)
    assert when.candidate.groups == {"vm": ("a",)}


def test_when_use_ends() -> None:
    assert hours(first(host((0, 3, 1)))) == 3


def test_a_gap_too_short_is_passed_over() -> None:
    busy: tuple[Busy, ...] = ((0, 1, 5), (1.5, 4, 5))
    assert hours(first(host(*busy))) == 4
    assert hours(first(host(*busy), duration=HOUR / 2)) == 1


def test_a_gap_must_hold_the_turnaround_too() -> None:
    busy: tuple[Busy, ...] = ((0, 1, 5), (2, 4, 5))
    assert hours(first(host(*busy))) == 1
    assert hours(first(host(*busy, turnaround=60))) == 4


def test_a_step_down_is_enough() -> None:
    assert hours(first(host((0, 2, 8), (2, 9, 4)), memory=6)) == 2


def test_an_open_end_waits_for_the_last_use() -> None:
    when = first(host((0, 1, 5), (8, 9, 5)), duration=None)
    assert hours(when) == 9
    assert when is not None and when.end is None
    assert first(host((0, None, 1)), duration=None) is None


def test_the_window_ends_by_not_after() -> None:
    fleet = host((0, 3, 1))
    assert hours(first(fleet, not_after=NOON + 4 * HOUR)) == 3
    assert first(fleet, not_after=NOON + 3.9 * HOUR) is None
    assert first(host(), not_after=NOON + HOUR / 2) is None


def test_several_instances_wait_until_enough_is_free_at_once() -> None:
    fleet = Fleet().add("a", 10, busy=[(0, 2, 10)]).add("b", 10, busy=[(0, 3, 10), (5, 6, 1)])
    assert hours(first(fleet, count=2)) == 3


def test_what_could_never_supply_is_not_waited_for() -> None:
    fleet = host((0, 1, 10)).add("closed", 10, cordoned="operator", busy=[(0, 0.5, 10)])
    assert hours(first(fleet, tries=2)) == 1


def test_a_split_group_waits_for_its_suppliers() -> None:
    fleet = Fleet().add("a", cpu=1).add("a1", 10, under="a", busy=[(0, 2, 10)])
    when = earliest(
        request(split(memory=1, cpu=1)),
        fleet.space(),
        duration=HOUR,
        not_before=NOON,
        not_after=None,
    )
    assert hours(when) == 2


def test_after_the_tries_ran_out_a_later_time_is_found_and_said_to_be_inexact() -> None:
    fleet = host((0, 100, 10))
    for number in range(60):
        fleet.add(f"small{number}", 10, busy=[(0, number + 1, 10)])
    when = first(fleet, count=50, tries=5)
    assert when is not None
    assert not when.exact
    exact = first(fleet, count=50)
    assert hours(exact) == 50
    assert when.start >= NOON + 50 * HOUR


def test_the_steps_of_all_searches_together_are_bounded() -> None:
    fleet = host(*((float(n), n + 1.0, 10 - n % 2) for n in range(40)))
    wanted = request(group(memory=10))
    space = fleet.space()

    def found(budget: int) -> When | None:
        return earliest(
            wanted, space, duration=HOUR, not_before=NOON, not_after=None, budget=budget
        )

    assert hours(found(1000)) == 40
    assert found(5) is None
