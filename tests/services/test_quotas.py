"""Quotas as their owners and their users see them, and what was used."""

from collections import Counter
from typing import Any

import anyio
import pytest
from grpclib import GRPCError, Status

from mulligan.model import new_id
from mulligan.proto import v1
from tests.services.conftest import Tokens
from tests.services.edge import Edge, refusal
from tests.services.stock import HOUR, Caller, Stock, ask, at, request, window

MANY = 64


@pytest.fixture(scope="module")
async def stock(edge: Edge, tokens: Tokens) -> Stock:
    return Stock(edge, tokens.admin)


@pytest.fixture(scope="module")
async def tenant(stock: Stock) -> Caller:
    """A member of a project that has another below it."""
    return await stock.tenant("limited")


@pytest.fixture(scope="module")
async def child(stock: Stock, tenant: Caller) -> Caller:
    return await stock.tenant("limited-below", parent="limited")


@pytest.fixture(scope="module")
async def stranger(stock: Stock) -> Caller:
    return await stock.tenant("limited-elsewhere")


async def limit(stock: Stock, project: str, **more: Any) -> v1.Quota:
    message = v1.SetQuotaRequest(project=project, **more)
    set_: v1.Quota = (await stock.call("set_quota", message)).quota
    return set_


async def quota(caller: Caller, project: str = "") -> v1.Quota:
    message = v1.GetQuotaRequest(project=project)
    found: v1.Quota = (await caller.call("get_quota", message)).quota
    return found


def use(found: v1.Quota, class_: str) -> tuple[int, int, int]:
    """Return what is used of a class now, at its highest, and may be."""
    [one] = [u for u in found.use if u.resource_class == class_]
    return one.used, one.peak, one.limit


async def test_the_first_quota_counts_what_is_there_and_below(
    stock: Stock, tenant: Caller, child: Caller, stranger: Caller
) -> None:
    [node] = await stock.providers("first", 1, {"custom.first": 100})
    now = v1.Window(end=at(1))
    await tenant.exact((node, {"custom.first": 3}), window=now)
    await child.exact((node, {"custom.first": 4}), window=now)
    await child.exact((node, {"custom.first": 2}), window=v1.Window(start=at(0), end=at(2)))
    await stranger.exact((node, {"custom.first": 50}), window=now)
    released = await tenant.exact((node, {"custom.first": 20}), window=now)
    await tenant.release(released)
    set_ = await limit(stock, "limited", limits={"custom.first": 10})
    assert use(set_, "custom.first") == (7, 9, 10)
    assert (set_.project, set_.project_name) == (tenant.project, "limited")
    refused = await refusal(child.exact((node, {"custom.first": 2}), window=now))
    assert refused.status is Status.RESOURCE_EXHAUSTED
    assert "the quota of a project above yours" in refused.message
    refused = await refusal(tenant.exact((node, {"custom.first": 2}), window=now))
    assert "project limited may use 10 custom.first" in refused.message
    await child.exact((node, {"custom.first": 1}), window=now)
    assert use(await quota(tenant), "custom.first") == (8, 10, 10)
    await stranger.exact((node, {"custom.first": 5}), window=now)


async def test_a_limit_holds_at_every_instant_and_not_for_the_sum(
    stock: Stock, tenant: Caller
) -> None:
    await limit(stock, "limited", limits={"custom.peak": 4})
    await stock.providers("peak", 2, {"custom.peak": 100})

    async def take(amount: int, start: float, end: float | None) -> v1.Claim:
        asked = request(ask({"custom.peak": amount}), window=window(start, end))
        return await tenant.make(asked)

    await take(4, 10, 12)
    await take(4, 12, 14)
    await take(3, 14, 16)
    for start, end in ((9, 11), (11, 13), (0, None)):
        assert (await refusal(take(1, start, end))).status is Status.RESOURCE_EXHAUSTED
    assert (await refusal(take(2, 15, 20))).status is Status.RESOURCE_EXHAUSTED
    beside = await take(1, 14, 16)
    assert use(await quota(tenant), "custom.peak") == (0, 4, 4)
    longer = v1.RescheduleClaimRequest(claim=beside.uuid, end=at(20))
    await tenant.call("reschedule_claim", longer)
    earlier = v1.RescheduleClaimRequest(claim=beside.uuid, start=at(13))
    refused = await refusal(tenant.call("reschedule_claim", earlier))
    assert refused.status is Status.RESOURCE_EXHAUSTED
    await tenant.release(beside)
    await take(4, 16, 20)
    await take(4, 5, 10)


async def test_what_is_over_a_lowered_limit_stays_and_nothing_comes(
    stock: Stock, tenant: Caller
) -> None:
    await limit(stock, "limited", limits={"custom.low": 4})
    await stock.providers("low", 1, {"custom.low": 100})
    kept = await tenant.make(request(ask({"custom.low": 4})))
    assert use(await limit(stock, "limited", limits={"custom.low": 2}), "custom.low") == (4, 4, 2)
    refused = await refusal(tenant.make(request(ask({"custom.low": 1}))))
    assert refused.status is Status.RESOURCE_EXHAUSTED
    assert (await tenant.claim(kept.uuid)).state is v1.ClaimState.ACTIVE
    await tenant.release(kept)
    await tenant.make(request(ask({"custom.low": 2})))


async def test_a_lease_beyond_the_longest_names_the_end(
    stock: Stock, tenant: Caller, child: Caller
) -> None:
    await limit(stock, "limited", max_lease=2 * HOUR)
    [node] = await stock.providers("lease", 1, {"custom.lease": 100})
    for caller in (tenant, child):
        for end in (3, None):
            for call in (
                caller.make(request(ask({"custom.lease": 1}), window=window(0, end))),
                caller.exact(
                    (node, {"custom.lease": 1}),
                    window=v1.Window(start=at(0), end=None if end is None else at(end)),
                ),
            ):
                refused = await refusal(call)
                assert (refused.status, refused.fields) == (
                    Status.INVALID_ARGUMENT,
                    ("window.end",),
                )
    made = await child.make(request(ask({"custom.lease": 1}), window=window(0, 2)))
    longer = v1.RescheduleClaimRequest(claim=made.uuid, end=at(2.1))
    refused = await refusal(child.call("reschedule_claim", longer))
    assert refused.fields == ("window.end",)
    span = v1.Span(duration=2 * HOUR)
    await child.make(request(ask({"custom.lease": 1}), window=span))
    await limit(stock, "limited")


async def test_a_quota_is_set_on_what_was_read(stock: Stock, stranger: Caller) -> None:
    first = await limit(stock, "limited-elsewhere", limits={"machine": 1})
    second = await limit(stock, "limited-elsewhere", limits={"machine": 2}, etag=first.etag)
    stale = v1.SetQuotaRequest(project="limited-elsewhere", limits={"machine": 3}, etag=first.etag)
    assert (await refusal(stock.call("set_quota", stale))).status is Status.ABORTED
    assert await quota(stranger) == second
    repeated = v1.SetQuotaRequest(
        request_id=new_id(), project="limited-elsewhere", limits={"machine": 5}
    )
    answers = [await stock.call("set_quota", repeated) for _ in range(2)]
    assert answers[0].quota == answers[1].quota
    odd = v1.SetQuotaRequest(project="limited-elsewhere", limits={"machine": -1})
    assert (await refusal(stock.call("set_quota", odd))).fields == ("limits[machine]",)
    nowhere = v1.SetQuotaRequest(project=new_id(), limits={"machine": 1})
    assert (await refusal(stock.call("set_quota", nowhere))).status is Status.NOT_FOUND


async def test_a_tenant_sees_its_own_quota_alone_and_sets_none(
    stock: Stock, tenant: Caller, stranger: Caller
) -> None:
    await limit(stock, "limited", limits={"custom.seen": 7})
    await limit(stock, "limited-elsewhere", limits={"machine": 1})
    assert (await quota(tenant)).limits == {"custom.seen": 7}
    assert (await quota(tenant, "limited")).project == tenant.project
    for key in ("limited-elsewhere", stranger.project, "never-heard-of"):
        assert (await refusal(quota(tenant, key))).status is Status.NOT_FOUND
    listing = v1.ListQuotasRequest(freshness=await stock.known())
    listed = (await tenant.call("list_quotas", listing)).quotas
    assert [q.project_name for q in listed] == ["limited"]
    everything = (await stock.call("list_quotas", listing)).quotas
    assert {"limited", "limited-elsewhere"} <= {q.project_name for q in everything}
    denied = await refusal(tenant.call("set_quota", v1.SetQuotaRequest(project="limited")))
    assert denied.status is Status.PERMISSION_DENIED
    summed = v1.SummarizeUsageRequest(project="limited-elsewhere")
    assert (await refusal(tenant.call("summarize_usage", summed))).status is Status.NOT_FOUND


async def test_many_at_once_never_exceed_a_quota(stock: Stock, tenant: Caller) -> None:
    await stock.providers("storm", MANY, {"custom.storm": 2})
    await limit(stock, "limited", limits={"custom.storm": 10})
    asked = request(ask({"custom.storm": 1}), window=v1.Span(end=at(0)))
    made: list[v1.Claim] = []
    refused: list[GRPCError] = []

    async def one() -> None:
        try:
            made.append(await tenant.make(asked))
        except GRPCError as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(MANY):
            tasks.start_soon(one)
    assert len(made) == 10
    assert Counter(error.status for error in refused) == {Status.RESOURCE_EXHAUSTED: MANY - 10}
    assert all("may use 10 custom.storm" in (error.message or "") for error in refused)
    assert use(await quota(tenant), "custom.storm") == (10, 10, 10)
    await tenant.release(*made)
    assert use(await quota(tenant), "custom.storm")[0] == 0


async def test_a_quota_set_while_many_claim_misses_none(stock: Stock) -> None:
    busy = await stock.tenant("limited-while-busy")
    await stock.providers("busy", 8, {"custom.busy": 100})
    asked = request(ask({"custom.busy": 1}), window=v1.Span(end=at(0)))
    made: list[v1.Claim] = []

    async def one() -> None:
        made.append(await busy.make(asked))

    async with anyio.create_task_group() as tasks:
        for _ in range(MANY // 2):
            tasks.start_soon(one)
        tasks.start_soon(limit, stock, "limited-while-busy")
        for _ in range(MANY // 2):
            tasks.start_soon(one)
    assert len(made) == MANY
    set_ = await limit(stock, "limited-while-busy", limits={"custom.busy": MANY})
    assert use(set_, "custom.busy") == (MANY, MANY, MANY)
    assert (await refusal(busy.make(asked))).status is Status.RESOURCE_EXHAUSTED


async def test_usage_sums_amounts_over_time_by_whatever_is_asked(stock: Stock) -> None:
    parent = await stock.tenant("metered")
    below = await stock.tenant("metered-below", parent="metered")
    one, two = await stock.providers("meter", 2, {"custom.meter": 10, "custom.other": 10})
    group = await stock.group("meters", one)
    await parent.exact((one, {"custom.meter": 4}), window=v1.Window(start=at(0), end=at(2)))
    await below.exact(
        (one, {"custom.meter": 3}),
        (two, {"custom.meter": 3}),
        window=v1.Window(start=at(1), end=at(4)),
    )
    await below.exact((two, {"custom.other": 1}), window=v1.Window(start=at(3), end=at(20)))
    cancelled = await below.exact(
        (two, {"custom.meter": 1}), window=v1.Window(start=at(1), end=at(4))
    )
    await below.release(cancelled)
    fresh = await stock.known()

    async def rows(caller: Caller = stock, **more: Any) -> dict[tuple[str, str], Any]:
        message = v1.SummarizeUsageRequest(
            **{
                "window": v1.Window(start=at(0), end=at(4)),
                "resource_class": "custom.meter",
                "freshness": fresh,
                **more,
            }
        )
        answer = await caller.call("summarize_usage", message)
        assert not answer.truncated
        return {(r.name, r.resource_class): (r.unit_hours, r.peak, r.claims) for r in answer.rows}

    meter = "custom.meter"
    projects = {("metered", meter): (8, 4, 1), ("metered-below", meter): (18, 6, 1)}
    assert await rows() == projects
    assert await rows(by="account") == {
        ("planner-metered", meter): (8, 4, 1),
        ("planner-metered-below", meter): (18, 6, 1),
    }
    assert await rows(by="provider") == {
        ("meter-0", meter): (17, 7, 2),
        ("meter-1", meter): (9, 3, 1),
    }
    assert await rows(by="group") == {("meters", meter): (17, 7, 2)}
    assert await rows(by="class") == {(meter, meter): (26, 10, 2)}
    assert await rows(by="class", group=group, project="metered-below") == {
        (meter, meter): (9, 3, 1)
    }
    half = v1.Window(start=at(0.5), end=at(1.5))
    assert await rows(by="class", window=half) == {(meter, meter): (7, 10, 2)}
    both = await rows(below, resource_class="", by="class")
    assert both == {(meter, meter): (18, 6, 1), ("custom.other",) * 2: (1, 1, 1)}
    assert await rows(parent) == {("metered", meter): (8, 4, 1)}
    assert await rows(window=v1.Window(start=at(-1), end=at(0))) == {}
