"""Stream ``claim/<uuid>``: a consumer's hold on amounts at providers over a window."""

from datetime import datetime
from typing import ClassVar

import msgspec

from mulligan.events.request import ClaimRequest
from mulligan.model import AccountId, ClaimId, ProjectId, ProviderId, ResourceClass


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """What a claim takes of one provider, for the request group of that name.

    The capacity stays taken for ``turnaround`` seconds after the end.
    """

    provider: ProviderId
    amounts: dict[ResourceClass, int]
    group: str = ""
    turnaround: int = 0


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """How the allocations were found, so that the decision can be run again.

    The read model stood at entry ``at``, ``now`` was the time, and the search looked at the first
    ``breadth`` providers or trees that could do. Its candidate number ``rank`` (from 0) was taken:
    those that ask the same at the same time share a search. ``rejected`` are the providers that
    others had taken meanwhile, ``conflicts`` how often that happened.
    """

    at: int
    policy: str
    seed: int
    considered: int
    conflicts: int = 0
    breadth: int = 0
    rank: int = 0
    now: datetime | None = None
    request: ClaimRequest | None = None
    rejected: tuple[ProviderId, ...] = ()


class ClaimMade(msgspec.Struct, frozen=True, kw_only=True):
    """Capacity is held over [start, end); ``end`` None is open.

    ``ending_notice`` is how many seconds ahead of the end ``ClaimEnding`` comes; ``on_end`` says
    what becomes of its machines then: ``release`` or ``keep_power_off``.
    """

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
    on_end: str = "release"
    ending_notice: int = 3600


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


class ClaimEnding(msgspec.Struct, frozen=True, kw_only=True):
    """The end is near: notice of ``end``, planned for ``planned`` and given at ``actual``."""

    TYPE: ClassVar = "claim.ending"
    planned: datetime
    actual: datetime
    end: datetime


class ClaimRescheduled(msgspec.Struct, frozen=True, kw_only=True):
    """The window is [start, end) from now on."""

    TYPE: ClassVar = "claim.rescheduled"
    start: datetime
    end: datetime | None = None


class ClaimMoved(msgspec.Struct, frozen=True, kw_only=True):
    """From ``at`` on, ``targets`` hold what the claim held at ``source``; ``reason`` says why."""

    TYPE: ClassVar = "claim.moved"
    source: ProviderId
    targets: tuple[Allocation, ...]
    at: datetime
    reason: str = ""


class ClaimReshaped(msgspec.Struct, frozen=True, kw_only=True):
    """From ``at`` on, the claim holds these allocations and no others."""

    TYPE: ClassVar = "claim.reshaped"
    allocations: tuple[Allocation, ...]
    at: datetime


class ClaimStranded(msgspec.Struct, frozen=True, kw_only=True):
    """A provider of the reservation failed and no equal has room; ``reason`` says what is short."""

    TYPE: ClassVar = "claim.stranded"
    provider: ProviderId
    reason: str


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


Event = (
    ClaimMade
    | ClaimStarted
    | ClaimEnding
    | ClaimEnded
    | ClaimRescheduled
    | ClaimMoved
    | ClaimReshaped
    | ClaimStranded
    | AllocationReleased
    | ClaimReleased
    | ClaimCancelled
)
