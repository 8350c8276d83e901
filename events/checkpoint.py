"""Stream ``checkpoint/log``: signed statements of what the log was, in the log itself."""

from datetime import UTC, datetime
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


def statement(region: str, log_id: str, seq: int, hash: str, at: datetime) -> bytes:
    """Return what is signed: a text of six lines, each ended, with the time in UTC to 1e-6 s."""
    moment = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f"mulligan-checkpoint-v1\n{region}\n{log_id}\n{seq}\n{hash}\n{moment}\n".encode()
