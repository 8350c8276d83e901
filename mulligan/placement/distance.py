"""How far providers are from one another, and from groups, by the positions of a distance type."""

from collections.abc import Mapping, Sequence

import msgspec

from mulligan.errors import InvalidArgument
from mulligan.events.request import ClaimRequest, DistanceRule
from mulligan.model import GroupId, ProviderId
from mulligan.placement.fleet import Node, Space


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """A rule with its positions resolved: at least ``least`` and at most ``most`` away.

    ``most`` None is no bound. Positions count from 0, the nearest.
    """

    rule: DistanceRule
    least: int
    most: int | None

    def hold(self, distance: int) -> bool:
        """Whether a distance is within the bounds."""
        return self.least <= distance and (self.most is None or distance <= self.most)


def bounds(request: ClaimRequest, space: Space) -> tuple[Bounds, ...]:
    """Resolve the rules; raise InvalidArgument naming the field that makes no sense."""
    names = {group.name for group in request.groups}
    found = []
    for index, rule in enumerate(request.distances):
        field = f"distances[{index}]"
        positions = space.distance_types.get(rule.type)
        if positions is None:
            raise InvalidArgument(f"{field}.type", f"there is no distance type {rule.type!r}")
        if rule.source not in names:
            raise InvalidArgument(f"{field}.from", f"there is no request group {rule.source!r}")
        if rule.to and rule.to not in names:
            raise InvalidArgument(f"{field}.to", f"there is no request group {rule.to!r}")
        if (bool(rule.to), bool(rule.provider), bool(rule.group)).count(True) != 1:
            raise InvalidArgument(field, "give one of to, provider and group")
        least = _place(positions, rule.least, f"{field}.min") if rule.least else 0
        most = _place(positions, rule.most, f"{field}.max") if rule.most else None
        found.append(Bounds(rule=rule, least=least, most=most))
    return tuple(found)


def _place(positions: Sequence[str], position: str, field: str) -> int:
    if position not in positions:
        raise InvalidArgument(field, f"{position!r} is not one of {', '.join(positions)}")
    return positions.index(position)


class Distances:
    """Distances in one space, each worked out once. What is not known is beyond every position."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._levels: dict[tuple[str, ProviderId], dict[GroupId, int]] = {}
        self._pairs: dict[tuple[str, ProviderId, ProviderId], int] = {}

    def to_group(self, type_: str, node: Node, group: GroupId) -> int:
        """Return how far the node is from the group: as set on it, or on the nearest above it."""
        return self.to_groups(type_, node).get(group, self._beyond(type_))

    def between(self, type_: str, one: Node, other: Node) -> int:
        """Return how far two nodes are apart: 0 from itself, else the least over their groups."""
        if one.id == other.id:
            return 0
        key = (type_, one.id, other.id) if one.id < other.id else (type_, other.id, one.id)
        found = self._pairs.get(key)
        if found is None:
            there, back = self.to_groups(type_, one), self.to_groups(type_, other)
            known = [there[g] for g in self._space.groups_above(other) if g in there]
            known += [back[g] for g in self._space.groups_above(one) if g in back]
            found = self._pairs[key] = min(known, default=self._beyond(type_))
        return found

    def _beyond(self, type_: str) -> int:
        return len(self._space.distance_types[type_])

    def to_groups(self, type_: str, node: Node) -> Mapping[GroupId, int]:
        """Return how far the node is from each group that such a distance is set to."""
        found = self._levels.get((type_, node.id))
        if found is None:
            places = {p: n for n, p in enumerate(self._space.distance_types[type_])}
            set_: dict[GroupId, str] = {}
            for one in self._space.lineage(node):
                set_ = one.provider.distances.get(type_, {}) | set_
            found = {group: places[p] for group, p in set_.items() if p in places}
            self._levels[type_, node.id] = found
        return found
