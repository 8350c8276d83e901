from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound
from mulligan.events.claim import Allocation, ClaimRescheduled
from mulligan.handlers.claim import MakeClaim
from mulligan.handlers.claim_changes import MoveClaim, RescheduleClaim
from mulligan.handlers.claim_ends import EndClaim, ReleaseClaim, StartClaim
from mulligan.handlers.provider import DoesNotFit
from mulligan.handlers.provider_commands import CordonProvider, UpdateProvider
from mulligan.handlers.quota import OverQuota
from mulligan.model import AccountId, ClaimId, ProviderId

from .given import C1, HOUR, MEMORY, MINUTE, NOON, WEB, Given, claim_of, field, types


@pytest.fixture
def given() -> Given:
    given = Given()
    given.project()
    given.offers("p", {"memory": 10})
    given.offers("q", {"memory": 10})
    return given


def at(hour: float | None) -> datetime | None:
    return None if hour is None else NOON + hour * HOUR


def make(
    given: Given, start: float, end: float | None, amount: int = 10, claim: str = C1, at_: str = "p"
) -> None:
    amounts = {at_: {MEMORY: amount}}
    given.do(claim_of(amounts, claim=claim, start=at(start), end=at(end), ending_notice=0))


def reschedule(
    start: float | None = None, end: float | None = None, *, open_end: bool = False
) -> RescheduleClaim:
    return RescheduleClaim(claim=C1, start=at(start), end=at(end), open_end=open_end)


def move(source: str, target: str) -> MoveClaim:
    return MoveClaim(claim=C1, source=ProviderId(source), target=ProviderId(target))


def window(given: Given) -> tuple[datetime, datetime | None]:
    return given.claim(C1).start, given.claim(C1).end


def test_an_extension_takes_the_added_time_alone(given: Given) -> None:
    make(given, 0, 2)
    assert types(given.do(reschedule(end=3))) == ["claim.rescheduled", "provider.capacity_taken"]
    assert given.used("p") == [(0, 3, 10)]
    assert window(given) == (at(0), at(3))


def test_an_extension_up_to_the_next_reservation_fits_and_no_further(given: Given) -> None:
    make(given, 0, 2)
    make(given, 3, 4, claim="next")
    with pytest.raises(DoesNotFit, match="0 memory left"):
        given.do(reschedule(end=3.5))
    with pytest.raises(DoesNotFit):
        given.do(reschedule(open_end=True))
    given.do(reschedule(end=3))
    with pytest.raises(DoesNotFit):
        given.do(RescheduleClaim(claim=C1, end=NOON + 3 * HOUR + timedelta(microseconds=1)))
    assert given.used("p") == [(0, 4, 10)]


def test_an_extension_that_does_not_fit_changes_nothing(given: Given) -> None:
    make(given, 0, 2, amount=6)
    make(given, 2, 4, amount=6, claim="next")
    before = dict(given.states)
    with pytest.raises(DoesNotFit, match="4 memory left in the window, 6 asked"):
        given.do(reschedule(end=3))
    assert given.states == before


def test_the_turnaround_moves_with_the_end(given: Given) -> None:
    given.do(UpdateProvider(provider=ProviderId("p"), turnaround=3600))
    make(given, 0, 2)
    make(given, 4, 5, claim="next")
    with pytest.raises(DoesNotFit):
        given.do(reschedule(end=3.5))
    given.do(reschedule(end=3))
    assert given.used("p") == [(0, 6, 10)]
    given.do(reschedule(end=1))
    assert given.used("p") == [(0, 2, 10), (4, 6, 10)]


def test_an_extension_keeps_the_turnaround_it_was_claimed_with(given: Given) -> None:
    make(given, 0, 2)
    given.do(UpdateProvider(provider=ProviderId("p"), turnaround=3600))
    given.do(reschedule(end=3))
    assert given.used("p") == [(0, 3, 10)]


def test_an_end_is_taken_away_and_set_again(given: Given) -> None:
    make(given, 0, 2)
    given.do(reschedule(open_end=True))
    assert (given.used("p"), window(given)) == ([(0, None, 10)], (at(0), None))
    assert given.do(reschedule(open_end=True)) == []
    assert types(given.do(reschedule(end=5))) == ["claim.rescheduled", "provider.capacity_freed"]
    assert given.used("p") == [(0, 5, 10)]


def test_a_claim_is_shortened_to_any_end_from_now_on(given: Given) -> None:
    make(given, 0, 8)
    given.now += 2 * HOUR
    given.do(reschedule(end=3))
    assert given.used("p") == [(0, 3, 10)]
    given.do(reschedule(end=2))
    assert given.used("p") == []
    assert types(given.do(EndClaim(claim=C1)))[0] == "claim.ended"
    make(given, 2, 3, claim="next")


def test_an_end_a_moment_ago_is_now_and_one_in_the_past_is_refused(given: Given) -> None:
    make(given, 0, 8)
    given.now += 2 * HOUR
    late = given.now - MINUTE - timedelta(microseconds=1)
    with pytest.raises(InvalidArgument) as refused:
        given.do(RescheduleClaim(claim=C1, end=late))
    assert field(refused) == "window.end"
    given.do(RescheduleClaim(claim=C1, end=given.now - MINUTE))
    assert window(given) == (at(0), at(2))


def test_a_window_is_never_empty(given: Given) -> None:
    make(given, 2, 4)
    for start, end in ((None, 2), (None, 1), (4, None), (5, None), (3, 3)):
        with pytest.raises(InvalidArgument) as refused:
            given.do(reschedule(start, end))
        assert field(refused) == "window.end"


def test_the_same_window_changes_nothing(given: Given) -> None:
    make(given, 2, 4)
    assert given.do(reschedule()) == given.do(reschedule(2, 4)) == given.do(reschedule(2)) == []


@pytest.mark.parametrize(
    ("start", "end", "used"),
    [
        (1, None, (1, 4, 10)),
        (3, None, (3, 4, 10)),
        (3, 5, (3, 5, 10)),
        (6, 8, (6, 8, 10)),
        (0, 1, (0, 1, 10)),
        (1, 6, (1, 6, 10)),
        (2.5, 3, (2.5, 3, 10)),
    ],
)
def test_a_reservation_moves_to_another_window(
    given: Given, start: float, end: float | None, used: tuple[float, float, int]
) -> None:
    make(given, 2, 4)
    given.do(reschedule(start, end))
    assert given.used("p") == [used]
    assert given.claim(C1).state == "reserved"


def test_an_earlier_start_needs_room(given: Given) -> None:
    make(given, 2, 4)
    make(given, 0, 1, claim="before", amount=1)
    with pytest.raises(DoesNotFit, match="9 memory left"):
        given.do(reschedule(0.5))
    given.do(reschedule(1))
    assert given.used("p") == [(0, 1, 1), (1, 4, 10)]


def test_a_start_a_moment_ago_is_now_and_one_in_the_past_is_refused(given: Given) -> None:
    make(given, 2, 4)
    given.now += HOUR
    with pytest.raises(InvalidArgument) as refused:
        given.do(reschedule(0))
    assert field(refused) == "window.start"
    given.do(RescheduleClaim(claim=C1, start=given.now - MINUTE))
    assert given.claim(C1).start == given.now
    assert types(given.do(StartClaim(claim=C1))) == ["claim.started"]


@pytest.mark.parametrize("noted", [True, False])
def test_the_start_stays_once_it_has_come(given: Given, noted: bool) -> None:
    make(given, 1, 4)
    given.now += HOUR
    if noted:
        given.do(StartClaim(claim=C1))
    with pytest.raises(FailedPrecondition, match="has begun"):
        given.do(reschedule(2))
    assert given.do(reschedule(1)) == []
    given.do(reschedule(end=5))


@pytest.mark.parametrize("noted", [True, False])
def test_a_claim_past_its_end_is_not_brought_back(given: Given, noted: bool) -> None:
    make(given, 0, 1)
    given.now += HOUR
    make(given, 1, 2, claim="next")
    given.now += 2 * HOUR
    if noted:
        given.do(EndClaim(claim=C1))
    with pytest.raises(FailedPrecondition):
        given.do(reschedule(end=5))
    with pytest.raises(FailedPrecondition):
        given.do(reschedule(open_end=True))


def test_what_was_given_back_is_not_rescheduled(given: Given) -> None:
    make(given, 0, 1)
    given.do(ReleaseClaim(claim=C1))
    with pytest.raises(FailedPrecondition, match="released"):
        given.do(reschedule(end=5))
    with pytest.raises(NotFound):
        given.do(RescheduleClaim(claim=ClaimId("none"), end=at(5)))


def test_a_cordon_leaves_claims_their_right_to_another_window(given: Given) -> None:
    make(given, 0, 1)
    given.do(CordonProvider(provider=ProviderId("p")))
    given.do(reschedule(end=2))
    assert given.used("p") == [(0, 2, 10)]


def parts(*holds: tuple[str, int], end: float = 2, start: float = 0) -> MakeClaim:
    return MakeClaim(
        claim=C1,
        project=WEB,
        account=AccountId("ann"),
        start=at(start),
        end=at(end),
        allocations=tuple(
            Allocation(provider=ProviderId(p), amounts={MEMORY: n}, group=str(index))
            for index, (p, n) in enumerate(holds)
        ),
    )


def test_several_holds_at_one_provider_count_together(given: Given) -> None:
    given.do(parts(("p", 2), ("p", 3), ("q", 1)))
    make(given, 2, 4, amount=6, claim="next")
    with pytest.raises(DoesNotFit):
        given.do(reschedule(end=3))
    given.do(ReleaseClaim(claim=ClaimId("next")))
    make(given, 2, 4, amount=5, claim="fits")
    given.do(reschedule(end=3))
    assert given.used("p") == [(0, 2, 5), (2, 3, 10), (3, 4, 5)]
    assert given.used("q") == [(0, 3, 1)]


def test_holds_of_different_turnarounds_at_one_provider_count_together(given: Given) -> None:
    """The one without is checked together with the other's turnaround, which overlaps it."""
    given.do(parts(("p", 5), ("q", 5)))
    given.do(UpdateProvider(provider=ProviderId("p"), turnaround=3600))
    given.do(move("q", "p"))
    assert given.used("p") == [(0, 2, 10), (2, 3, 5)]
    make(given, 3, 4, amount=5, claim="next", at_="p")
    with pytest.raises(DoesNotFit):
        given.do(reschedule(end=4))
    assert given.used("p") == [(0, 2, 10), (2, 5, 5)]
    given.do(ReleaseClaim(claim=ClaimId("next")))
    given.do(reschedule(end=4))
    assert given.used("p") == [(0, 4, 10), (4, 5, 5)]


def test_a_hold_that_joined_later_ends_with_the_others(given: Given) -> None:
    given.do(parts(("p", 5), ("q", 5)))
    given.now += HOUR
    given.do(move("q", "p"))
    assert given.used("p") == [(1, 2, 10)]
    given.do(reschedule(end=3))
    assert given.used("p") == [(1, 3, 10)]
    given.do(reschedule(end=1.5))
    assert given.used("p") == [(1, 1.5, 10)]
    given.now += 0.5 * HOUR
    given.do(EndClaim(claim=C1))
    make(given, 1.5, 2, claim="next")
    assert given.used("p") == [(1.5, 2, 10)]


def test_a_hold_that_joined_at_the_very_end_owes_no_turnaround(given: Given) -> None:
    given.do(UpdateProvider(provider=ProviderId("q"), turnaround=3600))
    make(given, 0, 2)
    given.now += HOUR
    given.do(move("p", "q"))
    given.do(reschedule(end=1))
    assert given.used("q") == []
    given.do(EndClaim(claim=C1))
    assert given.provider("q").use == {}


def test_a_reservation_that_was_moved_still_starts_earlier_as_a_whole(given: Given) -> None:
    make(given, 4, 6)
    given.do(move("p", "q"))
    assert (given.used("p"), given.used("q")) == ([], [(4, 6, 10)])
    given.do(reschedule(2))
    assert (given.used("p"), given.used("q")) == ([], [(2, 6, 10)])
    given.do(reschedule(5, 7))
    assert given.used("q") == [(5, 7, 10)]
    given.do(ReleaseClaim(claim=C1))
    assert given.provider("q").use == {}


def test_an_extension_over_the_quota_is_refused(given: Given) -> None:
    given.limited("web", {MEMORY: 12})
    make(given, 0, 2, amount=8)
    make(given, 2, 4, amount=5, claim="next", at_="q")
    with pytest.raises(OverQuota, match="project web"):
        given.do(reschedule(end=3))
    given.do(ReleaseClaim(claim=ClaimId("next")))
    given.do(reschedule(end=3))
    assert given.used_by() == [(0, 3, 8)]


def test_a_window_that_only_moves_needs_no_more_quota(given: Given) -> None:
    given.limited("web", {MEMORY: 8})
    make(given, 2, 4, amount=8)
    given.do(reschedule(3, 5))
    assert given.used_by() == [(3, 5, 8)]
    given.do(reschedule(1, 4))
    assert given.used_by() == [(1, 4, 8)]


def test_limits_below_what_is_used_let_it_be_shortened_and_not_extended(given: Given) -> None:
    given.limited("web", {MEMORY: 8})
    make(given, 0, 4, amount=8)
    given.limited("web", {MEMORY: 3}, max_lease=3600)
    with pytest.raises(InvalidArgument) as refused:
        given.do(reschedule(end=5))
    assert field(refused) == "window.end"
    given.limited("web", {MEMORY: 3})
    with pytest.raises(OverQuota):
        given.do(reschedule(end=5))
    given.limited("web", {MEMORY: 3}, max_lease=3600)
    given.do(reschedule(end=3))
    assert given.used_by() == [(0, 3, 8)]


@pytest.mark.parametrize(
    ("window", "allowed"),
    [({"end": 3}, True), ({"end": 3.5}, False), ({"open_end": True}, False), ({"start": 2}, True)],
)
def test_no_lease_grows_longer_than_the_longest(
    given: Given, window: Mapping[str, float], allowed: bool
) -> None:
    given.limited("web", {}, max_lease=2 * 3600)
    make(given, 1, 2)
    command = RescheduleClaim(
        claim=C1,
        start=at(window.get("start")),
        end=at(window.get("end", 3)) if "open_end" not in window else None,
        open_end="open_end" in window,
    )
    if allowed:
        assert given.do(command)
        return
    with pytest.raises(InvalidArgument, match="longest lease of project web") as refused:
        given.do(command)
    assert field(refused) == "window.end"


def test_what_was_given_back_of_a_claim_stays_so(given: Given) -> None:
    given.do(parts(("p", 5), ("q", 5)))
    given.now += HOUR
    given.do(MoveClaim(claim=C1, source=ProviderId("q"), target=ProviderId("p")))
    given.do(reschedule(open_end=True))
    assert (given.used("p"), given.used("q")) == ([(1, None, 10)], [])


def test_the_event_says_the_whole_window(given: Given) -> None:
    make(given, 2, 4)
    assert given.do(reschedule(end=6))[0] == ClaimRescheduled(start=NOON + 2 * HOUR, end=at(6))
