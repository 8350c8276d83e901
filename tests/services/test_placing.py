"""Finding capacity and taking it: candidates, every form of request, refusals, explanations."""

from collections import Counter
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpclib import GRPCError, Status

from mulligan.model import new_id
from mulligan.proto import v1
from tests.e2e.region import until
from tests.services.conftest import Tokens
from tests.services.edge import Edge, refusal
from tests.services.stock import HOUR, Caller, Stock, ask, at, holds, names, request, window

MANY = 64


@pytest.fixture(scope="module")
async def stock(edge: Edge, tokens: Tokens) -> Stock:
    return Stock(edge, tokens.admin)


@pytest.fixture(scope="module")
async def tenant(stock: Stock) -> Caller:
    return await stock.tenant("placing")


@pytest.fixture(scope="module")
async def operator(stock: Stock, tenant: Caller) -> Caller:
    return await stock.operator("placing")


@pytest.fixture(scope="module")
async def stranger(stock: Stock) -> Caller:
    return await stock.tenant("placing-elsewhere")


async def candidates(
    caller: Caller, stock: Stock, asked: v1.ResourceRequest, **more: Any
) -> v1.ListCandidatesResponse:
    """Ask once all that was done is known."""
    message = v1.ListCandidatesRequest(request=asked, freshness=await stock.known(), **more)
    answer: v1.ListCandidatesResponse = await caller.call("list_candidates", message)
    return answer


def info(error: GRPCError) -> dict[str, str]:
    """Return the facts of a refusal, as a program reads them."""
    details = error.details if isinstance(error.details, Sequence) else ()
    [found] = [detail for detail in details if isinstance(detail, ErrorInfo)]
    assert (found.reason, found.domain) == ("NO_FIT", "mulligan")
    return dict(found.metadata)


async def at_once(number: int, *calls: Awaitable[Any]) -> list[Any]:
    """Return what each of ``number`` calls gave, a claim or the error, all made at once."""
    assert len(calls) == number
    found: list[Any] = []

    async def one(call: Awaitable[Any]) -> None:
        try:
            found.append(await call)
        except GRPCError as error:
            found.append(error)

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(one, call)
    return found


async def explained(caller: Caller, claim: v1.Claim) -> v1.ExplainClaimResponse:
    message = v1.ExplainClaimRequest(claim=claim.uuid)
    answer: v1.ExplainClaimResponse = await caller.call("explain_claim", message)
    return answer


async def test_candidates_say_what_is_taken_where_and_what_is_left(
    stock: Stock, tenant: Caller, operator: Caller
) -> None:
    site = await stock.provider("cand-site")
    node = await stock.provider(
        "cand-node", {"custom.cand": 10}, parent="cand-site", capabilities=["storage.ssd"]
    )
    await tenant.exact(("cand-node", {"custom.cand": 3}), window=v1.Window(start=at(0), end=at(2)))
    asked = request(ask({"custom.cand": 4}, name="part"), window=window(1, 3))
    found = await candidates(operator, stock, asked)
    [candidate] = found.candidates
    [taken] = candidate.allocations
    assert (taken.provider, taken.provider_name) == (node, "cand-node")
    assert (taken.amounts, taken.group) == ({"custom.cand": 4}, "part")
    assert {g: list(p.providers) for g, p in candidate.groups.items()} == {"part": [node]}
    assert candidate.window == v1.Window(start=at(1), end=at(3))
    [summary] = found.providers
    assert summary == v1.ProviderSummary(
        uuid=node,
        name="cand-node",
        type="compute",
        parent=site,
        root=site,
        capabilities=["storage.ssd"],
        capacity={"custom.cand": 10},
        free={"custom.cand": 7},
    )
    assert not found.truncated
    assert found.why_not is None
    later = await candidates(operator, stock, request(asked.groups[0], window=window(2, 3)))
    assert later.providers[0].free == {"custom.cand": 10}
    [summary] = (await candidates(tenant, stock, asked)).providers
    assert summary.name == "cand-node"
    assert (summary.capacity, summary.free) == ({}, {})


async def test_a_seed_gives_its_order_again_and_a_limit_says_that_it_cut(
    stock: Stock, tenant: Caller
) -> None:
    made = await stock.providers("seeded", 8, {"custom.seeded": 1})
    asked = request(ask({"custom.seeded": 1}))

    async def order(seed: int, **more: Any) -> list[str]:
        found = await candidates(tenant, stock, asked, seed=seed, **more)
        assert found.truncated is (more.get("limit") == 3)
        return [c.allocations[0].provider for c in found.candidates]

    first = await order(1)
    assert sorted(first) == sorted(made)
    assert await order(1) == first
    assert await order(1, limit=3) == first[:3]
    orders = [await order(seed) for seed in (2, 3, -1, 2**63 - 1, -(2**63))]
    assert all(sorted(one) == sorted(made) for one in orders)
    assert any(one != first for one in orders)


async def test_candidates_of_equal_amounts_are_told_apart_by_their_groups(
    stock: Stock, tenant: Caller
) -> None:
    await stock.providers("twin", 2, {"custom.twin": 1})
    asked = request(
        ask({"custom.twin": 1}, name="a"),
        ask({"custom.twin": 1}, name="b"),
        isolate=[names("a", "b")],
    )
    found = await candidates(tenant, stock, asked)
    maps = {tuple(sorted((g, *p.providers) for g, p in c.groups.items())) for c in found.candidates}
    assert len(found.candidates) == len(maps) == 2


async def test_why_not_counts_every_stage_and_names_the_nearest(
    stock: Stock, tenant: Caller, operator: Caller
) -> None:
    [full, bare, shut, small, _] = await stock.providers("why", 5, {"custom.why": 8})
    for node in (full, shut, small):
        await stock.update(node, capabilities=["custom.fast"])
    bounded = v1.Inventory(resource_class="custom.why", total=8, max_unit=2)
    await stock.update(small, inventories=[bounded])
    await stock.cordon(shut, note="a leak")
    taken = await tenant.exact((full, {"custom.why": 6}), window=v1.Window(start=at(0), end=at(5)))
    demand = v1.CapabilityFilter(require=["custom.fast"])
    asked = request(ask({"custom.why": 4}, name="g", capabilities=demand), window=window(1, 2))
    found = await candidates(operator, stock, asked)
    why = found.why_not
    assert why is not None
    stages = {one.stage: one.providers for one in why.stages}
    others = stages.pop("inventory")
    assert stages == {
        "form": 1, "capability": 2, "group": 0, "cordoned": 1, "capacity": 1, "fit": 0
    }  # fmt: skip
    assert why.considered == others + 5
    assert why.group == "g"
    nearest = {miss.name: (miss.stage, miss.detail) for miss in why.nearest}
    assert nearest["why-0"] == ("capacity", "has 2 custom.why left, 4 asked")
    assert why.earliest == at(5)
    assert why.earliest_exact
    assert "why-0" in why.text
    soonest = request(asked.groups[0], window=v1.Span(start=why.earliest, end=at(6)))
    kept = await tenant.make(soonest)
    assert holds(kept) == ["why-0"]
    await tenant.release(kept, taken)
    assert bare


async def test_why_not_tells_a_tenant_of_the_fleet_and_not_of_its_use(
    stock: Stock, tenant: Caller, stranger: Caller
) -> None:
    [one, two, slow] = await stock.providers("hint", 3, {"custom.hint": 8})
    for node in (one, two):
        await stock.update(node, capabilities=["custom.fast"])
    fast = v1.CapabilityFilter(require=["custom.fast"])
    asked = request(ask({"custom.hint": 4}, capabilities=fast), window=window(1, 2))
    day = v1.Window(start=at(0), end=at(24))
    texts: list[str] = []
    for amounts in ((5, 5), (8, 7), (6, 6)):
        taken = [
            await stranger.exact((node, {"custom.hint": amount}), window=day)
            for node, amount in zip((one, two), amounts, strict=True)
        ]
        found = await candidates(tenant, stock, asked)
        why = found.why_not
        assert why is not None
        stages = {s.stage: s.providers for s in why.stages if s.stage != "inventory"}
        assert stages == {
            "form": 0, "capability": 1, "group": 0, "cordoned": 0, "capacity": 2, "fit": 0
        }  # fmt: skip
        assert (why.nearest, why.earliest) == ([], at(24))
        refused = await refusal(tenant.make(asked))
        texts += [why.text, refused.message]
        exact = await refusal(tenant.exact((one, {"custom.hint": 4}), window=day))
        assert exact.message == "provider hint-0 is not free in the window"
        await stranger.release(*taken)
    assert len(set(texts)) == 1, texts
    await stock.cordon(one, note="a secret leak")
    closed = await refusal(tenant.exact((one, {"custom.hint": 4}), window=day))
    assert closed.message == "provider hint-0 is not free in the window"
    await stock.call("uncordon_provider", v1.UncordonProviderRequest(provider=one))
    slowly = request(ask({"custom.hint": 4}, capabilities=fast, in_tree=slow))
    why = (await candidates(tenant, stock, slowly)).why_not
    assert why is not None
    assert [(miss.name, miss.stage) for miss in why.nearest[:1]] == [("hint-0", "group")]
    assert "fits nowhere" in why.text


async def test_a_refused_claim_tells_a_program_why(
    stock: Stock, tenant: Caller, operator: Caller
) -> None:
    [node] = await stock.providers("facts", 1, {"custom.facts": 2})
    taken = await tenant.exact(
        (node, {"custom.facts": 2}), window=v1.Window(start=at(0), end=at(1))
    )
    with pytest.raises(GRPCError) as raised:
        await operator.make(request(ask({"custom.facts": 1}, name="g"), window=window(0, 1)))
    assert raised.value.status is Status.RESOURCE_EXHAUSTED
    facts = info(raised.value)
    assert facts["group"] == "g"
    assert facts["dropped.capacity"] == "1"
    assert facts["dropped.fit"] == "0"
    assert facts["nearest.0"] == "facts-0: has 0 custom.facts left, 1 asked"
    assert datetime.fromisoformat(facts["earliest"]) == at(1)
    await tenant.release(taken)


async def test_isolated_instances_are_on_different_providers_or_refused(
    stock: Stock, tenant: Caller
) -> None:
    await stock.providers("iso", 3, {"custom.iso": 4})
    asked = request(ask({"custom.iso": 1}, count=3, name="g"), isolate=[names("g")])
    made = await tenant.make(asked)
    assert holds(made) == ["iso-0", "iso-1", "iso-2"]
    more = request(ask({"custom.iso": 1}, count=4, name="g"), isolate=[names("g")])
    refused = await refusal(tenant.make(more))
    assert refused.status is Status.RESOURCE_EXHAUSTED
    assert "would fit without isolate" in refused.message
    together = await tenant.make(request(ask({"custom.iso": 1}, count=9)))
    assert Counter(holds(together)) == {f"iso-{n}": 3 for n in range(3)}


async def test_a_subtree_joins_a_card_and_the_node_it_is_in(stock: Stock, tenant: Caller) -> None:
    for n in range(3):
        await stock.provider(f"sub-{n}", {"custom.ram": 4 if n else 1})
        for port in range(2):
            await stock.provider(
                f"sub-{n}-nic-{port}",
                {"custom.port": 1},
                parent=f"sub-{n}",
                type="network",
                capabilities=["hw.nic.sriov"] if (n, port) == (2, 1) else [],
            )
    await stock.known()
    sriov = v1.CapabilityFilter(require=["hw.nic.sriov"])
    asked = request(
        ask({"custom.ram": 2}, name="server"),
        ask({"custom.port": 1}, name="nic", capabilities=sriov),
        same_subtree=[names("server", "nic")],
    )
    assert holds(await tenant.make(asked)) == ["sub-2", "sub-2-nic-1"]
    placed = request(
        ask({"custom.ram": 1}, name="server"),
        ask({}, name="nic", capabilities=sriov),
        same_subtree=[names("server", "nic")],
    )
    made = await tenant.make(placed)
    assert holds(made) == ["sub-2"], "a card that only takes a place is not taken"
    refused = await refusal(tenant.make(asked))
    assert refused.status is Status.RESOURCE_EXHAUSTED


async def test_a_split_takes_some_from_a_pool_that_is_shared(stock: Stock, tenant: Caller) -> None:
    await stock.group("split-rack")
    near = await stock.provider("split-near", {"custom.cpu": 4})
    await stock.provider("split-far", {"custom.cpu": 4})
    await stock.provider("split-pool", {"custom.disk": 100}, type="storage", shares=["split-rack"])
    joining = v1.UpdateGroupMembersRequest(group="split-rack", add=[near])
    await stock.call("update_group_members", joining)
    amounts = {"custom.cpu": 2, "custom.disk": 50}
    found = await candidates(tenant, stock, request(ask(amounts, name="g", single_provider=False)))
    assert [holds(c) for c in found.candidates] == [["split-near", "split-pool"]]
    made = await tenant.make(request(ask(amounts, name="g", single_provider=False)))
    taken = {a.provider_name: a.amounts for a in made.allocations}
    assert taken == {"split-near": {"custom.cpu": 2}, "split-pool": {"custom.disk": 50}}
    whole = await refusal(tenant.make(request(ask(amounts))))
    assert whole.status is Status.RESOURCE_EXHAUSTED
    tree = ask(amounts, single_provider=False, in_tree="split-near")
    assert (await refusal(tenant.make(request(tree)))).status is Status.RESOURCE_EXHAUSTED
    same = request(
        ask({"custom.cpu": 1}, name="c"), ask({"custom.disk": 1}, name="d"), same_tree=True
    )
    assert holds(await tenant.make(same)) == ["split-near", "split-pool"]


async def test_trees_are_chosen_by_name_and_by_what_their_root_can(
    stock: Stock, tenant: Caller
) -> None:
    for n in range(3):
        tags = ["custom.cooled"] if n == 1 else []
        await stock.provider(f"tree-{n}", capabilities=tags)
        for m in range(2):
            await stock.provider(f"tree-{n}-{m}", {"custom.tree": 1}, parent=f"tree-{n}")
    await stock.known()
    inside = await tenant.make(request(ask({"custom.tree": 1}, in_tree="tree-2-0")))
    assert holds(inside)[0].startswith("tree-2-")
    cooled = v1.CapabilityFilter(require=["custom.cooled"])
    made = await tenant.make(request(ask({"custom.tree": 1}, count=2), root_capabilities=cooled))
    assert holds(made) == ["tree-1-0", "tree-1-1"]
    warm = v1.CapabilityFilter(forbid=["custom.cooled"])
    free = await tenant.make(
        request(ask({"custom.tree": 1}, name="a"), ask({"custom.tree": 1}, name="b"),
                same_tree=True, root_capabilities=warm)
    )  # fmt: skip
    assert holds(free) == ["tree-0-0", "tree-0-1"]


async def test_distances_keep_apart_and_together(stock: Stock, tenant: Caller) -> None:
    kind = v1.CreateDistanceTypeRequest(name="hops", positions=["local", "rack", "row"])
    await stock.call("create_distance_type", kind)
    for rack in ("a", "b"):
        await stock.group(f"hops-{rack}")
    for rack, other in (("a", "b"), ("b", "a")):
        distances = [
            v1.Distance(type="hops", group=f"hops-{rack}", position="rack"),
            v1.Distance(type="hops", group=f"hops-{other}", position="row"),
        ]
        for n in range(2):
            node = await stock.provider(f"hop-{rack}{n}", {"custom.hop": 9}, distances=distances)
            joining = v1.UpdateGroupMembersRequest(group=f"hops-{rack}", add=[node])
            await stock.call("update_group_members", joining)
    await stock.known()

    async def where(count: int = 1, **rule: str) -> list[str]:
        bound = v1.DistanceRule(from_="g", type="hops", **rule)
        asked = request(ask({"custom.hop": 1}, count=count, name="g"), distances=[bound])
        found = await candidates(tenant, stock, asked, limit=100)
        made = await tenant.make(asked)
        assert holds(made) in [holds(c) for c in found.candidates]
        return sorted({" ".join(holds(c)) for c in found.candidates})

    apart = await where(2, to="g", min="row")
    assert apart == ["hop-a0 hop-b0", "hop-a0 hop-b1", "hop-a1 hop-b0", "hop-a1 hop-b1"]
    near = await where(2, to="g", min="rack", max="rack")
    assert near == ["hop-a0 hop-a1", "hop-b0 hop-b1"]
    assert await where(provider="hop-a0", max="local") == ["hop-a0"]
    assert await where(provider="hop-a0", min="rack", max="rack") == ["hop-a1"]
    assert await where(group="hops-b", max="rack") == ["hop-b0", "hop-b1"]
    rule = v1.DistanceRule(from_="g", to="g", type="hops", min="row")
    three = request(ask({"custom.hop": 1}, count=3, name="g"), distances=[rule])
    refused = await refusal(tenant.make(three))
    assert refused.status is Status.RESOURCE_EXHAUSTED
    assert "distances" in refused.message


async def test_any_of_and_forbid_choose_by_capability_and_by_group(
    stock: Stock, tenant: Caller
) -> None:
    for n, tags in enumerate(("hw.cpu.amd", "hw.cpu.intel", "hw.cpu.amd custom.noisy", "")):
        await stock.provider(f"any-{n}", {"custom.any": 9}, capabilities=tags.split())
    await stock.group("any-left", "any-0", "any-3")
    await stock.group("any-right", "any-1", "any-2")
    either = v1.CapabilityFilter(
        any_of=[names("hw.cpu.amd", "hw.cpu.intel")], forbid=["custom.noisy"]
    )
    found = await candidates(tenant, stock, request(ask({"custom.any": 1}, capabilities=either)))
    assert sorted(holds(c)[0] for c in found.candidates) == ["any-0", "any-1"]
    right = v1.GroupFilter(any_of=[names("any-right", "any-left")], forbid=["any-left"])
    asked = request(ask({"custom.any": 1}, capabilities=either, groups=right))
    assert holds(await tenant.make(asked)) == ["any-1"]
    both = v1.GroupFilter(require=["any-left", "any-right"])
    refused = await refusal(tenant.make(request(ask({"custom.any": 1}, groups=both))))
    assert refused.status is Status.RESOURCE_EXHAUSTED


async def test_pack_fills_and_spread_levels(stock: Stock, tenant: Caller) -> None:
    await stock.providers("lev", 3, {"custom.lev": 6})
    first = await tenant.make(request(ask({"custom.lev": 1})))
    await stock.known()
    packed = await tenant.make(request(ask({"custom.lev": 1}), policy="pack"))
    assert holds(packed) == holds(first)
    for _ in range(2):
        await stock.known()
        await tenant.make(request(ask({"custom.lev": 1}), policy="spread"))
    claims = await tenant.call("list_claims", v1.ListClaimsRequest(freshness=await stock.known()))
    used = Counter(n for c in claims.claims for n in holds(c) if n.startswith("lev-"))
    assert sorted(used.values()) == [1, 1, 2]


async def test_a_duration_goes_where_it_fits_first(stock: Stock, tenant: Caller) -> None:
    [node] = await stock.providers("soon", 1, {"custom.soon": 2})
    await tenant.exact((node, {"custom.soon": 2}), window=v1.Window(start=at(0), end=at(4)))
    await tenant.exact((node, {"custom.soon": 1}), window=v1.Window(start=at(6), end=at(9)))
    bounds: dict[str, Any] = {"duration": 3 * HOUR, "not_before": at(1)}
    alone = ask({"custom.soon": 2})
    made = await tenant.make(request(ask({"custom.soon": 1}), window=v1.Span(**bounds)))
    assert made.window == v1.Window(start=at(4), end=at(7))
    found = await candidates(tenant, stock, request(alone, window=v1.Span(**bounds)))
    assert [c.window for c in found.candidates] == [v1.Window(start=at(9), end=at(12))]
    with pytest.raises(GRPCError) as raised:
        await tenant.make(request(alone, window=v1.Span(**bounds, not_after=at(11))))
    assert raised.value.status is Status.RESOURCE_EXHAUSTED
    late = await tenant.make(request(alone, window=v1.Span(**bounds, not_after=at(12))))
    assert late.window == v1.Window(start=at(9), end=at(12))
    same = await explained(tenant, late)
    assert same.same, same.text
    now = datetime.now(UTC)
    immediate = await tenant.make(request(alone, window=v1.Span(duration=HOUR)))
    assert immediate.state is v1.ClaimState.ACTIVE
    assert immediate.window is not None
    assert immediate.window.start is not None
    assert abs(immediate.window.start - now) < timedelta(minutes=1)
    assert (await explained(tenant, immediate)).same


async def test_a_refused_deadline_says_when_it_would_fit(stock: Stock, tenant: Caller) -> None:
    [node] = await stock.providers("late", 1, {"custom.late": 1})
    await tenant.exact((node, {"custom.late": 1}), window=v1.Window(start=at(0), end=at(4)))
    span = v1.Span(duration=3 * HOUR, not_before=at(1), not_after=at(5))
    found = await candidates(tenant, stock, request(ask({"custom.late": 1}), window=span))
    assert not found.candidates
    assert found.why_not is not None
    assert found.why_not.earliest == at(4)
    with pytest.raises(GRPCError) as raised:
        await tenant.make(request(ask({"custom.late": 1}), window=span))
    assert datetime.fromisoformat(info(raised.value)["earliest"]) == at(4)


@pytest.mark.parametrize("free", [1, 10])
async def test_many_claimers_of_the_last_machines_never_share_and_know_why_not(
    stock: Stock, tenant: Caller, free: int
) -> None:
    class_ = f"custom.last{free}"
    await stock.providers(f"last{free}", free, {class_: 1})
    asked = request(ask({class_: 1}, name="g"))
    answers = await at_once(MANY, *(tenant.make(asked) for _ in range(MANY)))
    won = [answer for answer in answers if isinstance(answer, v1.Claim)]
    lost = [answer for answer in answers if not isinstance(answer, v1.Claim)]
    assert Counter(error.status for error in lost) == {Status.RESOURCE_EXHAUSTED: MANY - free}
    assert sorted(name for claim in won for name in holds(claim)) == [
        f"last{free}-{n}" for n in range(free)
    ]
    for error in lost:
        assert info(error)["dropped.capacity"] == str(free), error.message
    for claim in won:
        again = await explained(tenant, claim)
        assert again.same, again.text
    await tenant.release(*won)


@pytest.mark.parametrize("policy", ["pack", "spread"])
async def test_many_claimers_who_all_prefer_the_same_get_all_there_is(
    stock: Stock, tenant: Caller, policy: str
) -> None:
    class_ = f"custom.liked-{policy}"
    await stock.providers(f"liked-{policy}", MANY, {class_: 1})
    asked = request(ask({class_: 1}), policy=policy)
    answers = await at_once(MANY, *(tenant.make(asked) for _ in range(MANY)))
    assert [one for one in answers if not isinstance(one, v1.Claim)] == []
    assert len({holds(claim)[0] for claim in answers}) == MANY
    for claim in answers[-3:]:
        again = await explained(tenant, claim)
        assert again.same, again.text


async def test_a_claim_made_among_many_is_explained_whatever_came_since(
    stock: Stock, tenant: Caller, stranger: Caller
) -> None:
    nodes = await stock.providers("crowd", MANY + 8, {"custom.crowd": 1})
    asked = request(ask({"custom.crowd": 1}, name="g"), window=v1.Span(end=at(0)))
    made: list[v1.Claim] = []
    for _ in range(2):
        claims = await at_once(MANY, *(tenant.make(asked) for _ in range(MANY)))
        assert [one for one in claims if not isinstance(one, v1.Claim)] == []
        made = [*made, *claims[::4]]
        for claim in claims[::4]:
            again = await explained(tenant, claim)
            assert again.same, again.text
        await tenant.release(*claims)
        await stock.known()
    await stock.cordon(nodes[0], note="out")
    for node in nodes[1:9]:
        await stock.update(node, inventories=[])
    await stock.call("delete_provider", v1.DeleteProviderRequest(provider=nodes[9]))
    await stock.providers("newcomer", 3, {"custom.crowd": 5})
    for claim in made:
        again = await explained(tenant, claim)
        assert again.same, again.text
        assert again.claim is not None
        assert again.claim.state is v1.ClaimState.RELEASED
        assert again.candidate is not None
        assert again.candidate.groups["g"].providers == [claim.allocations[0].provider]
    refused = await refusal(explained(stranger, made[0]))
    assert refused.status is Status.NOT_FOUND


async def test_what_was_named_by_its_maker_has_no_search_to_explain(
    stock: Stock, tenant: Caller
) -> None:
    [node] = await stock.providers("named", 1, {"custom.named": 1})
    answer = await explained(tenant, await tenant.exact((node, {"custom.named": 1})))
    assert answer.request is None
    assert "nothing was searched" in answer.text


async def test_what_becomes_of_a_claim_at_its_end_is_kept_as_asked(
    stock: Stock, tenant: Caller
) -> None:
    [node] = await stock.providers("fate", 1, {"custom.fate": 9})
    usual = await tenant.make(request(ask({"custom.fate": 1})))
    assert (usual.on_end, usual.ending_notice) == ("release", HOUR)
    silent = timedelta(0)
    own = await tenant.make(
        request(ask({"custom.fate": 1})), on_end="keep_power_off", ending_notice=silent
    )
    assert (own.on_end, own.ending_notice or silent) == ("keep_power_off", silent)
    exact = await tenant.exact(
        (node, {"custom.fate": 1}), on_end="keep_power_off", ending_notice=timedelta(minutes=5)
    )
    for claim in (usual, own, exact):
        assert await tenant.claim(claim.uuid) == claim
    assert exact.ending_notice == timedelta(minutes=5)
    for odd in (timedelta(seconds=-1), timedelta(milliseconds=500)):
        refused = await refusal(tenant.make(request(ask({"custom.fate": 1})), ending_notice=odd))
        assert refused.fields == ("ending_notice",)


async def test_a_cordon_closes_all_that_is_below_until_it_is_lifted(
    stock: Stock, tenant: Caller, operator: Caller
) -> None:
    await stock.provider("shut-row")
    await stock.provider("shut-rack", parent="shut-row")
    await stock.provider("shut-node", {"custom.shut": 5}, parent="shut-rack")
    await stock.known()
    await stock.cordon("shut-row", note="power works")
    asked = request(ask({"custom.shut": 1}))
    with pytest.raises(GRPCError) as raised:
        await operator.make(asked)
    facts = info(raised.value)
    assert facts["dropped.cordoned"] == "1"
    assert "shut-row" in facts["nearest.0"]
    with pytest.raises(GRPCError) as raised:
        await tenant.make(asked)
    assert info(raised.value)["dropped.capacity"] == "1"
    assert "shut-row" not in (raised.value.message or "")
    direct = await refusal(tenant.exact(("shut-node", {"custom.shut": 1})))
    assert direct.status is Status.RESOURCE_EXHAUSTED
    await stock.call("uncordon_provider", v1.UncordonProviderRequest(provider="shut-row"))
    assert holds(await tenant.make(asked)) == ["shut-node"]


async def test_a_provider_moves_with_all_below_and_never_under_itself(
    stock: Stock, tenant: Caller
) -> None:
    old = await stock.provider("move-old")
    new = await stock.provider("move-new")
    rack = await stock.provider("move-rack", parent="move-old")
    await stock.provider("move-node", {"custom.moved": 5}, parent="move-rack")
    for under in ("move-rack", "move-node"):
        refused = await refusal(stock.update("move-rack", parent=under))
        assert (refused.status, refused.fields) == (Status.INVALID_ARGUMENT, ("parent",))
    moved = await stock.update("move-rack", parent="move-new")
    assert (moved.parent, moved.root) == (new, new)
    await stock.known()
    inside = request(ask({"custom.moved": 1}, in_tree="move-new"))
    assert holds(await tenant.make(inside)) == ["move-node"]
    outside = request(ask({"custom.moved": 1}, in_tree="move-old"))
    assert (await refusal(tenant.make(outside))).status is Status.RESOURCE_EXHAUSTED
    await stock.call("delete_provider", v1.DeleteProviderRequest(provider=old))
    alone = await stock.update(rack, parent="")
    assert (alone.parent, alone.root) == ("", rack)


async def test_a_distance_type_grows_and_keeps_its_order(stock: Stock, tenant: Caller) -> None:
    made = v1.CreateDistanceTypeRequest(name="latency", positions=["local", "far"])
    await stock.call("create_distance_type", made)
    grown = v1.ExtendDistanceTypeRequest(name="latency", positions=["local", "near", "far"])
    answer = await stock.call("extend_distance_type", grown)
    assert answer.distance_type.positions == ["local", "near", "far"]
    turned = v1.ExtendDistanceTypeRequest(name="latency", positions=["far", "near", "local"])
    refused = await refusal(stock.call("extend_distance_type", turned))
    assert refused.status in {Status.INVALID_ARGUMENT, Status.FAILED_PRECONDITION}
    listing = v1.ListDistanceTypesRequest(freshness=await stock.known())
    types = (await tenant.call("list_distance_types", listing)).distance_types
    assert {t.name: t.positions for t in types}["latency"] == ["local", "near", "far"]
    denied = await refusal(tenant.call("create_distance_type", made))
    assert denied.status is Status.PERMISSION_DENIED


async def test_the_catalogue_has_the_standard_ones_and_those_in_use(
    stock: Stock, tenant: Caller
) -> None:
    await stock.provider("able", capabilities=["custom.able", "hw.nic.sriov"])
    fresh = await stock.known()

    async def listed(caller: Caller = stock, **more: Any) -> dict[str, v1.Capability]:
        message = v1.ListCapabilitiesRequest(freshness=fresh, **more)
        found = (await caller.call("list_capabilities", message)).capabilities
        return {one.name: one for one in found}

    everything = await listed()
    assert everything["hw.cpu.x86.avx2"].standard
    assert everything["hw.cpu.x86.avx2"].description
    own = everything["custom.able"]
    assert (own.standard, own.description, own.providers) == (False, "", 1)
    used = await listed(used=True)
    assert "custom.able" in used
    assert all(one.providers for one in used.values())
    to_tenants = await listed(tenant, used=True)
    assert to_tenants.keys() == used.keys()
    assert not any(one.providers for one in to_tenants.values())
    assert all(name.startswith("hw.nic.") for name in await listed(prefix="hw.nic."))


async def test_a_repeat_is_answered_as_before_though_the_window_is_over_by_then(
    stock: Stock, tenant: Caller
) -> None:
    [provider] = await stock.providers("brief", 1, {"memory": 4})
    start = datetime.now(UTC) + timedelta(seconds=0.4)
    span = v1.Span(start=start, end=start + timedelta(seconds=0.4))
    group = v1.RequestGroup(resources={"memory": 1}, in_tree=provider)
    asked = v1.MakeClaimRequest(
        request_id=new_id(), request=v1.ResourceRequest(groups=[group], window=span)
    )
    made = (await tenant.call("make_claim", asked)).claim
    await until(lambda: ended(tenant, made.uuid), "the claim ends by itself", 10)
    assert (await tenant.call("make_claim", asked)).claim.uuid == made.uuid


async def ended(caller: Caller, claim: str) -> bool:
    return (await caller.claim(claim)).state is v1.ClaimState.ENDED
