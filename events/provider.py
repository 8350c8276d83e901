"""Stream ``provider/<uuid>``: what can be claimed, how much of it, and what is taken when.

The provider's stream is the consistency boundary of its capacity: every claim over it writes
``CapacityTaken`` here in the claim's own commit.
"""

from datetime import datetime
from typing import ClassVar

import msgspec

from mulligan.model import ClaimId, GroupId, ProviderId, ResourceClass


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a class a provider offers, in base units.

    capacity = floor((total - reserved) * allocation_ratio); an amount n fits the form iff
    min_unit <= n <= max_unit and n mod step_size = 0.
    """

    total: int
    reserved: int = 0
    min_unit: int = 1
    max_unit: int = 2**63 - 1
    step_size: int = 1
    allocation_ratio: float = 1.0


class ProviderCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A provider joined the tree under ``parent``; empty at a root. ``type`` as in the docs.

    ``ancestors`` go from the root to the parent.
    """

    TYPE: ClassVar = "provider.created"
    provider: ProviderId
    type: str
    name: str
    parent: ProviderId = ProviderId("")
    attributes: dict[str, str] = {}
    ancestors: tuple[ProviderId, ...] = ()


class ProviderMoved(msgspec.Struct, frozen=True, kw_only=True):
    """The provider, or one above it, was put under another parent."""

    TYPE: ClassVar = "provider.moved"
    parent: ProviderId
    ancestors: tuple[ProviderId, ...]


class ChildAdded(msgspec.Struct, frozen=True, kw_only=True):
    """A provider was created under this one."""

    TYPE: ClassVar = "provider.child_added"
    child: ProviderId


class ChildRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """A provider under this one was deleted."""

    TYPE: ClassVar = "provider.child_removed"
    child: ProviderId


class AttributesSet(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes were replaced."""

    TYPE: ClassVar = "provider.attributes_set"
    attributes: dict[str, str]


class InventoriesSet(msgspec.Struct, frozen=True, kw_only=True):
    """All inventories were replaced."""

    TYPE: ClassVar = "provider.inventories_set"
    inventories: dict[ResourceClass, Inventory]


class CapabilitiesSet(msgspec.Struct, frozen=True, kw_only=True):
    """All capabilities were replaced; sorted."""

    TYPE: ClassVar = "provider.capabilities_set"
    capabilities: tuple[str, ...]


class SharesSet(msgspec.Struct, frozen=True, kw_only=True):
    """The groups whose members may use this provider's inventories were replaced; sorted."""

    TYPE: ClassVar = "provider.shares_set"
    groups: tuple[GroupId, ...]


class DistancesSet(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is to groups was replaced: a position by distance type and group."""

    TYPE: ClassVar = "provider.distances_set"
    distances: dict[str, dict[GroupId, str]]


class TurnaroundSet(msgspec.Struct, frozen=True, kw_only=True):
    """What is claimed from now on counts as used for so many ``seconds`` after its end."""

    TYPE: ClassVar = "provider.turnaround_set"
    seconds: int


class ProviderCordoned(msgspec.Struct, frozen=True, kw_only=True):
    """No new claims, for ``cause``; claims that exist are not touched."""

    TYPE: ClassVar = "provider.cordoned"
    cause: str
    note: str = ""


class ProviderUncordoned(msgspec.Struct, frozen=True, kw_only=True):
    """``cause`` no longer keeps claims away."""

    TYPE: ClassVar = "provider.uncordoned"
    cause: str


class CapacityTaken(msgspec.Struct, frozen=True, kw_only=True):
    """A claim holds these amounts over [start, end); ``end`` None is open."""

    TYPE: ClassVar = "provider.capacity_taken"
    claim: ClaimId
    amounts: dict[ResourceClass, int]
    start: datetime
    end: datetime | None = None


class CapacityFreed(msgspec.Struct, frozen=True, kw_only=True):
    """The claim no longer holds these amounts over [start, end)."""

    TYPE: ClassVar = "provider.capacity_freed"
    claim: ClaimId
    amounts: dict[ResourceClass, int]
    start: datetime
    end: datetime | None = None


class ProviderDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The provider is gone; it had no children and no claims."""

    TYPE: ClassVar = "provider.deleted"


Event = (
    ProviderCreated
    | ChildAdded
    | ChildRemoved
    | AttributesSet
    | InventoriesSet
    | CapabilitiesSet
    | SharesSet
    | DistancesSet
    | TurnaroundSet
    | ProviderMoved
    | ProviderCordoned
    | ProviderUncordoned
    | CapacityTaken
    | CapacityFreed
    | ProviderDeleted
)
