"""Signing keys change while requests run: nobody notices who need not, everybody who must."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy

import anyio
import anyio.to_thread
import jwt
import pytest
from grpclib import GRPCError, Status
from msgspec.structs import replace

from mulligan.config import Address
from mulligan.embedded.ports import free_ports
from mulligan.embedded.ready import all_serving
from mulligan.log.etcd import Etcd
from mulligan.log.keys import Keys
from mulligan.model import RegionName, new_id
from mulligan.proto import v1
from mulligan.services.iam.signing import SECRET_KIND
from mulligan.services.runtime import etcd_settings
from tests.e2e.region import RunningRegion, until
from tests.services.edge import Edge, Refusal, explained, refusal

ROTATIONS = 6
CALLS_BETWEEN = 40
PRIVATE = f"{Keys(RegionName('keyed')).prefix}secret/{SECRET_KIND}/"
READS = (
    ("iam.who_am_i", v1.WhoAmIRequest()),
    ("resource.list_claims", v1.ListClaimsRequest()),
    ("control.list_images", v1.ListImagesRequest()),
    ("log.get_log_status", v1.GetLogStatusRequest()),
    ("meta.list_names", v1.ListNamesRequest(kind="project")),
)


@pytest.fixture(scope="module")
async def edge(keyed: RunningRegion) -> AsyncIterator[Edge]:
    bare = Edge(keyed)
    yield bare
    bare.close()


@pytest.fixture
async def admin(edge: Edge) -> str:
    return await edge.admin()


@asynccontextmanager
async def etcd_of(region: RunningRegion) -> AsyncIterator[Etcd]:
    async with Etcd(etcd_settings(region.config)) as etcd:
        yield etcd


async def keys(edge: Edge) -> list[v1.Key]:
    return list((await edge.call("iam.get_keys", v1.GetKeysRequest())).keys)


async def active(edge: Edge) -> list[str]:
    return [key.kid for key in await keys(edge) if key.active]


async def rotate(edge: Edge, token: str, **more: object) -> v1.Key:
    answer = await edge.call("iam.rotate_key", v1.RotateKeyRequest(**more), token)  # type: ignore[arg-type]
    key: v1.Key = answer.key
    return key


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


class Traffic:
    """Calls to every service, one attempt each, with an old token and with ever new ones."""

    def __init__(self, edge: Edge, login: v1.LoginResponse) -> None:
        self._edge = edge
        self._login = login
        self.calls = 0
        self.kids: set[str] = set()

    async def read(self, method: str, message: object) -> None:
        while True:
            await self._edge.call(method, message, self._login.access_token)
            self.calls += 1

    async def refresh(self) -> None:
        """Use what was just signed at services that may not know its key yet."""
        while True:
            request = v1.RefreshRequest(refresh_token=self._login.refresh_token)
            fresh = await self._edge.call("iam.refresh", request)
            self.kids.add(kid_of(fresh.access_token))
            for method, message in READS[1:]:
                await self._edge.call(method, message, fresh.access_token)
                self.calls += 1

    async def more(self) -> None:
        goal = self.calls + CALLS_BETWEEN

        async def passed() -> bool:
            return self.calls >= goal

        await until(passed, "calls went through", 20)


async def test_no_request_fails_while_keys_rotate(
    keyed: RunningRegion, edge: Edge, admin: str
) -> None:
    secret = keyed.admin_secret
    login = await edge.call("iam.login", v1.LoginRequest(account="admin", secret=secret))
    traffic = Traffic(edge, login)
    before = await active(edge)
    async with anyio.create_task_group() as tasks:
        for method, message in READS:
            tasks.start_soon(traffic.read, method, message)
        tasks.start_soon(traffic.refresh)
        tasks.start_soon(traffic.refresh)
        made = []
        for _ in range(ROTATIONS):
            await traffic.more()
            made.append((await rotate(edge, admin)).kid)
        await traffic.more()
        tasks.cancel_scope.cancel()
    assert await active(edge) == made[-1:]
    assert {*before, *made} <= {key.kid for key in await keys(edge)}
    assert len(traffic.kids) > ROTATIONS / 2


async def test_a_repeated_rotation_is_one(edge: Edge, admin: str) -> None:
    request_id = new_id()
    first = await rotate(edge, admin, request_id=request_id)
    again = await rotate(edge, admin, request_id=request_id)
    assert again == first
    assert await active(edge) == [first.kid]


async def test_of_rotations_at_once_none_leaves_two_keys_that_sign(edge: Edge, admin: str) -> None:
    outcomes: list[str] = []
    refusals: list[Refusal] = []

    async def attempt() -> None:
        call = edge.call("iam.rotate_key", v1.RotateKeyRequest(request_id=new_id()), admin)
        try:
            outcomes.append((await call).key.kid)
        except GRPCError as error:
            refusals.append(explained(error))

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(attempt)
    assert outcomes
    assert await active(edge) == [max(outcomes, key=int)]
    for refused in refusals:
        assert refused.status is Status.FAILED_PRECONDITION
        assert "another rotation" in refused.message


async def test_the_printed_key_set_verifies_tokens_of_old_keys_and_new(
    keyed: RunningRegion, edge: Edge, admin: str
) -> None:
    await rotate(edge, admin)
    newer = await edge.admin()
    assert kid_of(newer) != kid_of(admin)
    printed = await keyed.cli("iam", "jwks")
    assert printed.returncode == 0, printed.stderr
    document = json.loads(printed.stdout)
    assert set(document["keys"][0]) == {"kty", "crv", "use", "alg", "kid", "x"}
    known = jwt.PyJWKSet.from_dict(document)
    for token in (admin, newer):
        claims = jwt.decode(
            token, known[kid_of(token)], algorithms=["EdDSA"], audience="keyed/access"
        )
        assert claims["roles"] == ["admin"]


async def test_the_private_half_of_a_retired_key_is_destroyed(
    keyed: RunningRegion, edge: Edge, admin: str
) -> None:
    old = (await active(edge))[0]
    new = (await rotate(edge, admin)).kid
    async with etcd_of(keyed) as etcd:
        held = [kv.key for kv in (await etcd.range_prefix(PRIVATE)).kvs]
    assert not [key for key in held if key.startswith(f"{PRIVATE}{old}/")]
    assert [key for key in held if key.startswith(f"{PRIVATE}{new}/")]


async def test_who_was_killed_before_it_destroyed_a_private_half_does_so_when_it_starts(
    keyed: RunningRegion, edge: Edge, admin: str
) -> None:
    old = (await active(edge))[0]
    async with etcd_of(keyed) as etcd:
        private = (await etcd.range_prefix(f"{PRIVATE}{old}/")).kvs[0]
        await rotate(edge, admin)
        await etcd.put(private.key, private.value)
        await keyed.kill("iam")

        async def destroyed() -> bool:
            return await etcd.get(private.key) is None

        await until(destroyed, "the private half is destroyed", 10)
    assert (await edge.call("iam.who_am_i", v1.WhoAmIRequest(), admin)).account


async def test_a_key_whose_private_half_was_lost_is_replaced(
    keyed: RunningRegion, edge: Edge, admin: str
) -> None:
    lost = (await active(edge))[0]
    async with etcd_of(keyed) as etcd:
        await etcd.delete(*(f"{PRIVATE}{lost}{end}" for end in "/0"))
    await keyed.kill("iam")
    assert await active(edge) == [kid_of(await edge.admin())]
    assert lost not in await active(edge)
    assert (await edge.call("iam.who_am_i", v1.WhoAmIRequest(), admin)).account


async def test_every_replica_changes_over(keyed: RunningRegion, edge: Edge, admin: str) -> None:
    address = Address(f"127.0.0.1:{free_ports(1)[0]}")
    beside = copy(keyed)
    beside.config = replace(keyed.config, listen=replace(keyed.config.listen, iam=address))
    process = keyed.spawn("serve", "iam", MULLIGAN_LISTEN_IAM=str(address))
    second = Edge(beside)
    try:
        await all_serving(beside.config, 20)
        assert kid_of(await second.admin()) == kid_of(await edge.admin())
        made = await rotate(edge, admin)

        async def changed_over() -> bool:
            return kid_of(await second.admin()) == made.kid

        await until(changed_over, "the replica signs with the new key", 5)
    finally:
        second.close()
        process.terminate()
        await anyio.to_thread.run_sync(process.wait, 15)


async def test_the_log_changes_over_to_its_new_key(edge: Edge, admin: str) -> None:
    made = await rotate(edge, admin, use="log")
    assert (made.use, made.active) == ("log", True)
    assert made.kid not in {key.kid for key in await keys(edge)}
    newer = await rotate(edge, admin, use="log")
    assert int(newer.kid) > int(made.kid)


async def test_a_key_of_another_use_verifies_no_token(edge: Edge, admin: str) -> None:
    made = await rotate(edge, admin, use="log")
    _, body, signature = admin.split(".")
    forged = jwt.utils.base64url_encode(json.dumps({"alg": "EdDSA", "kid": made.kid}).encode())
    token = f"{forged.decode()}.{body}.{signature}"
    refused = await refusal(edge.call("iam.who_am_i", v1.WhoAmIRequest(), token))
    assert refused.status is Status.UNAUTHENTICATED


async def test_a_use_that_keys_do_not_have_is_refused(edge: Edge, admin: str) -> None:
    request = v1.RotateKeyRequest(use="cookies")
    refused = await refusal(edge.call("iam.rotate_key", request, admin))
    assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, ("use",))


async def test_after_a_compromise_every_session_has_ended(
    keyed: RunningRegion, edge: Edge, admin: str
) -> None:
    rotated = await keyed.cli("iam", "key", "rotate", "--compromised", "--yes")
    assert rotated.returncode == 0, rotated.stderr
    assert "log in again" in rotated.stderr
    assert len(await keys(edge)) == 1

    async def out_everywhere() -> bool:
        refused = [await refusal(edge.call(method, asked, admin)) for method, asked in READS]
        return all(one.status is Status.UNAUTHENTICATED for one in refused)

    await until(out_everywhere, "all services know", 5)
    await edge.call("resource.list_claims", v1.ListClaimsRequest(), await edge.admin())
