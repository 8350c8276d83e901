"""Which regions a list is of."""

from collections.abc import Mapping
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mulligan.handlers.region import Region
from mulligan.model import RegionName
from mulligan.queries.paging import Object
from mulligan.queries.regions import Wanted, select

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LETTERS = "abcdefgh"


def known(parents: Mapping[str, str]) -> list[Object[Region]]:
    return [
        Object(
            state=Region(
                name=RegionName(name),
                parent=RegionName(parent),
                visibility="internal" if name == "b" else "public",
                attributes={"power": "wind", "tier": name},
            ),
            version=1,
            created_at=NOON,
            updated_at=NOON,
        )
        for name, parent in sorted(parents.items())
    ]


def names(found: list[Object[Region]]) -> str:
    return "".join(one.state.name for one in found)


def test_those_below_a_region_are_found_at_any_depth_and_under_one_that_is_not_known() -> None:
    regions = known({"a": "", "b": "a", "c": "b", "d": "x", "e": ""})
    assert names(select(regions, Wanted(under="a"))) == "bc"
    assert names(select(regions, Wanted(under="x"))) == "d"
    assert names(select(regions, Wanted())) == "abcde"


def test_all_attributes_have_to_fit() -> None:
    regions = known({"a": "", "b": "", "c": ""})
    assert names(select(regions, Wanted(attributes={"power": "wind"}))) == "abc"
    assert names(select(regions, Wanted(attributes={"power": "wind", "tier": "c"}))) == "c"
    assert names(select(regions, Wanted(visibility="internal"))) == "b"


@given(st.dictionaries(st.sampled_from(LETTERS), st.sampled_from(LETTERS), max_size=8))
def test_under_ends_even_in_a_circle_and_is_what_going_up_finds(parents: dict[str, str]) -> None:
    for root in LETTERS:
        found = names(select(known(parents), Wanted(under=root)))
        for name in parents:
            path, at = [name], parents[name]
            while at in parents and at not in path and at != root:
                path.append(at)
                at = parents[at]
            assert (name in found) == (at == root)
