"""Several regions as one client sees them: who is there, calls of each, and of all at once."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from mulligan.client.client import Client
from mulligan.client.context import Context, Settings, save_settings
from mulligan.client.regions import LISTING_S
from mulligan.client.tokens import TokenCache
from mulligan.errors import DeadlineExceeded, NotFound, Unauthenticated, Unavailable
from mulligan.proto import v1
from mulligan.tls import TlsFiles
from tests.client.fakes import SECRET, Cluster, FakeRegion, throwaway_tls


class World(NamedTuple):
    """East knows west and a hidden one; west knows far. Each has a CA of its own."""

    east: Cluster
    west: Cluster
    hidden: Cluster
    far: Cluster


def record(cluster: Cluster, visibility: str = "public") -> v1.Region:
    return v1.Region(
        name=cluster.region.name,
        visibility=visibility,
        addresses=[instance.address for instance in cluster.instances],
        ca=cluster.tls.ca.read_text(),
        attributes={"power": cluster.region.name},
    )


@pytest.fixture(scope="session")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> list[TlsFiles]:
    return [throwaway_tls(tmp_path_factory.mktemp(f"ca-{number}")) for number in range(4)]


@pytest.fixture
async def world(authorities: list[TlsFiles]) -> AsyncIterator[World]:
    names = ("east", "west", "hidden", "far")
    clusters = [
        Cluster(FakeRegion(name), tls) for name, tls in zip(names, authorities, strict=True)
    ]
    for cluster in clusters:
        await cluster.start()
    world = World(*clusters)
    world.east.region.known = [record(world.west), record(world.hidden, "internal")]
    world.west.region.known = [record(world.far), record(world.east)]
    yield world
    for cluster in clusters:
        await cluster.close()


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    async with Client(world.east.context(), secret=SECRET, patience=1) as client:
        yield client


async def who(client: Client) -> str:
    return (await client.iam.who_am_i(v1.WhoAmIRequest())).region


async def test_regions_are_found_through_those_that_know_them(client: Client) -> None:
    found = await client.regions.list()
    assert [region.name for region in found] == ["east", "west", "hidden", "far"]
    assert [region.home for region in found] == [True, False, False, False]


async def test_who_is_not_logged_in_is_told_of_public_regions_only(world: World) -> None:
    context = msgspec.structs.replace(world.east.context(), account="")
    async with Client(context, patience=1) as nobody:
        found = await nobody.regions.list()
    assert [region.name for region in found] == ["east", "west", "far"]


async def test_a_region_is_called_by_its_name_under_its_own_authority(client: Client) -> None:
    assert await who(await client.regions.client("west")) == "west"
    assert await client.regions.client("west") is await client.regions.client("west")
    assert await client.regions.client("east") is client


async def test_an_unknown_region_is_not_found_and_the_known_ones_are_named(client: Client) -> None:
    with pytest.raises(NotFound) as refused:
        await client.regions.client("atlantis")
    assert refused.value.message.endswith("known: east, west, hidden, far")


async def test_a_secret_is_not_sent_where_home_does_not_vouch(client: Client, world: World) -> None:
    with pytest.raises(Unauthenticated, match="mulligan login --context far"):
        await client.regions.client("far")
    assert world.far.region.logins == 0


async def test_the_users_own_context_of_a_region_goes_first(world: World, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    (tmp_path / "far.secret").write_text(SECRET)
    context = msgspec.structs.replace(
        world.far.context(), region="far", account="bob", secret_file="far.secret"
    )
    save_settings(config, Settings(current="a", contexts={"a": Context(), "b": context}))
    async with Client(world.east.context(), secret=SECRET, patience=1, config=config) as client:
        far = await client.regions.client("far")
        assert await who(far) == "far"
        assert far.context.account == "bob"


async def test_a_call_of_all_regions_tells_what_became_of_it_in_each(
    client: Client, world: World
) -> None:
    await world.west.stop(world.west.instances[0])
    world.hidden.region.silent = True

    async def ask(client: Client) -> str:
        await client.catalog.list_endpoints(v1.ListEndpointsRequest(), timeout=20)
        return await who(client)

    began = time.monotonic()
    outcomes = await client.regions.each(["hidden", "west", "east", "nowhere"], ask, 1.5)
    assert time.monotonic() - began < 10, "the silent one was given up"
    hidden, west, east, nowhere = outcomes
    assert isinstance(hidden.error, DeadlineExceeded) and "hidden" in hidden.error.message
    assert isinstance(west.error, Unavailable | DeadlineExceeded)
    assert (east.value, east.error) == ("east", None)
    assert nowhere.error is not None


async def test_every_region_is_called_as_soon_as_it_is_heard_of(world: World) -> None:
    world.hidden.region.silent = True

    async def ask(client: Client) -> str:
        if client.context.region == "hidden":
            world.hidden.region.silent = False  # only now it says anything
        return await who(client)

    began = time.monotonic()
    async with Client(world.east.context(), secret=SECRET, patience=20) as client:
        outcomes = await client.regions.everywhere(ask, 10)
    assert time.monotonic() - began < LISTING_S, "nobody waited for the silent one"
    assert [(one.region, one.value) for one in outcomes[:3]] == [
        ("east", "east"),
        ("west", "west"),
        ("hidden", "hidden"),
    ]
    assert isinstance(outcomes[3].error, Unauthenticated), "far is known through others only"


async def test_what_is_away_is_waited_for_once(client: Client, world: World) -> None:
    await world.west.stop(world.west.instances[0])
    outcomes = await client.regions.everywhere(who, 1.5)
    assert [one.region for one in outcomes] == ["east", "west", "hidden"]
    assert isinstance(outcomes[1].error, Unavailable | DeadlineExceeded)


async def test_a_silent_region_is_listed_as_others_know_it(client: Client, world: World) -> None:
    await world.west.stop(world.west.instances[0])
    found = await client.regions.list()
    assert [region.name for region in found] == ["east", "west", "hidden"]


async def test_a_region_that_lists_none_is_alone(cluster: Cluster) -> None:
    async with Client(cluster.context(), secret=SECRET) as client:
        (only,) = await client.regions.list()
    assert only.name == "here" and only.home


async def test_the_tokens_of_regions_are_kept_apart(world: World, tmp_path: Path) -> None:
    cache = TokenCache.at("mine", {"XDG_CACHE_HOME": str(tmp_path)})
    context = world.east.context()
    async with Client(context, secret=SECRET, cache=cache) as client:
        await who(client)
        await who(await client.regions.client("west"))
    async with Client(context, cache=cache) as client:
        assert await who(await client.regions.client("west")) == "west"
    assert (world.east.region.logins, world.west.region.logins) == (1, 1)
    kept = {path.name for path in (tmp_path / "mulligan" / "tokens").iterdir()}
    assert {"mine.json", "mine@west.json"} <= kept
