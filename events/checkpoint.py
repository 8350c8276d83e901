"""Stream ``checkpoint/log``: signed statements of what the log was, in the log itself."""

from datetime import datetime
from typing import ClassVar

import msgspec

from mulligan.model import Seq


class CheckpointSigned(msgspec.Struct, frozen=True, kw_only=True):
    """Entry ``seq`` of the log ``log_id`` had ``hash``; signed at ``at`` with the log key ``kid``.

    ``signature`` is Ed25519, base64url without padding.
    """

    TYPE: ClassVar = "checkpoint.signed"
    log_id: str
    seq: Seq
    hash: str
    at: datetime
    kid: str
    signature: str


Event = CheckpointSigned
