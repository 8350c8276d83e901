"""Stream ``claim/<uuid>``: a consumer's hold on amounts at providers over a window."""

from datetime import datetime
from typing import ClassVar

import msgspec

from mulligan.model import AccountId, ClaimId, ProjectId, ProviderId, ResourceClass


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """What a claim takes of one provider, for the request group of that name."""

    provider: ProviderId
    amounts: dict[ResourceClass, int]
    group: str = ""


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """How the allocations were found, so that the decision can be run again."""

    at: int
    policy: str
    seed: int
    considered: int
    conflicts: int = 0


class ClaimMade(msgspec.Struct, frozen=True, kw_only=True):
    """Capacity is held over [start, end); ``end`` None is open. ``request`` is the asked form."""

    TYPE: ClassVar = "claim.made"
    claim: ClaimId
    project: ProjectId
    account: AccountId
    consumer: str
    start: datetime
    allocations: tuple[Allocation, ...]
    end: datetime | None = None
    name: str = ""
    search: Search | None = None


class ClaimStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The window opened: planned for ``planned``, noticed at ``actual``."""

    TYPE: ClassVar = "claim.started"
    planned: datetime
    actual: datetime


class ClaimEnded(msgspec.Struct, frozen=True, kw_only=True):
    """The window closed by itself."""

    TYPE: ClassVar = "claim.ended"
    planned: datetime
    actual: datetime


class AllocationReleased(msgspec.Struct, frozen=True, kw_only=True):
    """The holder gave back what the claim took of one provider; the rest stays claimed."""

    TYPE: ClassVar = "claim.allocation_released"
    provider: ProviderId
    at: datetime


class ClaimReleased(msgspec.Struct, frozen=True, kw_only=True):
    """The holder gave it back at ``at``, ahead of its end."""

    TYPE: ClassVar = "claim.released"
    at: datetime


class ClaimCancelled(msgspec.Struct, frozen=True, kw_only=True):
    """The reservation was given back before it began."""

    TYPE: ClassVar = "claim.cancelled"
    at: datetime


Event = ClaimMade | ClaimStarted | ClaimEnded | AllocationReleased | ClaimReleased | ClaimCancelled
