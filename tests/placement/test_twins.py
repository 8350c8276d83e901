"""Providers that a request cannot tell apart, and those it can."""

from mulligan.placement.domain import Budget
from mulligan.placement.places import Places
from mulligan.placement.twins import Twins, independent
from tests.placement.fleets import LATER, NOON, Fleet, apart, group, request, split


def kinds(fleet: Fleet, *groups: object, **rules: object) -> list[list[str]]:
    """Sort the providers of a fleet by kind."""
    asked = request(*groups, **rules)  # type: ignore[arg-type]
    places = Places(asked, fleet.space(), NOON, LATER, (), Budget(1000))
    twins = Twins(places)
    assert twins.known
    found: dict[object, list[str]] = {}
    for name, node in fleet.nodes.items():
        found.setdefault(twins.kind(node), []).append(name)
    return list(found.values())


def test_providers_with_room_for_as_many_instances_are_twins() -> None:
    fleet = Fleet().add("a", 10).add("b", 12).add("c", 20)
    assert kinds(fleet, group(memory=5, count=4)) == [["a", "b"], ["c"]]


def test_more_room_than_all_instances_need_makes_no_difference() -> None:
    assert kinds(Fleet().add("a", 10).add("b", 99), group(memory=5, count=2)) == [["a", "b"]]


def test_what_is_left_of_a_class_makes_a_difference_when_several_groups_want_it() -> None:
    fleet = Fleet().add("a", 10).add("b", 11)
    both = (group("x", 5, count=2), group("y", 6))
    assert kinds(fleet, *both) == [["a"], ["b"]]


def test_groups_make_a_difference_only_to_distances_between_instances() -> None:
    fleet = Fleet().add("a", 10, groups=["g"]).add("b", 10, groups=["h"])
    assert kinds(fleet, group(memory=1)) == [["a", "b"]]
    rule = apart("vm", "vm", least="rack")
    assert kinds(fleet, group(memory=1, count=2), distances=(rule,)) == [["a"], ["b"]]


def test_distances_make_a_difference_to_distances_between_instances() -> None:
    fleet = Fleet().add("a", 10, distances={"g": "rack"}).add("b", 10, distances={"g": "row"})
    rule = apart("vm", "vm", least="rack")
    assert kinds(fleet, group(memory=1, count=2), distances=(rule,)) == [["a"], ["b"]]


def test_nothing_is_said_where_trees_matter() -> None:
    fleet = Fleet().add("a", 10, cpu=1)
    for asked in (
        request(split(memory=1, cpu=1)),
        request(group(memory=1), same_tree=True),
        request(group(memory=1), same_subtree=(("vm",),)),
    ):
        places = Places(asked, fleet.space(), NOON, LATER, (), Budget(1000))
        assert not Twins(places).known


def test_groups_that_no_rule_ties_together_are_independent() -> None:
    asked = request(
        group("a", 1),
        group("b", 1),
        group("c", 1),
        isolate=(("a", "c"), ("b",)),
        distances=(apart("b", "b", least="rack"),),
    )
    parts = independent(asked)
    assert [[one.name for one in part.groups] for part in parts] == [["a", "c"], ["b"]]
    assert [len(part.isolate) for part in parts] == [1, 1]
    assert [len(part.distances) for part in parts] == [0, 1]
    assert independent(request(group("a", 1))) == []
