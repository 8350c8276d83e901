"""A provider fails: what is reserved there goes to an equal, or is flagged until there is room."""

from typing import Any

import pytest

from mulligan.proto import v1
from tests.e2e.region import until
from tests.services.conftest import Tokens
from tests.services.edge import Edge
from tests.services.stock import Caller, Stock, ask, holds, names, request, window


@pytest.fixture(scope="module")
async def stock(edge: Edge, tokens: Tokens) -> Stock:
    return Stock(edge, tokens.admin)


@pytest.fixture(scope="module")
async def tenant(stock: Stock) -> Caller:
    return await stock.tenant("migrating")


async def fail(stock: Stock, provider: str) -> None:
    await stock.cordon(provider, note="smoke", failed=True)


async def stranded(caller: Caller, stock: Stock) -> dict[str, list[v1.Stranding]]:
    """Return the flagged claims of a project by name."""
    message = v1.ListClaimsRequest(stranded=True, freshness=await stock.known())
    found = (await caller.call("list_claims", message)).claims
    return {claim.name: claim.stranded for claim in found}


async def moves_from(caller: Caller, claim: v1.Claim, provider: str) -> v1.Claim:
    """Return the claim once it holds nothing at a provider any more."""

    async def moved() -> bool:
        return provider not in holds(await caller.claim(claim.uuid))

    await until(moved, f"{claim.name} leaves {provider}", 10)
    return await caller.claim(claim.uuid)


async def flagged(caller: Caller, stock: Stock, name: str) -> v1.Stranding:
    async def shown() -> bool:
        return name in await stranded(caller, stock)

    await until(shown, f"{name} is flagged", 10)
    [flag] = (await stranded(caller, stock))[name]
    return flag


async def reserve(caller: Caller, name: str, *groups: v1.RequestGroup, **more: Any) -> v1.Claim:
    return await caller.make(request(*groups, window=window(0, 1), **more), name=name)


async def test_reservations_move_to_equals_and_running_claims_stay(
    stock: Stock, tenant: Caller
) -> None:
    for n, tags in enumerate(("custom.quiet", "custom.quiet", "custom.loud")):
        await stock.provider(f"equals-{n}", {"custom.eq": 2}, capabilities=[tags])
    await stock.known()
    quiet = v1.CapabilityFilter(require=["custom.quiet"])
    made = await reserve(tenant, "moves", ask({"custom.eq": 2}, capabilities=quiet))
    [failing] = holds(made)
    running = await tenant.exact(
        (failing, {"custom.eq": 1}), window=v1.Window(end=window(-1).start)
    )
    named = await tenant.exact(
        (failing, {"custom.eq": 1}), window=v1.Window(start=window(2).start, end=window(3).start)
    )
    await fail(stock, failing)
    for claim in (made, named):
        moved = await moves_from(tenant, claim, failing)
        assert holds(moved) == sorted({"equals-0", "equals-1"} - {failing})
        assert moved.state is v1.ClaimState.RESERVED
    assert holds(await tenant.claim(running.uuid)) == [failing]
    assert not {"moves"} & (await stranded(tenant, stock)).keys()


async def test_what_fits_nowhere_is_flagged_and_moves_when_room_comes(
    stock: Stock, tenant: Caller
) -> None:
    await stock.providers("full", 1, {"custom.full": 1})
    made = await reserve(tenant, "stuck", ask({"custom.full": 1}))
    assert made.stranded == []
    await fail(stock, "full-0")
    flag = await flagged(tenant, stock, "stuck")
    assert flag.provider == made.allocations[0].provider
    assert "no equal provider has room" in flag.reason
    assert (await tenant.claim(made.uuid)).state is v1.ClaimState.RESERVED
    await stock.provider("full-spare", {"custom.full": 1})
    moved = await moves_from(tenant, made, "full-0")
    assert holds(moved) == ["full-spare"]
    assert moved.stranded == []
    assert "stuck" not in await stranded(tenant, stock)


async def test_what_is_bound_to_others_is_flagged_and_stays(stock: Stock, tenant: Caller) -> None:
    for n in range(2):
        await stock.provider(f"bound-{n}", {"custom.bound": 1})
        await stock.provider(f"bound-{n}-nic", {"custom.bound-nic": 1}, parent=f"bound-{n}")
    await stock.known()
    made = await reserve(
        tenant,
        "bound",
        ask({"custom.bound": 1}, name="a"),
        ask({"custom.bound-nic": 1}, name="b"),
        same_subtree=[names("a", "b")],
    )
    await fail(stock, holds(made)[0])
    flag = await flagged(tenant, stock, "bound")
    assert "same_subtree" in flag.reason
    assert holds(await tenant.claim("bound")) == holds(made)


async def test_a_claim_that_is_isolated_does_not_move_onto_its_own_other_half(
    stock: Stock, tenant: Caller
) -> None:
    await stock.providers("halves", 2, {"custom.half": 2})
    made = await reserve(
        tenant, "halves", ask({"custom.half": 1}, count=2, name="g"), isolate=[names("g")]
    )
    await fail(stock, "halves-0")
    await flagged(tenant, stock, "halves")
    assert holds(await tenant.claim("halves")) == holds(made) == ["halves-0", "halves-1"]
    await stock.provider("halves-2", {"custom.half": 2})
    assert holds(await moves_from(tenant, made, "halves-0")) == ["halves-1", "halves-2"]
