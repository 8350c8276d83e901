"""Plans: what requests would get if some things were otherwise. Nothing is written."""

from typing import Any

import pytest
from grpclib import Status

from mulligan.proto import v1
from tests.services.conftest import Tokens
from tests.services.edge import Edge, refusal
from tests.services.stock import HOUR, Caller, Stock, ask, at, holds, request, window


@pytest.fixture(scope="module")
async def stock(edge: Edge, tokens: Tokens) -> Stock:
    return Stock(edge, tokens.admin)


@pytest.fixture(scope="module")
async def tenant(stock: Stock) -> Caller:
    return await stock.tenant("planning")


@pytest.fixture(scope="module")
async def stranger(stock: Stock) -> Caller:
    return await stock.tenant("planning-elsewhere")


async def appended_by_callers(stock: Stock, since: v1.Position) -> list[str]:
    """Return the commands that callers had appended; services append when they please."""
    request = v1.ReadLogRequest(first=since.seq + 1)
    records = v1.LogStub(stock.edge.channel("log")).read_log(
        request, metadata=stock.edge.metadata(stock.token), timeout=10
    )
    return [one.command async for one in records if not one.account.startswith("service:")]


async def planned(
    caller: Caller, stock: Stock, *requests: v1.ResourceRequest, **suppose: Any
) -> list[v1.Plan]:
    """Plan the requests one on top of the other; see that nothing was appended for it."""
    message = v1.PlanClaimsRequest(
        claims=[v1.PlannedClaim(name=f"n{n}", request=one) for n, one in enumerate(requests)],
        suppose=v1.Supposition(**suppose),
        freshness=await stock.known(),
    )
    before = await stock.head()
    plans: list[v1.Plan] = (await caller.call("plan_claims", message)).plans
    assert await appended_by_callers(stock, before) == []
    assert [plan.name for plan in plans] == [f"n{n}" for n in range(len(requests))]
    return plans


def got(plan: v1.Plan) -> list[str]:
    assert plan.candidate is not None, plan
    assert plan.why_not is None
    assert not plan.refusal
    return holds(plan.candidate)


def lacking(plan: v1.Plan) -> dict[str, int]:
    """Return what dropped providers of a plan that nothing meets."""
    assert plan.candidate is None
    assert plan.why_not is not None
    stages = {one.stage: one.providers for one in plan.why_not.stages if one.providers}
    stages.pop("inventory", None)
    return stages


async def test_a_second_claim_finds_only_what_the_first_leaves(
    stock: Stock, tenant: Caller
) -> None:
    await stock.providers("plan-two", 2, {"custom.plan2": 1})
    whole = request(ask({"custom.plan2": 1}, count=2), window=window(0, 1))
    one = request(ask({"custom.plan2": 1}), window=window(0, 1))
    first, second = await planned(tenant, stock, whole, one)
    assert got(first) == ["plan-two-0", "plan-two-1"]
    assert lacking(second) == {"capacity": 2}
    assert second.why_not is not None
    assert second.why_not.earliest == at(1)
    later = request(ask({"custom.plan2": 1}), window=window(1, 2))
    assert [len(got(plan)) for plan in await planned(tenant, stock, whole, later)] == [2, 1]
    assert len(holds(await tenant.make(whole))) == 2


async def test_a_closed_group_is_left_out_and_an_opened_provider_is_in(
    stock: Stock, tenant: Caller
) -> None:
    await stock.providers("plan-rack", 3, {"custom.rack": 1})
    await stock.group("plan-rack-7", "plan-rack-0", "plan-rack-1")
    await stock.cordon("plan-rack-1", note="works")
    one = request(ask({"custom.rack": 1}))
    [around] = await planned(tenant, stock, one, cordon_groups=["plan-rack-7"])
    assert got(around) == ["plan-rack-2"]
    names = ["plan-rack-0", "plan-rack-2"]
    [nothing] = await planned(tenant, stock, one, cordon=names)
    assert lacking(nothing) == {"capacity": 3}, "which of them is cordoned is for operators"
    operator = await stock.operator("planning")
    [nothing] = await planned(operator, stock, one, cordon=names)
    assert lacking(nothing) == {"cordoned": 3}
    [opened] = await planned(tenant, stock, one, cordon=names, uncordon=["plan-rack-1"])
    assert got(opened) == ["plan-rack-1"]
    made = await tenant.make(one)
    assert holds(made) in (["plan-rack-0"], ["plan-rack-2"])


async def test_a_site_that_is_supposed_to_be_closed_closes_what_is_below(
    stock: Stock, tenant: Caller
) -> None:
    await stock.provider("plan-site")
    await stock.provider("plan-site-rack", parent="plan-site")
    await stock.provider("plan-site-node", {"custom.site": 1}, parent="plan-site-rack")
    [nothing] = await planned(tenant, stock, request(ask({"custom.site": 1})), cordon=["plan-site"])
    assert lacking(nothing) == {"capacity": 1}
    [something] = await planned(tenant, stock, request(ask({"custom.site": 1})))
    assert got(something) == ["plan-site-node"]


async def test_a_claim_supposed_to_be_released_makes_room(
    stock: Stock, tenant: Caller, stranger: Caller
) -> None:
    await stock.providers("plan-free", 1, {"custom.free": 1})
    one = request(ask({"custom.free": 1}))
    held = await tenant.make(one, name="held")
    [refused] = await planned(tenant, stock, one)
    assert lacking(refused) == {"capacity": 1}
    for key in (held.uuid, "held"):
        [room] = await planned(tenant, stock, one, release=[key])
        assert got(room) == ["plan-free-0"]
    assert (await tenant.claim("held")).state is v1.ClaimState.ACTIVE
    for key in (held.uuid, "held"):
        unseen = await refusal(planned(stranger, stock, one, release=[key]))
        assert unseen.status is Status.NOT_FOUND


async def test_a_quota_that_is_supposed_decides_and_another_project_s_is_not_seen(
    stock: Stock, tenant: Caller, stranger: Caller
) -> None:
    await stock.providers("plan-quota", 1, {"custom.pq": 10})
    one = request(ask({"custom.pq": 3}), window=v1.Span(end=at(0)))
    unset = v1.Quota(project="planning", limits={"custom.pq": 5})
    early = await refusal(planned(tenant, stock, one, quotas=[unset]))
    assert early.status is Status.FAILED_PRECONDITION
    limited = v1.SetQuotaRequest(project="planning", limits={"custom.pq": 2})
    await stock.call("set_quota", limited)
    [refused] = await planned(tenant, stock, one)
    assert "may use 2 custom.pq" in refused.refusal
    more = v1.Quota(project="planning", limits={"custom.pq": 5})
    first, second = await planned(tenant, stock, one, one, quotas=[more])
    assert got(first) == ["plan-quota-0"]
    assert "up to 3 are in use" in second.refusal
    short = v1.Quota(project="planning", limits={}, max_lease=HOUR)
    long, brief = await planned(
        tenant, stock, one, request(ask({"custom.pq": 3}), window=window(0, 1)), quotas=[short]
    )
    assert "the longest lease" in long.refusal
    assert got(brief) == ["plan-quota-0"]
    unseen = await refusal(planned(stranger, stock, one, quotas=[more]))
    assert unseen.status is Status.NOT_FOUND
    await stock.call("set_quota", v1.SetQuotaRequest(project="planning"))


async def test_a_request_that_fits_nowhere_does_not_spoil_the_plan_of_others(
    stock: Stock, tenant: Caller
) -> None:
    await stock.providers("plan-odd", 1, {"custom.odd": 1})
    one = request(ask({"custom.odd": 1}))
    many = request(ask({"custom.odd": 1}, count=900))
    refused, fits = await planned(tenant, stock, many, one)
    assert refused.candidate is None
    assert got(fits) == ["plan-odd-0"]


async def test_a_plan_for_the_earliest_time_says_the_time(stock: Stock, tenant: Caller) -> None:
    [node] = await stock.providers("plan-when", 1, {"custom.when": 1})
    await tenant.exact((node, {"custom.when": 1}), window=v1.Window(start=at(0), end=at(3)))
    asked = request(ask({"custom.when": 1}), window=v1.Span(duration=2 * HOUR, not_before=at(0)))
    first, second = await planned(tenant, stock, asked, asked)
    assert got(first) == got(second) == ["plan-when-0"]
    assert first.candidate is not None
    assert second.candidate is not None
    assert first.candidate.window == v1.Window(start=at(3), end=at(5))
    assert second.candidate.window == v1.Window(start=at(5), end=at(7))


async def test_an_operator_without_a_project_is_told_to_name_one(
    stock: Stock, tenant: Caller
) -> None:
    message = v1.PlanClaimsRequest(claims=[v1.PlannedClaim(request=request(ask({"memory": 1})))])
    refused = await refusal(stock.call("plan_claims", message))
    assert refused.status is Status.FAILED_PRECONDITION
