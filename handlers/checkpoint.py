"""Stream ``checkpoint/log``: the newest signed statement of what the log was."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from mulligan.errors import FailedPrecondition
from mulligan.events.checkpoint import CheckpointSigned, Event
from mulligan.handlers.account import SigningKey
from mulligan.handlers.decision import Change, Command, States
from mulligan.model import Seq, StreamId, stream_id

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


class NoteCheckpoint(Command, frozen=True, kw_only=True):
    """Put a signed statement into the log that it is about."""

    NAME: ClassVar = "checkpoint.sign"
    signed: CheckpointSigned

    def reads(self, states: States) -> list[StreamId]:
        """Read the newest checkpoint and the key."""
        return [STREAM, stream_id("key", self.signed.kid)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Note it, unless the log is vouched for up to there; refuse a key that is retired."""
        newest: Checkpoint | None = states[STREAM]
        if newest is not None and newest.seq >= self.signed.seq:
            return []
        key: SigningKey | None = states[stream_id("key", self.signed.kid)]
        if key is None or key.use != "log" or key.honoured_until is not None:
            raise FailedPrecondition(f"key {self.signed.kid} signs no checkpoints; sign again")
        return [Change(STREAM, self.signed)]

    @classmethod
    def recalled(
        cls, changes: Sequence[Change], states: States, now: datetime
    ) -> Mapping[str, Any]:
        """Tell the statement, which is the event."""
        return {"signed": changes[0].event} if changes else {}
