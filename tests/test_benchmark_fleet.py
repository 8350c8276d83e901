"""The fleet that claims are measured on, and what is asked of it."""

import random

import pytest

from benchmarks._fleet import BARRED, RARE, SCENARIOS, Ask, Fleet, Node, draw, make_fleet
from benchmarks._history import History, demand_of
from benchmarks._loop import percentile
from benchmarks.peers.placement_client import query_of
from mulligan.model import utc_now


def meets(fleet: Fleet, node: Node, ask: Ask) -> bool:
    places = {place.uuid for place in fleet.places_of(node)}
    tags = set(node.capabilities)
    return (
        set(ask.require) <= tags
        and not set(ask.forbid) & tags
        and all(places & set(choice) for choice in ask.member_of)
        and not places & set(ask.not_member_of)
    )


@pytest.mark.parametrize(
    ("providers", "sites", "rows", "racks"),
    [(100, 1, 1, 4), (1_000, 4, 20, 40), (2_000, 2, 4, 100), (10_000, 4, 20, 500)],
)
def test_a_fleet_has_the_racks_of_its_size_and_none_is_empty(
    providers: int, sites: int, rows: int, racks: int
) -> None:
    fleet = make_fleet(providers)
    assert (len(fleet.sites), len(fleet.rows), len(fleet.racks)) == (sites, rows, racks)
    assert len(fleet.nodes) == providers
    assert {node.rack for node in fleet.nodes} == set(range(racks))


def test_as_many_nodes_are_full_as_asked() -> None:
    assert sum(node.full for node in make_fleet(1_000, 95).nodes) == 950


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_request_of_a_scenario_can_be_met_by_an_empty_fleet_but_not_by_all_of_it(
    scenario: str,
) -> None:
    fleet, rng = make_fleet(1_000), random.Random(3)
    for _ in range(50):
        ask = draw(fleet, scenario, rng)
        able = sum(meets(fleet, node, ask) for node in fleet.nodes)
        assert able > 0
        assert (able == 1_000) is not bool(ask.require or ask.member_of)


def test_the_earliest_that_fits_is_asked_for_as_a_duration() -> None:
    fleet, now = make_fleet(100), utc_now()
    span = demand_of(draw(fleet, "earliest", random.Random(1)), now).span
    assert span.duration is not None
    assert span.not_before is not None
    assert (span.start, span.end) == (None, None)


def test_placement_is_asked_in_its_own_words() -> None:
    ask = Ask(
        require=(RARE,), forbid=(BARRED,), member_of=(("a", "b"), ("c",)), not_member_of=("d",)
    )
    assert query_of(ask) == (
        "limit=10&resources=VCPU:1,MEMORY_MB:1024"
        "&required=CUSTOM_BENCH_A,!CUSTOM_BENCH_B"
        "&member_of=in:a,b&member_of=in:c&member_of=!in:d"
    )


def test_a_past_makes_every_stream_dense_from_its_first_event() -> None:
    versions: dict[str, list[int]] = {}
    for commit in History(make_fleet(100, 50)).commits(live=200):
        for event in commit.events:
            versions.setdefault(event.stream, []).append(event.version)
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
    assert sum(stream.startswith("claim/") for stream in versions) == 250


def test_a_percentile_is_a_value_of_the_sample() -> None:
    sample = [n / 1000 for n in range(1, 101)]
    assert percentile(sample, 0.5) == 51.0
    assert percentile(sample, 0.99) == 100.0
    assert percentile([], 0.5) == 0.0
