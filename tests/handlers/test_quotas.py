from datetime import datetime
from typing import Any

import pytest

from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound
from mulligan.events.claim import Allocation
from mulligan.events.quota import Level
from mulligan.handlers.claim import MakeClaim
from mulligan.handlers.claim_ends import EndClaim, ReleaseClaim
from mulligan.handlers.quota import OverQuota, SetQuota, TrackQuota
from mulligan.model import MAX_AMOUNT, AccountId, ClaimId, ProjectId, ProviderId, ResourceClass

from .given import C1, HOUR, MEMORY, NOON, Given, claim_of, field, types

WEB = ProjectId("web")


@pytest.fixture
def given() -> Given:
    """Projects: a company, in it web and shop, in web a team; and a provider with enough."""
    given = Given()
    for key, parent in (("company", ""), ("web", "company"), ("shop", "company"), ("team", "web")):
        given.project(key, parent)
    given.offers("p", {"memory": 100, "gpu": 8})
    return given


def make(
    given: Given,
    amount: int,
    start: float = 0,
    end: float | None = None,
    project: str = "web",
    claim: str = "",
) -> ClaimId:
    name = claim or given.fresh("claim")
    window: tuple[datetime, datetime | None] = (NOON + start * HOUR, None)
    if end is not None:
        window = (window[0], NOON + end * HOUR)
    given.do(
        claim_of(
            {"p": {MEMORY: amount}}, claim=name, project=project, start=window[0], end=window[1]
        )
    )
    return ClaimId(name)


def test_a_project_without_a_quota_is_not_counted(given: Given) -> None:
    assert types(given.do(claim_of({"p": {MEMORY: 60}}))) == [
        "claim.made",
        "provider.capacity_taken",
    ]
    given.do(claim_of({"p": {MEMORY: 1}}, claim="c2", project="of nobody"))


def test_use_up_to_the_limit_is_allowed_and_no_more(given: Given) -> None:
    given.limited("web", {MEMORY: 10})
    make(given, 6)
    with pytest.raises(OverQuota, match="project web may use 10 memory: up to 6 are in use"):
        make(given, 5)
    make(given, 4)
    assert given.used_by("web") == [(0, None, 10)]


def test_another_class_is_not_limited(given: Given) -> None:
    given.limited("web", {MEMORY: 1})
    gpu = ResourceClass("gpu")
    given.do(claim_of({"p": {gpu: 8}}))
    assert given.used_by("web", gpu) == [(0, None, 8)]


def test_a_limit_of_zero_allows_none(given: Given) -> None:
    given.limited("web", {MEMORY: 0})
    with pytest.raises(OverQuota):
        make(given, 1)


def test_a_claim_counts_in_its_project_and_in_all_above(given: Given) -> None:
    for key in ("company", "web", "team", "shop"):
        given.limited(key, {})
    make(given, 3, project="team")
    make(given, 2, project="shop")
    assert given.used_by("team") == given.used_by("web") == [(0, None, 3)]
    assert given.used_by("shop") == [(0, None, 2)]
    assert given.used_by("company") == [(0, None, 5)]


def test_the_message_names_the_project_whose_limit_it_is(given: Given) -> None:
    given.limited("company", {MEMORY: 10})
    given.limited("team", {MEMORY: 8})
    make(given, 6, project="shop")
    with pytest.raises(OverQuota, match="project company may use 10 memory"):
        make(given, 5, project="team")
    with pytest.raises(OverQuota, match="project team may use 8 memory"):
        make(given, 9, project="team")
    make(given, 4, project="team")
    assert given.used_by("company") == [(0, None, 10)]


def test_what_is_over_a_quota_takes_no_capacity(given: Given) -> None:
    given.limited("company", {MEMORY: 1})
    given.limited("web", {MEMORY: 9})
    before = dict(given.states)
    with pytest.raises(OverQuota):
        make(given, 2)
    assert given.states == before


def test_the_peak_counts_and_not_the_sum(given: Given) -> None:
    given.limited("web", {MEMORY: 10})
    make(given, 10, 0, 1)
    make(given, 10, 1, 2)
    make(given, 10, 5, 6)
    with pytest.raises(OverQuota):
        make(given, 1, 0.5, 1.5)
    with pytest.raises(OverQuota):
        make(given, 1, 2, None)
    make(given, 10, 2, 5)


def test_reserving_next_month_does_not_eat_todays_quota(given: Given) -> None:
    given.limited("web", {MEMORY: 10})
    make(given, 10, 24 * 30, 24 * 31)
    make(given, 10, 0, 24)


def test_a_release_frees_the_quota_from_now_on(given: Given) -> None:
    given.limited("company", {MEMORY: 10})
    given.limited("web", {MEMORY: 10})
    claim = make(given, 10, 0, 8)
    given.now += HOUR
    given.do(ReleaseClaim(claim=claim))
    make(given, 10, 1, 8)
    assert given.used_by("web") == given.used_by("company") == [(1, 8, 10)]


def test_a_cancelled_reservation_frees_all_of_its_quota(given: Given) -> None:
    given.limited("web", {MEMORY: 10})
    claim = make(given, 10, 2, 8)
    given.do(ReleaseClaim(claim=claim))
    assert given.quota().use == {}


def test_an_ended_claim_leaves_the_quota_by_its_window(given: Given) -> None:
    given.limited("web", {MEMORY: 10})
    make(given, 10, 0, 2, claim=C1)
    given.now += 2 * HOUR
    make(given, 4, 2, 3)
    before = given.quota()
    given.do(EndClaim(claim=C1))
    assert given.quota() == before
    assert given.used_by() == [(2, 3, 4)]


def test_a_turnaround_is_not_the_tenants_use() -> None:
    given = Given()
    given.project()
    given.offers("p", {"memory": 10}, turnaround=HOUR)
    given.limited("web", {MEMORY: 10})
    claim = make(given, 10, 0, 2)
    assert (given.used("p"), given.used_by()) == ([(0, 3, 10)], [(0, 2, 10)])
    given.now += HOUR
    given.do(ReleaseClaim(claim=claim))
    assert (given.used("p"), given.used_by()) == ([(0, 2, 10)], [])


def test_limits_below_what_is_used_take_nothing_away_and_give_nothing_new(given: Given) -> None:
    given.limited("web", {MEMORY: 10})
    claim = make(given, 8, 0, 4)
    given.limited("web", {MEMORY: 3})
    assert given.used_by() == [(0, 4, 8)]
    with pytest.raises(OverQuota):
        make(given, 1, 0, 1)
    make(given, 3, 4, 5)
    given.do(ReleaseClaim(claim=claim))
    make(given, 3, 0, 4)


def test_tracked_but_not_baselined_it_counts_and_does_not_refuse(given: Given) -> None:
    make(given, 7, 0, 4, claim="before")
    given.do(TrackQuota(project=WEB))
    assert given.do(TrackQuota(project=WEB)) == []
    make(given, 5, 0, 4)
    assert given.used_by() == [(0, 4, 5)]
    assert not given.quota().baselined


def test_a_baseline_is_added_to_what_was_taken_and_freed_while_it_was_looked_for(
    given: Given,
) -> None:
    old = [make(given, n, 0, 4) for n in (7, 2)]
    given.do(TrackQuota(project=WEB))
    given.now += HOUR
    given.do(ReleaseClaim(claim=old[0]))
    make(given, 5, 1, 3)
    before: dict[ResourceClass, tuple[Level, ...]] = {MEMORY: (Level(NOON, NOON + 4 * HOUR, 9),)}
    assert types(given.do(SetQuota(project=WEB, limits={MEMORY: 8}, baseline=before))) == [
        "quota.baselined",
        "quota.set",
    ]
    assert given.used_by()[-2:] == [(1, 3, 7), (3, 4, 2)]
    with pytest.raises(OverQuota, match="up to 7 are in use"):
        make(given, 2, 2, 3)
    make(given, 1, 1, 3)
    given.do(ReleaseClaim(claim=old[1]))
    assert given.used_by()[-1] == (1, 3, 6)


def test_a_baseline_of_open_and_rising_use_is_taken_as_it_is(given: Given) -> None:
    given.do(TrackQuota(project=WEB))
    rising = (Level(NOON, NOON + HOUR, 2), Level(NOON + HOUR, None, 5))
    given.do(SetQuota(project=WEB, limits={MEMORY: 6}, baseline={MEMORY: rising}))
    assert given.used_by() == [(0, 1, 2), (1, None, 5)]
    make(given, 4, 0, 1)
    with pytest.raises(OverQuota):
        make(given, 2, 0, 2)


def test_limits_are_set_once_tracked_and_baselined(given: Given) -> None:
    with pytest.raises(FailedPrecondition, match="not tracked"):
        given.do(SetQuota(project=WEB, limits={}))
    given.do(TrackQuota(project=WEB))
    with pytest.raises(FailedPrecondition, match="not known yet"):
        given.do(SetQuota(project=WEB, limits={}))
    given.do(SetQuota(project=WEB, limits={MEMORY: 3}, baseline={}))
    same = SetQuota(project=WEB, limits={MEMORY: 3})
    assert given.do(same) == []
    late = SetQuota(project=WEB, limits={MEMORY: 3}, baseline={MEMORY: (Level(NOON, None, 9),)})
    assert given.do(late) == [], "another came first: a baseline counts once"
    assert types(given.do(SetQuota(project=WEB, limits={}))) == ["quota.set"]
    assert given.quota().limits == {}


def test_an_unknown_project_has_no_quota(given: Given) -> None:
    none = ProjectId("none")
    for command in (TrackQuota(project=none), SetQuota(project=none, limits={})):
        with pytest.raises(NotFound):
            given.do(command)


@pytest.mark.parametrize(
    ("limits", "max_lease", "named"),
    [
        ({"ram": 1}, None, "limits[ram]"),
        ({"memory": -1}, None, "limits[memory]"),
        ({"memory": MAX_AMOUNT + 1}, None, "limits[memory]"),
        ({}, 0, "max_lease"),
        ({}, 10**10 + 1, "max_lease"),
    ],
)
def test_a_senseless_limit_is_refused_with_its_field(
    given: Given, limits: Any, max_lease: int | None, named: str
) -> None:
    given.do(TrackQuota(project=WEB))
    command = SetQuota(project=WEB, limits=limits, max_lease=max_lease, baseline={})
    with pytest.raises(InvalidArgument) as refused:
        given.do(command)
    assert field(refused) == named


def test_no_lease_is_longer_than_that_of_any_project_above(given: Given) -> None:
    given.limited("company", {}, max_lease=2 * 3600)
    given.limited("team", {}, max_lease=8 * 3600)
    make(given, 1, 1, 3, project="team")
    with pytest.raises(InvalidArgument, match="longest lease of project company is 2 h") as no:
        make(given, 1, 1, 3.01, project="team")
    assert field(no) == "window.end"
    with pytest.raises(InvalidArgument, match="an open end is longer") as no:
        make(given, 1, project="team")
    assert field(no) == "window.end"
    given.limited("company", {})
    with pytest.raises(InvalidArgument, match="project team"):
        make(given, 1, project="team")
    make(given, 1, project="web")


def test_what_all_allocations_are_together_counts(given: Given) -> None:
    given.offers("q", {"memory": 100})
    given.limited("web", {MEMORY: 10})
    command = claim_of({"p": {MEMORY: 6}, "q": {MEMORY: 5}})
    with pytest.raises(OverQuota, match="11 more are asked"):
        given.do(command)


def test_use_that_overflows_together_is_over_every_quota() -> None:
    given = Given()
    given.project()
    keys = [given.offers(key, {"memory": MAX_AMOUNT}) for key in ("p", "q", "r")]
    given.do(TrackQuota(project=WEB))
    both = tuple(Allocation(provider=ProviderId(k), amounts={MEMORY: MAX_AMOUNT}) for k in keys)
    for baselined in (False, True):
        if baselined:
            given.limited("web", {})
        with pytest.raises(OverQuota):
            given.do(MakeClaim(claim=C1, project=WEB, account=AccountId("ann"), allocations=both))
    make(given, MAX_AMOUNT)
    with pytest.raises(OverQuota):
        given.do(claim_of({"q": {MEMORY: 1}}))
