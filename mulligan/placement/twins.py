"""Providers that a request cannot tell apart, and groups that have nothing to do with each other.

What holds for one of two twins holds for the other: a candidate stays one when they are swapped.
"""

from collections import Counter
from itertools import chain

from msgspec.structs import replace

from mulligan.events.request import ClaimRequest
from mulligan.model import ProviderId
from mulligan.placement.eligibility import split
from mulligan.placement.fleet import Node
from mulligan.placement.places import Places
from mulligan.placement.ties import joined, named, sets_of


class Twins:
    """The kind of each provider for one request: twins are of the same kind.

    ``known`` is false where trees matter beyond the single provider: nothing is said then.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        request = places.request
        self.known = not (
            request.same_tree
            or any(request.same_subtree)
            or any(split(group) for group in request.groups)
        )
        self._kinds: dict[ProviderId, object] = {}
        asking = Counter(class_ for group in request.groups for class_ in group.resources)
        self._shared = {
            class_: sum(g.count * g.resources.get(class_, 0) for g in request.groups)
            for class_, groups in asking.items()
            if groups > 1
        }
        self._types = sorted({bound.rule.type for bound in places.bounds if bound.rule.to})

    def kind(self, node: Node) -> object:
        """Return what makes a difference: room for each group, and how far it is from others."""
        found = self._kinds.get(node.id)
        if found is None:
            found = self._kinds[node.id] = self._describe(node)
        return found

    def together(self) -> list[ProviderId]:
        """Return who to try, twins next to one another, no more of a kind than instances."""
        groups = self._places.request.groups
        most = sum(group.count for group in groups)
        kinds: dict[object, list[ProviderId]] = {}
        for node in self._places.space.tried():
            if any(self._places.slots(index, node) for index in range(len(groups))):
                members = kinds.setdefault(self.kind(node), [])
                if len(members) < most:
                    members.append(node.id)
        return list(chain.from_iterable(kinds.values()))

    def _describe(self, node: Node) -> object:
        places = self._places
        slots = tuple(places.slots(index, node) for index in range(len(places.request.groups)))
        rooms = tuple(
            min(places.limit(node, class_), most)
            for class_, most in self._shared.items()
            if class_ in node.provider.inventories
        )
        distances = tuple(
            frozenset(places.distances.to_groups(type_, node).items()) for type_ in self._types
        )
        groups = places.space.groups_above(node) if self._types else frozenset()
        return slots, rooms, groups, distances


def independent(request: ClaimRequest) -> list[ClaimRequest]:
    """Return the request in parts that no rule ties together; none when it is but one.

    The parts may still want the same providers: the whole can be met only if each part can.
    """
    names = named(request)
    ties = [*sets_of(request, "isolate"), *sets_of(request, "same_subtree")]
    ties += [
        frozenset((names[rule.source], names[rule.to])) for rule in request.distances if rule.to
    ]
    parts = joined([*ties, *(frozenset((index,)) for index in range(len(request.groups)))])
    return [] if len(parts) < 2 else [_part(request, part) for part in parts]


def _part(request: ClaimRequest, members: list[int]) -> ClaimRequest:
    groups = tuple(request.groups[index] for index in members)
    names = {group.name for group in groups}
    return replace(
        request,
        groups=groups,
        isolate=tuple(one for one in request.isolate if names.intersection(one)),
        same_subtree=tuple(one for one in request.same_subtree if names.intersection(one)),
        distances=tuple(rule for rule in request.distances if rule.source in names),
    )
