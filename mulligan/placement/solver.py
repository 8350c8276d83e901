"""Ways to meet a request over one window: an assignment of all its instances to providers.

The search goes in the order of the policy. Where it takes long to find anything, the request is
looked at once more with the providers it cannot tell apart put together: that settles most of
what cannot be met, and else gives a first candidate.
"""

from collections.abc import Collection
from datetime import datetime

import msgspec

from mulligan.events.claim import Allocation
from mulligan.events.request import ClaimRequest
from mulligan.model import ProviderId, ResourceClass
from mulligan.placement.board import Board
from mulligan.placement.domain import Budget, OutOfBudget
from mulligan.placement.fleet import Space
from mulligan.placement.places import Places
from mulligan.placement.search import Search
from mulligan.placement.twins import Twins, independent

BUDGET = 200_000
PATIENCE = 4_000


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
    patience: int | None = None,
) -> Found:
    """Find up to ``limit`` ways to meet the request over [start, end); ``end`` None is open.

    ``rejected`` providers supply nothing. ``budget`` bounds the steps; after ``patience`` of them
    without a candidate (None: enough to see every provider a few times), twins are put together.
    Raise InvalidArgument, naming the field, for a policy, a request group, a distance type or a
    position that is not known.
    """
    return _Solving(request, space, (start, end), frozenset(rejected), limit, budget).solve(
        patience
    )


class _Solving:
    """One call of ``solve``: what it was asked, the steps it took, and what it found so far."""

    def __init__(
        self,
        request: ClaimRequest,
        space: Space,
        window: tuple[datetime, datetime | None],
        rejected: frozenset[ProviderId],
        limit: int,
        budget: int,
    ) -> None:
        self._request = request
        self._space = space
        self._window = window
        self._rejected = rejected
        self._limit = limit
        self._allowed = budget
        self._budget = Budget(budget)
        self._found: dict[object, Candidate] = {}

    def solve(self, patience: int | None) -> Found:
        places = self._places(self._request, self._space)
        if patience is None:
            patience = PATIENCE + 2 * len(self._space.order)
        complete = self._run(places, patience if Twins(places).known else self._allowed)
        if not complete and not self._found and self._budget.steps < self._allowed:
            complete = self._put_twins_together()
        if not complete:
            complete = self._run(self._places(self._request, self._space), self._allowed)
        return Found(
            candidates=tuple(self._found.values()), complete=complete, steps=self._budget.steps
        )

    def _places(self, request: ClaimRequest, space: Space) -> Places:
        return Places(request, space, *self._window, self._rejected, self._budget)

    def _run(self, places: Places, allowed: int, limit: int | None = None) -> bool:
        """Search until there are ``limit`` candidates; return False when ``allowed`` ran out."""
        wanted = self._limit if limit is None else limit
        self._budget.allowed = min(allowed, self._allowed)
        if len(self._found) >= wanted:
            return True
        try:
            for board in Search(places).solutions():
                candidate = _candidate(places.request, board)
                self._found.setdefault(_identity(candidate), candidate)
                if len(self._found) >= wanted:
                    break
        except OutOfBudget:
            return False
        return True

    def _put_twins_together(self) -> bool:
        """Look for a first candidate among few providers of each kind; return whether none is.

        Groups that have nothing to do with one another are looked at alone before.
        """
        half = (self._budget.steps + self._allowed) // 2
        self._budget.allowed = half
        whole = msgspec.structs.replace(self._request, policy="random")
        for part in (*independent(whole), whole):
            try:
                order = Twins(self._places(part, self._space)).together()
            except OutOfBudget:
                return False
            reduced = Space(self._space.nodes.values(), order, self._space.distance_types)
            done = self._run(self._places(part, reduced), half, 1)
            if done and not self._found:
                return True
            if not done:
                return False
            if part is not whole:
                self._found.clear()
        return False


def _candidate(request: ClaimRequest, board: Board) -> Candidate:
    allocations = []
    groups: dict[str, tuple[ProviderId, ...]] = {}
    for index, group in enumerate(request.groups):
        supplies = [supply for place in board.chosen[index] for supply in place.supplies]
        groups[group.name] = tuple(sorted(supply.node.id for supply in supplies))
        allocations += [
            Allocation(provider=supply.node.id, amounts=dict(supply.amounts), group=group.name)
            for supply in supplies
            if supply.amounts
        ]
    return Candidate(allocations=tuple(allocations), groups=groups)


def _identity(candidate: Candidate) -> object:
    taken = frozenset(
        (provider, class_, amount)
        for provider, amounts in candidate.totals.items()
        for class_, amount in amounts.items()
    )
    return taken, tuple(candidate.groups.items())
