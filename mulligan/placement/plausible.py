"""Cheap reasons why a request cannot be met, looked at before any combination is tried.

They count, and never forbid what could be: a request that passes may still have no candidate.
"""

from collections.abc import Iterable, Iterator

from mulligan.model import ProviderId, ResourceClass
from mulligan.placement.eligibility import split
from mulligan.placement.fleet import Node
from mulligan.placement.places import Places
from mulligan.placement.ties import joined, sets_of


class Plausible:
    """What can be said of a request by counting places, within one tree or anywhere.

    A family is the groups that ``same_subtree`` ties together: all that is chosen for them stands
    in one tree. ``family`` has the number of each group's own, None for a group by itself.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._groups = places.request.groups
        self.families = joined(sets_of(places.request, "same_subtree"))
        self.family: list[int | None] = [
            next((n for n, members in enumerate(self.families) if index in members), None)
            for index in range(len(self._groups))
        ]
        self._roots: dict[tuple[int, ProviderId | None], _Kept] = {}
        self._isolated = sets_of(places.request, "isolate")

    def tree_order(self) -> Iterable[ProviderId]:
        """Return the trees to try when all groups are in one: by the first group's places."""
        space = self._places.space
        demanding = next((n for n, group in enumerate(self._groups) if group.resources), None)
        if self._places.request.policy == "random" or demanding is None:
            return space.tried_trees
        return self._places.ranked_trees(demanding)

    def within(self, tree: ProviderId | None) -> bool:
        """Whether counting leaves hope: within a tree and its pools, or anywhere."""
        return (
            all(
                self._places.domain(index, tree).enough(0, group.count)
                for index, group in enumerate(self._groups)
            )
            and all(
                self._enough_suppliers(index, tree)
                for index, group in enumerate(self._groups)
                if split(group) and group.count > 1
            )
            and all(self._enough_apart(members, tree) for members in self._isolated)
            and all(self._enough_of(class_, tree) for class_ in self._classes_of_several())
            and all(
                next(iter(self.roots(family, tree)), None) is not None
                for family in range(len(self.families))
            )
        )

    def roots(self, family: int, tree: ProviderId | None) -> Iterable[ProviderId]:
        """Return the trees in which each group of a family has room by itself."""
        key = (family, tree)
        if key not in self._roots:
            self._roots[key] = _Kept(self._find_roots(family, tree))
        return self._roots[key]

    def _find_roots(self, family: int, tree: ProviderId | None) -> Iterator[ProviderId]:
        space = self._places.space
        every: Iterable[ProviderId] = space.trees
        if tree is not None:
            every = dict.fromkeys((tree, *(pool.root for pool in space.pools(tree))))
        for root in every:
            self._places.budget.spend()
            if all(
                self._places.domain(index, tree, root).enough(0, self._groups[index].count)
                for index in self.families[family]
            ):
                yield root

    def _enough_suppliers(self, index: int, tree: ProviderId | None) -> bool:
        """Whether, of each class, the suppliers of a split group can give enough between them."""
        group = self._groups[index]
        needed = dict.fromkeys(group.resources, group.count)
        counted: set[tuple[ProviderId, ResourceClass]] = set()
        for place in self._places.domain(index, tree):
            for node, amounts in ((s.node, s.amounts) for s in place.supplies):
                for class_ in amounts:
                    if (node.id, class_) not in counted:
                        counted.add((node.id, class_))
                        slots = self._places.limit(node, class_) // group.resources[class_]
                        needed[class_] -= slots
            if max(needed.values()) <= 0:
                return True
        return False

    def _enough_apart(self, members: frozenset[int], tree: ProviderId | None) -> bool:
        """Whether there are as many providers as instances that may not share one."""
        single = [index for index in sorted(members) if not split(self._groups[index])]
        needed = sum(self._groups[index].count for index in single)
        distinct: set[ProviderId] = set()
        for node in self._nodes(single, tree):
            distinct.add(node.id)
            if len(distinct) >= needed:
                return True
        return needed <= 0

    def _classes_of_several(self) -> list[ResourceClass]:
        single = [group for group in self._groups if not split(group)]
        classes = [class_ for group in single for class_ in group.resources]
        return [class_ for class_ in dict.fromkeys(classes) if classes.count(class_) > 1]

    def _enough_of(self, class_: ResourceClass, tree: ProviderId | None) -> bool:
        """Whether all that is left of a class is as much as the groups want between them."""
        asking = [
            index
            for index, group in enumerate(self._groups)
            if class_ in group.resources and not split(group)
        ]
        needed = sum(self._groups[i].count * self._groups[i].resources[class_] for i in asking)
        counted: set[ProviderId] = set()
        for node in self._nodes(asking, tree):
            if node.id not in counted:
                counted.add(node.id)
                needed -= self._places.limit(node, class_)
                if needed <= 0:
                    return True
        return needed <= 0

    def _nodes(self, groups: Iterable[int], tree: ProviderId | None) -> Iterator[Node]:
        for index in groups:
            for place in self._places.domain(index, tree):
                yield place.supplies[0].node


class _Kept:
    """What an iterator gave so far, to be walked again without being found again."""

    def __init__(self, rest: Iterator[ProviderId]) -> None:
        self._rest = rest
        self._kept: list[ProviderId] = []

    def __iter__(self) -> Iterator[ProviderId]:
        position = 0
        while True:
            if position == len(self._kept):
                one = next(self._rest, None)
                if one is None:
                    return
                self._kept.append(one)
            yield self._kept[position]
            position += 1
