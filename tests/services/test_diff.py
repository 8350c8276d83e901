"""What differs between two moments, through the edge: for operators, and for tenants."""

import json

import pytest
from grpclib import GRPCError, Status

from mulligan.proto import v1
from tests.services.conftest import Tokens
from tests.services.edge import Edge, Refusal, explained
from tests.services.stock import Caller, Stock, at

DAY = v1.Window(end=at(0))


@pytest.fixture(scope="module")
async def stock(edge: Edge, tokens: Tokens) -> Stock:
    return Stock(edge, tokens.admin)


@pytest.fixture(scope="module")
async def tenant(stock: Stock) -> Caller:
    return await stock.tenant("differing")


async def head(caller: Caller) -> int:
    status = await caller.edge.call("log.get_log_status", v1.GetLogStatusRequest(), caller.token)
    assert status.head is not None
    return int(status.head.seq)


async def diff(
    caller: Caller, start: object, end: object = "", **more: object
) -> list[v1.ObjectChange]:
    request = v1.DiffLogRequest(from_=str(start), to=str(end), **more)  # type: ignore[arg-type]
    stub = v1.LogStub(caller.edge.channel("log"))
    metadata = caller.edge.metadata(caller.token)
    return [one async for one in stub.diff_log(request, metadata=metadata, timeout=20)]


async def refused(caller: Caller, start: object, end: object = "", **more: object) -> Refusal:
    with pytest.raises(GRPCError) as raised:
        await diff(caller, start, end, **more)
    return explained(raised.value)


async def test_an_object_made_changed_and_deleted_is_told_of_with_what_differs(
    stock: Stock,
) -> None:
    began = await head(stock)
    (one,) = await stock.providers("differs", 1, {"custom.differs": 4})
    made = await head(stock)
    await stock.cordon(one, note="leaks")
    ended = await head(stock)
    (created,) = [c for c in await diff(stock, began, made) if c.stream == f"provider/{one}"]
    assert (created.change, created.name) == ("created", "differs-0")
    assert {f.path: f.after for f in created.fields}["inventories.custom.differs.total"] == "4"
    (changed,) = await diff(stock, made, ended)
    assert (changed.change, changed.events) == ("changed", 1)
    assert all(f.path.startswith("cordons") for f in changed.fields)
    assert "leaks" in "".join(f.after for f in changed.fields)
    assert changed.last is not None and made < changed.last.seq <= ended
    whole = await diff(stock, began, ended, stream=f"provider/{one}")
    assert [(c.change, c.events) for c in whole] == [("created", 1 + created.events)]
    assert await diff(stock, ended, ended) == []


async def test_a_tenant_is_told_of_what_is_its_own(stock: Stock, tenant: Caller) -> None:
    stranger = await stock.tenant("differing-elsewhere")
    (one,) = await stock.providers("differs-too", 1, {"custom.differs2": 9})
    began = await head(stock)
    mine = await tenant.exact((one, {"custom.differs2": 2}), window=DAY)
    theirs = await stranger.exact((one, {"custom.differs2": 3}), window=DAY)
    ended = await head(stock)
    seen = await diff(tenant, began, ended)
    assert [(c.stream, c.change) for c in seen] == [(f"claim/{mine.uuid}", "created")]
    assert theirs.uuid not in "".join(json.dumps(c.to_dict()) for c in seen)
    assert {c.stream for c in await diff(stock, began, ended, kind="claim")} == {
        f"claim/{mine.uuid}", f"claim/{theirs.uuid}",
    }  # fmt: skip
    await tenant.release(mine)
    (after,) = await diff(tenant, ended)
    assert {f.path: f.after for f in after.fields}["state"] in {'"released"', '"cancelled"'}
    await stranger.release(theirs)


async def test_more_than_the_limit_is_said_to_be_more(stock: Stock) -> None:
    began = await head(stock)
    await stock.providers("many", 3, {"custom.many": 1})
    ended = await head(stock)
    assert [c.more for c in await diff(stock, began, ended, kind="provider", limit=2)] == [
        False, True,
    ]  # fmt: skip
    assert [c.more for c in await diff(stock, began, ended, kind="provider", limit=3)] == [
        False, False, False,
    ]  # fmt: skip


async def test_what_is_no_moment_or_in_the_wrong_order_is_refused(stock: Stock) -> None:
    now = await head(stock)
    for start, end, field in (
        (0, "", "from"),
        (1, now + 1000, "to"),
        ("noon", "", "from"),
        (now, 1, "from"),
    ):
        error = await refused(stock, start, end)
        assert error.status is Status.INVALID_ARGUMENT
        assert field in error.fields
    assert (await refused(stock, 1, stream="machine")).status is Status.INVALID_ARGUMENT
    assert (await refused(stock, 1, limit=10_001)).status is Status.INVALID_ARGUMENT
