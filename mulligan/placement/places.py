"""Where one instance of a request group can stand by itself, in the order it is to be tried.

Places are found as they are asked for, and kept: a search that ends early has looked at little.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import product

from mulligan.errors import InvalidArgument
from mulligan.events.request import CapabilityDemand, ClaimRequest, RequestGroup
from mulligan.handlers.capabilities import has
from mulligan.handlers.provider import capacity
from mulligan.model import ProviderId, ResourceClass
from mulligan.placement.distance import Bounds, Distances, bounds
from mulligan.placement.domain import Budget, Domain, Place, Supply
from mulligan.placement.eligibility import named_tree, room, split, standing
from mulligan.placement.fleet import Node, Space
from mulligan.placement.ties import apart

POLICIES = ("random", "pack", "spread")


class Places:
    """The places of every group of a request over one window.

    Raise InvalidArgument for a name, a position or a policy that makes no sense.
    """

    def __init__(
        self,
        request: ClaimRequest,
        space: Space,
        start: datetime,
        end: datetime | None,
        rejected: Collection[ProviderId],
        budget: Budget,
    ) -> None:
        if request.policy not in POLICIES:
            raise InvalidArgument(
                "policy", f"{request.policy!r} is not one of random, pack, spread"
            )
        self.request = request
        self.space = space
        self.budget = budget
        self.distances = Distances(space)
        self.bounds = bounds(request, space)
        self.apart = apart(request)
        self._window = (start, end)
        self._most = [
            1 if index in self.apart[index] else max(group.count, 1)
            for index, group in enumerate(request.groups)
        ]
        self._rejected = frozenset(rejected)
        self._fixed: dict[str, list[Bounds]] = {}
        for bound in self.bounds:
            if not bound.rule.to:
                self._fixed.setdefault(bound.rule.source, []).append(bound)
        self._rooms: dict[tuple[ProviderId, ResourceClass], int] = {}
        self._slots: dict[tuple[int, ProviderId], int] = {}
        self._gives: dict[tuple[int, ProviderId, ResourceClass], bool] = {}
        self._domains: dict[tuple[int, ProviderId | None, ProviderId | None], Domain] = {}

    def domain(
        self, group: int, tree: ProviderId | None = None, root: ProviderId | None = None
    ) -> Domain:
        """Return the places of a group, within ``tree`` and its pools and below ``root``, if set.

        Places of a split group are for that tree; all suppliers stand in the tree of ``root``.
        """
        key = (group, tree, root)
        found = self._domains.get(key)
        if found is None:
            if split(self.request.groups[group]):
                found = Domain(self._split_places(group, tree, root))
            else:
                found = Domain(self._single_places(group, tree, root))
            self._domains[key] = found
        return found

    def limit(self, node: Node, class_: ResourceClass) -> int:
        """Return how much one claim can take of a class: what is left, and at most max_unit."""
        return min(self._room(node, class_), node.provider.inventories[class_].max_unit)

    def _room(self, node: Node, class_: ResourceClass) -> int:
        key = (node.provider.id, class_)
        found = self._rooms.get(key)
        if found is None:
            found = self._rooms[key] = room(node.provider, class_, *self._window)
        return found

    def slots(self, group: int, node: Node) -> int:
        """Return how many instances of a group the node can take as a single provider."""
        key = (group, node.id)
        found = self._slots.get(key)
        if found is None:
            self.budget.spend()
            found = self._slots[key] = self._count_slots(group, node)
        return found

    def tree_passes(self, tree: ProviderId) -> bool:
        """Whether the root of a tree has what the request wants of roots."""
        root = self.space.nodes.get(tree)
        own = () if root is None else root.provider.capabilities
        return has(own, self.request.root_capabilities)

    def _count_slots(self, index: int, node: Node) -> int:
        group = self.request.groups[index]
        if group.resources and node.id in self._rejected:
            return 0
        if standing(self.space, node, group, group.resources) != "fit":
            return 0
        if not self.request.same_tree and not self.tree_passes(node.root):
            return 0
        if not self._near_enough(group, node):
            return 0
        slots = self._most[index]
        for class_, amount in group.resources.items():
            slots = min(slots, self.limit(node, class_) // amount)
        return slots

    def _near_enough(self, group: RequestGroup, node: Node) -> bool:
        bounds_ = self._fixed.get(group.name)
        return not bounds_ or all(
            bound.hold(self._fixed_distance(bound, node)) for bound in bounds_
        )

    def _fixed_distance(self, bound: Bounds, node: Node) -> int:
        rule = bound.rule
        if rule.group:
            return self.distances.to_group(rule.type, node, rule.group)
        other = self.space.nodes.get(rule.provider)
        if other is None:
            return len(self.space.distance_types[rule.type])
        return self.distances.between(rule.type, node, other)

    def _single_places(
        self, group: int, tree: ProviderId | None, root: ProviderId | None
    ) -> Iterator[Place]:
        amounts = self.request.groups[group].resources
        nodes = self._within(tree, root)
        if self.request.policy != "random" and amounts:
            fitting = [node for node in nodes if self.slots(group, node) > 0]
            nodes = self._ranked(fitting, amounts)
        for node in nodes:
            slots = self.slots(group, node)
            if slots > 0:
                yield Place(node.root, (Supply(node, amounts),), slots)

    def _within(self, tree: ProviderId | None, root: ProviderId | None) -> Iterable[Node]:
        space = self.space
        if tree is None and root is None:
            return space.tried()
        if tree is None:
            assert root is not None
            tried = space.tried_ids
            return [node for node in space.trees.get(root, ()) if node.id in tried]
        nodes = (*space.trees.get(tree, ()), *space.pools(tree))
        if root is not None:
            nodes = tuple(node for node in nodes if node.root == root)
        return sorted(nodes, key=lambda node: space.rank[node.id])

    def _ranked(self, nodes: Iterable[Node], classes: Collection[ResourceClass]) -> list[Node]:
        """Sort by how much is left of the scarcest class: least first for pack, else most."""
        sign = 1 if self.request.policy == "pack" else -1
        return sorted(nodes, key=lambda node: sign * self._share(node, classes))

    def _share(self, node: Node, classes: Collection[ResourceClass]) -> float:
        return min(
            self._room(node, class_) / max(capacity(node.provider.inventories[class_]), 1)
            for class_ in classes
        )

    def _split_places(
        self, index: int, tree: ProviderId | None, root: ProviderId | None
    ) -> Iterator[Place]:
        group = self.request.groups[index]
        seen: set[tuple[ProviderId, ...]] = set()
        for one in self._split_trees(index, tree, root):
            self.budget.spend()
            if not self.tree_passes(one):
                continue
            suppliers = [self._suppliers(index, class_, one, root) for class_ in group.resources]
            if not all(suppliers):
                continue
            for chosen in product(*suppliers):
                self.budget.spend()
                key = tuple(node.id for node in chosen)
                if key not in seen and _together(chosen, group.capabilities):
                    seen.add(key)
                    yield self._place(index, one, chosen)

    def _split_trees(
        self, index: int, tree: ProviderId | None, root: ProviderId | None
    ) -> Iterable[ProviderId]:
        group = self.request.groups[index]
        if group.in_tree:
            named = named_tree(self.space, group)
            trees = [named] if named in self.space.tried_trees and tree in (None, named) else []
            return [one for one in trees if one is not None]
        if tree is not None:
            return [tree]
        demand = self.request.root_capabilities
        if root in self.space.tried_trees and demand == CapabilityDemand():
            return [root] if root is not None else []
        return self.ranked_trees(index)

    def ranked_trees(self, index: int) -> Iterable[ProviderId]:
        """Return the trees to try, in the order of the policy, as a group looks at them."""
        if self.request.policy == "random":
            return self.space.tried_trees
        return sorted(self.space.tried_trees, key=lambda one: self._tree_share(index, one))

    def _tree_share(self, index: int, tree: ProviderId) -> float:
        sign = 1 if self.request.policy == "pack" else -1
        classes = self.request.groups[index].resources
        shares = [
            sign * self._share(node, given)
            for node in self.space.trees[tree]
            if (given := [c for c in classes if self._supplies(index, c, node)])
        ]
        return min(shares, default=2.0)

    def _suppliers(
        self, index: int, class_: ResourceClass, tree: ProviderId, root: ProviderId | None
    ) -> list[Node]:
        nodes = (*self.space.trees.get(tree, ()), *self.space.pools(tree))
        found = [
            node
            for node in nodes
            if (root is None or node.root == root) and self._supplies(index, class_, node)
        ]
        return found if self.request.policy == "random" else self._ranked(found, (class_,))

    def _supplies(self, index: int, class_: ResourceClass, node: Node) -> bool:
        key = (index, node.id, class_)
        found = self._gives.get(key)
        if found is None:
            self.budget.spend()
            group = self.request.groups[index]
            amount = group.resources[class_]
            found = self._gives[key] = (
                node.id not in self._rejected
                and standing(self.space, node, group, {class_: amount}) == "fit"
                and self.limit(node, class_) >= amount
                and self._near_enough(group, node)
            )
        return found

    def _place(self, index: int, tree: ProviderId, chosen: tuple[Node, ...]) -> Place:
        amounts: dict[ProviderId, dict[ResourceClass, int]] = {}
        slots = self._most[index]
        resources = self.request.groups[index].resources
        for node, (class_, amount) in zip(chosen, resources.items(), strict=True):
            amounts.setdefault(node.id, {})[class_] = amount
            slots = min(slots, self.limit(node, class_) // amount)
        nodes = {node.id: node for node in chosen}
        supplies = tuple(Supply(nodes[one], given) for one, given in amounts.items())
        return Place(tree, supplies, slots)


def _together(suppliers: Collection[Node], demand: CapabilityDemand) -> bool:
    """Whether the suppliers have between them what is required of some of them."""
    if not (demand.require or demand.any_of):
        return True
    wanted = CapabilityDemand(require=demand.require, any_of=demand.any_of)
    return has((c for node in suppliers for c in node.provider.capabilities), wanted)
