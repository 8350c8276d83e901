"""What a tenant is told when it is refused: the cause, what would do, and nothing of others."""

from datetime import datetime

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
    return await stock.tenant("refused")


@pytest.fixture(scope="module")
async def stranger(stock: Stock) -> Caller:
    return await stock.tenant("refused-elsewhere")


async def test_more_than_any_provider_has_is_named_with_how_to_ask_for_it(
    stock: Stock, tenant: Caller, stranger: Caller
) -> None:
    await stock.providers("single", 2, {"custom.single": 1})
    await stranger.make(request(ask({"custom.single": 1})))
    refused = await refusal(tenant.make(request(ask({"custom.single": 3}))))
    assert refused.status is Status.RESOURCE_EXHAUSTED
    assert "2 do not give it in such amounts" in refused.message
    step = "for 3 ask for custom.single=1 with a count of 3 (--count 3)"
    assert f"no provider gives more than 1 custom.single at once: {step}" in refused.message
    assert "single-0 (has 1 custom.single in all, 3 asked)" in refused.message
    assert "not enough is free" not in refused.message
    many = await refusal(tenant.make(request(ask({"custom.single": 1}, count=3))))
    assert "never fits 3 times at once: 2 providers suit it" in many.message
    assert many.message.endswith("ask for no more (--count 2)")
    some = await refusal(tenant.make(request(ask({"custom.single": 1}, count=2))))
    assert "2 providers suit it, and not enough is free in the window" in some.message


async def test_the_quota_is_told_ahead_of_a_time_that_it_would_not_allow(
    stock: Stock, tenant: Caller, stranger: Caller
) -> None:
    await stock.providers("narrow", 2, {"custom.narrow": 1})
    limits = {"custom.narrow": 1}
    await stock.call("set_quota", v1.SetQuotaRequest(project="refused", limits=limits))
    await stranger.make(request(ask({"custom.narrow": 1}), window=window(0, 2)))
    two = request(ask({"custom.narrow": 1}, count=2), window=window(0, 1))
    refused = await refusal(tenant.make(two))
    assert refused.message == (
        "project refused may use 1 custom.narrow: up to 0 are in use in the window, 1 are left and"
        " 2 more are asked; ask for less, or ask for a higher quota"
    )
    mine = await tenant.make(request(ask({"custom.narrow": 1}), window=window(2, 4)))
    await stranger.make(request(ask({"custom.narrow": 1}), window=window(0, 2)))
    later = await refusal(tenant.make(request(ask({"custom.narrow": 1}), window=window(1, 2))))
    assert "it would fit from 2040-01-01 02:00:00Z, but then project refused may" in later.message
    await tenant.release(mine)


async def test_a_claim_of_ones_own_that_is_in_the_way_is_named_and_anothers_is_not(
    stock: Stock, tenant: Caller, stranger: Caller
) -> None:
    async def extend(claim: v1.Claim, end: datetime) -> str:
        changed = v1.RescheduleClaimRequest(claim=claim.uuid, end=end)
        refused = await refusal(tenant.call("reschedule_claim", changed))
        assert refused.status is Status.RESOURCE_EXHAUSTED
        return refused.message

    [node] = await stock.providers("inway", 1, {"custom.inway": 1})
    whole = (node, {"custom.inway": 1})
    made = await tenant.exact(whole, window=v1.Window(start=at(1), end=at(2)))
    theirs = await stranger.exact(
        whole, window=v1.Window(start=at(8), end=at(9)), name="a-secret-of-theirs"
    )
    free = "provider inway-0 is not free in the window"
    assert await extend(made, at(9)) == free
    await tenant.exact(whole, window=v1.Window(start=at(4), end=at(5)), name="mine-later")
    own = (
        f"{free}: claim mine-later of your project holds custom.inway=1 there from"
        " 2040-01-01 04:00:00Z until 2040-01-01 05:00:00Z; give that back, or choose a window"
        " without it"
    )
    assert await extend(made, at(5)) == own
    assert await extend(made, at(9)) == own
    exact = await refusal(tenant.exact(whole, window=v1.Window(start=at(3), end=at(5))))
    assert exact.message == own
    await stranger.release(theirs)
    assert await extend(made, at(9)) == own
