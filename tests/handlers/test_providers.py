import pytest

from mulligan.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from mulligan.events.provider import Inventory
from mulligan.handlers import group, provider
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.operations import InspectMachine, ManageMachine
from mulligan.handlers.provider import DoesNotFit
from mulligan.handlers.provider_commands import (
    CordonProvider,
    CreateProvider,
    DeleteProvider,
    UncordonProvider,
    UpdateProvider,
)
from mulligan.model import MAX_AMOUNT, CommitId, GroupId, ProviderId, ResourceClass, stream_id

from .given import HOUR, MEMORY, NOON, Given, claim_of, types

P = ProviderId("p")


def test_a_provider_is_created_with_what_it_offers() -> None:
    command = CreateProvider(
        provider=P,
        name="p",
        type="compute",
        inventories={MEMORY: Inventory(total=4)},
        capabilities=("storage.ssd",),
    )
    assert types(Given().do(command)) == [
        "name.assigned",
        "provider.created",
        "provider.inventories_set",
        "provider.capabilities_set",
    ]


def test_a_provider_of_an_unknown_type_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="type"):
        Given().do(CreateProvider(provider=P, name="p", type="toaster"))


def test_a_provider_id_is_used_once() -> None:
    given = Given()
    given.offers("p", {"memory": 4})
    with pytest.raises(AlreadyExists):
        given.do(CreateProvider(provider=P, name="p", type="compute"))


def test_a_child_is_told_to_its_parent_and_keeps_it_from_being_deleted() -> None:
    given = Given()
    given.offers("rack", {})
    child = CreateProvider(provider=P, name="p", type="compute", parent=ProviderId("rack"))
    assert types(given.do(child))[-1] == "provider.child_added"
    with pytest.raises(FailedPrecondition, match="children"):
        given.do(DeleteProvider(provider=ProviderId("rack")))
    deleted = given.do(DeleteProvider(provider=P))
    assert types(deleted) == ["provider.deleted", "name.released", "provider.child_removed"]
    given.do(DeleteProvider(provider=ProviderId("rack")))
    with pytest.raises(NotFound):
        given.do(DeleteProvider(provider=ProviderId("rack")))


def test_a_child_needs_a_living_parent() -> None:
    given = Given()
    child = CreateProvider(provider=P, name="p", type="compute", parent=ProviderId("rack"))
    with pytest.raises(InvalidArgument, match="parent: there is no provider"):
        given.do(child)
    given.offers("rack", {})
    given.do(DeleteProvider(provider=ProviderId("rack")))
    with pytest.raises(InvalidArgument, match="parent: there is no provider"):
        given.do(child)


def test_an_update_changes_only_what_differs() -> None:
    given = Given()
    given.offers("p", {"memory": 4})
    same = UpdateProvider(
        provider=P, inventories={MEMORY: Inventory(total=4)}, attributes={}, capabilities=()
    )
    assert given.do(same) == []
    assert given.do(UpdateProvider(provider=P)) == []
    assert types(given.do(UpdateProvider(provider=P, attributes={"slot": "3"}))) == [
        "provider.attributes_set"
    ]
    assert given.provider("p").inventories == {MEMORY: Inventory(total=4)}


def test_an_inventory_may_shrink_below_what_is_in_use_and_takes_no_claims_until_it_fits() -> None:
    given = Given()
    given.offers("p", {"memory": 10})
    given.do(claim_of({"p": {MEMORY: 6}}))
    given.do(UpdateProvider(provider=P, inventories={MEMORY: Inventory(total=5)}))
    assert given.provider("p").over_committed
    with pytest.raises(DoesNotFit, match="0 memory left"):
        given.do(claim_of({"p": {MEMORY: 1}}, claim="c2"))
    given.do(ReleaseClaim(claim=claim_of({}).claim))
    assert not given.provider("p").over_committed
    given.do(claim_of({"p": {MEMORY: 5}}, claim="c2"))


def test_a_provider_with_claims_is_not_deleted_even_if_they_lie_ahead() -> None:
    given = Given()
    given.offers("p", {"memory": 10})
    given.do(claim_of({"p": {MEMORY: 1}}, start=NOON + HOUR, end=NOON + 2 * HOUR))
    with pytest.raises(FailedPrecondition, match="claims"):
        given.do(DeleteProvider(provider=P))
    given.now += 2 * HOUR
    given.do(DeleteProvider(provider=P))
    with pytest.raises(DoesNotFit, match="not found"):
        given.do(claim_of({"p": {MEMORY: 1}}, claim="c2"))


def test_a_machines_provider_goes_only_with_its_machine() -> None:
    given = Given()
    machine = given.enrolled()
    with pytest.raises(FailedPrecondition, match="belongs to a machine"):
        given.do(DeleteProvider(provider=ProviderId(machine)))


def test_a_cordon_keeps_claims_away_until_every_cause_is_lifted() -> None:
    given = Given()
    given.offers("p", {"memory": 10})
    assert types(given.do(CordonProvider(provider=P, note="fan"))) == ["provider.cordoned"]
    assert given.do(CordonProvider(provider=P, note="fan")) == []
    assert len(given.do(CordonProvider(provider=P, note="two fans"))) == 1
    with pytest.raises(DoesNotFit, match="operator"):
        given.do(claim_of({"p": {MEMORY: 1}}))
    for change in provider.cordoned(given.provider("p"), "cleaning"):
        given.happened("provider", "p", change.event)
    given.do(UncordonProvider(provider=P))
    assert given.do(UncordonProvider(provider=P)) == []
    with pytest.raises(DoesNotFit, match="cleaning"):
        given.do(claim_of({"p": {MEMORY: 1}}))


@pytest.mark.parametrize(
    ("inventory", "capacity"),
    [
        (Inventory(total=10), 10),
        (Inventory(total=10, reserved=3), 7),
        (Inventory(total=10, reserved=3, allocation_ratio=1.5), 10),
        (Inventory(total=3, allocation_ratio=0.1), 0),
        (Inventory(total=10, allocation_ratio=0.7), 7),
        (Inventory(total=100, allocation_ratio=1.1), 110),
        (Inventory(total=2**62, allocation_ratio=1.0), 2**62),
        (None, 0),
    ],
)
def test_capacity_is_exact_and_rounded_down(inventory: Inventory | None, capacity: int) -> None:
    assert provider.capacity(inventory) == capacity


@pytest.mark.parametrize(
    ("inventory", "field"),
    [
        (Inventory(total=-1), "total"),
        (Inventory(total=MAX_AMOUNT + 1), "total"),
        (Inventory(total=1, reserved=2), "reserved"),
        (Inventory(total=1, min_unit=0), "min_unit"),
        (Inventory(total=1, min_unit=3, max_unit=2), "min_unit"),
        (Inventory(total=1, step_size=0), "step_size"),
        (Inventory(total=1, allocation_ratio=0.0), "allocation_ratio"),
        (Inventory(total=1, allocation_ratio=float("nan")), "allocation_ratio"),
        (Inventory(total=1, allocation_ratio=float("inf")), "allocation_ratio"),
        (Inventory(total=MAX_AMOUNT, allocation_ratio=2.0), "allocation_ratio"),
    ],
)
def test_a_senseless_inventory_is_refused_with_its_field(inventory: Inventory, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        provider.check_inventory(inventory, "inv")
    assert refused.value.violations[0].field == f"inv.{field}"


@pytest.mark.parametrize("class_", ["memory", "custom.fpga", "custom.a-b.c"])
def test_a_known_or_custom_class_is_taken(class_: str) -> None:
    provider.check_class(class_, "class")


@pytest.mark.parametrize("class_", ["", "ram", "custom.", "custom.A", "custom.a b", "Custom.a"])
def test_an_unknown_class_is_refused(class_: str) -> None:
    with pytest.raises(InvalidArgument):
        provider.check_class(class_, "class")


def test_amounts_follow_the_inventorys_form() -> None:
    given = Given()
    form = Inventory(total=100, min_unit=10, max_unit=40, step_size=5)
    given.offers("p", {"memory": form})
    for amount in (5, 12, 45):
        with pytest.raises(DoesNotFit, match="steps of 5"):
            given.do(claim_of({"p": {MEMORY: amount}}))
    with pytest.raises(DoesNotFit, match="offers no gpu"):
        given.do(claim_of({"p": {ResourceClass("gpu"): 1}}))
    given.do(claim_of({"p": {MEMORY: 40}}))


def test_group_members_change_only_where_they_differ() -> None:
    given = Given()
    given.offers("a", {})
    given.offers("b", {})
    rack, a, b = GroupId("rack"), ProviderId("a"), ProviderId("b")
    given.do(group.CreateGroup(group=rack, name="rack"))
    given.do(group.UpdateMembers(group=rack, add=(b, a, a)))
    assert given.states[stream_id("group", rack)].members == (a, b)
    assert given.do(group.UpdateMembers(group=rack, add=(a,), remove=(ProviderId("c"),))) == []
    both = given.do(group.UpdateMembers(group=rack, add=(a,), remove=(b,)))
    assert types(both) == ["group.members_removed"]
    with pytest.raises(NotFound):
        given.do(group.UpdateMembers(group=rack, add=(ProviderId("c"),)))


def test_an_inspection_updates_what_is_offered_and_keeps_an_operators_form() -> None:
    given = Given()
    machine = given.available()
    offered = given.provider(machine)
    assert offered.inventories[ResourceClass("machine")].total == 1
    assert offered.inventories[MEMORY].total == 2**30
    assert offered.capabilities == ("storage.ssd",)
    tuned = {**offered.inventories, MEMORY: Inventory(total=99, reserved=9, step_size=3)}
    given.do(UpdateProvider(provider=ProviderId(machine), inventories=tuned))
    given.do(ManageMachine(machine=machine))
    given.do(InspectMachine(machine=machine, operation=CommitId("again")))
    given.finish()
    again = given.provider(machine).inventories[MEMORY]
    assert (again.total, again.reserved, again.step_size) == (2**30, 9, 3)
