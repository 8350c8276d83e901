"""Which providers miss by least, and what is said of them."""

from mulligan.events.provider import Inventory
from mulligan.events.request import CapabilityDemand, GroupDemand, RequestGroup
from mulligan.model import GroupId
from mulligan.placement.eligibility import stage
from mulligan.placement.nearest import nearest_misses
from tests.placement.fleets import LATER, NOON, Fleet, group, needs, split


def misses(fleet: Fleet, asked: RequestGroup, limit: int = 9) -> list[str]:
    found = nearest_misses(
        asked, fleet.space(), NOON, LATER, limit, {GroupId("g"): "pool-a", GroupId("h"): "rack-7"}
    )
    for miss in found:
        assert miss.stage == stage(fleet.space(), fleet.nodes[miss.provider], asked, NOON, LATER)
    return [f"{miss.name} {miss.detail}" for miss in found]


def test_what_is_left_is_held_against_what_is_asked() -> None:
    fleet = Fleet().add("a", 64, busy=[(0, 1, 32)])
    assert misses(fleet, group(memory=64)) == ["a has 32 memory left, 64 asked"]


def test_what_fits_is_no_miss() -> None:
    assert misses(Fleet().add("a", 64), group(memory=64)) == []


def test_the_smallest_share_comes_first() -> None:
    fleet = Fleet().add("far", 10).add("near", 90).add("between", 50)
    assert [line.split()[0] for line in misses(fleet, group(memory=100), 2)] == ["near", "between"]


def test_shares_of_different_classes_are_compared_and_not_amounts() -> None:
    fleet = Fleet().add("memory", 60, cpu=4).add("cpu", 100, cpu=1)
    lines = misses(fleet, group(memory=100, cpu=4))
    assert [line.split()[0] for line in lines] == ["memory", "cpu"]


def test_one_stage_failed_comes_ahead_of_two() -> None:
    fleet = Fleet().add("both", 99).add("one", 1, capabilities=("ssd",))
    lines = misses(fleet, group(memory=100, capabilities=needs("ssd")))
    assert lines == [
        "one has 1 memory in all, 100 asked",
        "both has 99 memory in all, 100 asked; lacks ssd",
    ]


def test_each_stage_has_its_words() -> None:
    said = {
        "offers no cpu.shared": (Fleet().add("a", 10), group(memory=1, cpu=1)),
        "gives memory in steps of 4KiB, 1 asked": (
            Fleet().add("a", Inventory(total=8192, step_size=4096)),
            group(memory=1),
        ),
        "gives at most 8 memory at once, 9 asked": (
            Fleet().add("a", Inventory(total=10, max_unit=8)),
            group(memory=9),
        ),
        "gives at least 4 memory, 1 asked": (
            Fleet().add("a", Inventory(total=10, min_unit=4)),
            group(memory=1),
        ),
        "has forbidden old": (
            Fleet().add("a", 10, capabilities=("old",)),
            group(memory=1, capabilities=needs(forbid=("old",))),
        ),
        "has none of amd, intel": (
            Fleet().add("a", 10),
            group(memory=1, capabilities=CapabilityDemand(any_of=(("amd", "intel"),))),
        ),
        "is not in any of pool-a, rack-7": (
            Fleet().add("a", 10),
            group(memory=1, groups=GroupDemand(any_of=((GroupId("g"), GroupId("h")),))),
        ),
        "is in forbidden rack-7": (
            Fleet().add("a", 10, groups=["h"]),
            group(memory=1, groups=GroupDemand(forbid=(GroupId("h"),))),
        ),
        "is not in the tree of nobody": (
            Fleet().add("a", 10),
            group(memory=1, in_tree="nobody"),
        ),
        "is cordoned: cleaning": (Fleet().add("a", 10, cordoned="cleaning"), group(memory=1)),
    }
    for detail, (fleet, asked) in said.items():
        assert misses(fleet, asked) == [f"a {detail}"]


def test_a_cordon_above_is_named() -> None:
    fleet = Fleet().add("rack", cordoned="operator").add("a", 10, under="rack")
    assert misses(fleet, group(memory=1))[0] == "a stands under rack, which is cordoned: operator"


def test_a_supplier_of_a_split_group_is_looked_at_for_what_it_offers() -> None:
    fleet = Fleet().add("a", cpu=4).add("a1", 5, under="a").add("rack")
    asked = split(memory=10, cpu=1)
    found = nearest_misses(asked, fleet.space(), NOON, LATER)
    assert [f"{m.name} {m.detail}" for m in found] == ["a1 has 5 memory in all, 10 asked"]


def test_deleted_providers_are_not_spoken_of() -> None:
    assert misses(Fleet().add("a", 10, deleted=True), group(memory=99)) == []


def test_stages_drop_in_their_order() -> None:
    fleet = Fleet().add("a", Inventory(total=8, max_unit=6), cordoned="operator")
    space, node = fleet.space(), fleet.nodes["a"]
    wants = needs("ssd")
    inside = GroupDemand(any_of=((GroupId("g"),),))
    asked = [
        (group(memory=7, cpu=1), "inventory"),
        (group(memory=7, capabilities=wants), "form"),
        (group(memory=6, capabilities=wants, groups=inside), "capability"),
        (group(memory=6, groups=inside), "group"),
        (group(memory=6), "cordoned"),
    ]
    assert [stage(space, node, one, NOON, LATER) for one, _ in asked] == [s for _, s in asked]
    busy = Fleet().add("a", 8, busy=[(0, 1, 4)])
    assert stage(busy.space(), busy.nodes["a"], group(memory=5), NOON, LATER) == "capacity"
    assert stage(busy.space(), busy.nodes["a"], group(memory=4), NOON, LATER) == "fit"
