from datetime import datetime, timedelta

import pytest

from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound
from mulligan.events.claim import Allocation
from mulligan.handlers import names
from mulligan.handlers.claim import MakeClaim, Stranded
from mulligan.handlers.claim_changes import FlagStranded, MoveClaim, Reshape
from mulligan.handlers.claim_ends import EndClaim, ReleaseClaim
from mulligan.handlers.deployment import DeployMachine
from mulligan.handlers.provider import DoesNotFit
from mulligan.handlers.provider_commands import CordonProvider, UpdateProvider
from mulligan.model import AccountId, ClaimId, CommitId, ProviderId

from .given import C1, HOUR, MEMORY, NOON, OS, WEB, Given, claim_of, field, types

P, Q = ProviderId("p"), ProviderId("q")


@pytest.fixture
def given() -> Given:
    given = Given()
    given.project()
    given.offers("p", {"memory": 10})
    given.offers("q", {"memory": 10})
    return given


def make(given: Given, start: float = 0, end: float | None = 4, amount: int = 10) -> None:
    until: datetime | None = None if end is None else NOON + end * HOUR
    amounts = {"p": {MEMORY: amount}}
    given.do(claim_of(amounts, start=NOON + start * HOUR, end=until, name="db"))


def move(source: str = "p", target: str = "q", reason: str = "") -> MoveClaim:
    return MoveClaim(claim=C1, source=ProviderId(source), target=ProviderId(target), reason=reason)


def test_a_move_releases_here_and_takes_there_in_one_commit(given: Given) -> None:
    make(given)
    given.now += HOUR
    assert types(given.do(move(reason="fan"))) == [
        "claim.moved",
        "provider.capacity_freed",
        "provider.capacity_taken",
    ]
    assert (given.used("p"), given.used("q")) == ([], [(1, 4, 10)])
    claim = given.claim(C1)
    assert (claim.state, claim.name) == ("active", "db")
    assert [(a.provider, a.since, a.until) for a in claim.allocations] == [
        ("p", None, NOON + HOUR),
        ("q", NOON + HOUR, None),
    ]


def test_a_move_where_there_is_no_room_moves_nothing(given: Given) -> None:
    make(given, amount=6)
    given.do(claim_of({"q": {MEMORY: 5}}, claim="other", start=NOON + 3 * HOUR))
    before = given.claim(C1)
    with pytest.raises(DoesNotFit) as refused:
        given.do(move())
    assert refused.value.provider == "q"
    with pytest.raises(DoesNotFit, match="not found"):
        given.do(move(target="none"))
    given.do(CordonProvider(provider=Q))
    with pytest.raises(DoesNotFit, match="operator"):
        given.do(move())
    assert given.claim(C1) == before
    assert (given.used("p"), given.used("q")) == ([(0, 4, 6)], [(3, None, 5)])


def test_a_claim_leaves_a_failed_provider_for_an_open_one(given: Given) -> None:
    make(given)
    given.do(CordonProvider(provider=P, failed=True))
    given.do(move())
    with pytest.raises(DoesNotFit, match="failed"):
        given.do(move("q", "p"))


def test_a_claim_moves_there_and_back_again(given: Given) -> None:
    make(given)
    for hour, (source, target) in enumerate([("p", "q"), ("q", "p"), ("p", "q"), ("q", "p")], 1):
        given.now = NOON + hour * HOUR / 2
        given.do(move(source, target))
        assert given.used(source) == []
        assert given.used(target) == [(hour / 2, 4, 10)]
    given.do(ReleaseClaim(claim=C1))
    assert given.used("p") == given.used("q") == []


def test_back_to_the_first_provider_there_is_its_turnaround_to_wait_for(given: Given) -> None:
    given.do(UpdateProvider(provider=P, turnaround=3600))
    make(given)
    given.now += HOUR
    given.do(move())
    assert given.used("p") == [(0, 2, 10)]
    with pytest.raises(DoesNotFit):
        given.do(move("q", "p"))
    given.now += HOUR
    given.do(move("q", "p"))
    assert (given.used("p"), given.used("q")) == ([(2, 5, 10)], [])


def test_a_reservation_moves_whole_and_owes_no_turnaround(given: Given) -> None:
    for key in (P, Q):
        given.do(UpdateProvider(provider=key, turnaround=3600))
    make(given, 2, 4)
    given.now += HOUR
    given.do(move())
    assert (given.used("p"), given.used("q")) == ([], [(2, 5, 10)])
    assert given.claim(C1).state == "reserved"
    given.do(move("q", "p"))
    assert (given.used("p"), given.used("q")) == ([(2, 5, 10)], [])
    given.now += 1.5 * HOUR
    given.do(move())
    assert (given.used("p"), given.used("q")) == ([(2, 3.5, 10)], [(2.5, 5, 10)])


def test_a_move_changes_no_quota(given: Given) -> None:
    given.limited("web", {MEMORY: 10})
    make(given)
    given.now += HOUR
    before = given.quota()
    given.do(move())
    assert given.quota() == before
    given.limited("web", {MEMORY: 1}, max_lease=60)
    given.do(move("q", "p"))
    given.do(ReleaseClaim(claim=C1))
    assert given.used_by() == []


def test_a_moved_claim_keeps_its_name_and_gives_it_back_in_the_end(given: Given) -> None:
    make(given)
    given.do(move())
    holder: names.NameState = given.states[names.name_stream("claim", "db", WEB)]
    assert holder.object == C1
    given.do(ReleaseClaim(claim=C1))
    holder = given.states[names.name_stream("claim", "db", WEB)]
    assert holder.object == ""


def test_every_hold_at_the_provider_moves_with_its_group(given: Given) -> None:
    parts = (("p", 2, "a"), ("p", 3, "b"), ("q", 4, "c"))
    allocations = tuple(
        Allocation(provider=ProviderId(p), amounts={MEMORY: n}, group=g) for p, n, g in parts
    )
    given.do(MakeClaim(claim=C1, project=WEB, account=AccountId("ann"), allocations=allocations))
    given.do(move())
    assert (given.used("p"), given.used("q")) == ([], [(0, None, 9)])
    held = {(a.provider, a.group, a.amounts[MEMORY]) for a in given.claim(C1).held}
    assert held == {("q", "a", 2), ("q", "b", 3), ("q", "c", 4)}


def test_a_move_needs_a_source_that_is_held_and_another_target(given: Given) -> None:
    make(given)
    with pytest.raises(InvalidArgument) as refused:
        given.do(move("p", "p"))
    assert field(refused) == "target"
    with pytest.raises(FailedPrecondition, match="holds nothing"):
        given.do(move("q", "p"))
    given.do(move())
    with pytest.raises(FailedPrecondition, match="holds nothing"):
        given.do(move())
    with pytest.raises(NotFound):
        given.do(MoveClaim(claim=ClaimId("none"), source=P, target=Q))


@pytest.mark.parametrize("noted", [True, False])
def test_a_claim_at_its_end_is_not_moved(given: Given, noted: bool) -> None:
    make(given, end=1)
    given.now += HOUR
    if noted:
        given.do(EndClaim(claim=C1))
    with pytest.raises(FailedPrecondition):
        given.do(move())


def running() -> Given:
    """A claim that runs an image on m1, with m2 beside it."""
    given = Given()
    given.available("m2")
    given.active("m1")
    return given


def test_a_machine_that_runs_for_the_claim_is_taken_back_and_cleaned() -> None:
    given = running()
    assert types(given.do(move("m1", "m2"))) == [
        "claim.moved",
        "provider.capacity_freed",
        "provider.capacity_taken",
        "machine.claim_detached",
        "machine.operation_started",
        "provider.cordoned",
    ]
    assert (given.machine("m1").state, given.machine("m1").claim) == ("cleaning", "")
    assert given.machine("m2").state == "available"
    given.do(DeployMachine(claim=C1, image=OS, operation=CommitId("again")))
    given.finish("m2")
    assert given.machine("m2").claim == C1


def test_a_machine_moved_back_to_is_deployed_once_it_is_clean() -> None:
    given = running()
    given.do(move("m1", "m2"))
    with pytest.raises(DoesNotFit, match="cleaning"):
        given.do(move("m2", "m1"))
    given.finish("m1")
    given.do(move("m2", "m1"))
    given.do(DeployMachine(claim=C1, image=OS, operation=CommitId("again")))
    given.finish("m1")
    given.do(ReleaseClaim(claim=C1))
    assert (given.machine("m1").state, given.machine("m2").state) == ("cleaning", "available")


REASON = "0 memory left in the window"


def strand(provider: str = "p") -> FlagStranded:
    return FlagStranded(claim=C1, provider=ProviderId(provider), reason=REASON)


def test_a_stranded_reservation_is_flagged_once(given: Given) -> None:
    make(given, 1)
    assert types(given.do(strand())) == ["claim.stranded"]
    assert given.claim(C1).stranded == (Stranded(provider=P, reason=REASON),)
    assert given.do(strand()) == []
    given.now += timedelta(minutes=1)
    assert given.do(strand()) == []


def test_only_a_reservation_that_holds_the_provider_is_flagged(given: Given) -> None:
    make(given, 1)
    assert given.do(strand("q")) == []
    given.do(ReleaseClaim(claim=C1))
    assert given.do(strand()) == []
    given.do(claim_of({"p": {MEMORY: 1}}, claim="c2"))
    flag = FlagStranded(claim=ClaimId("c2"), provider=P, reason=REASON)
    assert given.do(flag) == []
    with pytest.raises(NotFound):
        given.do(FlagStranded(claim=ClaimId("none"), provider=P, reason=REASON))


def test_a_move_takes_the_flag_away_and_a_later_failure_flags_anew(given: Given) -> None:
    make(given, 1)
    given.do(strand())
    given.do(move())
    assert given.claim(C1).stranded == ()
    assert given.do(strand()) == []
    given.do(strand("q"))
    given.do(move("q", "p"))
    assert types(given.do(strand())) == ["claim.stranded"]


def test_a_reshape_away_from_the_failed_provider_takes_the_flag_away(given: Given) -> None:
    make(given, 1)
    given.do(strand())
    there = (Allocation(provider=Q, amounts={MEMORY: 10}),)
    given.do(Reshape(inventories={}, claims={C1: there}))
    assert given.claim(C1).stranded == ()
