"""A region is looked at within seconds, whatever of it hangs; the rest is told all the same."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec
import pytest

from mulligan.client.client import Client
from mulligan.diagnosis.checks import problems_of
from mulligan.diagnosis.gathered import gather
from mulligan.errors import Unauthenticated, Unavailable
from mulligan.proto import v1
from tests.client.fakes import SECRET, Cluster, FakeRegion

BUSY_S = 1.5
"""Seconds that a busy machine may add to any of these."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + BUSY_S


def move(region: FakeRegion, service: str, address: str) -> None:
    """Have the Catalog say that a service is elsewhere."""
    for one in region.endpoints:
        if one.service == service:
            one.address, one.instance = address, f"{service}-9"


def told(found: object) -> dict[str, str]:
    listed = problems_of(found, datetime.now(UTC))  # type: ignore[arg-type]
    return {one.subject: one.what for one in listed}


async def test_an_address_that_hangs_does_not_hold_up_the_others(
    cluster: Cluster, hanging: str
) -> None:
    (instance,) = cluster.instances
    context = msgspec.structs.replace(cluster.context(), address=(hanging, instance.address))
    async with Client(context, secret=SECRET) as client:
        with within(1.0):
            assert len(await client.endpoints()) == 5
        with within(0.3):
            await client.endpoints()


async def test_where_every_address_hangs_it_is_said_so_in_seconds(
    cluster: Cluster, hanging: str
) -> None:
    context = msgspec.structs.replace(cluster.context(), address=(hanging,))
    async with Client(context, secret=SECRET) as client:
        with within(2.0), pytest.raises(Unavailable, match=hanging):
            await gather(client)


async def test_a_service_that_hangs_costs_its_own_answer_alone(
    cluster: Cluster, client: Client, region: FakeRegion, hanging: str
) -> None:
    region.machines["node-1"] = v1.Machine(uuid="u", name="node-1", state=v1.MachineState.FAILED)
    move(region, "log", hanging)
    with within(2.0):
        found = await gather(client)
    assert found.log is None
    assert [one.name for one in found.machines] == ["node-1"]
    assert told(found)["log-9"] == f"{hanging} does not answer: no answer within 1.5 s"
    assert "log" not in told(found), "its instance is named already"


async def test_without_a_token_and_with_iam_hanging_what_needs_no_login_is_told(
    cluster: Cluster, client: Client, region: FakeRegion, hanging: str
) -> None:
    move(region, "iam", hanging)
    with within(2.5):
        found = await gather(client)
    assert {one.service for one in found.services} == {"iam", "meta", "resource", "control", "log"}
    assert set(found.away) == {"iam-9"}
    assert "only what needs no login was looked at" in told(found)["iam"]
    assert found.silent == {}


async def test_a_token_that_is_good_still_makes_do_without_iam(
    cluster: Cluster, client: Client, region: FakeRegion, hanging: str
) -> None:
    await client.be_known()
    move(region, "iam", hanging)
    with within(2.0):
        found = await gather(client)
    assert found.unknown == ""
    assert set(found.away) == {"iam-9"}


async def test_a_service_of_two_instances_of_which_one_hangs_has_answered(
    cluster: Cluster, client: Client, region: FakeRegion, hanging: str
) -> None:
    region.machines["node-1"] = v1.Machine(uuid="u", name="node-1", state=v1.MachineState.FAILED)
    region.endpoints.append(
        v1.Endpoint(service="control", instance="control-9", address=hanging, region=region.name)
    )
    with within(2.0):
        found = await gather(client)
    assert [one.name for one in found.machines] == ["node-1"]
    assert found.silent == {}
    assert set(found.away) == {"control-9"}


async def test_a_login_that_is_refused_is_no_finding_but_an_error(cluster: Cluster) -> None:
    async with Client(cluster.context(), secret="wrong") as client:
        with pytest.raises(Unauthenticated):
            await gather(client)


async def test_regions_that_take_no_connection_are_told_of(
    cluster: Cluster, client: Client, region: FakeRegion, hanging: str
) -> None:
    there = v1.Region(name="west", addresses=["127.0.0.1:1", hanging], visibility="public")
    gone = v1.Region(name="east", addresses=["127.0.0.1:1", "nonsense"], visibility="public")
    region.known = [there, gone]
    assert set((await gather(client)).cut_off) == {"east"}
