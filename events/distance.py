"""Stream ``distance/<type>``: kinds of distance, as positions from near to far."""

from typing import ClassVar

import msgspec


class DistanceTypeCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of distance exists; ``positions`` go from the nearest to the farthest."""

    TYPE: ClassVar = "distance.created"
    name: str
    positions: tuple[str, ...]


class DistanceTypeExtended(msgspec.Struct, frozen=True, kw_only=True):
    """Positions were added among the ones there were, whose order stays."""

    TYPE: ClassVar = "distance.extended"
    positions: tuple[str, ...]


Event = DistanceTypeCreated | DistanceTypeExtended
