from datetime import datetime

import pytest

from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound
from mulligan.events.claim import Allocation
from mulligan.events.provider import Inventory
from mulligan.handlers.claim_changes import MAX_RESHAPED, RescheduleClaim, Reshape
from mulligan.handlers.claim_ends import EndClaim, ReleaseClaim
from mulligan.handlers.deployment import DeployMachine
from mulligan.handlers.provider import DoesNotFit
from mulligan.handlers.provider_commands import UpdateProvider
from mulligan.handlers.quota import OverQuota
from mulligan.model import ClaimId, CommitId, MachineId, ProviderId, ResourceClass

from .given import C1, HOUR, MACHINE, MEMORY, NOON, OS, Given, claim_of, types

GPU = ResourceClass("gpu")


@pytest.fixture
def given() -> Given:
    given = Given()
    given.project()
    given.offers("p", {"memory": 10, "gpu": 2})
    given.offers("q", {"memory": 10})
    return given


def at(hour: float | None) -> datetime | None:
    return None if hour is None else NOON + hour * HOUR


def make(
    given: Given,
    claim: str = C1,
    amounts: dict[str, int] | None = None,
    start: float = 0,
    end: float | None = 4,
) -> None:
    parts = {p: {MEMORY: n} for p, n in (amounts or {"p": 10}).items()}
    given.do(claim_of(parts, claim=claim, start=at(start), end=at(end)))


def reshape(
    totals: dict[str, int] | None = None, claims: dict[str, dict[str, int]] | None = None
) -> Reshape:
    """Memory inventories, and what claims take of memory, by provider."""
    return Reshape(
        inventories={
            ProviderId(p): {MEMORY: Inventory(total=n)} for p, n in (totals or {}).items()
        },
        claims={ClaimId(c): hold(parts) for c, parts in (claims or {}).items()},
    )


def hold(parts: dict[str, int]) -> tuple[Allocation, ...]:
    return tuple(Allocation(provider=ProviderId(p), amounts={MEMORY: n}) for p, n in parts.items())


def test_inventories_and_what_is_taken_of_them_swap_places_in_one_commit(given: Given) -> None:
    make(given)
    given.now += HOUR
    events = given.do(reshape({"p": 0, "q": 20}, {"c1": {"q": 10}}))
    assert types(events) == [
        "provider.capacity_freed",
        "provider.inventories_set",
        "provider.inventories_set",
        "claim.reshaped",
        "provider.capacity_taken",
    ]
    assert (given.used("p"), given.used("q")) == ([], [(1, 4, 10)])
    assert [(a.provider, a.since, a.until) for a in given.claim(C1).allocations] == [
        ("p", None, at(1)),
        ("q", at(1), None),
    ]


def test_two_claims_change_places_at_full_providers(given: Given) -> None:
    make(given)
    make(given, "c2", {"q": 10}, end=6)
    given.do(reshape(claims={"c1": {"q": 10}, "c2": {"p": 10}}))
    assert (given.used("p"), given.used("q")) == ([(0, 6, 10)], [(0, 4, 10)])


def test_what_counts_is_the_end(given: Given) -> None:
    make(given)
    make(given, "c2", {"q": 6})
    before = dict(given.states)
    for refused in (
        reshape(claims={"c1": {"q": 5, "p": 5}}),
        reshape({"p": 4}),
        reshape({"p": 4}, {"c2": {"q": 5}}),
        reshape({"q": 11}, {"c1": {"q": 6}}),
    ):
        with pytest.raises(DoesNotFit):
            given.do(refused)
        assert given.states == before
    given.do(reshape({"p": 5}, {"c1": {"q": 4, "p": 5}}))
    assert (given.used("p"), given.used("q")) == ([(0, 4, 5)], [(0, 4, 10)])


def test_only_an_instant_over_refuses_it(given: Given) -> None:
    make(given, end=2)
    make(given, "c2", {"q": 10}, start=2)
    given.do(reshape(claims={"c1": {"q": 10}}))
    assert given.used("q") == [(0, 4, 10)]
    make(given, "c3", {"p": 10}, start=1)
    with pytest.raises(DoesNotFit, match="over-committed"):
        given.do(reshape(claims={"c2": {"p": 1}}))


def test_what_is_taken_has_the_form_of_what_is_offered(given: Given) -> None:
    make(given)
    form = Inventory(total=20, step_size=4)
    command = Reshape(inventories={ProviderId("q"): {MEMORY: form}}, claims={C1: hold({"q": 10})})
    with pytest.raises(DoesNotFit, match="steps of 4"):
        given.do(command)
    with pytest.raises(DoesNotFit, match="offers no memory"):
        given.do(Reshape(inventories={ProviderId("q"): {}}, claims={C1: hold({"q": 10})}))
    with pytest.raises(DoesNotFit, match="not found"):
        given.do(reshape(claims={"c1": {"none": 1}}))


def test_a_provider_over_committed_before_may_stay_so_and_not_grow_worse(given: Given) -> None:
    make(given, amounts={"p": 6})
    make(given, "c2", {"p": 4})
    given.do(UpdateProvider(provider=ProviderId("p"), inventories={MEMORY: Inventory(total=5)}))
    with pytest.raises(DoesNotFit):
        given.do(reshape(claims={"c1": {"p": 7}}))
    given.do(reshape({"p": 6}, {"c1": {"p": 6}}))
    given.do(reshape(claims={"c1": {"p": 5, "q": 1}}))
    assert (given.used("p"), given.used("q")) == ([(0, 4, 9)], [(0, 4, 1)])
    with pytest.raises(DoesNotFit):
        given.do(reshape(claims={"c1": {"p": 6}}))


def test_a_reshape_owes_no_turnaround_where_it_leaves_and_the_end_still_does(given: Given) -> None:
    for key in ("p", "q"):
        given.do(UpdateProvider(provider=ProviderId(key), turnaround=3600))
    make(given)
    given.now += HOUR
    given.do(reshape(claims={"c1": {"q": 10}}))
    assert (given.used("p"), given.used("q")) == ([], [(1, 5, 10)])
    given.now += HOUR
    given.do(ReleaseClaim(claim=C1))
    assert given.used("q") == [(1, 3, 10)]


def test_a_reshaped_claim_is_released_rescheduled_and_ended_as_any(given: Given) -> None:
    given.do(UpdateProvider(provider=ProviderId("q"), turnaround=3600))
    make(given)
    given.now += HOUR
    given.do(reshape(claims={"c1": {"p": 4, "q": 6}}))
    given.do(RescheduleClaim(claim=C1, end=at(6)))
    assert (given.used("p"), given.used("q")) == ([(1, 6, 4)], [(1, 7, 6)])
    given.now += HOUR
    given.do(ReleaseClaim(claim=C1))
    assert (given.used("p"), given.used("q")) == ([], [(1, 3, 6)])


def test_a_reservation_is_reshaped_over_its_whole_window(given: Given) -> None:
    make(given, start=2)
    given.do(reshape(claims={"c1": {"q": 10}}))
    assert (given.used("p"), given.used("q")) == ([], [(2, 4, 10)])
    given.do(RescheduleClaim(claim=C1, start=at(1)))
    assert given.used("q") == [(1, 4, 10)]
    given.do(ReleaseClaim(claim=C1))
    assert given.provider("q").use == {}


def test_the_quota_changes_by_the_difference(given: Given) -> None:
    given.limited("web", {MEMORY: 12, GPU: 1})
    make(given)
    given.do(reshape(claims={"c1": {"p": 4, "q": 6}}))
    assert given.used_by() == [(0, 4, 10)]
    with pytest.raises(OverQuota):
        given.do(reshape(claims={"c1": {"p": 10, "q": 3}}))
    given.do(reshape(claims={"c1": {"p": 10, "q": 2}}))
    assert given.used_by() == [(0, 4, 12)]
    given.do(
        Reshape(
            inventories={},
            claims={C1: (Allocation(provider=ProviderId("p"), amounts={GPU: 1}),)},
        )
    )
    assert (given.used_by(), given.used_by("web", GPU)) == ([], [(0, 4, 1)])
    given.do(ReleaseClaim(claim=C1))
    assert given.quota().use == {}


def test_what_one_claim_gives_up_another_may_use_of_the_same_quota(given: Given) -> None:
    given.limited("web", {MEMORY: 12})
    make(given)
    make(given, "c2", {"q": 2})
    given.do(reshape(claims={"c2": {"q": 9}, "c1": {"p": 3}}))
    assert given.used_by() == [(0, 4, 12)]


def test_limits_below_what_is_used_let_as_much_take_another_place(given: Given) -> None:
    given.limited("web", {MEMORY: 12})
    make(given)
    given.limited("web", {MEMORY: 1})
    given.do(reshape(claims={"c1": {"q": 10}}))
    assert given.used_by() == [(0, 4, 10)]
    with pytest.raises(OverQuota):
        given.do(reshape({"q": 20}, {"c1": {"q": 11}}))


def test_a_machine_that_the_claim_leaves_is_cleaned_and_one_it_keeps_runs_on() -> None:
    given = Given()
    for key in ("m1", "m2", "m3"):
        given.available(key)
    given.claimed("m1", "m2")
    for key in ("m1", "m2"):
        operation = CommitId(f"deploy-{key}")
        command = DeployMachine(claim=C1, image=OS, operation=operation, machine=MachineId(key))
        given.do(command)
        given.finish(key)
    taken = tuple(Allocation(provider=ProviderId(p), amounts={MACHINE: 1}) for p in ("m2", "m3"))
    given.do(Reshape(inventories={}, claims={C1: taken}))
    states = [given.machine(key).state for key in ("m1", "m2", "m3")]
    assert states == ["cleaning", "active", "available"]
    assert given.machine("m2").claim == C1


@pytest.mark.parametrize("noted", [True, False])
def test_a_claim_at_its_end_is_not_reshaped(given: Given, noted: bool) -> None:
    given.do(UpdateProvider(provider=ProviderId("p"), turnaround=600))
    make(given, end=1)
    given.now += 2 * HOUR
    if noted:
        given.do(EndClaim(claim=C1))
    with pytest.raises(FailedPrecondition):
        given.do(reshape(claims={"c1": {"q": 10}}))


def test_a_reshape_names_one_to_so_many_things_that_are_there(given: Given) -> None:
    make(given)
    for command in (reshape(), reshape({f"p{n}": 1 for n in range(MAX_RESHAPED)}, {"c1": {}})):
        with pytest.raises(InvalidArgument, match="things at once"):
            given.do(command)
    with pytest.raises(InvalidArgument, match="release it instead"):
        given.do(reshape(claims={"c1": {}}))
    with pytest.raises(NotFound):
        given.do(reshape({"none": 1}))
    with pytest.raises(NotFound):
        given.do(reshape(claims={"none": {"p": 1}}))


def test_inventories_alone_are_changed_where_they_differ(given: Given) -> None:
    make(given)
    assert types(given.do(reshape({"q": 5}))) == ["provider.inventories_set"]
    assert given.do(reshape({"q": 5})) == []
