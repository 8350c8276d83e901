"""Use over time against a model that knows every instant by itself."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mulligan.handlers import usage

HORIZON = 24
START = datetime(2026, 1, 1, tzinfo=UTC)
Hold = tuple[int, int | None, int]
"""Hours from the start, the end open if None, and an amount."""


def at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


def end_of(hour: int | None) -> datetime | None:
    return None if hour is None else at(hour)


def window(amounts: st.SearchStrategy[int]) -> st.SearchStrategy[Hold]:
    hours = st.integers(0, HORIZON - 1)
    ends = st.one_of(st.none(), st.integers(1, HORIZON))
    return st.tuples(hours, ends, amounts).filter(lambda w: w[1] is None or w[0] < w[1])


HOLDS = st.lists(window(st.integers(1, 5)), max_size=12)


def instants(holds: list[Hold]) -> list[int]:
    """The use in every hour; the last stands for all time after."""
    levels = [0] * (HORIZON + 1)
    for start, end, amount in holds:
        for hour in range(start, HORIZON + 1 if end is None else end):
            levels[hour] += amount
    return levels


def use_of(holds: list[Hold]) -> usage.Use:
    use: usage.Use = ()
    for start, end, amount in holds:
        use = usage.add(use, at(start), end_of(end), amount)
    return use


def level(use: usage.Use, hour: int) -> int:
    return usage.peak(use, at(hour), at(hour + 1))


def is_canonical(use: usage.Use) -> bool:
    ordered = all(
        a.end is not None and (a.end < b.start or (a.end == b.start and a.used != b.used))
        for a, b in pairwise(use)
    )
    return ordered and all(s.used and (s.end is None or s.start < s.end) for s in use)


@given(HOLDS)
def test_use_at_every_instant_is_the_sum_of_what_is_held_then(holds: list[Hold]) -> None:
    use = use_of(holds)
    assert [level(use, hour) for hour in range(HORIZON + 1)] == instants(holds)
    assert is_canonical(use)


@given(HOLDS, st.randoms(use_true_random=False))
def test_equal_use_is_equal_data_in_whatever_order_it_came(
    holds: list[Hold], random: object
) -> None:
    shuffled = list(holds)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert use_of(shuffled) == use_of(holds)


@given(HOLDS, HOLDS)
def test_freeing_gives_back_exactly_what_was_taken(kept: list[Hold], freed: list[Hold]) -> None:
    use = use_of(kept + freed)
    for start, end, amount in freed:
        use = usage.add(use, at(start), end_of(end), -amount)
    assert use == use_of(kept)


@given(HOLDS, window(st.just(1)))
def test_the_peak_is_the_highest_instant_of_the_window(holds: list[Hold], asked: Hold) -> None:
    start, end, _ = asked
    levels = instants(holds)[start : HORIZON + 1 if end is None else end]
    assert usage.peak(use_of(holds), at(start), end_of(end)) == max(levels)


@given(HOLDS, st.integers(0, HORIZON))
def test_forgetting_the_past_changes_nothing_from_then_on(holds: list[Hold], hour: int) -> None:
    use = use_of(holds)
    left = usage.forget(use, at(hour))
    assert is_canonical(left)
    for later in range(hour, HORIZON + 1):
        assert level(left, later) == level(use, later)
    assert all(s.end is None or s.end > at(hour) for s in left)


def test_windows_that_touch_do_not_overlap() -> None:
    use = use_of([(1, 2, 3), (2, 3, 4)])
    assert usage.peak(use, at(1), at(2)) == 3
    assert usage.peak(use, at(2), at(3)) == 4
    assert usage.peak(use, at(0), at(1)) == usage.peak(use, at(3), None) == 0
    assert use_of([(1, 2, 3), (2, 3, 3)]) == use_of([(1, 3, 3)])
