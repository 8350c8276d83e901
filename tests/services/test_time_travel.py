"""Reading calls as of an earlier moment, at the edge: what was, and whose it was."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from grpclib import Status

from mulligan.model import AT_HEADER
from mulligan.proto import v1
from tests.services.conftest import SECRET, Tokens
from tests.services.edge import Edge, refusal
from tests.services.stock import Caller, Stock, ask, request


@pytest.fixture
async def stock(edge: Edge, tokens: Tokens) -> Stock:
    return Stock(edge, tokens.admin)


def at(moment: object) -> dict[str, Any]:
    return {"metadata": {AT_HEADER: str(moment)}}


async def head(stock: Stock) -> int:
    return (await stock.head()).seq


async def lists(caller: Caller, **more: Any) -> list[str]:
    message = v1.ListClaimsRequest(states=[v1.ClaimState.ACTIVE, v1.ClaimState.RELEASED])
    answer = await caller.call("list_claims", message, **more)
    return [claim.uuid for claim in answer.claims]


async def test_an_object_is_shown_and_listed_as_it_was(stock: Stock) -> None:
    before = await head(stock)
    group = await stock.group("then-group")
    (one,) = await stock.providers("then", 1, {"custom.then": 4})
    made = await head(stock)
    await stock.update(one, attributes={"colour": "red"})
    await stock.call("update_group_members", v1.UpdateGroupMembersRequest(group=group, add=[one]))
    await stock.known()
    now = await stock.call("get_provider", v1.GetProviderRequest(provider=one))
    then = await stock.call("get_provider", v1.GetProviderRequest(provider="then-0"), **at(made))
    assert now.provider.attributes == {"colour": "red"}
    assert now.provider.groups
    assert not then.provider.attributes
    assert not then.provider.groups
    assert then.position.seq == made

    asked = v1.ListProvidersRequest(group=group)
    assert len((await stock.call("list_providers", asked)).providers) == 1
    assert not (await stock.call("list_providers", asked, **at(made))).providers
    unknown = await refusal(
        stock.call("get_provider", v1.GetProviderRequest(provider=one), **at(before))
    )
    assert unknown.status is Status.NOT_FOUND


async def test_a_name_means_what_it_meant_then(stock: Stock) -> None:
    first = await stock.provider("renamed")
    made = await head(stock)
    await stock.call("delete_provider", v1.DeleteProviderRequest(provider=first))
    second = await stock.provider("renamed")
    asked = v1.ResolveRequest(kind="provider", names=["renamed"])
    for moment, meant in ((made, first), (await head(stock), second)):
        found = await stock.edge.call("meta.resolve", asked, stock.token, **at(moment))
        assert [name.uuid for name in found.names] == [meant]


async def test_searches_quotas_usage_and_the_audit_are_of_then(stock: Stock) -> None:
    tenant = await stock.tenant("then-tenant")
    await stock.providers("searched", 1, {"custom.sought": 4})
    made = await head(stock)
    claim = await tenant.make(request(ask({"custom.sought": 3})))
    taken = await head(stock)
    await tenant.release(claim)
    await stock.known()

    wanted = v1.ListCandidatesRequest(request=request(ask({"custom.sought": 3})))
    assert (await tenant.call("list_candidates", wanted)).candidates
    assert (await tenant.call("list_candidates", wanted, **at(made))).candidates
    gone = await tenant.call("list_candidates", wanted, **at(taken))
    assert not gone.candidates
    assert gone.why_not is not None
    plan = v1.PlanClaimsRequest(
        claims=[v1.PlannedClaim(request=request(ask({"custom.sought": 3})))]
    )
    assert (await tenant.call("plan_claims", plan, **at(taken))).plans[0].candidate is None
    explained = await tenant.call(
        "explain_claim", v1.ExplainClaimRequest(claim=claim.uuid), **at(taken)
    )
    assert explained.same

    assert await lists(tenant) == [claim.uuid]
    assert await lists(tenant, **at(taken)) == [claim.uuid]
    assert await lists(tenant, **at(made)) == []
    shown = await tenant.call("get_claim", v1.GetClaimRequest(claim=claim.uuid), **at(taken))
    assert shown.claim.state is v1.ClaimState.ACTIVE
    usage = v1.SummarizeUsageRequest(by="class", resource_class="custom.sought")
    assert (await tenant.call("summarize_usage", usage)).rows
    assert not (await tenant.call("summarize_usage", usage, **at(made))).rows

    audit = v1.ListAuditRequest()
    records = (await stock.edge.call("log.list_audit", audit, tenant.token)).records
    then = (await stock.edge.call("log.list_audit", audit, tenant.token, **at(taken))).records
    assert {r.command for r in records} - {r.command for r in then} == {"claim.release"}
    assert max(r.position.seq for r in then if r.position) <= taken


async def test_a_time_stands_for_the_last_entry_dated_no_later(stock: Stock) -> None:
    one = await stock.provider("timed")
    when = datetime.now(UTC)
    made = await head(stock)
    await stock.update(one, attributes={"k": "v"})
    asked = v1.GetProviderRequest(provider=one)
    answer = await stock.call("get_provider", asked, **at(when.isoformat()))
    assert answer.position.seq <= made
    assert not answer.provider.attributes
    future = datetime.now(UTC) + timedelta(days=1)
    answer = await stock.call("get_provider", asked, **at(future.isoformat()))
    assert answer.provider.attributes == {"k": "v"}


async def test_the_log_ends_at_the_moment(stock: Stock) -> None:
    await stock.provider("logged")
    log, sent = v1.LogStub(stock.edge.channel("log")), stock.edge.metadata(stock.token)
    sent = {**sent, AT_HEADER: "3"}
    read = [r async for r in log.read_log(v1.ReadLogRequest(), metadata=sent)]
    assert max(r.position.seq for r in read if r.position) <= 3
    exported = [e async for e in log.export_log(v1.ExportLogRequest(), metadata=sent)]
    assert [e.seq for e in exported] == [1, 2, 3]
    walked = [p async for p in log.verify_log(v1.VerifyLogRequest(), metadata=sent)]
    assert walked[-1].total == 3
    assert not walked[-1].problem
    status = await log.get_log_status(v1.GetLogStatusRequest(), metadata=sent)
    assert status.head is not None
    assert status.head.seq == 3


async def test_nobody_acts_in_the_past_and_nothing_that_is_no_moment_is_taken(
    stock: Stock,
) -> None:
    now = await head(stock)
    for method, message in (
        ("resource.create_group", v1.CreateGroupRequest(name="never")),
        ("resource.make_claim", v1.MakeClaimRequest(request=request(ask({"custom.sought": 1})))),
        ("iam.login", v1.LoginRequest(account="rita", secret=SECRET, project="red")),
        ("iam.who_am_i", v1.WhoAmIRequest()),
        ("resource.resource_configure", v1.ConfigureRequest()),
        ("projector.list_projections", v1.ListProjectionsRequest()),
    ):
        refused = await refusal(stock.edge.call(method, message, stock.token, **at(1)))
        assert refused.status is Status.INVALID_ARGUMENT, method
        assert refused.fields == (AT_HEADER,)
        assert "leave it out" in refused.message
    assert await head(stock) == now
    past = "1999-12-31T00:00:00Z"
    for text in ("0", str(now + 1000), "yesterday", "-1", past, "2027-01-01T00:00:00", "9" * 30):
        asked = v1.ListGroupsRequest()
        refused = await refusal(stock.call("list_groups", asked, **at(text)))
        assert refused.status is Status.INVALID_ARGUMENT, text
        assert refused.fields == (AT_HEADER,)


async def test_a_tenant_sees_of_the_past_what_was_its_own_and_nothing_else(stock: Stock) -> None:
    """What another project held then stays hidden, though it is handed over since."""
    red, blue = await stock.tenant("past-red"), await stock.tenant("past-blue")
    (one,) = await stock.providers("handed", 1, {"custom.handed": 1})
    reds = await red.exact((one, {"custom.handed": 1}))
    of_red = await head(stock)
    await red.release(reds)
    blues = await blue.exact((one, {"custom.handed": 1}))
    of_blue = await head(stock)
    shown = v1.GetProviderRequest(provider=one)
    assert (await blue.call("get_provider", shown)).provider.uuid == one
    assert (await red.call("get_provider", shown, **at(of_red))).provider.uuid == one
    for caller, message, moment in (
        (blue, shown, of_red),  # it was red's then
        (red, shown, of_blue),
    ):
        refused = await refusal(caller.call("get_provider", message, **at(moment)))
        assert refused.status is Status.NOT_FOUND
    for caller, claim, moment in ((blue, reds, of_red), (red, blues, of_blue)):
        asked = v1.GetClaimRequest(claim=claim.uuid)
        refused = await refusal(caller.call("get_claim", asked, **at(moment)))
        assert refused.status is Status.NOT_FOUND
        assert claim.uuid not in await lists(caller, **at(moment))
        seen = await stock.edge.call(
            "log.list_audit", v1.ListAuditRequest(), caller.token, **at(moment)
        )
        touched = {text for record in seen.records for text in record.objects}
        assert f"claim/{claim.uuid}" not in touched


async def test_roles_are_those_of_now(stock: Stock) -> None:
    """Who has lost a role reads nothing of the time when they had it."""
    tenant = await stock.tenant("past-lost")
    then = await head(stock)
    binding = v1.RoleBinding(role="member", project="past-lost")
    unbind = v1.UnbindRoleRequest(account="planner-past-lost", binding=binding)
    await stock.edge.call("iam.unbind_role", unbind, stock.token)
    refused = await refusal(tenant.call("list_claims", v1.ListClaimsRequest(), **at(then)))
    assert refused.status in (Status.PERMISSION_DENIED, Status.UNAUTHENTICATED)
