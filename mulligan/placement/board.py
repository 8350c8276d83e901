"""The places chosen so far, and whether one more goes with them."""

from collections import Counter
from collections.abc import Iterable, Iterator

from mulligan.model import ProviderId, ResourceClass
from mulligan.placement.distance import Bounds
from mulligan.placement.domain import Place
from mulligan.placement.eligibility import split
from mulligan.placement.fleet import Node
from mulligan.placement.places import Places
from mulligan.placement.ties import named, sets_of


class Board:
    """Places by group, in the order they were put, with what they take of each provider."""

    def __init__(self, places: Places) -> None:
        self._places = places
        groups = places.request.groups
        self.chosen: list[list[Place]] = [[] for _ in groups]
        self._used: dict[tuple[ProviderId, ResourceClass], int] = {}
        self._held: list[Counter[ProviderId]] = [Counter() for _ in groups]
        self._bounds: list[list[tuple[int, Bounds]]] = [[] for _ in groups]
        names = named(places.request)
        for bound in places.bounds:
            if bound.rule.to:
                source, to = names[bound.rule.source], names[bound.rule.to]
                self._bounds[source].append((to, bound))
                if source != to:
                    self._bounds[to].append((source, bound))
        self._subtrees = sets_of(places.request, "same_subtree")

    def put(self, group: int, place: Place) -> bool:
        """Put a place and return True, or return False when it does not go with the others."""
        if not (
            self._fits(place)
            and self._stands_apart(group, place)
            and self._at_distance(group, place)
        ):
            return False
        self._change(group, place, 1)
        self.chosen[group].append(place)
        if all(self._under_one(members) for members in self._subtrees if group in members):
            return True
        self.lift(group)
        return False

    def holds(self, node: Node) -> bool:
        """Whether an instance of any group is on the node."""
        return any(held[node.id] for held in self._held)

    def lift(self, group: int) -> None:
        """Take the last place of a group back."""
        self._change(group, self.chosen[group].pop(), -1)

    def _change(self, group: int, place: Place, sign: int) -> None:
        held = self._held[group]
        for node, amounts in _given(place):
            held[node.id] += sign
            for class_, amount in amounts:
                key = (node.id, class_)
                self._used[key] = self._used.get(key, 0) + sign * amount

    def _fits(self, place: Place) -> bool:
        used = self._used
        return all(
            used.get((node.id, class_), 0) + amount <= self._places.limit(node, class_)
            for node, amounts in _given(place)
            for class_, amount in amounts
        )

    def _stands_apart(self, group: int, place: Place) -> bool:
        return not any(
            self._held[other][supply.node.id]
            for other in self._places.apart[group]
            for supply in place.supplies
        )

    def _at_distance(self, group: int, place: Place) -> bool:
        between = self._places.distances.between
        return all(
            bound.hold(between(bound.rule.type, mine.node, theirs.node))
            for to, bound in self._bounds[group]
            for other in self.chosen[to]
            for mine in place.supplies
            for theirs in other.supplies
        )

    def _under_one(self, members: frozenset[int]) -> bool:
        """Whether one of the chosen is above all others, or one still to be chosen could be."""
        nodes = {
            supply.node.id: supply.node
            for member in members
            for place in self.chosen[member]
            for supply in place.supplies
        }
        common = _common(nodes.values())
        if not common.isdisjoint(nodes):
            return True
        return any(self._could_take(member, common) for member in members)

    def _could_take(self, group: int, any_of: frozenset[ProviderId]) -> bool:
        """Whether an instance still to be put could stand on one of these."""
        wanted = self._places.request.groups[group]
        if len(self.chosen[group]) >= wanted.count:
            return False
        nodes = (self._places.space.live(one) for one in sorted(any_of))
        return split(wanted) or any(
            node is not None and self._places.slots(group, node) > 0 for node in nodes
        )


def _given(place: Place) -> Iterator[tuple[Node, Iterable[tuple[ResourceClass, int]]]]:
    for supply in place.supplies:
        yield supply.node, supply.amounts.items()


def _common(nodes: Iterable[Node]) -> frozenset[ProviderId]:
    """Return what is, or is above, all of the nodes."""
    lines = [frozenset((*node.provider.ancestors, node.id)) for node in nodes]
    return frozenset.intersection(*lines)
