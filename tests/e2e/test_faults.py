"""Parts that die, freeze or come late under real work: all of it converges, nothing twice."""

import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from copy import copy
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any, NamedTuple

import anyio
import pytest
from grpclib import GRPCError, Status
from grpclib.const import Cardinality
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from msgspec.structs import replace

from mulligan.client import Client
from mulligan.config import Address
from mulligan.embedded.ports import free_ports
from mulligan.embedded.ready import all_serving
from mulligan.embedded.region import embedded_etcd, embedded_postgres
from mulligan.errors import Exhausted
from mulligan.log.registry import TTL
from mulligan.model import new_id
from mulligan.proto import v1
from mulligan.services.serve import SERVICES
from tests.e2e.fleet import IMAGE, Fleet, rests
from tests.e2e.history import (
    attempted_twice,
    may_have_sent,
    overbooked,
    read_history,
    read_models_differ,
    was_sent,
)
from tests.e2e.region import RunningRegion, short_folder, until
from tests.services.edge import Edge, Refusal, explained

MACHINES = 8
POOL = 12
KILLED = ("etcd", "executor", "postgres", "resource", "projector", "control", "iam")
PATIENCE = 60.0


class Acknowledged:
    """The requests that were acknowledged, by the id of their commit."""

    def __init__(self) -> None:
        self.commits: dict[str, int] = {}

    async def sent(self, method: Any, request: Any) -> Any:
        """Send a request under an id of our own and note the answer's position."""
        request.request_id = new_id()
        answer = await method(request, timeout=PATIENCE)
        self.commits[request.request_id] = answer.position.seq
        return answer


class World(NamedTuple):
    """A region with a fleet, nothing enrolled yet, an operator and a tenant."""

    region: RunningRegion
    fleet: Fleet
    admin: Client
    tenant: Client


@pytest.fixture(scope="module")
async def world(region: RunningRegion, place: Path) -> AsyncIterator[World]:
    fleet = Fleet(region, place / "fleet", 3 * MACHINES)
    admin = region.client(patience=PATIENCE)
    async with fleet.emulator:
        await fleet.prepare(admin)
        pool = v1.Inventory(resource_class="memory", total=POOL)
        await admin.resource.create_provider(
            v1.CreateProviderRequest(name="pool", type="compute", inventories=[pool])
        )
        yield World(region, fleet, admin, await region.tenant("red", "rita"))


async def bring_up(world: World, acknowledged: Acknowledged, name: str) -> None:
    """Take one machine from its enrolment to an image that runs."""
    control, tenant = world.admin.control, world.tenant
    bmc = world.fleet.bmc(name)
    await acknowledged.sent(control.enroll_machine, v1.EnrollMachineRequest(name=name, bmc=bmc))
    await acknowledged.sent(control.inspect_machine, v1.MachineRequest(machine=name))
    await rests(world.admin, name, v1.MachineState.MANAGEABLE, PATIENCE)
    await acknowledged.sent(control.provide_machine, v1.MachineRequest(machine=name))
    await rests(world.admin, name, v1.MachineState.AVAILABLE, PATIENCE)
    machine = v1.Allocation(provider=name, amounts={"machine": 1})
    claim = v1.ClaimExactRequest(name=f"{name}-claim", allocations=[machine])
    await acknowledged.sent(tenant.resource.claim_exact, claim)
    deploy = v1.DeployMachineRequest(claim=f"{name}-claim", image=IMAGE)
    await acknowledged.sent(tenant.control.deploy_machine, deploy)
    await rests(tenant, name, v1.MachineState.ACTIVE, PATIENCE)


async def take_and_give_back(
    client: Client, acknowledged: Acknowledged, seed: int, stop: anyio.Event
) -> None:
    """Take from the pool, more than it has, and give back, until told to stop."""
    rng = random.Random(seed)
    held: list[str] = []

    async def give_back() -> None:
        back = v1.ReleaseClaimRequest(claim=held.pop(rng.randrange(len(held))))
        await acknowledged.sent(client.resource.release_claim, back)

    while not stop.is_set():
        group = v1.RequestGroup(resources={"memory": rng.randint(1, 3)})
        enough = len(held) > 2
        try:
            made = await acknowledged.sent(
                client.resource.make_claim,
                v1.MakeClaimRequest(request=v1.ResourceRequest(groups=[group])),
            )
            held.append(made.claim.uuid)
        except Exhausted:
            enough = bool(held)
        if enough:
            await give_back()
        await anyio.sleep(0.02)
    while held:
        await give_back()


async def kill_in_turn(world: World, parts: Sequence[str], stop: anyio.Event) -> None:
    """Kill each part, the next one when work goes on after the one before."""
    head = 0

    async def moved_on() -> bool:
        status = await world.admin.log.get_log_status(v1.GetLogStatusRequest())
        assert status.head is not None
        return status.head.seq > head + 10

    for name in parts:
        await until(moved_on, f"work goes on before {name} is killed", PATIENCE)
        await world.region.kill(name)
        status = await world.admin.log.get_log_status(v1.GetLogStatusRequest())
        assert status.head is not None
        head = status.head.seq
    await until(moved_on, "work goes on after the last one was killed", PATIENCE)
    stop.set()


@pytest.mark.timeout(240)
async def test_all_work_converges_though_every_part_is_killed_in_turn(world: World) -> None:
    await converges(world, world.fleet.names[:MACHINES], KILLED)


@pytest.mark.crash
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(2))
async def test_all_work_converges_though_parts_are_killed_at_random(
    world: World, seed: int
) -> None:
    names = world.fleet.names[(seed + 1) * MACHINES : (seed + 2) * MACHINES]
    await converges(world, names, random.Random(seed).choices(KILLED, k=20))


async def converges(world: World, names: Sequence[str], killed: Sequence[str]) -> None:
    """Bring machines up and take from the pool while parts are killed; prove the outcome."""
    acknowledged, stop = Acknowledged(), anyio.Event()
    takers = [world.tenant, *(world.region.client("rita", "rita-red-secret", "red") for _ in "ab")]
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(bring_up, world, acknowledged, name)
        for seed, client in enumerate(takers):
            tasks.start_soon(take_and_give_back, client, acknowledged, seed, stop)
        tasks.start_soon(kill_in_turn, world, killed, stop)
    facts = await read_history(world.admin)
    seqs = {fact.commit: fact.seq for fact in facts}
    assert acknowledged.commits.keys() <= seqs.keys(), "every acknowledged request is in the log"
    assert all(seqs[commit] <= at for commit, at in acknowledged.commits.items())
    assert len(acknowledged.commits) > 5 * len(names)
    assert overbooked(facts) == {}
    assert attempted_twice(facts) == []
    sent, allowed = was_sent(world.fleet.writes()), may_have_sent(facts)
    assert sum(counts["InsertMedia"] for counts in sent.values()) >= len(names)
    for system, counts in sent.items():
        assert counts <= allowed[system], f"{system} was sent more than the log accounts for"
    assert await read_models_differ(world.admin) == {}


async def timed(call: Any, *, within: float) -> Refusal | None:
    """Return how a call was refused, None if it was not; fail if either took too long."""
    with anyio.fail_after(within):
        try:
            await call
        except GRPCError as error:
            return explained(error)
    return None


def is_away(refused: Refusal | None) -> bool:
    """Tell whether the refusal asks to come back later, and when."""
    return (
        refused is not None
        and refused.status is Status.UNAVAILABLE
        and refused.retry_after is not None
        and refused.retry_after > 0
    )


@pytest.fixture(scope="module")
async def edge(region: RunningRegion) -> AsyncIterator[Edge]:
    bare = Edge(region)
    yield bare
    bare.close()


async def provider_of(edge: Edge, token: str, name: str, total: int) -> str:
    stock = [v1.Inventory(resource_class="memory", total=total)]
    request = v1.CreateProviderRequest(name=name, type="compute", inventories=stock)
    return str((await edge.call("resource.create_provider", request, token)).provider.uuid)


def claim_of_memory() -> v1.MakeClaimRequest:
    group = v1.RequestGroup(resources={"memory": 1})
    return v1.MakeClaimRequest(request=v1.ResourceRequest(groups=[group]))


def one_of(provider: str) -> v1.ClaimExactRequest:
    return v1.ClaimExactRequest(
        request_id=new_id(),
        allocations=[v1.Allocation(provider=provider, amounts={"memory": 1})],
    )


@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_without_postgres_what_is_in_memory_goes_on_and_the_rest_says_so_soon(
    world: World, edge: Edge, how: str
) -> None:
    operator, tenant = await edge.admin(), await edge.token("rita", "rita-red-secret", "red")
    known = await provider_of(edge, operator, f"known-{how}", 5)
    claim = (await edge.call("resource.claim_exact", one_of(known), tenant)).claim.uuid

    def update(rack: str) -> v1.UpdateProviderRequest:
        return v1.UpdateProviderRequest(
            provider=known, update_mask=["attributes"], attributes={"rack": rack}
        )

    async with away(world.region, "postgres", how):
        changed = edge.call("resource.update_provider", update("1"), operator)
        assert await timed(changed, within=1) is None, "its states are in memory"
        exact = edge.call("resource.claim_exact", one_of(known), tenant)
        assert await timed(exact, within=1) is None, "so are those of its claims"
        assert (
            await edge.call("resource.get_claim", v1.GetClaimRequest(claim=claim), tenant)
        ).claim

        async def says_so(method: str, request: Any) -> None:
            refused = await timed(edge.call(f"resource.{method}", request, tenant), within=6)
            assert is_away(refused), method

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(says_so, "list_claims", v1.ListClaimsRequest())
            tasks.start_soon(says_so, "make_claim", claim_of_memory())
            tasks.start_soon(says_so, "get_claim", v1.GetClaimRequest(claim=new_id()))
    claims = await edge.call("resource.list_claims", v1.ListClaimsRequest(), tenant)
    assert claim in {one.uuid for one in claims.claims}
    await edge.call("resource.make_claim", claim_of_memory(), tenant)


@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_without_etcd_commands_say_so_soon_and_go_on_when_it_is_back(
    world: World, edge: Edge, how: str
) -> None:
    token = await edge.token("rita", "rita-red-secret", "red")
    known = await provider_of(edge, await edge.admin(), f"logged-{how}", 5)
    asked = one_of(known)
    async with away(world.region, "etcd", how):
        refused = await timed(edge.call("resource.claim_exact", asked, token), within=12)
        assert is_away(refused)
        # A silent etcd is noticed by a lease's renewal: reads must outlast that.
        until_renewed = time.monotonic() + (TTL * 0.6 if how == "frozen" else 0)
        while True:
            listing = edge.call("resource.list_claims", v1.ListClaimsRequest(), token)
            assert await timed(listing, within=6) is None, "reads need no etcd"
            if time.monotonic() > until_renewed:
                break
            await anyio.sleep(0.1)
    repeated = await edge.call("resource.claim_exact", asked, token)
    again = await edge.call("resource.claim_exact", asked, token)
    assert again.claim == repeated.claim
    usage = v1.ListUsageRequest(provider=known)
    segments = (await edge.call("resource.list_usage", usage, token)).segments
    assert [s.used for s in segments] == [1]


@asynccontextmanager
async def away(region: RunningRegion, name: str, how: str) -> AsyncIterator[None]:
    """Have a part frozen, or killed and not started again."""
    if how == "killed":
        async with region.held_down(name):
            yield
        return
    try:
        with region.frozen(name):
            yield
    finally:
        await region.answering()


@asynccontextmanager
async def second_resource(region: RunningRegion) -> AsyncIterator[tuple[Edge, Popen[bytes]]]:
    """Run another instance of mulligan-resource beside the region's own."""
    address = Address(f"127.0.0.1:{free_ports(1)[0]}")
    listen = replace(region.config.listen, resource=address)
    beside = copy(region)
    beside.config = replace(region.config, listen=listen)
    process = region.spawn("serve", "resource", MULLIGAN_LISTEN_RESOURCE=str(address))
    second = Edge(beside)
    try:
        await all_serving(beside.config, 20)
        await until(lambda: listed(second, second, True), "it is in the catalog", 5)
        yield second, process
        if process.poll() is None:
            process.terminate()
        assert await anyio.to_thread.run_sync(process.wait, 15) == 0
    finally:
        second.close()
        process.kill()
        process.wait()


async def listed(edge: Edge, second: Edge, wanted: bool) -> bool:
    """Tell whether the second mulligan-resource is in the catalog, or is not, as wanted."""
    stub = v1.CatalogStub(edge.channel("iam"))
    answer = await stub.list_endpoints(v1.ListEndpointsRequest(), timeout=5)
    address = str(second.region.config.listen.resource)
    return (address in {e.address for e in answer.endpoints}) is wanted


async def test_two_instances_at_once_book_nothing_twice(world: World, edge: Edge) -> None:
    token = await edge.token("rita", "rita-red-secret", "red")
    provider = await provider_of(edge, await edge.admin(), "contended", 20)
    outcomes: list[str] = []
    async with second_resource(world.region) as (second, _):

        async def take(one: Edge) -> None:
            for _ in range(4):
                refused = await timed(
                    one.call("resource.claim_exact", one_of(provider), token), within=15
                )
                outcomes.append(refused.status.name if refused else "taken")

        async with anyio.create_task_group() as tasks:
            for one in (edge, second) * 6:
                tasks.start_soon(take, one)
    assert outcomes.count("taken") == 20
    assert set(outcomes) == {"taken", "RESOURCE_EXHAUSTED"}
    assert overbooked(await read_history(world.admin)) == {}


async def test_a_service_told_to_stop_answers_what_it_has_begun(world: World, edge: Edge) -> None:
    token = await edge.admin()
    head = (await edge.call("log.get_log_status", v1.GetLogStatusRequest(), token)).head.seq
    # So far ahead that what services append by themselves meanwhile does not reach it.
    later = v1.Freshness(at_least=v1.Position(region=world.region.config.region, seq=head + 20))
    async with second_resource(world.region) as (second, process):
        async with second.channel("resource").request(
            "/mulligan.v1.Resource/ListGroups",
            Cardinality.UNARY_UNARY,
            v1.ListGroupsRequest,
            v1.ListGroupsResponse,
            metadata={"authorization": f"Bearer {token}"},
            timeout=20,
        ) as call:
            await call.send_message(v1.ListGroupsRequest(freshness=later), end=True)
            stub = v1.CatalogStub(second.channel("resource"))
            await stub.list_endpoints(v1.ListEndpointsRequest())  # so the call before has begun
            process.terminate()
            await until(lambda: listed(edge, second, False), "it left the catalog", 1)
            assert process.poll() is None
            late = second.call("resource.list_groups", v1.ListGroupsRequest(), token)
            assert is_away(await timed(late, within=1)), "it begins nothing more"
            for number in range(20):
                made = v1.CreateGroupRequest(name=f"commit-{number}")
                await edge.call("resource.create_group", made, token)
            answer = await call.recv_message()
        await anyio.to_thread.run_sync(process.wait, 15)
        assert answer is not None
        assert "commit-0" in {one.name for one in answer.groups}


async def test_services_may_start_before_there_is_anything_to_serve() -> None:
    with short_folder() as folder:
        region = RunningRegion(folder, "late")
        services = {name: region.spawn("serve", name) for name in SERVICES}
        etcd, postgres = embedded_etcd(region.config), embedded_postgres(region.config)
        edge = Edge(region)
        try:
            for name in SERVICES:
                await until(partial(says_not_serving, edge, name), f"{name} listens", 30)
            login = v1.LoginRequest(account="admin", secret=region.admin_secret)
            assert is_away(await timed(edge.call("iam.login", login), within=6))
            await anyio.to_thread.run_sync(postgres.command)
            postgres.start()
            etcd.start()
            await all_serving(region.config, 30)
            assert await edge.admin()
            for process in services.values():
                process.terminate()
            for name, process in services.items():
                assert await anyio.to_thread.run_sync(process.wait, 15) == 0, name
        finally:
            edge.close()
            for process in services.values():
                process.kill()
                process.wait()
            etcd.stop()
            postgres.stop()


async def says_not_serving(edge: Edge, service: str) -> bool:
    try:
        answer = await HealthStub(edge.channel(service)).Check(HealthCheckRequest(), timeout=2)
    except OSError:
        return False
    return bool(answer.status == HealthCheckResponse.NOT_SERVING)
