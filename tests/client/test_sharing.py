"""Images and metadefs that several regions share."""

from collections.abc import AsyncIterator, Sequence

import pytest
from grpclib import GRPCError, Status

from mulligan.client.client import Client
from mulligan.client.regions import Regions
from mulligan.client.sharing import Pushed, Verdict, differences, images, metadefs, push
from mulligan.errors import Unavailable
from mulligan.model import new_id
from mulligan.proto import v1
from tests.client.fakes import SECRET
from tests.client.test_regions import World, authorities, world

__all__ = ["authorities", "world"]

IMAGE = v1.Image(uuid=new_id(), name="debian", url="https://images/debian.iso", sha256="ab")
OWNER = v1.Metadef(
    uuid=new_id(), name="owner", description="whom to call", kinds=["machine", "claim"]
)
TARGETS = ("west", "hidden")


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    world.east.region.images[IMAGE.uuid] = IMAGE
    world.east.region.metadefs[OWNER.uuid] = OWNER
    async with Client(world.east.context(), secret=SECRET, patience=0.4) as client:
        yield client


@pytest.fixture
def regions(client: Client) -> Regions:
    return client.regions


def verdicts(report: Sequence[Pushed]) -> list[tuple[str, str, str]]:
    return [(one.region, one.kind, str(one.verdict)) for one in report]


async def test_what_is_not_there_is_made_under_its_uuid(client: Client, world: World) -> None:
    shared: list[v1.Image | v1.Metadef] = [
        *await images(client, ["debian"]),
        *await metadefs(client, [OWNER.uuid]),
    ]
    report = await push(client.regions, shared, TARGETS)
    assert verdicts(report) == [
        (region, kind, "made") for region in TARGETS for kind in ("image", "metadef")
    ]
    for cluster in (world.west, world.hidden):
        assert list(cluster.region.images) == [IMAGE.uuid]
        assert list(cluster.region.metadefs) == [OWNER.uuid]


async def test_a_second_push_changes_nothing(regions: Regions, world: World) -> None:
    await push(regions, [IMAGE, OWNER], TARGETS)
    asked = len(world.west.region.requests)
    report = await push(regions, [IMAGE, OWNER], TARGETS, replace=True)
    assert {one.verdict for one in report} == {Verdict.SAME}
    assert len(world.west.region.requests) == asked


async def test_what_is_otherwise_there_is_left_alone(regions: Regions, world: World) -> None:
    other = v1.Image(uuid=new_id(), name="debian", url=IMAGE.url, sha256="cd")
    world.west.region.images[other.uuid] = other
    (one,) = await push(regions, [IMAGE], ["west"], replace=True)
    assert (one.verdict, one.differences) == (Verdict.DIFFERS, ("uuid", "sha256"))
    assert list(world.west.region.images.values()) == [other]


async def test_a_metadef_is_replaced_where_that_is_wished(regions: Regions, world: World) -> None:
    other = v1.Metadef(uuid=OWNER.uuid, name="owner", description="old", kinds=["claim", "machine"])
    world.west.region.metadefs[other.uuid] = other
    (left,) = await push(regions, [OWNER], ["west"])
    assert (left.verdict, left.differences) == (Verdict.DIFFERS, ("description",))
    (replaced,) = await push(regions, [OWNER], ["west"], replace=True)
    assert replaced.verdict is Verdict.REPLACED
    assert world.west.region.metadefs[OWNER.uuid].description == "whom to call"
    assert differences(OWNER, world.west.region.metadefs[OWNER.uuid]) == ()


async def test_a_region_that_is_down_fails_alone_and_another_run_ends_it(
    regions: Regions, world: World
) -> None:
    down = GRPCError(Status.UNAVAILABLE, "starting")
    world.west.region.failures = [down] * 50
    report = await push(regions, [IMAGE, OWNER], TARGETS)
    assert verdicts(report) == [
        ("west", "image", "failed"),
        ("west", "metadef", "failed"),
        ("hidden", "image", "made"),
        ("hidden", "metadef", "made"),
    ]
    assert isinstance(report[1].error, Unavailable)
    world.west.region.failures = []
    again = await push(regions, [IMAGE, OWNER], TARGETS)
    assert [one.verdict for one in again] == ["made", "made", "same", "same"]
