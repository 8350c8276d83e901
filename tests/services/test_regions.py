"""Regions as services tell of them: what the region says, whom it knows, what anybody may see."""

from collections.abc import Sequence

import anyio
import pytest

from mulligan.errors import Unavailable
from mulligan.handlers.region import ConnectRegion, DisconnectRegion, Region
from mulligan.log.memory import MemoryDisk
from mulligan.model import RegionName, Seq, utc_now
from mulligan.proto import v1
from mulligan.queries.paging import Object
from mulligan.services.meta.known_regions import KnownRegions
from tests.commands.region import ReadModel, process, request
from tests.e2e.region import until
from tests.services.conftest import Tokens
from tests.services.edge import Edge, refusal


def other(name: str = "west", **more: object) -> v1.ConnectRegionRequest:
    return v1.ConnectRegionRequest(name=name, addresses=[f"{name}.example:7001"], **more)  # type: ignore[arg-type]


async def known(
    edge: Edge, token: str, at: v1.Position | None = None, **filters: object
) -> dict[str, v1.Region]:
    fresh = v1.Freshness(at_least=at)
    asked = v1.ListRegionsRequest(freshness=fresh, **filters)  # type: ignore[arg-type]
    answer = await edge.call("meta.list_regions", asked, token)
    return {region.name: region for region in answer.regions}


async def public(edge: Edge, service: str) -> dict[str, v1.Region]:
    answer = await v1.CatalogStub(edge.channel(service)).list_endpoints(v1.ListEndpointsRequest())
    return {region.name: region for region in answer.regions}


async def test_a_region_says_where_it_is_and_who_vouches_for_it(edge: Edge, tokens: Tokens) -> None:
    config = edge.region.config
    mine = (await known(edge, tokens.red))[config.region]
    assert mine.home
    assert str(config.listen.meta) in mine.addresses
    assert config.tls.ca is not None
    assert mine.ca.strip() in config.tls.ca.read_text()


async def test_anybody_hears_of_public_regions_and_who_is_logged_in_of_all(
    edge: Edge, tokens: Tokens
) -> None:
    first = (await edge.call("meta.connect_region", other("west"), tokens.admin)).region
    again = (await edge.call("meta.connect_region", other("west"), tokens.admin)).region
    assert first == again
    hidden = other("bunker", visibility="internal", attributes={"power": "diesel"})
    at = (await edge.call("meta.connect_region", hidden, tokens.admin)).position
    assert {"west", "bunker"} <= (await known(edge, tokens.reader, at)).keys()
    assert (await known(edge, tokens.red, attributes={"power": "diesel"})).keys() == {"bunker"}

    async def heard() -> bool:
        lists = [await public(edge, service) for service in ("iam", "executor")]
        return all("west" in found and "bunker" not in found for found in lists)

    await until(heard, "the catalog tells of west", 5)
    for name in ("west", "bunker"):
        gone = v1.DisconnectRegionRequest(name=name)
        at = (await edge.call("meta.disconnect_region", gone, tokens.admin)).position
    assert not {"west", "bunker"} & (await known(edge, tokens.admin, at)).keys()


async def test_a_watcher_of_the_catalog_hears_of_a_region(edge: Edge, tokens: Tokens) -> None:
    stub = v1.CatalogStub(edge.channel("log"))
    with anyio.fail_after(10):
        async for answer in stub.watch_endpoints(v1.ListEndpointsRequest()):
            names = {region.name for region in answer.regions}
            if "passing" in names:
                break
            await edge.call("meta.connect_region", other("passing"), tokens.admin)
    gone = v1.DisconnectRegionRequest(name="passing")
    await edge.call("meta.disconnect_region", gone, tokens.admin)


async def test_the_region_is_described_by_operators_alone_and_by_its_etag(
    edge: Edge, tokens: Tokens
) -> None:
    home = edge.region.config.region
    before = (await known(edge, tokens.admin))[home]
    change = v1.UpdateRegionRequest(
        update_mask=["attributes"], attributes={"power": "wind"}, etag=before.etag
    )
    denied = await refusal(edge.call("meta.update_region", change, tokens.red))
    assert denied.status.name == "PERMISSION_DENIED"
    after = (await edge.call("meta.update_region", change, tokens.admin)).region
    assert after.attributes == {"power": "wind"}
    assert after.etag != before.etag
    late = v1.UpdateRegionRequest(update_mask=["parent"], parent="earth", etag=before.etag)
    assert (await refusal(edge.call("meta.update_region", late, tokens.admin))).status.name == (
        "ABORTED"
    )
    back = v1.UpdateRegionRequest(update_mask=["attributes"])
    assert not (await edge.call("meta.update_region", back, tokens.admin)).region.attributes


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (other("West"), "name"),
        (other("west", ca="no PEM"), "ca"),
        (other("west", parent="-"), "parent"),
        (other("west", visibility="secret"), "visibility"),
        (other("west", parent="west"), "parent"),
        (v1.ConnectRegionRequest(name="west"), "addresses"),
        (v1.ConnectRegionRequest(name="west", addresses=["west"]), "addresses[0]"),
        (other("e2e"), "name"),
    ],
)
async def test_what_is_malformed_is_refused_with_its_field(
    edge: Edge, tokens: Tokens, asked: v1.ConnectRegionRequest, field: str
) -> None:
    refused = await refusal(edge.call("meta.connect_region", asked, tokens.admin))
    assert refused.fields == (field,)


class Rows:
    """The read model of regions: away at first, and then as far as its checkpoint."""

    def __init__(self, model: ReadModel) -> None:
        self._model = model
        self.away = True

    async def __call__(self) -> tuple[Seq, Sequence[Object[Region]]]:
        if self.away:
            raise Unavailable("Postgres is away")
        streams = [one for one in self._model.fold() if one.startswith("region/")]
        found = (await self._model.load(streams)).values()
        rows = [
            Object(
                state=one.state,
                version=one.version,
                created_at=one.created_at or utc_now(),
                updated_at=one.updated_at or utc_now(),
            )
            for one in found
        ]
        return min(one.seq for one in found), rows


async def test_regions_are_known_without_postgres_and_all_of_them_once_it_answers() -> None:
    async with process(MemoryDisk()) as one, anyio.create_task_group() as tasks:
        await one.commands.execute(connect("old"), request())
        await one.commands.execute(connect("gone"), request())
        one.model.checkpoint = 2
        await one.commands.execute(disconnect("gone"), request())
        rows, regions = Rows(one.model), KnownRegions(RegionName("r"))
        tasks.start_soon(regions.follow, one.log, rows)
        await anyio.wait_all_tasks_blocked()
        assert names(regions) == ["r"]
        await one.commands.execute(connect("new"), request())
        assert names(regions) == ["new", "r"]
        rows.away = False

        async def complete() -> bool:
            return regions.complete

        await until(complete, "what was before is known", 5)
        assert names(regions) == ["new", "old", "r"]
        rows.away = True
        await one.commands.execute(disconnect("old"), request())
        assert names(regions) == ["new", "r"]
        tasks.cancel_scope.cancel()


def disconnect(name: str) -> DisconnectRegion:
    return DisconnectRegion(region=RegionName(name))


def connect(name: str) -> ConnectRegion:
    return ConnectRegion(region=RegionName(name), addresses=(f"{name}.example:1",))


def names(regions: KnownRegions) -> list[str]:
    return [one.state.name for one in regions.all()]
