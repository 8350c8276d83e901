"""Stream ``quota/<project uuid>``: what a project and those under it may use, and do use.

Use is tracked from ``QuotaTracked`` on; what was claimed before comes as one ``QuotaBaselined``.
"""

from datetime import datetime
from typing import ClassVar

import msgspec

from mulligan.model import ClaimId, ProjectId, ResourceClass


class Level(msgspec.Struct, frozen=True, array_like=True):
    """``used`` base units over [start, end); ``end`` None is open."""

    start: datetime
    end: datetime | None
    used: int


class QuotaTracked(msgspec.Struct, frozen=True, kw_only=True):
    """From here on every claim of the project's tree is counted here."""

    TYPE: ClassVar = "quota.tracked"
    project: ProjectId


class QuotaBaselined(msgspec.Struct, frozen=True, kw_only=True):
    """What is in use by claims made before tracking began, to be added to what is tracked."""

    TYPE: ClassVar = "quota.baselined"
    use: dict[ResourceClass, tuple[Level, ...]]


class QuotaSet(msgspec.Struct, frozen=True, kw_only=True):
    """The limits, by class, and the longest lease in seconds (None: any) were replaced."""

    TYPE: ClassVar = "quota.set"
    limits: dict[ResourceClass, int]
    max_lease: int | None = None


class QuotaTaken(msgspec.Struct, frozen=True, kw_only=True):
    """A claim of the tree uses these amounts over [start, end)."""

    TYPE: ClassVar = "quota.taken"
    claim: ClaimId
    amounts: dict[ResourceClass, int]
    start: datetime
    end: datetime | None = None


class QuotaFreed(msgspec.Struct, frozen=True, kw_only=True):
    """A claim of the tree no longer uses these amounts over [start, end)."""

    TYPE: ClassVar = "quota.freed"
    claim: ClaimId
    amounts: dict[ResourceClass, int]
    start: datetime
    end: datetime | None = None


Event = QuotaTracked | QuotaBaselined | QuotaSet | QuotaTaken | QuotaFreed
