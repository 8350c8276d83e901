"""Groups whose instances are one provider each."""

import pytest

from mulligan.errors import InvalidArgument
from mulligan.events.provider import Inventory
from mulligan.events.request import CapabilityDemand, GroupDemand
from mulligan.model import GroupId
from mulligan.placement.solver import solve
from tests.placement.fleets import CPU, LATER, MEMORY, NOON, Fleet, group, needs, request


def two_hosts() -> Fleet:
    return Fleet().add("a", 10).add("b", 10)


def test_a_provider_with_room_is_a_candidate() -> None:
    found = two_hosts().solve(group(memory=10), limit=1)
    (candidate,) = found.candidates
    (allocation,) = candidate.allocations
    assert (allocation.provider, allocation.amounts, allocation.group) == ("a", {MEMORY: 10}, "vm")
    assert candidate.totals == {"a": {MEMORY: 10}}
    assert candidate.groups == {"vm": ("a",)}


def test_candidates_come_in_the_order_of_the_space() -> None:
    assert two_hosts().ways(group(memory=1)) == ["vm: a", "vm: b"]


def test_no_more_candidates_come_than_asked_for() -> None:
    assert len(two_hosts().solve(group(memory=1), limit=1).candidates) == 1
    assert two_hosts().solve(group(memory=1), limit=0).candidates == ()


def test_what_is_not_named_in_the_order_is_not_tried() -> None:
    space = two_hosts().space("b")
    found = solve(request(group(memory=1)), space, NOON, LATER, limit=9)
    assert [c.groups["vm"] for c in found.candidates] == [("b",)]


def test_every_class_must_be_at_the_one_provider() -> None:
    fleet = Fleet().add("a", 10).add("b", cpu=4).add("both", 10, cpu=4)
    assert fleet.ways(group(memory=1, cpu=1)) == ["vm: both"]


def test_amounts_are_within_least_and_most_and_in_steps() -> None:
    shaped = Inventory(total=100, min_unit=4, max_unit=8, step_size=4)
    fleet = Fleet().add("a", shaped)
    fits = [n for n in range(1, 13) if fleet.ways(group(memory=n))]
    assert fits == [4, 8]


def test_reserved_and_ratio_make_the_capacity() -> None:
    fleet = Fleet().add("a", Inventory(total=10, reserved=3, allocation_ratio=1.5))
    assert fleet.ways(group(memory=10)) == ["vm: a"]
    assert fleet.ways(group(memory=11)) == []


def test_the_peak_in_the_window_counts_and_not_the_sum() -> None:
    fleet = Fleet().add("a", 10, busy=[(0, 0.5, 6), (0.5, 1, 6)])
    assert fleet.ways(group(memory=4)) == ["vm: a"]
    assert fleet.ways(group(memory=5)) == []


def test_use_that_ends_when_the_window_begins_does_not_count() -> None:
    assert Fleet().add("a", 10, busy=[(-1, 0, 10), (1, 2, 10)]).ways(group(memory=10)) == ["vm: a"]


def test_the_turnaround_after_the_end_needs_room_too() -> None:
    fleet = Fleet().add("a", 10, busy=[(1.5, 3, 1)], turnaround=3600)
    assert fleet.ways(group(memory=10)) == []
    assert fleet.ways(group(memory=9)) == ["vm: a"]


def test_an_open_end_meets_all_later_use() -> None:
    fleet = Fleet().add("a", 10, busy=[(1000, 1001, 1)])
    assert fleet.ways(group(memory=10), end=None) == []


def test_a_cordon_on_it_or_above_it_keeps_claims_away() -> None:
    fleet = Fleet().add("rack", cordoned="operator").add("a", 10, under="rack")
    fleet.add("b", 10, cordoned="cleaning").add("c", 10)
    assert fleet.ways(group(memory=1)) == ["vm: c"]


def test_an_ancestor_that_was_not_fetched_counts_as_open() -> None:
    fleet = Fleet().add("rack", cordoned="operator").add("a", 10, under="rack")
    del fleet.nodes["rack"]
    assert fleet.ways(group(memory=1)) == ["vm: a"]


def test_deleted_providers_never_count() -> None:
    assert Fleet().add("a", 10, deleted=True).ways(group(memory=1)) == []


def test_rejected_providers_supply_nothing_but_may_still_hold_a_place() -> None:
    assert two_hosts().ways(group(memory=1), rejected=["a"]) == ["vm: b"]
    assert two_hosts().ways(group(), rejected=["a"]) == ["vm: a", "vm: b"]


def test_capabilities_are_those_of_the_provider_alone() -> None:
    fleet = Fleet().add("host", 10, capabilities=("ssd",)).add("cell", 10, under="host")
    assert fleet.ways(group(memory=1, capabilities=needs("ssd"))) == ["vm: host"]
    assert fleet.ways(group(memory=1, capabilities=needs(forbid=("ssd",)))) == ["vm: cell"]
    either = CapabilityDemand(any_of=(("nvme", "ssd"),))
    assert fleet.ways(group(memory=1, capabilities=either)) == ["vm: host"]


def test_groups_are_those_it_is_itself_a_member_of() -> None:
    fleet = Fleet().add("host", 10, groups=["pool"]).add("cell", 10, under="host")
    inside = GroupDemand(any_of=((GroupId("pool"), GroupId("other")),))
    outside = GroupDemand(forbid=(GroupId("pool"),))
    assert fleet.ways(group(memory=1, groups=inside)) == ["vm: host"]
    assert fleet.ways(group(memory=1, groups=outside)) == ["vm: cell"]


def test_in_tree_means_the_whole_tree_of_the_member_named() -> None:
    fleet = Fleet().add("a", 10).add("a1", 10, under="a").add("a2", 10, under="a").add("b", 10)
    assert fleet.ways(group(memory=1, in_tree="a1")) == ["vm: a", "vm: a1", "vm: a2"]
    assert fleet.ways(group(memory=1, in_tree="nobody")) == []


def test_a_pool_can_be_the_single_provider() -> None:
    assert Fleet().add("pool", 10, shares=["g"]).ways(group(memory=1)) == ["vm: pool"]


def test_instances_may_share_a_provider_and_their_amounts_add_up() -> None:
    fleet = Fleet().add("a", 10).add("b", 5)
    assert fleet.ways(group(memory=5, count=3)) == ["vm: a a b"]
    assert fleet.ways(group(memory=5, count=4)) == []


def test_all_instances_on_one_provider_are_no_more_than_its_most() -> None:
    fleet = Fleet().add("a", Inventory(total=100, max_unit=8))
    assert fleet.ways(group(memory=4, count=2)) == ["vm: a a"]
    assert fleet.ways(group(memory=4, count=3)) == []


def test_groups_that_want_the_same_class_share_what_there_is() -> None:
    fleet = Fleet().add("a", 10)
    assert fleet.ways(group("x", 6), group("y", 4)) == ["x: a; y: a"]
    assert fleet.ways(group("x", 6), group("y", 5)) == []


def test_instances_of_one_group_are_not_permuted() -> None:
    fleet = Fleet().add("a", 10).add("b", 10).add("c", 10)
    assert fleet.ways(group(memory=1, count=2), isolate=(("vm",),)) == [
        "vm: a b",
        "vm: a c",
        "vm: b c",
    ]


def test_isolated_instances_are_on_different_providers() -> None:
    fleet = two_hosts()
    assert fleet.ways(group(memory=1, count=2), isolate=(("vm",),)) == ["vm: a b"]
    assert fleet.ways(group(memory=1, count=3), isolate=(("vm",),)) == []


def test_isolation_reaches_over_the_groups_of_a_set_and_no_further() -> None:
    fleet = two_hosts()
    pair = (group("x", 1), group("y", 1))
    assert fleet.ways(*pair, isolate=(("x", "y"),)) == ["x: a; y: b", "x: b; y: a"]
    assert len(fleet.ways(*pair, isolate=(("x",), ("y",)))) == 4


def test_a_group_without_resources_takes_a_place_and_supplies_nothing() -> None:
    fleet = Fleet().add("a", capabilities=("ssd",)).add("b").add("c", cordoned="operator")
    (candidate,) = fleet.solve(group(capabilities=needs("ssd"))).candidates
    assert candidate.allocations == ()
    assert candidate.groups == {"vm": ("a",)}
    assert fleet.ways(group()) == ["vm: a", "vm: b"]


def test_random_and_spread_prefer_another_provider_and_pack_the_same_again() -> None:
    fleet = Fleet().add("a", 10).add("b", 10)
    assert fleet.ways(group(memory=1, count=2))[0] == "vm: a b"
    assert fleet.ways(group(memory=1, count=2), policy="spread")[0] == "vm: a b"
    assert fleet.ways(group(memory=1, count=2), policy="pack")[0] == "vm: a a"


def test_pack_begins_where_least_is_left_and_spread_where_most_is() -> None:
    fleet = Fleet().add("half", 10, busy=[(0, 1, 5)]).add("free", 10)
    fleet.add("full", 10, busy=[(0, 1, 9)])
    assert fleet.ways(group(memory=1), policy="pack") == ["vm: full", "vm: half", "vm: free"]
    assert fleet.ways(group(memory=1), policy="spread") == ["vm: free", "vm: half", "vm: full"]


def test_the_scarcest_class_asked_says_how_much_is_left() -> None:
    fleet = Fleet().add("a", 10, cpu=10, busy=[(0, 1, 5)]).add("b", 10, cpu=10, busy=[(0, 1, 6)])
    assert fleet.ways(group(memory=1, cpu=1), policy="pack") == ["vm: b", "vm: a"]
    assert fleet.ways(group(cpu=1), policy="pack") == ["vm: a", "vm: b"]
    assert CPU in fleet.nodes["a"].provider.inventories


def test_unknown_names_are_refused_by_field() -> None:
    refused = {
        "policy": {"policy": "best"},
        "isolate[0]": {"isolate": (("nobody",),)},
        "same_subtree[1]": {"same_subtree": (("vm",), ("vm", "nobody"))},
    }
    for field, rules in refused.items():
        with pytest.raises(InvalidArgument) as error:
            two_hosts().solve(group(memory=1), **rules)  # type: ignore[arg-type]
        assert error.value.violations[0].field == field
    with pytest.raises(InvalidArgument, match=r"groups\[1\]\.name"):
        two_hosts().solve(group(memory=1), group(memory=1))


def test_running_out_of_steps_is_told_from_finding_nothing() -> None:
    wanted = request(group(memory=1, count=2))
    short = solve(wanted, two_hosts().space(), NOON, LATER, limit=99, budget=3)
    assert not short.complete
    assert short.steps == 3
    assert solve(wanted, two_hosts().space(), NOON, LATER, limit=1, budget=99).complete
