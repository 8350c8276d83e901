"""Depth first over the instances, each choice checked at once against those made before.

Instances of one group are interchangeable: their places are chosen in rising order, so that no
permutation is met twice.
"""

from collections.abc import Iterator

from mulligan.model import ProviderId
from mulligan.placement.board import Board
from mulligan.placement.domain import Domain, Place
from mulligan.placement.eligibility import split
from mulligan.placement.places import Places
from mulligan.placement.plausible import Plausible
from mulligan.placement.twins import Twins


class Search:
    """The choices made so far, and the ways to go on from them."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.request = places.request
        self.board = Board(places)
        self.plausible = Plausible(places)
        self._twins = Twins(places)
        self._found = 0
        self._tree: ProviderId | None = None
        self._roots: dict[int, ProviderId] = {}
        self._positions: list[list[int]] = [[] for _ in self.request.groups]
        self._levels = list(self._plan())

    def solutions(self) -> Iterator[Board]:
        """Yield the board whenever all instances are on it; the same choice may come again."""
        if not self.request.same_tree and not self.plausible.within(None):
            return
        if not self._levels:
            yield self.board
            return
        open_ = [self._choices(0)]
        while open_:
            if next(open_[-1], _END) is _END:
                open_.pop()
            elif len(open_) == len(self._levels):
                self._found += 1
                yield self.board
            else:
                open_.append(self._choices(len(open_)))

    def _plan(self) -> Iterator[tuple[str, int]]:
        """Yield what is chosen, one after the other: trees ahead of the instances within them."""
        if self.request.same_tree:
            yield "tree", 0
        done: set[int] = set()
        for index in range(len(self.request.groups)):
            family = self.plausible.family[index]
            if index in done:
                continue
            if family is not None:
                yield "root", family
            for member in self.plausible.families[family] if family is not None else (index,):
                done.add(member)
                yield from [("instance", member)] * self.request.groups[member].count

    def _choices(self, level: int) -> Iterator[None]:
        kind, subject = self._levels[level]
        if kind == "tree":
            return self._trees()
        return self._family_roots(subject) if kind == "root" else self._instance(subject)

    def _trees(self) -> Iterator[None]:
        for tree in self.plausible.tree_order():
            self.places.budget.spend()
            if self.places.tree_passes(tree) and self.plausible.within(tree):
                self._tree = tree
                yield
        self._tree = None

    def _family_roots(self, family: int) -> Iterator[None]:
        for root in self.plausible.roots(family, self._tree):
            self._roots[family] = root
            yield
        self._roots.pop(family, None)

    def _instance(self, index: int) -> Iterator[None]:
        family = self.plausible.family[index]
        root = None if family is None else self._roots[family]
        domain = self.places.domain(index, self._tree, root)
        positions = self._positions[index]
        hopeless: set[object] = set()
        for position in self._next_positions(index, domain, root):
            self.places.budget.spend()
            place = domain[position]
            if hopeless and self._kind(place) in hopeless:
                continue
            before = self._found
            if self.board.put(index, place):
                positions.append(position)
                yield
                positions.pop()
                self.board.lift(index)
            if self._found == before and (kind := self._kind(place)) is not None:
                hopeless.add(kind)

    def _kind(self, place: Place) -> object:
        """Return what the twins of a place have in common; None when it is like no other.

        Where nothing was found with one, nothing is with its twin: swapping the two in what was
        found would show it. That takes a pair of which neither is on the board.
        """
        if not self._twins.known or self.board.holds(place.supplies[0].node):
            return None
        return self._twins.kind(place.supplies[0].node)

    def _next_positions(self, index: int, domain: Domain, root: ProviderId | None) -> Iterator[int]:
        """Yield positions not before the last one of the group, in the order of the policy."""
        positions = self._positions[index]
        left = self.request.groups[index].count - len(positions)
        if not positions:
            yield from _rising(domain, 0, left)
            return
        last = positions[-1]
        if not domain.enough(last, left + positions.count(last)):
            return
        if self.request.policy == "pack":
            yield last
            yield from _rising(domain, last + 1, left)
        elif not split(self.request.groups[index]):
            yield from _rising(domain, last + 1, left)
            yield last
        else:
            scoped = root is not None or self._tree is not None
            place = domain[last]
            for position in _rising(domain, last + 1, left):
                if not _near(domain[position], place, scoped):
                    yield position
            yield last
            for position in _rising(domain, last + 1, left):
                if _near(domain[position], place, scoped):
                    yield position


_END = object()


def _rising(domain: Domain, first: int, needed: int) -> Iterator[int]:
    """Yield positions from ``first`` on, while what follows has room for all that is needed."""
    position = first
    while domain.has(position) and domain.enough(position, needed):
        yield position
        position += 1


def _near(place: Place, last: Place, scoped: bool) -> bool:
    """Whether a place would crowd the last one: the same tree, or within one, a supplier of it."""
    if not scoped:
        return place.tree == last.tree
    taken = {supply.node.id for supply in last.supplies}
    return any(supply.node.id in taken for supply in place.supplies)
