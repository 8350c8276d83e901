from mulligan.cli.provider_tree import below, children_of, lines_of
from mulligan.proto import v1


def provider(name: str, parent: str = "", kind: str = "component") -> v1.Provider:
    return v1.Provider(uuid=f"u-{name}", name=name, type=kind, parent=parent and f"u-{parent}")


FLEET = [
    provider("node-2", "rack-1", "machine"),
    provider("node-1", "rack-1", "machine"),
    provider("rack-1", "row-1"),
    provider("rack-2", "row-1"),
    provider("row-1"),
    provider("lost", "nowhere"),
]


def test_what_stands_below_is_drawn_below() -> None:
    FLEET[1].inventories = [v1.Inventory(resource_class="machine", capacity=1, used=1)]
    FLEET[3].cordons = [v1.Cordon(cause="operator")]
    children = children_of(FLEET)
    assert list(lines_of(children[""], children)) == [
        "lost  component",
        "row-1  component",
        "├─ rack-1  component",
        "│  ├─ node-1  machine  machine=1/1",
        "│  └─ node-2  machine",
        "└─ rack-2  component  cordoned (operator)",
    ]


def test_a_subtree_is_only_what_is_below_its_top() -> None:
    children = children_of(FLEET)
    (rack,) = [one for one in FLEET if one.name == "rack-1"]
    assert [one.name for one in below([rack], children)] == ["rack-1", "node-1", "node-2"]
