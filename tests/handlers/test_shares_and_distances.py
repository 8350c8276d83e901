from typing import Any

import pytest

from mulligan.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from mulligan.events.codec import Event
from mulligan.events.provider import DistancesSet, SharesSet, TurnaroundSet
from mulligan.handlers import group
from mulligan.handlers.distance import CreateDistanceType, ExtendDistanceType
from mulligan.handlers.provider_commands import MAX_TURNAROUND, CreateProvider, UpdateProvider
from mulligan.model import GroupId, ProviderId, stream_id

from .given import Given, field, types

P = ProviderId("p")
RACK, POOL, GONE = GroupId("rack"), GroupId("pool"), GroupId("gone")
FAR = ("local", "rack", "site")


@pytest.fixture
def given() -> Given:
    given = Given()
    for one in (RACK, POOL, GONE):
        given.do(group.CreateGroup(group=one, name=one))
    given.do(group.DeleteGroup(group=GONE))
    given.do(CreateDistanceType(name="network", positions=FAR))
    given.offers("p", {"memory": 10})
    return given


def update(**fields: Any) -> UpdateProvider:
    return UpdateProvider(provider=P, **fields)


def test_shares_distances_and_turnaround_are_set_where_they_differ(given: Given) -> None:
    distances = {"network": {RACK: "rack"}}
    command = update(shares=(POOL,), distances=distances, turnaround=60)
    expected: list[Event] = [
        SharesSet(groups=(POOL,)),
        DistancesSet(distances=distances),
        TurnaroundSet(seconds=60),
    ]
    assert given.do(command) == expected
    state = given.provider("p")
    assert (state.shares, state.distances, state.turnaround) == ((POOL,), distances, 60)
    assert given.do(command) == []
    assert len(given.do(update(shares=(), distances={}, turnaround=0))) == 3


def test_a_provider_is_created_with_them(given: Given) -> None:
    command = CreateProvider(
        provider=ProviderId("q"),
        name="q",
        type="storage",
        shares=(POOL, RACK),
        distances={"network": {RACK: "local", POOL: "site"}},
        turnaround=MAX_TURNAROUND,
    )
    assert types(given.do(command))[-3:] == [
        "provider.shares_set",
        "provider.distances_set",
        "provider.turnaround_set",
    ]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"shares": (GroupId("none"),)}, "shares[0]"),
        ({"shares": (POOL, GONE)}, "shares[1]"),
        ({"distances": {"power": {RACK: "rack"}}}, "distances[power]"),
        ({"distances": {"network": {RACK: "row"}}}, "distances[network][rack]"),
        ({"distances": {"network": {RACK: "rack", GONE: "site"}}}, "distances[network][gone]"),
        ({"distances": {"network": {GroupId("x"): "site"}}}, "distances[network][x]"),
        ({"turnaround": -1}, "turnaround"),
        ({"turnaround": MAX_TURNAROUND + 1}, "turnaround"),
    ],
)
def test_what_is_wrong_with_them_is_named(given: Given, fields: Any, named: str) -> None:
    before = given.provider("p")
    with pytest.raises(InvalidArgument) as refused:
        given.do(update(**fields))
    assert field(refused) == named
    create = CreateProvider(provider=ProviderId("q"), name="q", type="compute", **fields)
    with pytest.raises(InvalidArgument) as refused:
        given.do(create)
    assert field(refused) == named
    assert given.provider("p") == before


def test_a_distance_type_is_created_once(given: Given) -> None:
    with pytest.raises(AlreadyExists):
        given.do(CreateDistanceType(name="network", positions=FAR))


@pytest.mark.parametrize(
    ("name", "positions", "named"),
    [
        ("", FAR, "name"),
        ("Network", FAR, "name"),
        ("a b", FAR, "name"),
        ("x", ("local",), "positions"),
        ("x", tuple(f"p{n}" for n in range(33)), "positions"),
        ("x", ("local", "Rack"), "positions[1]"),
        ("x", ("local", "rack", "local"), "positions[2]"),
    ],
)
def test_a_senseless_distance_type_is_refused_with_its_field(
    name: str, positions: tuple[str, ...], named: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Given().do(CreateDistanceType(name=name, positions=positions))
    assert field(refused) == named


def extend(*positions: str, name: str = "network") -> ExtendDistanceType:
    return ExtendDistanceType(name=name, positions=positions)


def test_positions_are_added_anywhere_and_those_there_are_keep_their_order(given: Given) -> None:
    assert types(given.do(extend("here", "local", "rack", "row", "site", "far"))) == [
        "distance.extended"
    ]
    assert given.do(extend("here", "local", "rack", "row", "site", "far")) == []
    assert len(given.do(update(distances={"network": {RACK: "row"}}))) == 1


@pytest.mark.parametrize(
    "positions", [("local", "site"), ("rack", "local", "site"), ("local", "rack")]
)
def test_positions_in_use_are_neither_dropped_nor_reordered(
    given: Given, positions: tuple[str, ...]
) -> None:
    with pytest.raises(FailedPrecondition, match="must stay in this order"):
        given.do(extend(*positions))
    assert given.states[stream_id("distance", "network")].positions == FAR


def test_an_unknown_distance_type_is_not_extended(given: Given) -> None:
    with pytest.raises(InvalidArgument) as refused:
        given.do(extend(*FAR, name="power"))
    assert field(refused) == "name"
