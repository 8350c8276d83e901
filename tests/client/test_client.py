import time
from datetime import UTC, datetime
from pathlib import Path

import anyio
import msgspec
import pytest
from freezegun import freeze_time
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as rpc
from grpclib import GRPCError, Status

from mulligan.client.client import Client
from mulligan.client.paging import every
from mulligan.client.tokens import POSITION_LIFE, Cached, TokenCache
from mulligan.errors import (
    Conflict,
    DeadlineExceeded,
    Exhausted,
    InvalidArgument,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from mulligan.model import is_uuid
from mulligan.proto import v1
from mulligan.services.gate.status import to_grpc
from tests.client.fakes import REGION, SECRET, Cluster, FakeRegion


def enroll(name: str = "node-1") -> v1.EnrollMachineRequest:
    return v1.EnrollMachineRequest(name=name)


async def test_one_address_is_enough_to_log_in_and_call(client: Client, region: FakeRegion) -> None:
    answer = await client.control.enroll_machine(enroll())
    assert answer.machine is not None
    assert answer.machine.uuid == "m-1"
    assert client.region == REGION
    assert region.logins == 1


async def test_a_mutation_without_a_request_id_is_given_one(
    client: Client, region: FakeRegion
) -> None:
    request = enroll()
    await client.control.enroll_machine(request)
    (_, sent), *_ = region.requests
    assert isinstance(sent, v1.EnrollMachineRequest)
    assert is_uuid(sent.request_id)
    assert request.request_id == "", "the caller's message stays as it was"


async def test_a_retry_carries_the_same_request_id(client: Client, region: FakeRegion) -> None:
    region.failures = [GRPCError(Status.UNAVAILABLE, "starting"), GRPCError(Status.UNAVAILABLE)]
    await client.control.enroll_machine(enroll())
    ids = {getattr(request, "request_id", "") for _, request in region.requests}
    assert len(region.requests) == 3
    assert len(ids) == 1


async def test_calls_are_spread_over_the_instances(cluster: Cluster, region: FakeRegion) -> None:
    await cluster.start()
    async with Client(cluster.context(cluster.instances[0]), secret=SECRET) as client:
        for number in range(6):
            await client.control.enroll_machine(enroll(f"node-{number}"))
    assert [instance for instance, _ in region.requests].count("i0") == 3


async def test_a_dead_instance_is_failed_over_at_once(cluster: Cluster, region: FakeRegion) -> None:
    await cluster.start()
    async with Client(cluster.context(), secret=SECRET, patience=5) as client:
        await client.control.enroll_machine(enroll())
        await cluster.stop(cluster.instances[0], unregister=False)
        began = time.monotonic()
        for number in range(6):
            await client.control.enroll_machine(enroll(f"node-{number}"))
        assert time.monotonic() - began < 4.5, "it did not wait for its patience to end"


async def test_a_draining_instance_is_passed_over_at_once(
    cluster: Cluster, region: FakeRegion
) -> None:
    await cluster.start()
    stopping = rpc.RetryInfo(retry_delay=Duration(seconds=3))
    region.failures = [GRPCError(Status.UNAVAILABLE, "stopping", [stopping])]
    async with Client(cluster.context(), secret=SECRET) as client:
        began = time.monotonic()
        await client.control.enroll_machine(enroll())
        assert time.monotonic() - began < 2.9
    assert {instance for instance, _ in region.requests} == {"i0", "i1"}


async def test_a_restart_is_waited_out(cluster: Cluster, region: FakeRegion) -> None:
    instance = cluster.instances[0]
    async with Client(cluster.context(), secret=SECRET, patience=10) as client:
        await client.control.enroll_machine(enroll())
        await cluster.stop(instance)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.control.enroll_machine, enroll("node-2"))
            await anyio.wait_all_tasks_blocked()
            await cluster.start(port=int(instance.address.rpartition(":")[2]))
    assert set(region.machines) == {"node-1", "node-2"}


async def test_an_absent_control_plane_is_reported_when_patience_ends(cluster: Cluster) -> None:
    await cluster.stop(cluster.instances[0])
    async with Client(cluster.context(), secret=SECRET, patience=0.3) as client:
        with pytest.raises(Unavailable, match="nothing listens"):
            await client.control.enroll_machine(enroll())


async def test_a_stranger_certificate_is_refused_without_retries(
    cluster: Cluster, wrong_ca: Path
) -> None:
    context = msgspec.structs.replace(cluster.context(), ca=str(wrong_ca))
    began = time.monotonic()
    async with Client(context, secret=SECRET, patience=5) as client:
        with pytest.raises(Unavailable, match="is not trusted"):
            await client.control.enroll_machine(enroll())
    assert time.monotonic() - began < 4.5


async def test_a_token_about_to_expire_is_refreshed_first(
    client: Client, region: FakeRegion
) -> None:
    region.token_life = -1
    await client.control.enroll_machine(enroll())
    region.token_life = 900
    await client.control.enroll_machine(enroll())
    await client.control.enroll_machine(enroll())
    assert (region.logins, region.refreshes) == (1, 1)


async def test_a_refused_token_is_renewed_once(client: Client, region: FakeRegion) -> None:
    await client.control.enroll_machine(enroll())
    region.valid_tokens.clear()
    await client.control.enroll_machine(enroll())
    assert region.refreshes == 1


async def test_many_calls_at_once_share_one_login(client: Client, region: FakeRegion) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(client.control.enroll_machine, enroll(f"node-{number}"))
    assert region.logins == 1


async def test_a_wrong_secret_is_said_to_be_refused(cluster: Cluster) -> None:
    async with Client(cluster.context(), secret="wrong") as client:
        with pytest.raises(Unauthenticated, match="'ada' was refused"):
            await client.iam.who_am_i()


async def test_without_a_secret_the_error_names_the_login_command(cluster: Cluster) -> None:
    async with Client(cluster.context()) as client:
        with pytest.raises(Unauthenticated, match="run `mulligan login`"):
            await client.iam.who_am_i()


async def test_cached_tokens_serve_a_later_client(
    cluster: Cluster, region: FakeRegion, tmp_path: Path
) -> None:
    cache = TokenCache(tmp_path / "tokens.json")
    async with Client(cluster.context(), secret=SECRET, cache=cache) as client:
        await client.iam.who_am_i()
    assert (tmp_path / "tokens.json").stat().st_mode & 0o777 == 0o600
    async with Client(cluster.context(), cache=cache) as client:
        await client.iam.who_am_i()
    assert region.logins == 1


async def test_a_read_asks_for_what_was_written_before(client: Client, region: FakeRegion) -> None:
    written = await client.control.enroll_machine(enroll())
    await client.control.get_machine(v1.GetMachineRequest(machine="node-1"))
    _, read = region.requests[-1]
    assert isinstance(read, v1.GetMachineRequest)
    assert read.freshness == v1.Freshness(at_least=written.position)


async def test_a_later_process_reads_what_an_earlier_one_wrote(
    cluster: Cluster, region: FakeRegion, tmp_path: Path
) -> None:
    cache = TokenCache(tmp_path / "tokens.json")
    async with Client(cluster.context(), secret=SECRET, cache=cache) as client:
        await client.control.enroll_machine(enroll())
    async with Client(cluster.context(), cache=cache) as client:
        await client.control.list_machines(v1.ListMachinesRequest())
    _, read = region.requests[-1]
    assert isinstance(read, v1.ListMachinesRequest)
    assert read.freshness is not None
    assert read.freshness.at_least == v1.Position(region=REGION, seq=1)


async def test_what_was_seen_is_believed_for_a_minute_however_often_it_is_of_no_use(
    cluster: Cluster, tmp_path: Path
) -> None:
    cache = TokenCache(tmp_path / "tokens.json")
    seen = time.time() - POSITION_LIFE + 1
    cache.store(Cached(positions={REGION: 9}, positions_at=seen))
    client = Client(cluster.context(), cache=cache)
    with freeze_time(datetime.fromtimestamp(seen + POSITION_LIFE + 1, UTC)):
        client.close()
        assert Client(cluster.context(), cache=cache).positions == {}


async def test_field_violations_arrive_as_an_invalid_argument(
    client: Client, region: FakeRegion
) -> None:
    bad = rpc.BadRequest(
        field_violations=[rpc.BadRequest.FieldViolation(field="bmc.address", description="no URL")]
    )
    region.failures = [GRPCError(Status.INVALID_ARGUMENT, "bad request", [bad])]
    with pytest.raises(InvalidArgument) as caught:
        await client.control.enroll_machine(enroll())
    assert caught.value.violations == (("bmc.address", "no URL"),)


async def test_retry_info_is_honoured_on_exhaustion(client: Client, region: FakeRegion) -> None:
    info = rpc.RetryInfo(retry_delay=Duration(nanos=200_000_000))
    region.failures = [GRPCError(Status.RESOURCE_EXHAUSTED, "slow down", [info])]
    began = time.monotonic()
    await client.control.enroll_machine(enroll())
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (Status.RESOURCE_EXHAUSTED, Exhausted),
        (Status.ABORTED, Conflict),
        (Status.NOT_FOUND, NotFound),
    ],
)
async def test_a_refusal_is_not_retried(
    client: Client, region: FakeRegion, status: Status, error: type[Exception]
) -> None:
    region.failures = [GRPCError(status, "no")]
    with pytest.raises(error, match="no"):
        await client.control.enroll_machine(enroll())
    assert len(region.requests) == 1


async def test_a_watch_resumes_without_gaps_or_repeats(client: Client, region: FakeRegion) -> None:
    commits = [("c1", 1), ("c2", 2), ("c3", 2), ("c4", 2), ("c5", 3)]
    region.records = [
        v1.LogRecord(position=v1.Position(region=REGION, seq=seq), commit=commit)
        for commit, seq in commits
    ]
    region.break_log_after = [3, 1]  # within entry 2, and again right after its first record
    seen = []
    with anyio.fail_after(10):
        async for record in client.log.watch_log(v1.WatchLogRequest()):
            seen.append(record.commit)
            if len(seen) == len(commits):
                break
    assert seen == [commit for commit, _ in commits]


async def test_every_page_of_a_list_is_read(client: Client, region: FakeRegion) -> None:
    await client.control.enroll_machine(enroll("a"))
    await client.control.enroll_machine(enroll("b"))
    found = [
        machine.name
        async for machine in every(
            client.control.list_machines, v1.ListMachinesRequest(), lambda page: page.machines
        )
    ]
    assert found == ["a", "b"]


async def test_a_program_learns_what_was_not_found(client: Client, region: FakeRegion) -> None:
    refused = to_grpc(NotFound("image", "debian"))
    assert refused is not None
    region.failures = [refused]
    with pytest.raises(NotFound) as caught:
        await client.control.enroll_machine(enroll())
    assert (caught.value.kind, caught.value.key) == ("image", "debian")


def test_what_a_text_leaves_out_is_in_no_detail() -> None:
    error = NotFound("machine", "node-1")
    error.args = ("there is no such thing",)
    refused = to_grpc(error)
    assert refused is not None and refused.details is None


async def test_a_call_without_time_is_tried_once_and_not_waited_for(cluster: Cluster) -> None:
    context = cluster.context()
    await cluster.close()
    began = time.monotonic()
    async with Client(context, secret=SECRET) as client:
        with pytest.raises((Unavailable, DeadlineExceeded)):
            await client.control.enroll_machine(enroll(), timeout=0)
    assert time.monotonic() - began < 5
