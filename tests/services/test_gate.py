"""What every call goes through, by a running region: how the caller stands now, and limits."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.protocol import H2Protocol

from mulligan.proto import v1
from mulligan.services.gate.call import REFUSAL_S
from mulligan.services.gate.limits import FAILED_LOGINS
from mulligan.tls import client_context
from tests.e2e.region import RunningRegion
from tests.services.conftest import SECRET, Tokens
from tests.services.edge import Edge, Refusal, explained, refusal

ABSENT = "018f0000-0000-7000-8000-000000000000"
USUAL = v1.ConfigureRequest(rate=2000, burst=4000, in_flight=1024)


async def auditor(edge: Edge, tokens: Tokens, name: str) -> str:
    """Make an account that may read everything; return its token."""
    made = v1.CreateAccountRequest(name=name, secret=SECRET)
    await edge.call("iam.create_account", made, tokens.admin)
    await edge.call("iam.bind_role", bound(name), tokens.admin)
    return await edge.token(name, SECRET)


def bound(name: str) -> v1.BindRoleRequest:
    return v1.BindRoleRequest(account=name, binding=v1.RoleBinding(role="auditor"))


def unbound(name: str) -> v1.UnbindRoleRequest:
    return v1.UnbindRoleRequest(account=name, binding=v1.RoleBinding(role="auditor"))


async def test_a_role_taken_away_is_gone_at_the_next_call_and_everywhere(
    edge: Edge, tokens: Tokens
) -> None:
    token = await auditor(edge, tokens, "ada")
    await edge.call("control.list_credentials", v1.ListCredentialsRequest(), token)
    gone = await edge.call("iam.unbind_role", unbound("ada"), tokens.admin)
    seen = {"mulligan-position": f"{gone.position.region}:{gone.position.seq}"}
    for method, request in (
        ("control.list_credentials", v1.ListCredentialsRequest()),
        ("resource.list_claims", v1.ListClaimsRequest()),
        ("iam.list_accounts", v1.ListAccountsRequest()),
    ):
        refused = await refusal(edge.call(method, request, token, metadata=seen))
        assert refused.status is Status.PERMISSION_DENIED
    assert (await edge.call("iam.who_am_i", v1.WhoAmIRequest(), token)).roles == []
    await edge.call("iam.bind_role", bound("ada"), tokens.admin)
    assert (await edge.call("iam.who_am_i", v1.WhoAmIRequest(), token)).roles == ["auditor"]


async def test_a_stream_ends_soon_after_its_caller_may_no_longer_have_it(
    edge: Edge, tokens: Tokens
) -> None:
    token = await auditor(edge, tokens, "alan")
    stub = v1.LogStub(edge.channel("log"))
    metadata = {"authorization": f"Bearer {token}"}
    disabled = v1.DisableAccountRequest(account="alan")
    began = 0.0
    with anyio.fail_after(15), pytest.raises(GRPCError) as raised:
        async for _ in stub.watch_log(v1.WatchLogRequest(), metadata=metadata):
            if not began:
                began = time.monotonic()
                await edge.call("iam.disable_account", disabled, tokens.admin)
    assert raised.value.status is Status.UNAUTHENTICATED
    assert time.monotonic() - began < 8


async def test_a_message_that_is_too_long_is_refused(edge: Edge, tokens: Tokens) -> None:
    long = v1.ResolveRequest(kind="claim", names=["x" * 1000] * 5000)
    refused = await refusal(edge.call("meta.resolve", long, tokens.red))
    assert refused.status is Status.RESOURCE_EXHAUSTED
    assert "limits.message_bytes" in refused.message
    assert refused.retry_after is None


async def test_without_a_token_a_message_is_short(edge: Edge) -> None:
    refused = await refusal(edge.call("iam.login", v1.LoginRequest(account="x" * 100_000)))
    assert refused.status is Status.RESOURCE_EXHAUSTED


async def test_a_refusal_fits_into_headers_however_long_what_it_quotes(
    edge: Edge, tokens: Tokens
) -> None:
    long = v1.GetClaimRequest(claim="ü" * 100_000)
    refused = await refusal(edge.call("resource.get_claim", long, tokens.red))
    assert refused.status in {Status.NOT_FOUND, Status.INVALID_ARGUMENT}
    assert len(refused.message) < 2_000


@asynccontextmanager
async def configured(
    edge: Edge, tokens: Tokens, *, rate: int, burst: int, in_flight: int = 0
) -> AsyncIterator[None]:
    """Set limits of meta while the block runs."""
    wanted = v1.ConfigureRequest(rate=rate, burst=burst, in_flight=in_flight)
    held = await edge.call("meta.meta_configure", wanted, tokens.admin)
    assert (held.rate, held.burst, held.in_flight) == (rate, burst, in_flight or 1024)
    try:
        yield
    finally:
        await edge.call("meta.meta_configure", USUAL, tokens.admin)


async def test_an_account_that_asks_too_often_is_told_when_to_come_back(
    edge: Edge, tokens: Tokens
) -> None:
    ask = v1.ResolveRequest(kind="group", names=["none"])
    async with configured(edge, tokens, rate=5, burst=3):
        refused = None
        for _ in range(10):
            try:
                await edge.call("meta.resolve", ask, tokens.red)
            except GRPCError as error:
                refused = explained(error)
        assert refused is not None
        assert refused.status is Status.RESOURCE_EXHAUSTED
        assert refused.retry_after is not None
        assert 0 < refused.retry_after <= 0.25
        await edge.call("meta.resolve", ask, tokens.blue)


async def test_the_client_waits_and_asks_again(
    region: RunningRegion, edge: Edge, tokens: Tokens
) -> None:
    ask = v1.ResolveRequest(kind="group", names=["none"])
    client = region.client("rita", SECRET, "red")
    await client.meta.resolve(ask)
    async with configured(edge, tokens, rate=20, burst=2):
        began = time.monotonic()
        for _ in range(10):
            await client.meta.resolve(ask)
        assert time.monotonic() - began > 0.3


async def test_a_limit_that_is_set_too_low_can_be_put_right(edge: Edge, tokens: Tokens) -> None:
    async with configured(edge, tokens, rate=1, burst=1, in_flight=1):
        for _ in range(5):
            await edge.call("meta.meta_configure", v1.ConfigureRequest(), tokens.admin)


async def test_tenants_wait_as_long_to_hear_that_there_is_nothing(
    edge: Edge, tokens: Tokens
) -> None:
    for method, request, status in (
        ("resource.get_claim", v1.GetClaimRequest(claim=ABSENT), Status.NOT_FOUND),
        ("iam.create_project", v1.CreateProjectRequest(name="x"), Status.PERMISSION_DENIED),
    ):
        for _ in range(2):
            began = time.monotonic()
            assert (await refusal(edge.call(method, request, tokens.red))).status is status
            assert time.monotonic() - began >= REFUSAL_S


class From(Channel):
    """A connection from another address of this machine."""

    address = ""

    async def _create_connection(self) -> H2Protocol:
        _, protocol = await self._loop.create_connection(
            self._protocol_factory,
            self._host,
            self._port,
            ssl=self._ssl,
            local_addr=(self.address, 0),
        )
        return protocol


async def test_failed_logins_are_limited_and_valid_tokens_go_on(
    region: RunningRegion, edge: Edge, tokens: Tokens
) -> None:
    iam, ca = region.config.listen.iam, region.config.tls.ca
    assert ca is not None
    refusals: dict[str, list[Refusal]] = {"rob": [], "nobody-there": []}

    async def guess(stub: v1.IamStub, account: str) -> None:
        # Without a secret or a certificate: refused like a wrong one, and no core is busy with it.
        refusals[account].append(await refusal(stub.login(v1.LoginRequest(account=account))))

    async def flood(account: str, address: str) -> None:
        channel = From(iam.host, iam.port, ssl=client_context(ca))
        channel.address = address
        async with channel:
            for _ in range(FAILED_LOGINS + 8):
                await guess(v1.IamStub(channel), account)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flood, "rob", "127.0.0.11")
        tasks.start_soon(flood, "nobody-there", "127.0.0.12")
    for seen in refusals.values():
        limited = [refused for refused in seen if refused.status is Status.RESOURCE_EXHAUSTED]
        assert limited
        assert all(refused.retry_after for refused in limited)
        assert {r.status for r in seen} - {Status.RESOURCE_EXHAUSTED} == {Status.UNAUTHENTICATED}
    await edge.call("resource.list_claims", v1.ListClaimsRequest(), tokens.reader)


async def test_what_is_denied_is_in_the_log_soon(edge: Edge, tokens: Tokens) -> None:
    token = await auditor(edge, tokens, "otto")
    me = (await edge.call("iam.who_am_i", v1.WhoAmIRequest(), token)).account
    made = v1.CreateProjectRequest(name="x")
    for _ in range(3):
        refused = await refusal(edge.call("iam.create_project", made, token))
        assert refused.status is Status.PERMISSION_DENIED
    stub = v1.LogStub(edge.channel("log"))
    metadata = {"authorization": f"Bearer {tokens.admin}"}
    wanted = v1.WatchLogRequest(filter=v1.LogFilter(stream=f"denial/{me}"))
    with anyio.fail_after(15):
        record = await anext(aiter(stub.watch_log(wanted, metadata=metadata)))
    event = next(e for e in record.events if e.stream == f"denial/{me}")
    assert event.type == "denial.attempts"
    assert '"count":3' in event.data
    assert '"permission":"iam.projects.write"' in event.data
    assert record.account == "service:iam"
