"""What a search chooses from: places found as they are asked for, and the steps they cost."""

from collections.abc import Iterator, Mapping

import msgspec

from mulligan.model import ProviderId, ResourceClass
from mulligan.placement.fleet import Node


class OutOfBudget(Exception):
    """The search took all the steps that it was allowed."""


class Budget:
    """Counts the steps of a search."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.steps = 0

    def spend(self) -> None:
        """Take a step; raise OutOfBudget when none is left."""
        if self.steps >= self.allowed:
            raise OutOfBudget
        self.steps += 1


class Supply(msgspec.Struct, frozen=True):
    """What one provider gives to an instance; nothing for a group without resources."""

    node: Node
    amounts: Mapping[ResourceClass, int]


class Place(msgspec.Struct, frozen=True):
    """Where one instance can stand: its suppliers, and the tree they were chosen for.

    ``slots`` is how many instances of the group it has room for, were there no others.
    """

    tree: ProviderId
    supplies: tuple[Supply, ...]
    slots: int


class Domain:
    """The places of a group, found as they are asked for."""

    def __init__(self, places: Iterator[Place]) -> None:
        self._rest = places
        self._places: list[Place] = []
        self._slots = [0]

    def __getitem__(self, position: int) -> Place:
        self._reach(position)
        return self._places[position]

    def has(self, position: int) -> bool:
        """Whether there is a place of that number, from 0."""
        return self._reach(position)

    def enough(self, position: int, needed: int) -> bool:
        """Whether the places from ``position`` on have that many slots between them."""
        if not self._reach(position):
            return needed <= 0
        while self._slots[-1] - self._slots[position] < needed:
            if not self._reach(len(self._places)):
                return False
        return True

    def __iter__(self) -> Iterator[Place]:
        position = 0
        while self._reach(position):
            yield self._places[position]
            position += 1

    def _reach(self, position: int) -> bool:
        while len(self._places) <= position:
            place = next(self._rest, None)
            if place is None:
                return False
            self._places.append(place)
            self._slots.append(self._slots[-1] + place.slots)
        return True
