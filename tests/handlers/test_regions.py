"""Regions: what one says of itself, what it knows of others, and no circle among them."""

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from mulligan.errors import InvalidArgument, MulliganError, NotFound
from mulligan.events import region as ev
from mulligan.handlers.decision import Command
from mulligan.handlers.region import (
    MAX_DEPTH,
    ConnectRegion,
    CreateRegion,
    DisconnectRegion,
    Region,
    UpdateRegion,
    region_stream,
)
from mulligan.handlers.region_form import check_addresses, check_name, check_visibility
from mulligan.model import RegionName
from tests.handlers.given import Given

EAST, WEST, NORTH = RegionName("east"), RegionName("west"), RegionName("north")
AT_WEST = ("west.example:7001",)


@pytest.fixture
def east() -> Given:
    """What the region east has in its log after its beginning."""
    given = Given()
    given.do(CreateRegion(region=EAST))
    return given


def of(given: Given, name: RegionName) -> Region:
    state: Region = given.states[region_stream(name)]
    return state


def west(parent: str = "", addresses: tuple[str, ...] = AT_WEST, ca: str = "") -> ConnectRegion:
    return ConnectRegion(region=WEST, parent=RegionName(parent), addresses=addresses, ca=ca)


def lies_below(given: Given, region: RegionName, parent: str) -> None:
    given.do(UpdateRegion(region=region, fields=("parent",), parent=RegionName(parent)))


def test_a_region_changes_only_what_it_names(east: Given) -> None:
    east.do(UpdateRegion(region=EAST, fields=("attributes",), attributes={"power": "wind"}))
    east.do(UpdateRegion(region=EAST, fields=("visibility",), visibility="internal"))
    assert of(east, EAST) == Region(name=EAST, visibility="internal", attributes={"power": "wind"})


def test_saying_the_same_again_is_no_event(east: Given) -> None:
    again = UpdateRegion(region=EAST, fields=("parent",), parent=RegionName("earth"))
    assert len(east.do(again)) == 1
    assert east.do(again) == []
    assert len(east.do(west("earth", ca="PEM"))) == 1
    assert east.do(west("earth", ca="PEM")) == []


def test_a_region_that_moved_is_known_at_its_new_address(east: Given) -> None:
    east.do(west())
    east.do(west(addresses=("west.example:7002",)))
    assert of(east, WEST).addresses == ("west.example:7002",)


def test_a_region_does_not_connect_or_disconnect_itself(east: Given) -> None:
    for command in (
        ConnectRegion(region=EAST, addresses=AT_WEST),
        DisconnectRegion(region=EAST),
    ):
        with pytest.raises(InvalidArgument, match="name: east is this region itself"):
            east.do(command)


def test_what_is_forgotten_is_not_found_and_may_be_connected_again(east: Given) -> None:
    east.do(west())
    assert east.do(DisconnectRegion(region=WEST)) == [ev.RegionDisconnected()]
    with pytest.raises(NotFound):
        east.do(DisconnectRegion(region=WEST))
    assert len(east.do(west())) == 1
    assert not of(east, WEST).deleted


def test_a_parent_need_not_be_known(east: Given) -> None:
    lies_below(east, EAST, "earth")
    assert of(east, EAST).parent == "earth"


def test_a_circle_that_can_be_seen_is_refused(east: Given) -> None:
    east.do(west("east"))
    with pytest.raises(InvalidArgument, match="parent: east cannot lie below west, which lies"):
        lies_below(east, EAST, "west")
    with pytest.raises(InvalidArgument, match="parent: east cannot lie below itself"):
        lies_below(east, EAST, "east")
    lies_below(east, EAST, "north")
    with pytest.raises(InvalidArgument, match="parent: north cannot lie below west"):
        east.do(ConnectRegion(region=NORTH, parent=WEST, addresses=AT_WEST))


def test_what_was_forgotten_is_in_no_circle(east: Given) -> None:
    east.do(west("east"))
    east.do(DisconnectRegion(region=WEST))
    lies_below(east, EAST, "west")


def test_regions_do_not_lie_too_deep(east: Given) -> None:
    names = [RegionName(f"r{number}") for number in range(MAX_DEPTH + 1)]
    for above, name in zip(["", *names], names[:-1], strict=False):
        east.do(ConnectRegion(region=name, parent=RegionName(above), addresses=AT_WEST))
    with pytest.raises(InvalidArgument, match="at most 16 regions"):
        east.do(ConnectRegion(region=names[-1], parent=names[-2], addresses=AT_WEST))


NAMES = st.sampled_from([RegionName(name) for name in ("east", "a", "b", "c", "d")])
WISHES: st.SearchStrategy[Command] = st.one_of(
    st.builds(ConnectRegion, region=NAMES, parent=NAMES, addresses=st.just(AT_WEST)),
    st.builds(DisconnectRegion, region=NAMES),
    st.builds(UpdateRegion, region=st.just(EAST), fields=st.just(("parent",)), parent=NAMES),
)


@drawn(st.lists(WISHES, max_size=25))
def test_whatever_is_asked_every_known_region_has_a_root(wishes: list[Command]) -> None:
    given = Given()
    given.do(CreateRegion(region=EAST))
    for wish in wishes:
        try:
            events = given.do(wish)
        except MulliganError:
            continue
        assert not isinstance(wish, DisconnectRegion) or events
        if not isinstance(wish, DisconnectRegion):
            assert given.do(wish) == [], "asked again, nothing happens"
    known = {one.name: one for one in given.states.values() if one and not one.deleted}
    assert not known[EAST].peer
    for name in known:
        path = [name]
        while path[-1] in known and known[path[-1]].parent:
            path.append(known[path[-1]].parent)
            assert len(path) <= len(known) + 1, f"a circle: {path}"


@pytest.mark.parametrize(
    "name", ["", "East", "-a", "a-", "a_b", "a/b", "ä", "a" * 64, "a b", "a\n"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^name: "):
        check_name(name, "name")


@pytest.mark.parametrize(
    "address",
    ["", "host", ":7001", "host:", "host:0", "host:65536", "a b:1", "http://h:1", "::1:7"],
)
def test_what_is_no_address_is_refused_by_its_place(address: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^addresses\[1\]: .*host:port"):
        check_addresses(["ok.example:7001", address])


def test_what_is_well_formed_is_taken() -> None:
    assert check_name("eu-west-1", "name") == "eu-west-1"
    assert check_addresses(["[::1]:7001", "h:1", "h:1"]) == ("[::1]:7001", "h:1")
    assert check_visibility("") == "public"
    with pytest.raises(InvalidArgument, match="public"):
        check_visibility("secret")
