"""What is done to claims that exist: other times, other places, a reshape; and by whom."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from grpclib import Status

from mulligan.proto import v1
from tests.services.conftest import Tokens
from tests.services.edge import Edge, Refusal, refusal
from tests.services.stock import HOUR, Caller, Stock, ask, at, holds, names, request, window

RESERVED = v1.Window(start=at(1), end=at(3))


@pytest.fixture(scope="module")
async def stock(edge: Edge, tokens: Tokens) -> Stock:
    return Stock(edge, tokens.admin)


@pytest.fixture(scope="module")
async def tenant(stock: Stock) -> Caller:
    return await stock.tenant("changing")


@pytest.fixture(scope="module")
async def stranger(stock: Stock) -> Caller:
    return await stock.tenant("changing-elsewhere")


async def reschedule(caller: Caller, claim: v1.Claim, **changes: Any) -> v1.Claim:
    message = v1.RescheduleClaimRequest(claim=claim.uuid, **changes)
    changed: v1.Claim = (await caller.call("reschedule_claim", message)).claim
    return changed


async def move(caller: Caller, claim: v1.Claim, **more: Any) -> v1.Claim:
    message = v1.MoveClaimRequest(claim=claim.uuid, **more)
    moved: v1.Claim = (await caller.call("move_claim", message)).claim
    return moved


async def usage(stock: Stock, provider: str) -> list[tuple[datetime | None, datetime | None, int]]:
    message = v1.ListUsageRequest(provider=provider)
    found = (await stock.call("list_usage", message)).segments
    return [(s.window.start, s.window.end, s.used) for s in found]


async def test_a_reservation_is_extended_shortened_moved_and_opened(
    stock: Stock, tenant: Caller
) -> None:
    [node] = await stock.providers("times", 1, {"custom.times": 2})
    made = await tenant.exact((node, {"custom.times": 2}), window=RESERVED)
    longer = await reschedule(tenant, made, end=at(5), etag=made.etag)
    assert longer.window == v1.Window(start=at(1), end=at(5))
    assert longer.etag != made.etag
    assert await usage(stock, node) == [(at(1), at(5), 2)]
    shorter = await reschedule(tenant, longer, end=at(2), etag=longer.etag)
    assert await usage(stock, node) == [(at(1), at(2), 2)]
    both = await reschedule(tenant, shorter, start=at(7), end=at(9))
    assert await usage(stock, node) == [(at(7), at(9), 2)]
    opened = await reschedule(tenant, both, open_end=True)
    assert opened.window == v1.Window(start=at(7))
    assert await usage(stock, node) == [(at(7), None, 2)]
    assert await tenant.claim(made.uuid) == opened


async def test_a_stale_etag_changes_nothing(stock: Stock, tenant: Caller) -> None:
    [node] = await stock.providers("etag", 1, {"custom.etag": 1})
    made = await tenant.exact((node, {"custom.etag": 1}), window=RESERVED)
    changed = await reschedule(tenant, made, end=at(4))
    stale = await refusal(reschedule(tenant, made, end=at(6), etag=made.etag))
    assert stale.status is Status.ABORTED
    assert await tenant.claim(made.uuid) == changed
    odd = await refusal(reschedule(tenant, made, end=at(6), etag="new"))
    assert odd.fields == ("etag",)


async def test_what_is_added_must_fit_and_what_is_kept_stays(stock: Stock, tenant: Caller) -> None:
    [node] = await stock.providers("fit", 1, {"custom.fit": 1})
    made = await tenant.exact((node, {"custom.fit": 1}), window=RESERVED)
    await tenant.exact((node, {"custom.fit": 1}), window=v1.Window(start=at(4), end=at(5)))
    refused = await refusal(reschedule(tenant, made, end=at(4.5)))
    assert refused.status is Status.RESOURCE_EXHAUSTED
    assert (await refusal(reschedule(tenant, made, open_end=True))).status is (
        Status.RESOURCE_EXHAUSTED
    )
    assert await tenant.claim(made.uuid) == made
    touching = await reschedule(tenant, made, end=at(4))
    assert touching.window == v1.Window(start=at(1), end=at(4))


async def test_a_start_that_was_cannot_move_and_an_end_is_never_put_in_the_past(
    stock: Stock, tenant: Caller
) -> None:
    [node] = await stock.providers("past", 1, {"custom.past": 1})
    running = await tenant.exact((node, {"custom.past": 1}), window=v1.Window(end=at(1)))
    moved = await refusal(reschedule(tenant, running, start=at(0)))
    assert moved.status is Status.FAILED_PRECONDITION
    yesterday = datetime.now(UTC) - timedelta(days=1)
    ended = await refusal(reschedule(tenant, running, end=yesterday))
    assert ended.status is Status.INVALID_ARGUMENT
    assert "past" in ended.message
    for nothing in ({}, {"end": at(2), "open_end": True}):
        refused = await refusal(reschedule(tenant, running, **nothing))
        assert refused.status is Status.INVALID_ARGUMENT
    await tenant.release(running)
    over = await refusal(reschedule(tenant, running, end=at(2)))
    assert over.status is Status.FAILED_PRECONDITION
    assert "released" in over.message


async def test_a_claim_moves_to_the_named_provider_in_one_step(
    stock: Stock, tenant: Caller
) -> None:
    here, there = await stock.providers("move-to", 2, {"custom.to": 2})
    made = await tenant.exact((here, {"custom.to": 2}), window=RESERVED)
    moved = await move(tenant, made, target="move-to-1", reason="noise")
    assert holds(moved) == ["move-to-1"]
    assert await usage(stock, here) == []
    assert await usage(stock, there) == [(at(1), at(3), 2)]
    same = await refusal(move(tenant, moved, target="move-to-1"))
    assert (same.status, same.fields) == (Status.INVALID_ARGUMENT, ("target",))
    not_there = await refusal(move(tenant, moved, source="move-to-0", target="move-to-1"))
    assert not_there.status is Status.FAILED_PRECONDITION
    nowhere = await refusal(move(tenant, moved, source="move-to-0"))
    assert nowhere.status is Status.FAILED_PRECONDITION
    await tenant.exact((here, {"custom.to": 1}), window=RESERVED)
    full = await refusal(move(tenant, moved, target="move-to-0"))
    assert full.status is Status.RESOURCE_EXHAUSTED
    assert await tenant.claim(made.uuid) == moved
    await tenant.release(moved)
    over = await refusal(move(tenant, moved))
    assert over.status is Status.FAILED_PRECONDITION
    assert "cancelled" in over.message


async def test_a_repeated_move_moves_once(stock: Stock, tenant: Caller) -> None:
    await stock.providers("again", 3, {"custom.again": 1})
    made = await tenant.make(request(ask({"custom.again": 1}), window=window(1, 3)))
    moved = await move(tenant, made, request_id="018f0000-0000-7000-8000-00000000a9a1")
    again = await move(tenant, made, request_id="018f0000-0000-7000-8000-00000000a9a1")
    assert again == moved
    assert holds(moved) != holds(made)


async def test_a_move_without_a_target_finds_one_that_meets_the_request(
    stock: Stock, tenant: Caller
) -> None:
    for n, tags in enumerate(("custom.quiet", "custom.quiet", "custom.loud", "custom.quiet")):
        await stock.provider(f"equal-{n}", {"custom.equal": 1}, capabilities=[tags])
    await stock.known()
    quiet = v1.CapabilityFilter(require=["custom.quiet"])
    asked = request(
        ask({"custom.equal": 1}, count=2, name="g", capabilities=quiet),
        isolate=[names("g")],
        window=window(1, 3),
    )
    made = await tenant.make(asked)
    unnamed = await refusal(move(tenant, made))
    assert unnamed.fields == ("source",)
    left, kept = holds(made)
    moved = await move(tenant, made, source=left)
    free = {"equal-0", "equal-1", "equal-3"} - {left, kept}
    assert set(holds(moved)) == {kept, *free}
    await stock.cordon(left, note="out")
    nowhere = await refusal(move(tenant, moved, source=kept))
    assert nowhere.status is Status.RESOURCE_EXHAUSTED
    assert "no equal provider has room" in nowhere.message
    assert await tenant.claim(made.uuid) == moved


async def test_an_equal_stands_in_a_tree_whose_root_can_what_was_asked(
    stock: Stock, tenant: Caller
) -> None:
    for n in range(4):
        tags = [] if n in {1, 2} else ["custom.backed"]
        await stock.provider(f"root-{n}", capabilities=tags)
        await stock.provider(f"root-{n}-node", {"custom.root": 1}, parent=f"root-{n}")
    await stock.known()
    backed = v1.CapabilityFilter(require=["custom.backed"])
    asked = request(
        ask({"custom.root": 1}, name="g"), root_capabilities=backed, window=window(1, 3)
    )
    made = await tenant.make(asked)
    moved = await move(tenant, made)
    assert sorted(holds(made) + holds(moved)) == ["root-0-node", "root-3-node"]
    await stock.cordon(holds(made)[0], note="out")
    assert (await refusal(move(tenant, moved))).status is Status.RESOURCE_EXHAUSTED


async def test_a_running_claim_keeps_what_it_held_until_it_moved(
    stock: Stock, tenant: Caller
) -> None:
    await stock.providers("trail", 2, {"custom.trail": 1})
    made = await tenant.make(request(ask({"custom.trail": 1})))
    moved = await move(tenant, made)
    before, after = sorted(moved.allocations, key=lambda a: a.until is None)
    assert before.until == after.since
    assert [before.provider_name] == holds(made)
    assert [after.provider_name] == holds(moved)
    fresh = await stock.known()

    async def listed(provider: str, **more: Any) -> list[str]:
        message = v1.ListClaimsRequest(provider=provider, freshness=fresh, **more)
        return [c.uuid for c in (await tenant.call("list_claims", message)).claims]

    assert await listed(after.provider) == [made.uuid]
    assert await listed(before.provider) == []
    since = v1.Window(start=made.created_at)
    assert await listed(before.provider, window=since) == [made.uuid]
    await tenant.release(moved)
    fresh = await stock.known()
    assert await listed(after.provider) == []
    over = [v1.ClaimState.RELEASED]
    assert await listed(after.provider, states=over) == [made.uuid]


async def test_an_operator_reshapes_and_a_tenant_does_not(stock: Stock, tenant: Caller) -> None:
    node = await stock.provider("shape", {"custom.cores": 8})
    cells = [await stock.provider(f"shape-{n}", parent="shape") for n in range(2)]
    made = await tenant.exact((node, {"custom.cores": 8}), window=RESERVED)

    def cut(amount: int) -> v1.ReshapeRequest:
        half = v1.Inventory(resource_class="custom.cores", total=4)
        taken = [v1.Allocation(provider=c, amounts={"custom.cores": amount}) for c in cells]
        return v1.ReshapeRequest(
            providers=[
                v1.ReshapedProvider(provider="shape"),
                *(v1.ReshapedProvider(provider=c, inventories=[half]) for c in cells),
            ],
            claims=[v1.ReshapedClaim(claim=made.uuid, allocations=taken)],
        )

    denied = await refusal(tenant.call("reshape", cut(4)))
    assert denied.status is Status.PERMISSION_DENIED
    over = await refusal(stock.call("reshape", cut(5)))
    assert over.status is Status.RESOURCE_EXHAUSTED
    assert await tenant.claim(made.uuid) == made
    await stock.call("reshape", cut(4))
    assert holds(await tenant.claim(made.uuid)) == ["shape-0", "shape-1"]
    assert await usage(stock, node) == []
    assert await usage(stock, cells[0]) == [(at(1), at(3), 4)]
    twice = v1.ReshapeRequest(providers=[v1.ReshapedProvider(provider="shape")] * 2)
    assert (await refusal(stock.call("reshape", twice))).fields == ("providers",)
    nothing = await refusal(stock.call("reshape", v1.ReshapeRequest()))
    assert nothing.status is Status.INVALID_ARGUMENT


async def test_turnaround_counts_as_used_after_the_end(stock: Stock, tenant: Caller) -> None:
    await stock.provider("clean", {"custom.clean": 1}, turnaround=HOUR)
    made = await tenant.exact(("clean", {"custom.clean": 1}), window=RESERVED)
    assert made.allocations[0].turnaround == HOUR
    soon = tenant.exact(("clean", {"custom.clean": 1}), window=v1.Window(start=at(3), end=at(4)))
    assert (await refusal(soon)).status is Status.RESOURCE_EXHAUSTED
    await tenant.exact(("clean", {"custom.clean": 1}), window=v1.Window(start=at(4), end=at(5)))


async def test_another_project_s_claim_cannot_be_touched(
    stock: Stock, tenant: Caller, stranger: Caller
) -> None:
    await stock.providers("mine", 2, {"custom.mine": 1})
    made = await tenant.make(
        request(ask({"custom.mine": 1}), window=window(1, 3)), name="untouched"
    )

    async def tried(key: str) -> list[Refusal]:
        calls: list[tuple[str, Any]] = [
            ("get_claim", v1.GetClaimRequest(claim=key)),
            ("reschedule_claim", v1.RescheduleClaimRequest(claim=key, end=at(2))),
            ("move_claim", v1.MoveClaimRequest(claim=key)),
            ("move_claim", v1.MoveClaimRequest(claim=key, target="mine-0")),
            ("explain_claim", v1.ExplainClaimRequest(claim=key)),
            ("release_claim", v1.ReleaseClaimRequest(claim=key)),
        ]
        return [await refusal(stranger.call(method, message)) for method, message in calls]

    for refused in [*await tried(made.uuid), *await tried("untouched")]:
        assert refused.status is Status.NOT_FOUND
    assert await tenant.claim("untouched") == made
    listing = v1.ListClaimsRequest(provider=holds(made)[0], freshness=await stock.known())
    assert (await stranger.call("list_claims", listing)).claims == []
    [own] = (await tenant.call("list_claims", listing)).claims
    assert own.uuid == made.uuid
