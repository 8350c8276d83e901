"""The search: an assignment of every instance of a request to providers, over one window.

It goes depth first over the instances, in the order of the policy, and checks each choice at once
against those made before. Instances of one group are interchangeable: their places are chosen in
rising order, so that no permutation is met twice.
"""

from collections.abc import Collection, Iterator
from datetime import datetime

import msgspec

from mulligan.events.claim import Allocation
from mulligan.events.request import ClaimRequest
from mulligan.model import ProviderId, ResourceClass
from mulligan.placement.board import Board
from mulligan.placement.domain import Budget, Domain, OutOfBudget, Place
from mulligan.placement.eligibility import named_tree, split
from mulligan.placement.fleet import Space
from mulligan.placement.places import Places
from mulligan.placement.plausible import Plausible

BUDGET = 200_000


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One way to meet a request.

    ``allocations`` has one for each instance and supplier. ``groups`` has the providers chosen for
    the instances of each request group: sorted, and each as often as there are instances on it.
    """

    allocations: tuple[Allocation, ...]
    groups: dict[str, tuple[ProviderId, ...]]

    @property
    def totals(self) -> dict[ProviderId, dict[ResourceClass, int]]:
        """What is taken of each provider; with ``groups``, what tells candidates apart."""
        total: dict[ProviderId, dict[ResourceClass, int]] = {}
        for allocation in self.allocations:
            amounts = total.setdefault(allocation.provider, {})
            for class_, amount in allocation.amounts.items():
                amounts[class_] = amounts.get(class_, 0) + amount
        return total


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Distinct candidates, the first found first, and the ``steps`` that they took.

    ``complete`` is false when the steps ran out: there may then be more, or any at all.
    """

    candidates: tuple[Candidate, ...]
    complete: bool
    steps: int


def solve(
    request: ClaimRequest,
    space: Space,
    start: datetime,
    end: datetime | None,
    *,
    rejected: Collection[ProviderId] = (),
    limit: int = 1,
    budget: int = BUDGET,
) -> Found:
    """Find up to ``limit`` ways to meet the request over [start, end); ``end`` None is open.

    ``rejected`` providers supply nothing. Raise InvalidArgument, naming the field, for a policy,
    a request group, a distance type or a position that is not known.
    """
    steps = Budget(budget)
    search = _Search(Places(request, space, start, end, rejected, steps))
    found: dict[object, Candidate] = {}
    complete = True
    try:
        for candidate in search.candidates() if limit > 0 else ():
            found.setdefault(_identity(candidate), candidate)
            if len(found) >= limit:
                break
    except OutOfBudget:
        complete = False
    return Found(candidates=tuple(found.values()), complete=complete, steps=steps.steps)


def _identity(candidate: Candidate) -> object:
    taken = frozenset(
        (provider, class_, amount)
        for provider, amounts in candidate.totals.items()
        for class_, amount in amounts.items()
    )
    return taken, tuple(candidate.groups.items())


class _Search:
    """The choices made so far, and the ways to go on from them."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.request = places.request
        self.board = Board(places)
        self.plausible = Plausible(places)
        self._tree: ProviderId | None = None
        self._roots: dict[int, ProviderId] = {}
        self._positions: list[list[int]] = [[] for _ in self.request.groups]
        self._levels = list(self._plan())

    def candidates(self) -> Iterator[Candidate]:
        """Yield every candidate, some more than once."""
        if not self.request.same_tree and not self.plausible.within(None):
            return
        if not self._levels:
            yield self._candidate()
            return
        open_ = [self._choices(0)]
        while open_:
            if next(open_[-1], _END) is _END:
                open_.pop()
            elif len(open_) == len(self._levels):
                yield self._candidate()
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
        space = self.places.space
        named = {
            named_tree(space, group)
            for group in self.request.groups
            if split(group) and group.in_tree
        }
        for tree in self.plausible.tree_order():
            self.places.budget.spend()
            if named <= {tree} and self.places.tree_passes(tree) and self.plausible.within(tree):
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
        for position in self._next_positions(index, domain, root):
            self.places.budget.spend()
            place = domain[position]
            if self.board.put(index, place):
                positions.append(position)
                yield
                positions.pop()
                self.board.lift(index)

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

    def _candidate(self) -> Candidate:
        allocations = []
        groups: dict[str, tuple[ProviderId, ...]] = {}
        for index, group in enumerate(self.request.groups):
            supplies = [s for place in self.board.chosen[index] for s in place.supplies]
            groups[group.name] = tuple(sorted(supply.node.id for supply in supplies))
            allocations += [
                Allocation(provider=supply.node.id, amounts=dict(supply.amounts), group=group.name)
                for supply in supplies
                if supply.amounts
            ]
        return Candidate(allocations=tuple(allocations), groups=groups)


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
