"""Stream ``checkpoint/log``: the newest signed statement of what the log was."""

from datetime import datetime

import msgspec

from mulligan.events.checkpoint import Event
from mulligan.model import Seq, stream_id

STREAM = stream_id("checkpoint", "log")


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Entry ``seq`` had ``hash``, says who holds the log key ``kid``."""

    log_id: str
    seq: Seq
    hash: str
    at: datetime
    kid: str
    signature: str


def evolve(state: Checkpoint | None, event: Event, at: datetime) -> Checkpoint:
    """Return the newest checkpoint."""
    return Checkpoint(
        log_id=event.log_id,
        seq=event.seq,
        hash=event.hash,
        at=event.at,
        kid=event.kid,
        signature=event.signature,
    )
