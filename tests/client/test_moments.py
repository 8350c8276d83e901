"""Reading as of an earlier moment through the smart client."""

import pytest

from mulligan.client.client import Client
from mulligan.errors import InvalidArgument
from mulligan.model import AT_HEADER
from mulligan.proto import v1
from tests.client.fakes import FakeRegion


async def test_a_view_of_the_past_reads_over_the_same_connections(
    client: Client, region: FakeRegion
) -> None:
    await client.control.list_machines(v1.ListMachinesRequest())
    then = client.at("1234")
    await then.control.list_machines(v1.ListMachinesRequest())
    then.close()
    await client.control.list_machines(v1.ListMachinesRequest())
    assert region.logins == 1
    assert then.names is not client.names, "a name may have meant another object then"


async def test_what_does_not_only_read_is_refused_before_anything_is_sent(
    client: Client, region: FakeRegion
) -> None:
    then = client.at("2026-11-20T14:00:00Z")
    with pytest.raises(InvalidArgument, match="leave it out") as refused:
        await then.control.enroll_machine(v1.EnrollMachineRequest(name="n"))
    assert refused.value.violations[0].field == AT_HEADER
    with pytest.raises(InvalidArgument):
        async for _ in then.log.watch_log(v1.WatchLogRequest()):
            pass
    assert not region.requests
    assert not region.logins
