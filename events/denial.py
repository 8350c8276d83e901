"""Stream ``denial/<account>``: attempts that were denied; ``denial/unknown`` without an account."""

from datetime import datetime
from typing import ClassVar

import msgspec

from mulligan.model import AccountId, ProjectId


class AttemptsDenied(msgspec.Struct, frozen=True, kw_only=True):
    """``count`` attempts, from ``first_at`` to ``last_at``, were denied for the same reason.

    ``method`` is as ``Control.PowerMachine``. ``reason`` is ``permission`` (``permission`` names
    what lacked), ``token``, ``login`` or ``rate``. ``peer`` is the address that the last came from.
    """

    TYPE: ClassVar = "denial.attempts"
    method: str
    reason: str
    count: int
    first_at: datetime
    last_at: datetime
    account: AccountId = AccountId("")
    project: ProjectId = ProjectId("")
    permission: str = ""
    credential: str = ""
    peer: str = ""


Event = AttemptsDenied
