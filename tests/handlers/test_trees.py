import pytest

from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound
from mulligan.handlers.claim import MakeClaim
from mulligan.handlers.provider import MAX_DEPTH, DoesNotFit
from mulligan.handlers.provider_commands import (
    MAX_MOVED,
    CordonProvider,
    DeleteProvider,
    UncordonProvider,
    UpdateProvider,
)
from mulligan.model import ProviderId, StreamId, stream_id

from .given import MEMORY, Given, claim_of, field, types

SITE, RACK, NODE, GPU = (ProviderId(k) for k in ("site", "rack", "node", "gpu"))
OTHER = ProviderId("other")


@pytest.fixture
def given() -> Given:
    """A site, a rack in it, a node in that and a GPU in that; another site beside."""
    given = Given()
    for key, parent in (("site", ""), ("rack", SITE), ("node", RACK), ("gpu", NODE), ("other", "")):
        given.offers(key, {"memory": 10}, parent)
    return given


def move(provider: str, parent: str) -> UpdateProvider:
    return UpdateProvider(provider=ProviderId(provider), parent=ProviderId(parent))


def test_a_provider_knows_what_it_stands_under_from_the_root_down(given: Given) -> None:
    assert given.provider(GPU).ancestors == (SITE, RACK, NODE)
    assert given.provider(GPU).root == SITE
    assert given.provider(SITE).ancestors == ()
    assert given.provider(SITE).root == SITE


def test_a_subtree_moves_as_one_and_both_parents_are_told(given: Given) -> None:
    assert sorted(types(given.do(move(RACK, OTHER)))) == [
        "provider.child_added",
        "provider.child_removed",
        "provider.moved",
        "provider.moved",
        "provider.moved",
    ]
    assert given.provider(SITE).children == ()
    assert given.provider(OTHER).children == (RACK,)
    assert given.provider(RACK).parent == OTHER
    assert given.provider(NODE).parent == RACK
    assert given.provider(GPU).ancestors == (OTHER, RACK, NODE)


def test_a_subtree_moves_to_the_top_and_back(given: Given) -> None:
    given.do(move(NODE, ""))
    assert (given.provider(NODE).parent, given.provider(NODE).ancestors) == ("", ())
    assert (given.provider(GPU).root, given.provider(GPU).ancestors) == (NODE, (NODE,))
    assert given.provider(RACK).children == ()
    given.do(move(NODE, RACK))
    assert given.provider(GPU).ancestors == (SITE, RACK, NODE)
    assert given.provider(RACK).children == (NODE,)


def test_to_move_where_it_stands_already_changes_nothing(given: Given) -> None:
    assert given.do(move(NODE, RACK)) == []
    assert given.do(move(SITE, "")) == []


@pytest.mark.parametrize("parent", [RACK, NODE, GPU])
def test_nothing_stands_under_itself(given: Given, parent: ProviderId) -> None:
    with pytest.raises(InvalidArgument, match="cycle") as refused:
        given.do(move(RACK, parent))
    assert field(refused) == "parent"


def test_nothing_is_put_under_what_is_not_there(given: Given) -> None:
    given.do(DeleteProvider(provider=OTHER))
    for gone in ("none", OTHER):
        with pytest.raises(InvalidArgument, match="no provider") as refused:
            given.do(move(RACK, gone))
        assert field(refused) == "parent"
    with pytest.raises(NotFound):
        given.do(move("none", SITE))


def chain(given: Given, prefix: str, length: int) -> list[str]:
    keys = [f"{prefix}{n}" for n in range(length)]
    for above, key in zip(["", *keys], keys, strict=False):
        given.offers(key, {}, above)
    return keys


def test_a_tree_is_at_most_so_deep() -> None:
    given = Given()
    keys = chain(given, "d", MAX_DEPTH)
    assert len(given.provider(keys[-1]).ancestors) == MAX_DEPTH - 1
    with pytest.raises(InvalidArgument, match="deep") as refused:
        given.offers("below", {}, keys[-1])
    assert field(refused) == "parent"


def test_a_subtree_is_not_moved_where_its_lowest_would_be_too_deep() -> None:
    given = Given()
    deep, short = chain(given, "d", MAX_DEPTH - 2), chain(given, "s", 3)
    with pytest.raises(InvalidArgument, match="deep") as refused:
        given.do(move(short[0], deep[-1]))
    assert field(refused) == "parent"
    given.do(move(short[1], deep[-1]))
    assert len(given.provider(short[2]).ancestors) == MAX_DEPTH - 1


def test_a_large_subtree_is_to_be_moved_in_parts() -> None:
    given = Given()
    given.offers("to", {})
    given.offers("rack", {})
    for n in range(MAX_MOVED):
        given.offers(f"n{n}", {}, "rack")
    assert types(given.do(move("rack", "to"))).count("provider.moved") == MAX_MOVED + 1
    given.offers("one more", {}, "rack")
    with pytest.raises(FailedPrecondition, match="in parts"):
        given.do(move("rack", ""))
    given.do(move("one more", ""))
    given.do(move("rack", ""))


def test_what_has_children_is_not_deleted_wherever_they_came_from(given: Given) -> None:
    given.do(move(GPU, OTHER))
    with pytest.raises(FailedPrecondition, match="1 children"):
        given.do(DeleteProvider(provider=OTHER))
    given.do(DeleteProvider(provider=NODE))
    given.do(DeleteProvider(provider=GPU))
    given.do(DeleteProvider(provider=OTHER))
    assert given.provider(RACK).children == ()


def test_a_move_and_other_changes_are_one_commit(given: Given) -> None:
    command = UpdateProvider(provider=NODE, parent=OTHER, attributes={"slot": "3"})
    assert "provider.attributes_set" in types(given.do(command))
    assert (given.provider(NODE).parent, given.provider(NODE).attributes) == (OTHER, {"slot": "3"})


def taking(key: str, claim: str = "c1") -> MakeClaim:
    return claim_of({key: {MEMORY: 1}}, claim=claim)


@pytest.mark.parametrize("failed", [False, True])
def test_a_cordon_above_closes_all_that_stands_below(given: Given, failed: bool) -> None:
    given.do(CordonProvider(provider=RACK, failed=failed))
    cause = "failed" if failed else "operator"
    for key in (RACK, NODE, GPU):
        with pytest.raises(DoesNotFit, match=cause) as refused:
            given.do(taking(key))
        assert refused.value.provider == key
    given.do(taking(SITE))
    given.do(UncordonProvider(provider=RACK))
    given.do(taking(GPU, "c2"))


def test_what_is_closed_from_above_names_where(given: Given) -> None:
    given.do(CordonProvider(provider=SITE))
    with pytest.raises(DoesNotFit, match="provider gpu stands under site, which takes no claims"):
        given.do(taking(GPU))


def test_what_is_moved_out_of_a_cordoned_rack_is_open_and_into_one_is_closed(given: Given) -> None:
    given.do(CordonProvider(provider=RACK))
    given.do(move(NODE, OTHER))
    given.do(taking(GPU))
    given.do(move(NODE, RACK))
    with pytest.raises(DoesNotFit):
        given.do(taking(GPU, "c2"))


def test_a_claim_reads_all_that_stands_above_its_providers(given: Given) -> None:
    states: dict[StreamId, object] = {}
    command = taking(GPU)
    while new := [s for s in command.reads(states) if s not in states]:
        states.update({s: given.states.get(s) for s in new})
    assert {stream_id("provider", key) for key in (SITE, RACK, NODE, GPU)} <= states.keys()
    assert {"project/web", "quota/web"} <= states.keys()


def test_an_operators_and_a_failures_cordon_are_two_causes_and_lifted_together(
    given: Given,
) -> None:
    given.do(CordonProvider(provider=NODE, note="drain"))
    assert types(given.do(CordonProvider(provider=NODE, note="fan", failed=True))) == [
        "provider.cordoned"
    ]
    assert given.do(CordonProvider(provider=NODE, note="fan", failed=True)) == []
    assert given.provider(NODE).cordons == {"operator": "drain", "failed": "fan"}
    assert types(given.do(UncordonProvider(provider=NODE))) == ["provider.uncordoned"] * 2
    given.do(taking(NODE))
