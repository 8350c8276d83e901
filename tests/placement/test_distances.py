"""How far instances are from one another, from a provider and from a group."""

import pytest

from mulligan.errors import InvalidArgument
from mulligan.events.request import DistanceRule
from tests.placement.fleets import Fleet, apart, group


def racks(count: int = 2, hosts: int = 2) -> Fleet:
    """Hosts in racks, local to their own and a rack away from the others."""
    fleet = Fleet()
    for number in range(count):
        for host in range(hosts):
            far = {f"r{other}": "rack" for other in range(count)}
            fleet.add(
                f"{number}{host}",
                10,
                groups=[f"r{number}"],
                distances=far | {f"r{number}": "local"},
            )
    return fleet


def test_least_keeps_instances_apart() -> None:
    ways = racks().ways(group(memory=1, count=2), distances=(apart("vm", "vm", least="rack"),))
    assert ways == ["vm: 00 10", "vm: 00 11", "vm: 01 10", "vm: 01 11"]


def test_most_keeps_instances_together() -> None:
    ways = racks().ways(
        group(memory=1, count=2), distances=(apart("vm", "vm", most="local"),), isolate=(("vm",),)
    )
    assert ways == ["vm: 00 01", "vm: 10 11"]


def test_a_provider_is_at_no_distance_from_itself() -> None:
    fleet = Fleet().add("a", 10)
    pair = group(memory=1, count=2)
    assert fleet.ways(pair, distances=(apart("vm", "vm", most="local"),)) == ["vm: a a"]
    assert fleet.ways(pair, distances=(apart("vm", "vm", least="rack"),)) == []


def test_an_unknown_distance_is_beyond_every_position() -> None:
    fleet = Fleet().add("a", 10).add("b", 10)
    pair = (group("x", 1), group("y", 1))
    apart_ = {"isolate": (("x", "y"),)}
    assert len(fleet.ways(*pair, distances=(apart("x", "y", least="row"),), **apart_)) == 2
    assert fleet.ways(*pair, distances=(apart("x", "y", most="row"),), **apart_) == []


def test_the_least_over_the_groups_of_either_counts() -> None:
    fleet = Fleet().add("a", 10, distances={"g": "row", "h": "rack"})
    fleet.add("b", 10, groups=["g", "h"])
    rules = {"isolate": (("x", "y"),)}
    pair = (group("x", 1), group("y", 1))
    assert len(fleet.ways(*pair, distances=(apart("x", "y", most="rack"),), **rules)) == 2
    assert fleet.ways(*pair, distances=(apart("x", "y", most="local"),), **rules) == []


def test_groups_and_distances_of_those_above_count_and_the_nearest_wins() -> None:
    fleet = Fleet().add("row", distances={"g": "row"})
    fleet.add("far", 10, under="row").add("near", 10, under="row", distances={"g": "local"})
    fleet.add("hall", groups=["g"]).add("there", under="hall", cpu=1)
    pair = (group("x", 1), group("y", cpu=1))
    assert fleet.ways(*pair, distances=(apart("x", "y", most="rack"),)) == ["x: near; y: there"]
    assert fleet.ways(*pair, distances=(apart("y", "x", least="row"),)) == ["x: far; y: there"]


def test_of_two_levels_above_the_nearer_one_says_how_far_it_is() -> None:
    fleet = Fleet().add("row", distances={"g": "row"})
    fleet.add("rack", under="row", distances={"g": "rack"}).add("a", 10, under="rack")
    assert fleet.ways(group(memory=1), distances=(apart("vm", group="g", most="rack"),)) == [
        "vm: a"
    ]


def test_distance_to_a_provider() -> None:
    fleet = racks()
    assert fleet.ways(group(memory=1), distances=(apart("vm", provider="00", least="rack"),)) == [
        "vm: 10",
        "vm: 11",
    ]


def test_distance_to_a_group_is_as_set_on_the_provider_or_above() -> None:
    fleet = Fleet().add("rack", distances={"g": "local"}).add("a", 10, under="rack")
    fleet.add("member", 10, groups=["g"]).add("c", 10, distances={"g": "row"})
    assert fleet.ways(group(memory=1), distances=(apart("vm", group="g", most="local"),)) == [
        "vm: a"
    ]
    assert fleet.ways(group(memory=1), distances=(apart("vm", group="g", least="row"),)) == [
        "vm: member",
        "vm: c",
    ]


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (DistanceRule(source="vm", to="vm", type="latency"), "distances[0].type"),
        (apart("vm", "vm", least="moon"), "distances[0].min"),
        (apart("vm", "vm", most="moon"), "distances[0].max"),
        (apart("nobody", "vm"), "distances[0].from"),
        (apart("vm", "nobody"), "distances[0].to"),
        (apart("vm"), "distances[0]"),
    ],
)
def test_what_is_not_known_is_refused_by_field(rule: DistanceRule, field: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        racks().solve(group(memory=1), distances=(rule,))
    assert error.value.violations[0].field == field


def test_more_instances_than_racks_are_refused_without_trying_all_combinations() -> None:
    fleet = racks(count=8, hosts=20)
    spread = (apart("vm", "vm", least="rack"),)
    found = fleet.solve(group(memory=1, count=9), distances=spread, limit=1)
    assert found.complete
    assert not found.candidates
    assert fleet.solve(group(memory=1, count=8), distances=spread, limit=1).candidates


def test_a_group_that_cannot_be_met_is_seen_behind_one_that_can() -> None:
    fleet = racks(count=8, hosts=20)
    spread = (apart("y", "y", least="rack"),)
    found = fleet.solve(group("x", 1, count=4), group("y", 1, count=9), distances=spread, limit=1)
    assert found.complete
    assert not found.candidates
