"""The part of a fleet that a search looks at, at one position of the log."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from mulligan.handlers.provider import Provider
from mulligan.model import GroupId, ProviderId


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A provider with the groups that it is itself a member of."""

    provider: Provider
    groups: frozenset[GroupId] = frozenset()


class Space:
    """Nodes by id, and the order in which a search tries them.

    ``nodes`` has the possible suppliers, their ancestors, and the pools shared with their trees;
    ``order`` names those to try, and with them, by first appearance, their trees.
    ``distance_types`` has the positions of each type, the nearest first.
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
