from collections.abc import Callable
from datetime import timedelta

import pytest

from mulligan.handlers.claim_ends import EndClaim, ReleaseClaim
from mulligan.handlers.provider import DoesNotFit
from mulligan.handlers.provider_commands import UpdateProvider
from mulligan.model import ProviderId

from .given import C1, HOUR, MEMORY, NOON, Given, claim_of

END = EndClaim(claim=C1)
RELEASE = ReleaseClaim(claim=C1)


@pytest.fixture
def given() -> Given:
    given = Given()
    given.offers("p", {"memory": 10}, turnaround=HOUR)
    return given


def turnaround(hours: float) -> UpdateProvider:
    return UpdateProvider(provider=ProviderId("p"), turnaround=int(hours * 3600))


def claim(given: Given, claim: str, start: float, end: float | None, amount: int = 10) -> None:
    window = (NOON + start * HOUR, None if end is None else NOON + end * HOUR)
    given.do(claim_of({"p": {MEMORY: amount}}, claim=claim, start=window[0], end=window[1]))


def test_capacity_stays_in_use_for_the_turnaround_after_an_end(given: Given) -> None:
    claim(given, "c1", 0, 2)
    assert given.used("p") == [(0, 3, 10)]
    with pytest.raises(DoesNotFit):
        claim(given, "next", 2, 4)
    claim(given, "next", 3, 4)
    given.now += 2 * HOUR
    given.do(END)
    assert given.used("p") == [(0, 5, 10)], "the end itself changes nothing"


def test_the_claim_ahead_needs_room_for_its_own_turnaround_too(given: Given) -> None:
    claim(given, "later", 3, 4)
    with pytest.raises(DoesNotFit):
        claim(given, "c1", 0, 2.5)
    claim(given, "c1", 0, 2)


def test_a_release_of_what_has_begun_is_followed_by_the_turnaround(given: Given) -> None:
    claim(given, "c1", 0, 8)
    given.now += 2 * HOUR
    given.do(RELEASE)
    assert given.used("p") == [(0, 3, 10)]
    with pytest.raises(DoesNotFit):
        claim(given, "next", 2, 4)
    claim(given, "next", 3, 4)


def test_a_release_shortly_before_the_end_lasts_no_longer_than_the_end_would(given: Given) -> None:
    claim(given, "c1", 0, 2)
    given.now += 1.5 * HOUR
    given.do(RELEASE)
    assert given.used("p") == [(0, 2.5, 10)]


def test_an_open_claim_given_back_is_followed_by_the_turnaround(given: Given) -> None:
    claim(given, "c1", 0, None)
    assert given.used("p") == [(0, None, 10)]
    given.now += HOUR
    given.do(RELEASE)
    assert given.used("p") == [(0, 2, 10)]


def test_a_cancelled_reservation_needs_no_turnaround(given: Given) -> None:
    claim(given, "c1", 1, 2)
    assert given.used("p") == [(1, 3, 10)]
    given.now += 0.5 * HOUR
    given.do(RELEASE)
    assert given.used("p") == []


def test_without_turnaround_windows_that_touch_do_not_overlap(given: Given) -> None:
    given.do(turnaround(0))
    claim(given, "c1", 0, 1)
    claim(given, "next", 1, 2)
    assert given.used("p") == [(0, 2, 10)]


def end(given: Given) -> None:
    given.now = NOON + 2 * HOUR
    given.do(END)


def release(given: Given) -> None:
    given.now = NOON + HOUR
    given.do(RELEASE)


def cancel(given: Given) -> None:
    given.do(RELEASE)


@pytest.mark.parametrize("leave", [end, release, cancel])
@pytest.mark.parametrize("meanwhile", [0, 0.5, 3])
def test_what_was_taken_is_freed_exactly_though_the_turnaround_changes_meanwhile(
    given: Given, leave: Callable[[Given], None], meanwhile: float
) -> None:
    claim(given, "c1", 1 if leave is cancel else 0, 2, amount=4)
    claim(given, "other", 0, 20, amount=3)
    given.do(turnaround(meanwhile))
    leave(given)
    given.now = NOON + 10 * HOUR
    claim(given, "late", 10, 11, amount=1)
    late = 11 + meanwhile
    assert given.used("p")[-2:] == [(10, late, 4), (late, 21, 3)]


def test_a_changed_turnaround_holds_for_what_is_claimed_from_then_on(given: Given) -> None:
    claim(given, "c1", 0, 1, amount=4)
    given.do(turnaround(2))
    claim(given, "c2", 0, 1, amount=3)
    assert given.used("p") == [(0, 2, 7), (2, 3, 3)]
    given.now += timedelta(minutes=30)
    given.do(RELEASE)
    given.do(ReleaseClaim(claim=claim_of({}, claim="c2").claim))
    assert given.used("p") == [(0, 1.5, 7), (1.5, 2.5, 3)]
    assert [a.turnaround for a in given.claim("c2").allocations] == [7200]
