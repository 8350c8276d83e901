"""A claim in one of several regions: where it lands, and that there is one whatever gets lost."""

import random
from collections.abc import AsyncIterator

import pytest

from mulligan.client.client import Client
from mulligan.client.placing import Placement, Undecided, Unplaced, place, settle
from mulligan.client.preferring import Preference, claim_id, ranked
from mulligan.client.regions import Regions
from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.model import is_uuid, new_id
from mulligan.proto import v1
from tests.client.fakes import SECRET, Cluster
from tests.client.test_regions import World, authorities, world

__all__ = ["authorities", "world"]

ONE = v1.MakeClaimRequest(
    request=v1.ResourceRequest(groups=[v1.RequestGroup(resources={"machine": 1})])
)
ANYWHERE = Preference(regions=("east", "west", "hidden"))


@pytest.fixture
async def regions(world: World) -> AsyncIterator[Regions]:
    async with Client(world.east.context(), secret=SECRET, patience=0.4) as client:
        yield client.regions


def as_if(request_id: str) -> v1.MakeClaimRequest:
    return v1.MakeClaimRequest(request_id=request_id, request=ONE.request)


def held(*clusters: Cluster) -> list[tuple[str, str]]:
    return [
        (cluster.region.name, claim.uuid) for cluster in clusters for claim in cluster.region.held
    ]


async def test_the_first_region_with_room_takes_it(regions: Regions, world: World) -> None:
    world.east.region.capacity = 0
    placement = await place(regions, ONE, ANYWHERE)
    assert placement.region == "west"
    assert [(one.region, one.reason) for one in placement.refused] == [("east", "all are taken")]
    assert held(*world) == [("west", placement.claim.uuid)]


async def test_the_order_may_be_that_of_what_is_free(regions: Regions, world: World) -> None:
    world.hidden.region.capacity = 5
    anywhere = Preference(regions=ANYWHERE.regions, order="most-free")
    assert (await place(regions, ONE, anywhere)).region == "hidden"


async def test_the_order_may_be_that_of_a_price(regions: Regions, world: World) -> None:
    for one, price in zip(world.east.region.known, ("3.5", "2"), strict=True):
        one.attributes["price"] = price
    cheapest = Preference(regions=ANYWHERE.regions, order="least:price")
    assert (await place(regions, ONE, cheapest)).region == "hidden"
    assert (await place(regions, ONE, cheapest)).region == "west"
    assert (await place(regions, ONE, cheapest)).region == "east", "it has no price"


async def test_attributes_are_wanted_and_avoided(regions: Regions) -> None:
    assert (await place(regions, ONE, Preference(want={"power": "west"}))).region == "west"
    rest = Preference(regions=ANYWHERE.regions, avoid={"power": "west"}, order="given")
    assert (await place(regions, ONE, rest)).region == "east"
    with pytest.raises(Unplaced, match="none comes into question"):
        await place(regions, ONE, Preference(want={"power": "solar"}))


async def test_when_no_region_has_room_each_says_why(regions: Regions, world: World) -> None:
    for cluster in world:
        cluster.region.capacity = 0
    with pytest.raises(Unplaced, match="east: all are taken; west: all are taken"):
        await place(regions, ONE, ANYWHERE)


async def test_a_region_that_is_down_is_gone_past(regions: Regions, world: World) -> None:
    world.west.region.capacity = 1
    world.east.region.capacity = 0
    await world.west.stop(world.west.instances[0])
    placement = await place(regions, ONE, ANYWHERE, deadline_s=1)
    assert placement.region == "hidden"
    assert placement.in_doubt == (), "nothing was asked of it but what it has"


async def test_a_claim_whose_answers_were_lost_is_found_or_released(
    regions: Regions, world: World
) -> None:
    world.east.region.fates = ["unanswered"] * 2
    placement = await place(regions, ONE, ANYWHERE)
    assert held(*world) == [(placement.region, placement.claim.uuid)]


async def test_a_region_in_doubt_is_settled_once_it_answers(regions: Regions, world: World) -> None:
    world.east.region.fates = ["unanswered"] * 1000
    placement = await place(regions, ONE, ANYWHERE)
    assert (placement.region, placement.in_doubt) == ("west", ("east",))
    assert len(held(*world)) == 2
    assert (await settle(regions, placement, ONE)).in_doubt == ("east",), "it is still away"
    world.east.region.fates = []
    assert (await settle(regions, placement, ONE)).in_doubt == ()
    assert held(*world) == [("west", placement.claim.uuid)]


async def test_a_late_copy_of_a_settled_request_makes_no_claim(
    regions: Regions, world: World
) -> None:
    world.east.region.fates = ["lost"] * 1000
    placement = await place(regions, ONE, ANYWHERE)
    world.east.region.fates = []
    assert (await settle(regions, placement, ONE)).in_doubt == ()
    late = claim_id(placement.request_id, "east")
    client = await regions.client("east")
    await client.resource.make_claim(as_if(late))
    assert held(*world) == [("west", placement.claim.uuid)]


async def test_a_claim_in_doubt_is_taken_when_no_other_region_has_room(
    regions: Regions, world: World
) -> None:
    for other in (world.west, world.hidden):
        other.region.capacity = 0
    world.east.region.fates = ["unanswered"]
    placement = await place(regions, ONE, ANYWHERE)
    assert held(*world) == [("east", placement.claim.uuid)]


async def test_what_cannot_be_known_says_how_to_go_on(regions: Regions, world: World) -> None:
    for other in (world.west, world.hidden):
        other.region.capacity = 0
    world.east.region.fates = ["unanswered"] * 1000
    with pytest.raises(Undecided) as undecided:
        await place(regions, ONE, ANYWHERE)
    world.east.region.fates = []
    placement = await place(regions, as_if(undecided.value.request_id), ANYWHERE)
    assert held(*world) == [("east", placement.claim.uuid)]


async def test_the_same_request_id_finds_the_same_claim(regions: Regions, world: World) -> None:
    world.east.region.capacity = 0
    asked = as_if(new_id())
    first = await place(regions, asked, ANYWHERE)
    world.east.region.capacity = 1
    again = await place(regions, asked, ANYWHERE)
    assert (first.region, first.claim.uuid) == (again.region, again.claim.uuid)
    assert len(held(*world)) == 1


async def test_the_request_id_of_a_claim_that_has_ended_is_refused(
    regions: Regions, world: World
) -> None:
    asked = as_if(new_id())
    placement = await place(regions, asked, ANYWHERE)
    world.east.region.claims[placement.claim.uuid].state = v1.ClaimState.RELEASED
    with pytest.raises(FailedPrecondition, match="has ended"):
        await place(regions, asked, ANYWHERE)


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_gets_lost_one_claim_lasts(
    regions: Regions, world: World, seed: int
) -> None:
    """Random losses in every region, and a caller that tries again until it knows."""
    rng = random.Random(seed)
    asked = as_if(new_id())
    clusters = (world.east, world.west, world.hidden)
    for cluster in clusters:
        cluster.region.capacity = rng.choice((0, 1, 1))
        fates = ("lost", "unanswered", "answered")
        cluster.region.fates = rng.choices(fates, k=rng.randrange(12))
        cluster.region.away = rng.random() < 0.2
    placement: Placement | None = None
    for _ in range(30):
        try:
            placement = await place(regions, asked, ANYWHERE)
            break
        except Unplaced:
            assert held(*world) == []
            return
        except Undecided:
            clusters[rng.randrange(3)].region.away = False
    assert placement is not None
    for _ in range(30):
        if not placement.in_doubt:
            break
        for cluster in clusters:
            cluster.region.away = False
        placement = await settle(regions, placement, asked)
    assert held(*world) == [(placement.region, placement.claim.uuid)]


def test_the_ids_of_a_placement_differ_by_region_and_stay() -> None:
    for request_id in (new_id(), "6f0c6c0e-6d38-4a0e-9c1f-5f0d7a3b2e11"):
        east, west = claim_id(request_id, "east"), claim_id(request_id, "west")
        assert east == claim_id(request_id, "east") != west
        assert is_uuid(east) and is_uuid(west)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "cheap", ""])
def test_what_is_no_number_comes_last_in_the_order_by_one(text: str) -> None:
    known = [
        v1.Region(name=name, attributes={"price": price})
        for name, price in (("odd", text), ("dear", "9"), ("cheap", "2"))
    ]
    assert ranked(["odd", "dear", "cheap"], "least:price", known, {}) == ["cheap", "dear", "odd"]


def test_an_order_that_is_none_is_refused() -> None:
    for order in ("cheapest", "least:"):
        with pytest.raises(InvalidArgument, match="order"):
            Preference(order=order)
