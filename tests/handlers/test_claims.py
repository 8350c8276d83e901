from datetime import datetime, timedelta

import msgspec
import pytest

from mulligan.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from mulligan.events.claim import Allocation, ClaimEnded, ClaimStarted, Search
from mulligan.events.provider import CapacityFreed, CapacityTaken
from mulligan.events.request import CapabilityDemand, ClaimRequest, RequestGroup
from mulligan.handlers import names
from mulligan.handlers.claim import MakeClaim
from mulligan.handlers.claim_ends import EndClaim, ReleaseClaim, StartClaim
from mulligan.handlers.deployment import DeployMachine
from mulligan.handlers.provider import DoesNotFit
from mulligan.handlers.provider_commands import UpdateProvider
from mulligan.model import MAX_AMOUNT, AccountId, ClaimId, CommitId, ProviderId, ResourceClass

from .given import C1, HOUR, MEMORY, MINUTE, NOON, OS, WEB, Given, claim_of, types

ANN = AccountId("ann")
START = StartClaim(claim=C1)
END = EndClaim(claim=C1)
RELEASE = ReleaseClaim(claim=C1)


@pytest.fixture
def given() -> Given:
    given = Given()
    given.offers("p", {"memory": 10, "gpu": 2})
    given.offers("q", {"memory": 10})
    return given


def used(given: Given, provider: str = "p") -> int:
    """What is in use of a provider's memory from now on, at its peak."""
    segments = given.provider(provider).use.get(MEMORY, ())
    return max((s.used for s in segments if s.end is None or s.end > given.now), default=0)


def test_a_claim_and_the_capacity_it_takes_are_one_commit(given: Given) -> None:
    events = given.do(claim_of({"p": {MEMORY: 3}, "q": {MEMORY: 4}}, name="web"))
    assert types(events) == [
        "claim.made",
        "name.assigned",
        "provider.capacity_taken",
        "provider.capacity_taken",
    ]
    assert given.claim(C1).state == "active"
    assert (used(given), used(given, "q")) == (3, 4)


def test_all_is_taken_or_nothing(given: Given) -> None:
    with pytest.raises(DoesNotFit) as refused:
        given.do(claim_of({"p": {MEMORY: 3}, "q": {MEMORY: 11}}))
    assert refused.value.provider == "q"
    assert used(given) == 0


def test_allocations_of_two_groups_at_one_provider_count_together(given: Given) -> None:
    p = ProviderId("p")
    parts = tuple(Allocation(provider=p, amounts={MEMORY: n}, group=str(n)) for n in (6, 5))
    with pytest.raises(DoesNotFit):
        given.do(MakeClaim(claim=C1, project=WEB, account=ANN, allocations=parts))
    parts = tuple(Allocation(provider=p, amounts={MEMORY: n}, group=str(n)) for n in (6, 4))
    events = given.do(MakeClaim(claim=C1, project=WEB, account=ANN, allocations=parts))
    assert [e.amounts for e in events if isinstance(e, CapacityTaken)] == [{MEMORY: 10}]


def test_what_two_groups_took_of_one_provider_is_freed_once(given: Given) -> None:
    p = ProviderId("p")
    parts = tuple(Allocation(provider=p, amounts={MEMORY: n}, group=str(n)) for n in (2, 3))
    given.do(MakeClaim(claim=C1, project=WEB, account=ANN, allocations=parts))
    given.do(claim_of({"p": {MEMORY: 4}}, claim="c2"))
    events = given.do(RELEASE)
    assert sum(e.amounts[MEMORY] for e in events if isinstance(e, CapacityFreed)) == 5
    assert used(given) == 4


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (NOON + HOUR, NOON + HOUR),
        (NOON + 2 * HOUR, NOON + HOUR),
        (NOON - 2 * HOUR, NOON - HOUR),
        (NOON - HOUR, NOON),
        (None, NOON),
    ],
)
def test_a_window_that_is_empty_or_over_is_refused(
    given: Given, start: datetime | None, end: datetime
) -> None:
    with pytest.raises(InvalidArgument, match=r"window\.end"):
        given.do(claim_of({"p": {MEMORY: 1}}, start=start, end=end))


def test_a_start_a_moment_ago_is_now(given: Given) -> None:
    given.do(claim_of({"p": {MEMORY: 1}}, start=NOON - MINUTE, end=NOON + HOUR))
    assert (given.claim(C1).start, given.claim(C1).state) == (NOON, "active")


def test_a_start_more_than_a_minute_ago_is_refused(given: Given) -> None:
    late = NOON - MINUTE - timedelta(microseconds=1)
    with pytest.raises(InvalidArgument) as refused:
        given.do(claim_of({"p": {MEMORY: 1}}, start=late, end=NOON + HOUR))
    assert refused.value.violations[0].field == "window.start"


def test_a_claim_without_allocations_or_amounts_is_refused(given: Given) -> None:
    with pytest.raises(InvalidArgument, match="allocations"):
        given.do(claim_of({}))
    with pytest.raises(InvalidArgument, match=r"allocations\[0\]\.amounts"):
        given.do(claim_of({"p": {}}))


@pytest.mark.parametrize("amount", [0, -1, MAX_AMOUNT + 1])
def test_an_amount_out_of_range_is_refused(given: Given, amount: int) -> None:
    with pytest.raises(InvalidArgument, match="between 1"):
        given.do(claim_of({"p": {MEMORY: amount}}))


def test_amounts_that_overflow_together_are_refused_with_their_field(given: Given) -> None:
    p = ProviderId("p")
    parts = tuple(Allocation(provider=p, amounts={MEMORY: MAX_AMOUNT}) for _ in range(2))
    with pytest.raises(InvalidArgument) as refused:
        given.do(MakeClaim(claim=C1, project=WEB, account=ANN, allocations=parts))
    assert refused.value.violations[0].field == "allocations[1].amounts[memory]"


def test_an_unknown_class_is_refused(given: Given) -> None:
    with pytest.raises(InvalidArgument, match="resource class"):
        given.do(claim_of({"p": {ResourceClass("ram"): 1}}))


def test_an_unknown_provider_does_not_fit(given: Given) -> None:
    with pytest.raises(DoesNotFit, match="'x' was not found"):
        given.do(claim_of({"x": {MEMORY: 1}}))


def test_a_claim_id_is_used_once(given: Given) -> None:
    given.do(claim_of({"p": {MEMORY: 1}}))
    with pytest.raises(AlreadyExists):
        given.do(claim_of({"p": {MEMORY: 1}}))
    assert used(given) == 1


def test_back_to_back_windows_never_count_together(given: Given) -> None:
    for hour in range(3):
        window = claim_of(
            {"p": {MEMORY: 10}},
            claim=f"c{hour}",
            start=NOON + hour * HOUR,
            end=NOON + (hour + 1) * HOUR,
        )
        given.do(window)
    with pytest.raises(DoesNotFit):
        given.do(claim_of({"p": {MEMORY: 1}}, claim="over", end=NOON + timedelta(seconds=1)))
    given.do(claim_of({"p": {MEMORY: 10}}, claim="open", start=NOON + 3 * HOUR))


def test_the_peak_counts_and_not_the_sum(given: Given) -> None:
    given.do(claim_of({"p": {MEMORY: 6}}, claim="a", end=NOON + HOUR))
    given.do(claim_of({"p": {MEMORY: 5}}, claim="b", start=NOON + 2 * HOUR, end=NOON + 3 * HOUR))
    given.do(claim_of({"p": {MEMORY: 4}}, claim="c"))
    with pytest.raises(DoesNotFit, match="0 memory left"):
        given.do(claim_of({"p": {MEMORY: 1}}, claim="d"))
    given.do(claim_of({"p": {MEMORY: 1}}, claim="e", start=NOON + HOUR))


def test_a_release_frees_from_now_on_and_is_said_once(given: Given) -> None:
    given.do(claim_of({"p": {MEMORY: 3}}, end=NOON + 4 * HOUR, name="web"))
    given.now += HOUR
    events = given.do(RELEASE)
    assert types(events) == ["claim.released", "provider.capacity_freed", "name.released"]
    freed = next(e for e in events if isinstance(e, CapacityFreed))
    assert (freed.start, freed.end) == (NOON + HOUR, NOON + 4 * HOUR)
    assert (given.claim(C1).state, given.claim(C1).closed_at) == ("released", NOON + HOUR)
    assert given.do(RELEASE) == []
    assert given.provider("p").use == {}
    holder: names.NameState = given.states[names.name_stream("claim", "web", WEB)]
    assert holder.object == ""


def test_a_reservation_given_back_early_is_cancelled_and_frees_all_of_its_window(
    given: Given,
) -> None:
    given.do(claim_of({"p": {MEMORY: 3}}, start=NOON + HOUR, end=NOON + 2 * HOUR))
    assert given.claim(C1).state == "reserved"
    assert types(given.do(RELEASE)) == ["claim.cancelled", "provider.capacity_freed"]
    assert given.provider("p").use == {}
    assert given.do(RELEASE) == given.do(START) == given.do(END) == []


def test_a_start_is_noted_once_and_not_before_its_time(given: Given) -> None:
    given.do(claim_of({"p": {MEMORY: 3}}, start=NOON + HOUR))
    assert given.do(START) == []
    given.now += 2 * HOUR
    assert given.do(START) == [ClaimStarted(planned=NOON + HOUR, actual=NOON + 2 * HOUR)]
    assert given.do(START) == []
    assert given.claim(C1).state == "active"


def test_an_end_is_noted_once_with_the_planned_and_the_actual_time(given: Given) -> None:
    given.do(claim_of({"p": {MEMORY: 3}}, end=NOON + HOUR, name="web"))
    assert given.do(END) == []
    given.now += 3 * HOUR
    events = given.do(END)
    assert events[0] == ClaimEnded(planned=NOON + HOUR, actual=NOON + 3 * HOUR)
    assert types(events) == ["claim.ended", "name.released"]
    assert given.do(END) == []
    assert given.claim(C1).closed_at == NOON + HOUR
    with pytest.raises(FailedPrecondition, match="ended by itself"):
        given.do(RELEASE)


def test_capacity_is_free_at_the_end_though_nobody_noted_it(given: Given) -> None:
    given.do(claim_of({"p": {MEMORY: 10}}, end=NOON + HOUR))
    given.now += HOUR
    given.do(claim_of({"p": {MEMORY: 10}}, claim="c2"))
    assert types(given.do(RELEASE)) == ["claim.released"]
    assert used(given) == 10


def test_an_open_claim_never_ends(given: Given) -> None:
    given.do(claim_of({"p": {MEMORY: 1}}))
    given.now += 10_000 * HOUR
    assert given.do(END) == []


def test_an_unknown_claim_is_not_found() -> None:
    for command in (START, END, RELEASE):
        with pytest.raises(NotFound):
            Given().do(command)


def test_the_end_of_a_claim_cleans_the_machines_it_held() -> None:
    given = Given()
    machine = given.available()
    given.claimed(machine, end=NOON + HOUR)
    given.do(_deploy(given))
    given.finish()
    given.now += HOUR
    assert types(given.do(END)) == [
        "claim.ended",
        "machine.claim_detached",
        "machine.operation_started",
        "provider.cordoned",
    ]
    assert (given.machine().state, given.machine().claim) == ("cleaning", "")
    with pytest.raises(DoesNotFit, match="cleaning"):
        given.claimed(machine, claim="c2")
    given.finish()
    given.claimed(machine, claim="c2")


def test_a_machine_of_the_claim_that_never_ran_is_not_cleaned() -> None:
    given = Given()
    machine = given.available()
    given.claimed(machine)
    assert types(given.do(RELEASE)) == ["claim.released", "provider.capacity_freed"]
    assert given.machine().state == "available"


def test_the_next_holder_waits_until_the_machine_is_clean() -> None:
    given = Given()
    machine = given.available()
    given.claimed(machine, end=NOON + HOUR)
    given.claimed(machine, claim="next", start=NOON + HOUR)
    given.do(_deploy(given))
    given.finish()
    given.now += HOUR
    with pytest.raises(FailedPrecondition, match="another claim"):
        given.do(_deploy(given, "next"))
    given.do(END)
    with pytest.raises(FailedPrecondition, match="busy"):
        given.do(_deploy(given, "next"))
    given.finish()
    given.do(_deploy(given, "next"))
    assert given.machine().claim == "next"
    assert given.claim("next").usable(given.now)


def _deploy(given: Given, claim: str = C1) -> DeployMachine:
    return DeployMachine(claim=ClaimId(claim), image=OS, operation=CommitId(given.fresh("deploy")))


def test_a_provider_that_lost_a_capability_since_it_was_found_is_not_taken(given: Given) -> None:
    asked = ClaimRequest(
        groups=(
            RequestGroup(
                resources={MEMORY: 1}, capabilities=CapabilityDemand(require=("custom.fast",))
            ),
        )
    )
    found = Search(at=1, policy="random", seed=0, considered=1, request=asked)
    command = msgspec.structs.replace(claim_of({"p": {MEMORY: 1}}), search=found)
    with pytest.raises(DoesNotFit, match="no longer has the capabilities"):
        given.do(command)
    given.do(UpdateProvider(provider=ProviderId("p"), capabilities=("custom.fast",)))
    given.do(command)
