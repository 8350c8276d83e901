"""Trying a call out: by the client's own method, async and blocking, and what cannot be."""

import anyio.to_thread
import pytest

from mulligan.client.client import Client
from mulligan.client.dry_run import is_unknown
from mulligan.client.sync import Client as BlockingClient
from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.model import new_id
from mulligan.proto import v1
from tests.client.fakes import SECRET, Cluster, FakeRegion


async def test_a_call_is_sent_as_a_dry_run(client: Client, region: FakeRegion) -> None:
    request = v1.MakeClaimRequest(name="training", request_id=new_id())
    told = await client.try_out(client.resource.make_claim, request)
    assert told.records[0].commit == request.request_id
    assert region.claims == {}
    sent = [one for _, one in region.requests]
    assert sent == [v1.DryRunResourceRequest(make_claim=request)]


async def test_the_blocking_client_tries_out_as_well(cluster: Cluster, region: FakeRegion) -> None:
    def work() -> v1.DryRunResponse:
        with BlockingClient(cluster.context(), secret=SECRET, patience=5) as client:
            return client.try_out(client.resource.make_claim, v1.MakeClaimRequest(name="training"))

    told = await anyio.to_thread.run_sync(work)
    assert told.records[0].command == "claim.make"
    assert region.claims == {}


async def test_what_has_no_dry_run_is_refused_before_it_is_sent(
    client: Client, region: FakeRegion
) -> None:
    with pytest.raises(InvalidArgument, match=r"iam\.change_secret cannot be tried out"):
        await client.try_out(client.iam.change_secret, v1.ChangeSecretRequest())
    with pytest.raises(InvalidArgument, match="give a method of the client"):
        await client.try_out(client.names.describe, [])
    assert region.requests == []


async def test_an_older_service_is_told_from_one_that_refuses(client: Client) -> None:
    with pytest.raises(FailedPrecondition, match="older than this client") as raised:
        await client.try_out(client.control.delete_machine, v1.DeleteMachineRequest(machine="m"))
    assert is_unknown(raised.value)
    assert not is_unknown(FailedPrecondition("it has claims"))
