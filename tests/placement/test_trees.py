"""Groups over trees and shared pools, and what ties groups to one tree."""

from mulligan.events.request import CapabilityDemand, GroupDemand
from mulligan.model import GroupId
from mulligan.placement.solver import solve
from tests.placement.fleets import CPU, LATER, MEMORY, NOON, Fleet, group, needs, request, split


def host_with_cells() -> Fleet:
    fleet = Fleet().add("host", cpu=4)
    return fleet.add("cell1", 10, under="host").add("cell2", 10, under="host")


def test_a_split_group_takes_its_classes_from_one_tree() -> None:
    fleet = host_with_cells().add("other", 10)
    assert fleet.ways(split(memory=10, cpu=4)) == ["vm: cell1 host", "vm: cell2 host"]


def test_a_class_is_never_divided_between_suppliers() -> None:
    assert host_with_cells().ways(split(memory=11, cpu=1)) == []


def test_the_allocations_of_a_split_instance_name_each_supplier() -> None:
    found = host_with_cells().solve(split(memory=10, cpu=4), limit=1)
    taken = {a.provider: a.amounts for a in found.candidates[0].allocations}
    assert taken == {"cell1": {MEMORY: 10}, "host": {CPU: 4}}


def test_a_pool_supplies_the_trees_with_a_member_in_its_groups() -> None:
    fleet = Fleet().add("a", cpu=4).add("a1", under="a", groups=["g"]).add("b", cpu=4)
    fleet.add("pool", 100, shares=["g"])
    assert fleet.ways(split(memory=1, cpu=1)) == ["vm: a pool"]


def test_a_pool_need_not_be_in_the_order_to_supply() -> None:
    fleet = Fleet().add("a", cpu=4, groups=["g"]).add("pool", 100, shares=["g"])
    found = solve(request(split(memory=1, cpu=1)), fleet.space("a"), NOON, LATER)
    assert found.candidates[0].groups == {"vm": ("a", "pool")}


def test_pools_of_pools_do_not_count() -> None:
    fleet = Fleet().add("a", cpu=4, groups=["g"])
    fleet.add("near", shares=["g"], groups=["h"]).add("far", 10, shares=["h"])
    assert fleet.ways(split(memory=1, cpu=1)) == []


def test_some_supplier_has_what_is_required_and_none_what_is_forbidden() -> None:
    fleet = Fleet().add("a", cpu=4, capabilities=("avx",))
    fleet.add("a1", 10, under="a", capabilities=("ecc",))
    fleet.add("a2", 10, under="a", capabilities=("old",))
    both = needs("avx", "ecc")
    assert fleet.ways(split(memory=1, cpu=1, capabilities=both)) == ["vm: a a1"]
    modern = needs(forbid=("old",))
    assert fleet.ways(split(memory=1, cpu=1, capabilities=modern)) == ["vm: a a1"]
    either = CapabilityDemand(any_of=(("old", "new"),))
    assert fleet.ways(split(memory=1, cpu=1, capabilities=either)) == ["vm: a a2"]


def test_membership_of_the_root_covers_the_tree_and_of_a_child_only_that_child() -> None:
    inside = GroupDemand(any_of=((GroupId("g"),),))
    whole = Fleet().add("a", cpu=4, groups=["g"]).add("a1", 10, under="a")
    assert whole.ways(split(memory=1, cpu=1, groups=inside)) == ["vm: a a1"]
    part = Fleet().add("a", cpu=4).add("a1", 10, under="a", groups=["g"])
    assert part.ways(split(memory=1, cpu=1, groups=inside)) == []
    assert part.ways(split(memory=1, groups=inside)) == ["vm: a1"]


def test_forbid_rejects_suppliers_in_the_group_or_whose_root_is() -> None:
    outside = GroupDemand(forbid=(GroupId("g"),))
    whole = Fleet().add("a", groups=["g"]).add("a1", 10, under="a")
    assert whole.ways(split(memory=1, groups=outside)) == []
    part = Fleet().add("a", 10).add("a1", 10, under="a", groups=["g"])
    assert part.ways(split(memory=1, groups=outside)) == ["vm: a"]


def test_in_tree_keeps_a_split_group_from_pools() -> None:
    fleet = Fleet().add("a", cpu=4, groups=["g"]).add("a1", 10, under="a")
    fleet.add("pool", 100, shares=["g"])
    assert fleet.ways(split(memory=1, cpu=1)) == ["vm: a a1", "vm: a pool"]
    assert fleet.ways(split(memory=1, cpu=1, in_tree="a1")) == ["vm: a a1"]


def test_cordoned_suppliers_give_nothing() -> None:
    fleet = Fleet().add("a", cpu=4).add("a1", 10, under="a", cordoned="failed")
    assert fleet.ways(split(memory=1, cpu=1)) == []


def test_instances_of_a_split_group_share_their_suppliers_room() -> None:
    fleet = host_with_cells()
    assert fleet.ways(split(memory=6, cpu=2, count=2)) == ["vm: cell1 cell2 host host"]
    assert fleet.ways(split(memory=6, cpu=2, count=3)) == []


def test_isolated_split_instances_have_no_supplier_in_common() -> None:
    fleet = Fleet()
    for name in ("a", "b"):
        fleet.add(name, cpu=4).add(f"{name}1", 10, under=name)
    pair = split(memory=1, cpu=1, count=2)
    assert fleet.ways(pair, isolate=(("vm",),)) == ["vm: a a1 b b1"]
    assert host_with_cells().ways(split(memory=1, cpu=1, count=2), isolate=(("vm",),)) == []


def test_instances_of_a_split_group_prefer_another_tree_unless_packed() -> None:
    fleet = Fleet().add("a", 10, cpu=4).add("b", 10, cpu=4)
    pair = split(memory=1, cpu=1, count=2)
    assert fleet.ways(pair)[0] == "vm: a b"
    assert fleet.ways(pair, policy="pack")[0] == "vm: a a"


def test_without_same_tree_each_group_is_free_to_use_another() -> None:
    fleet = Fleet().add("a", 10).add("b", cpu=4)
    assert fleet.ways(group("x", 1), group("y", cpu=1)) == ["x: a; y: b"]
    assert fleet.ways(group("x", 1), group("y", cpu=1), same_tree=True) == []


def test_same_tree_takes_all_groups_from_one_tree_and_its_pools() -> None:
    fleet = Fleet()
    for name in ("a", "b"):
        fleet.add(name, cpu=4, groups=[f"of-{name}"]).add(f"{name}1", 10, under=name)
    fleet.add("pool", 10, shares=["of-b"])
    assert fleet.ways(group("x", cpu=1), split("y", 1), same_tree=True) == [
        "x: a; y: a1",
        "x: b; y: b1",
        "x: b; y: pool",
    ]
    assert fleet.ways(group("x", cpu=1), group("y", 1), same_tree=True) == [
        "x: a; y: a1",
        "x: b; y: b1",
        "x: b; y: pool",
    ]


def test_root_capabilities_look_at_the_root_of_each_chosen_tree() -> None:
    fleet = Fleet()
    for name, has in (("a", ("good",)), ("b", ())):
        fleet.add(name, capabilities=has).add(f"{name}1", 10, under=name)
    good, other = needs("good"), needs(forbid=("good",))
    assert fleet.ways(group(memory=1), root_capabilities=good) == ["vm: a1"]
    assert fleet.ways(split(memory=1), root_capabilities=good) == ["vm: a1"]
    assert fleet.ways(split(memory=1), root_capabilities=other) == ["vm: b1"]
    assert fleet.ways(group("x", 1), group("y", 1), root_capabilities=good) == ["x: a1; y: a1"]


def test_root_capabilities_do_not_look_at_the_roots_of_pools() -> None:
    fleet = Fleet().add("a", cpu=1, groups=["g"], capabilities=("good",))
    fleet.add("pool", 10, shares=["g"])
    good = needs("good")
    assert fleet.ways(split(memory=1, cpu=1), root_capabilities=good) == ["vm: a pool"]
    both = (group("x", cpu=1), group("y", 1))
    assert fleet.ways(*both, same_tree=True, root_capabilities=good) == ["x: a; y: pool"]
    assert fleet.ways(*both, root_capabilities=good) == []


def test_same_subtree_wants_one_of_the_chosen_above_all_others() -> None:
    fleet = Fleet().add("a", 10).add("a1", cpu=1, under="a").add("a2", 10, under="a")
    fleet.add("b", 10)
    tied = (("x", "y"),)
    assert fleet.ways(group("x", 1), group("y", cpu=1), same_subtree=tied) == ["x: a; y: a1"]


def test_same_subtree_reaches_over_all_instances() -> None:
    fleet = Fleet().add("a").add("a1", 10, under="a").add("a2", 10, under="a")
    pair = group("x", 10, count=2)
    assert fleet.ways(pair, same_subtree=(("x",),)) == []
    anchored = fleet.ways(group("top"), pair, same_subtree=(("x", "top"),))
    assert anchored == ["top: a; x: a1 a2"]


def test_one_provider_for_all_is_its_own_subtree() -> None:
    fleet = Fleet().add("a", 10, cpu=1)
    tied = (("x", "y"),)
    assert fleet.ways(group("x", 1), group("y", cpu=1), same_subtree=tied) == ["x: a; y: a"]


def test_same_subtree_counts_all_suppliers_of_a_split_instance() -> None:
    fleet = host_with_cells()
    tied = (("vm",),)
    assert fleet.ways(split(memory=1, cpu=1), same_subtree=tied) == [
        "vm: cell1 host",
        "vm: cell2 host",
    ]
    beside = Fleet().add("a").add("a1", 10, under="a").add("a2", cpu=1, under="a")
    assert beside.ways(split(memory=1, cpu=1), same_subtree=tied) == []
