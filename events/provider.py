"""Stream ``provider/<uuid>``: what can be claimed, how much of it, and what is taken when.

The provider's stream is the consistency boundary of its capacity: every claim over it writes
``CapacityTaken`` here in the claim's own commit.
"""

from datetime import datetime
from typing import ClassVar

import msgspec

from mulligan.model import ClaimId, ProviderId, ResourceClass


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
    """A provider joined the tree under ``parent``; empty at a root. ``type`` as in the docs."""

    TYPE: ClassVar = "provider.created"
    provider: ProviderId
    type: str
    name: str
    parent: ProviderId = ProviderId("")
    attributes: dict[str, str] = {}


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
    | ProviderCordoned
    | ProviderUncordoned
    | CapacityTaken
    | CapacityFreed
    | ProviderDeleted
)
