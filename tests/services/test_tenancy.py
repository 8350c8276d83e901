"""What a tenant sees of what all share: what it holds, and nothing of the others."""

import json
from typing import Any

import pytest
from grpclib import Status

from mulligan.proto import v1
from tests.services.conftest import Tokens
from tests.services.edge import Edge, refusal
from tests.services.stock import Caller, Stock, ask, at, request, window


@pytest.fixture(scope="module")
async def stock(edge: Edge, tokens: Tokens) -> Stock:
    return Stock(edge, tokens.admin)


@pytest.fixture(scope="module")
async def tenant(stock: Stock) -> Caller:
    return await stock.tenant("tenancy")


@pytest.fixture(scope="module")
async def stranger(stock: Stock) -> Caller:
    return await stock.tenant("tenancy-elsewhere")


DAY = v1.Window(end=at(0))


async def provider(caller: Caller, key: str) -> v1.Provider:
    answer = await caller.call("get_provider", v1.GetProviderRequest(provider=key))
    found: v1.Provider = answer.provider
    return found


async def test_of_providers_a_tenant_sees_those_it_holds_with_its_own_use(
    stock: Stock, tenant: Caller, stranger: Caller
) -> None:
    shared, other = await stock.providers("tenancy", 2, {"custom.tenancy": 10})
    mine = await tenant.exact((shared, {"custom.tenancy": 2}), window=DAY)
    theirs = await stranger.exact(
        (shared, {"custom.tenancy": 7}), (other, {"custom.tenancy": 1}), window=DAY
    )
    await stock.cordon(shared, note="leaks")
    fresh = await stock.known()
    seen = await provider(tenant, "tenancy-0")
    assert [(i.total, i.used) for i in seen.inventories] == [(10, 2)]
    assert (seen.cordons, seen.etag) == ([], "")
    assert [i.used for i in (await provider(stock, shared)).inventories] == [9]
    listed = (
        await tenant.call("list_providers", v1.ListProvidersRequest(freshness=fresh))
    ).providers
    assert listed == [seen]
    for key in (other, "tenancy-1"):
        for method, message in (
            ("get_provider", v1.GetProviderRequest(provider=key)),
            ("list_usage", v1.ListUsageRequest(provider=key)),
        ):
            refused = await refusal(tenant.call(method, message))
            assert refused.status is Status.NOT_FOUND
            assert repr(key) in refused.message
    usage = (await tenant.call("list_usage", v1.ListUsageRequest(provider=shared))).segments
    assert [segment.used for segment in usage] == [2]
    await tenant.release(mine)
    assert (await refusal(provider(tenant, shared))).status is Status.NOT_FOUND
    await stranger.release(theirs)


async def test_of_a_group_a_tenant_sees_the_members_it_holds(
    stock: Stock, tenant: Caller, stranger: Caller
) -> None:
    one, two, _ = members = await stock.providers("circle", 3, {"custom.circle": 1})
    group = await stock.group("circle", *members)
    mine = await tenant.exact((one, {"custom.circle": 1}), window=DAY)
    theirs = await stranger.exact((two, {"custom.circle": 1}), window=DAY)
    fresh = await stock.known()

    async def seen(caller: Caller) -> list[str]:
        message = v1.GetGroupRequest(group="circle", freshness=fresh)
        found = (await caller.call("get_group", message)).group
        listing = v1.ListGroupsRequest(page=v1.Page(size=1000), freshness=fresh)
        listed = (await caller.call("list_groups", listing)).groups
        assert [g.members for g in listed if g.uuid == group] == [found.members]
        return sorted(found.members)

    assert await seen(tenant) == [one]
    assert await seen(stranger) == [two]
    assert await seen(stock) == sorted(members)
    await tenant.release(mine)
    await stranger.release(theirs)


async def test_quotas_below_are_seen_and_those_above_and_beside_are_not(stock: Stock) -> None:
    above = await stock.tenant("tenancy-above")
    below = await stock.tenant("tenancy-below", parent="tenancy-above")
    for caller in (above, below):
        await stock.call("set_quota", v1.SetQuotaRequest(project=caller.project, limits={"gpu": 1}))
    listing = v1.ListQuotasRequest(freshness=await stock.known())

    async def seen(caller: Caller) -> set[str]:
        return {q.project_name for q in (await caller.call("list_quotas", listing)).quotas}

    assert await seen(above) == {"tenancy-above", "tenancy-below"}
    assert await seen(below) == {"tenancy-below"}
    found = await above.call("get_quota", v1.GetQuotaRequest(project="tenancy-below"))
    assert found.quota.limits == {"gpu": 1}
    refused = await refusal(below.call("get_quota", v1.GetQuotaRequest(project="tenancy-above")))
    assert refused.status is Status.NOT_FOUND


async def records(caller: Caller, **wanted: Any) -> list[v1.LogRecord]:
    """Return all that a caller may read of the log."""
    stub = v1.LogStub(caller.edge.channel("log"))
    asked = v1.ReadLogRequest(filter=v1.LogFilter(**wanted))
    metadata = caller.edge.metadata(caller.token)
    return [one async for one in stub.read_log(asked, metadata=metadata, timeout=20)]


async def test_the_log_tells_a_tenant_what_an_operator_did_to_its_claim_and_not_which(
    stock: Stock, tenant: Caller, stranger: Caller
) -> None:
    await stock.providers("logged", 2, {"custom.logged": 1})
    asked = request(ask({"custom.logged": 1}), window=window(0, 1))
    claim = await tenant.make(asked, name="logged")
    theirs = await stranger.make(asked)
    move = v1.ReleaseClaimRequest(claim=claim.uuid)
    await stock.call("release_claim", move)
    own = [
        record
        for record in await records(tenant)
        if any(e.stream == f"claim/{claim.uuid}" for e in record.events)
    ]
    made, released = own
    assert made.account == claim.account
    assert released.account == "operator"
    assert (released.project, released.traceparent) == ("", "")
    [event] = [e for e in made.events if e.type == "claim.made"]
    assert not {"rejected", "conflicts", "considered"} & json.loads(event.data)["search"].keys()
    taken = [e.type for e in made.events if e.stream.startswith("provider/")]
    assert taken == ["provider.capacity_taken"]
    everything = await records(tenant)
    assert not [r for r in everything if theirs.uuid in str(r)]
    assert await records(tenant, stream=f"claim/{theirs.uuid}") == []
    by_whom = {r.account for r in await records(tenant) if r.project != tenant.project}
    assert by_whom == {"operator"}


async def test_what_an_operator_does_beside_in_the_name_of_a_project_is_not_for_its_tenants(
    stock: Stock, tenant: Caller
) -> None:
    operator = await stock.operator("tenancy")
    made = await operator.call(
        "create_provider", v1.CreateProviderRequest(name="beside", type="compute")
    )
    assert await records(operator, stream=f"provider/{made.provider.uuid}")
    assert not [r for r in await records(tenant) if made.provider.uuid in str(r)]
    listing = v1.ListAuditRequest(freshness=v1.Freshness(at_least=await stock.head()))
    audited = (await tenant.edge.call("log.list_audit", listing, tenant.token)).records
    assert "provider.create" in {record.command for record in audited}
    kinds = {one.partition("/")[0] for record in audited for one in record.objects}
    assert "claim" in kinds
    assert kinds <= {"claim", "userdata", "metadef", "machine"}
