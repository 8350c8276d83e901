"""A client that is kept open learns of instances as they come and go, without a call that fails."""

from collections.abc import AsyncIterator

import anyio
import pytest

from mulligan.client.client import Client
from mulligan.proto import v1
from tests.client.fakes import REGION, SECRET, Cluster, FakeRegion
from tests.e2e.region import until


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    context = cluster.context(cluster.instances[0])
    async with Client(context, secret=SECRET, patience=5) as client:
        yield client


async def call(client: Client) -> None:
    await client.control.list_machines(v1.ListMachinesRequest())


async def test_nothing_is_watched_before_the_first_call(client: Client, region: FakeRegion) -> None:
    await anyio.sleep(0.05)
    assert region.watches == 0
    await call(client)
    await call(client)

    async def watching() -> bool:
        return region.watches == 1

    await until(watching, "the watch begins", 5)


async def test_a_client_that_is_not_entered_watches_nothing(
    cluster: Cluster, region: FakeRegion
) -> None:
    client = Client(cluster.context(), secret=SECRET)
    await call(client)
    await anyio.sleep(0.05)
    client.close()
    assert region.watches == 0


async def test_an_instance_that_leaves_the_catalog_gets_no_more_calls(
    client: Client, cluster: Cluster, region: FakeRegion
) -> None:
    await call(client)
    await cluster.start()

    async def both_are_called() -> bool:
        await call(client)
        return {"i0", "i1"} <= {instance for instance, _ in region.requests}

    await until(both_are_called, "the new instance is called", 5)
    leaving = cluster.instances[1].address
    region.endpoints = [one for one in region.endpoints if one.address != leaving]
    await anyio.sleep(0.1)
    region.requests.clear()
    for _ in range(6):
        await call(client)
    assert {instance for instance, _ in region.requests} == {"i0"}


async def test_a_call_under_way_at_an_instance_that_leaves_is_not_cut(
    client: Client, cluster: Cluster, region: FakeRegion
) -> None:
    region.records = [
        v1.LogRecord(position=v1.Position(region=REGION, seq=seq), commit=str(seq))
        for seq in range(1, 4)
    ]
    await cluster.start()
    await call(client)
    got: list[str] = []
    async for record in client.log.watch_log(v1.WatchLogRequest()):
        got.append(record.commit)
        if len(got) == 1:
            region.endpoints = [e for e in region.endpoints if e.service == "iam"]
            await anyio.sleep(0.2)
        if len(got) == 3:
            break
    assert got == ["1", "2", "3"]


async def test_the_watch_goes_on_when_all_that_were_known_at_first_are_gone(
    client: Client, cluster: Cluster, region: FakeRegion
) -> None:
    for number in range(3):
        await call(client)
        await cluster.start()
        newest = f"i{number + 1}"

        async def knows(newest: str = newest) -> bool:
            await call(client)
            return newest in {instance for instance, _ in region.requests}

        await until(knows, f"{newest} is called", 10)
        await cluster.stop(cluster.instances[number])
    await call(client)
    assert region.watches >= 2


async def test_a_stream_that_nobody_ends_ends_with_its_client(
    cluster: Cluster, region: FakeRegion, caplog: pytest.LogCaptureFixture
) -> None:
    """As when a program leaves the loop over it by an exception that it reports later."""
    region.records = [v1.LogRecord(position=v1.Position(region=REGION, seq=1), commit="1")]
    async with Client(cluster.context(), secret=SECRET) as client:
        stream = client.log.watch_log(v1.WatchLogRequest())
        assert (await anext(stream)).commit == "1"
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert caplog.text == ""
