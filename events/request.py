"""What a claim asks for, with every name resolved to an id: kept in the claim's own event.

Amounts are in base units. The forms and their meaning are in ``docs/resources.md``.
"""

from datetime import datetime

import msgspec

from mulligan.model import GroupId, ProviderId, ResourceClass


class CapabilityDemand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of ``require``, none of ``forbid``, and one of each inner tuple of ``any_of``."""

    require: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    any_of: tuple[tuple[str, ...], ...] = ()


class GroupDemand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """In one group of each inner tuple of ``any_of``, and in none of ``forbid``."""

    any_of: tuple[tuple[GroupId, ...], ...] = ()
    forbid: tuple[GroupId, ...] = ()


class RequestGroup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``count`` instances of ``resources``; one without resources only takes a place.

    With ``single_provider`` each instance is one provider, which meets every demand alone. Without,
    its classes may come from one tree and the pools shared with it.
    """

    name: str = ""
    count: int = 1
    resources: dict[ResourceClass, int] = {}
    capabilities: CapabilityDemand = CapabilityDemand()
    groups: GroupDemand = GroupDemand()
    in_tree: ProviderId = ProviderId("")
    single_provider: bool = True


class DistanceRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far the instances of request group ``source`` are from something, of a distance type.

    Exactly one of ``to``, a request group (or ``source`` itself, its instances from one another),
    ``provider`` and ``group`` is set. ``least`` and ``most`` are positions, "" for no bound.
    """

    source: str
    type: str
    to: str = ""
    provider: ProviderId = ProviderId("")
    group: GroupId = GroupId("")
    least: str = ""
    most: str = ""


class Span(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When: [start, end), or the earliest ``duration`` (seconds) that fits within bounds.

    ``start`` None is now and ``end`` None is open. With a duration, ``not_before`` None is now and
    ``not_after`` None is no bound on the end.
    """

    start: datetime | None = None
    end: datetime | None = None
    duration: float | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None


class ClaimRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of the groups, over one window.

    ``isolate``: sets of group names whose instances are all on different providers.
    ``same_subtree``: sets of group names of which one chosen provider is, or is above, all others.
    ``same_tree``: every group is met by one tree and the pools shared with it.
    ``root_capabilities``: what the root of each chosen tree must, or must not, have.
    """

    groups: tuple[RequestGroup, ...]
    isolate: tuple[tuple[str, ...], ...] = ()
    same_subtree: tuple[tuple[str, ...], ...] = ()
    distances: tuple[DistanceRule, ...] = ()
    span: Span = Span()
    policy: str = "random"
    same_tree: bool = False
    root_capabilities: CapabilityDemand = CapabilityDemand()
