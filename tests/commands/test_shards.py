from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mulligan.commands.shards import owner_of

NAMES = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)
INSTANCES = st.lists(NAMES, min_size=1, max_size=8, unique=True)
KEYS = [f"machine-{n}" for n in range(60)]


def owners(instances: list[str]) -> dict[str, str]:
    return {key: owner_of(key, instances) for key in KEYS}


@given(INSTANCES, st.randoms(use_true_random=False))
def test_the_owner_does_not_depend_on_the_order(instances: list[str], random: object) -> None:
    shuffled = list(instances)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert owners(shuffled) == owners(instances)


@given(INSTANCES, NAMES)
def test_a_newcomer_only_takes(instances: list[str], newcomer: str) -> None:
    before, after = owners(instances), owners([*instances, newcomer])
    assert all(after[key] in (before[key], newcomer) for key in KEYS)


@given(INSTANCES, st.integers(0, 7))
def test_who_leaves_only_gives(instances: list[str], index: int) -> None:
    gone = instances[index % len(instances)]
    before, after = owners(instances), owners([i for i in instances if i != gone])
    assert all(after[key] == before[key] for key in KEYS if before[key] != gone)


def test_objects_are_spread_about_evenly() -> None:
    counts = Counter(owner_of(f"key-{n}", ("a", "b", "c", "d")) for n in range(4000))
    assert all(850 < count < 1150 for count in counts.values())


def test_without_instances_nobody_owns() -> None:
    assert owner_of("key", []) == ""
