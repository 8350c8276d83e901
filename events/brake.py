"""Stream ``brake/<domain>``: the blast-radius brake of one failure domain.

A domain is the provider that machines stand under, by its UUID, or ``region`` for those that stand
under none.
"""

from datetime import datetime
from typing import ClassVar

import msgspec

from mulligan.model import AccountId


class BrakeApplied(msgspec.Struct, frozen=True, kw_only=True):
    """``failed`` of the domain's ``total`` machines failed or lost power within ``window`` s."""

    TYPE: ClassVar = "brake.applied"
    domain: str
    failed: int
    total: int
    window: int
    at: datetime


class BrakeReleased(msgspec.Struct, frozen=True, kw_only=True):
    """An operator lets actions go on; troubles until ``at`` no longer count."""

    TYPE: ClassVar = "brake.released"
    by: AccountId
    reason: str
    at: datetime


Event = BrakeApplied | BrakeReleased
