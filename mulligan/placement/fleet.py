"""The part of a fleet that a search looks at, at one position of the log."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import msgspec

from mulligan.handlers.provider import Provider
from mulligan.model import GroupId, ProviderId


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A provider with the groups that it is itself a member of."""

    provider: Provider
    groups: frozenset[GroupId] = frozenset()

    @property
    def id(self) -> ProviderId:
        """The provider's id."""
        return self.provider.id

    @property
    def root(self) -> ProviderId:
        """The top of its tree."""
        return self.provider.root


class Space:
    """Nodes by id, and the order in which a search tries them.

    ``nodes`` has the possible suppliers, their ancestors, and the pools shared with their trees;
    ``order`` names those to try, and with them, by first appearance, their trees: a single provider
    is one of ``order``, while a split group, and with ``same_tree`` every group, chooses among all
    live nodes of such a tree and its pools.
    ``distance_types`` has the positions of each type, the nearest first. Nothing of it changes
    once a search has looked: what is derived from the nodes is kept.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        order: Sequence[ProviderId],
        distance_types: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.nodes: Mapping[ProviderId, Node] = {n.provider.id: n for n in nodes}
        self.order = order
        self.distance_types = distance_types or {}
        self._pools: dict[ProviderId, tuple[Node, ...]] = {}
        self._above: dict[ProviderId, frozenset[GroupId]] = {}

    def live(self, provider: ProviderId) -> Node | None:
        """Return a node that is here and not deleted."""
        node = self.nodes.get(provider)
        return None if node is None or node.provider.deleted else node

    def tried(self) -> Iterator[Node]:
        """Yield the live nodes of ``order``, each once, without looking ahead."""
        seen: set[ProviderId] = set()
        for provider in self.order:
            node = self.live(provider)
            if node is not None and provider not in seen:
                seen.add(provider)
                yield node

    def lineage(self, node: Node) -> Iterator[Node]:
        """Yield the node, then those above it that are here, the nearest first."""
        yield node
        for ancestor in reversed(node.provider.ancestors):
            above = self.nodes.get(ancestor)
            if above is not None:
                yield above

    def cordoned(self, node: Node) -> Node | None:
        """Return what keeps claims away from the node: itself, or the nearest cordoned above."""
        if not node.provider.ancestors:
            return node if node.provider.cordons else None
        return next((one for one in self.lineage(node) if one.provider.cordons), None)

    def groups_above(self, node: Node) -> frozenset[GroupId]:
        """Return the groups of the node and of all above it."""
        found = self._above.get(node.id)
        if found is None:
            found = frozenset().union(*(one.groups for one in self.lineage(node)))
            self._above[node.id] = found
        return found

    def root_of(self, node: Node) -> Node | None:
        """Return the top of the node's tree, if it is here."""
        return self.nodes.get(node.root)

    @cached_property
    def rank(self) -> Mapping[ProviderId, int]:
        """The place of each live node: those of ``order`` first, then the others as they came."""
        ids = [node.id for node in self.tried()]
        ids += [one for one in self.nodes if self.live(one) is not None]
        return {one: place for place, one in enumerate(dict.fromkeys(ids))}

    @cached_property
    def tried_ids(self) -> frozenset[ProviderId]:
        """The live nodes of ``order``."""
        return frozenset(node.id for node in self.tried())

    @cached_property
    def tried_trees(self) -> Mapping[ProviderId, None]:
        """The roots of the live nodes of ``order``, by first appearance."""
        return dict.fromkeys(node.root for node in self.tried())

    @cached_property
    def trees(self) -> Mapping[ProviderId, tuple[Node, ...]]:
        """The live members of each tree, trees and members by rank."""
        found: dict[ProviderId, list[Node]] = {}
        for one in self.rank:
            node = self.nodes[one]
            found.setdefault(node.root, []).append(node)
        return {root: tuple(members) for root, members in found.items()}

    @cached_property
    def _sharing(self) -> Mapping[GroupId, list[Node]]:
        found: dict[GroupId, list[Node]] = {}
        for one in self.rank:
            for group in self.nodes[one].provider.shares:
                found.setdefault(group, []).append(self.nodes[one])
        return found

    def pools(self, root: ProviderId) -> tuple[Node, ...]:
        """Return what stands elsewhere and shares with a group of any member of the tree."""
        found = self._pools.get(root)
        if found is None:
            groups = {group for member in self.trees.get(root, ()) for group in member.groups}
            sharing = self._sharing
            pools = {
                pool.id: pool
                for group in groups & sharing.keys()
                for pool in sharing[group]
                if pool.root != root
            }
            found = tuple(sorted(pools.values(), key=lambda pool: self.rank[pool.id]))
            self._pools[root] = found
        return found
