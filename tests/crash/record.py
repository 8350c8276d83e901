"""What clients asked and were told: an append-only file, a line at each ask and each answer."""

import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from mulligan.errors import (
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    Exhausted,
    FailedPrecondition,
    MulliganError,
    NotFound,
    Unavailable,
)

REFUSALS = (AlreadyExists, Conflict, Exhausted, FailedPrecondition, NotFound)
"""What a service answers when it has decided; any other error of a load's call is a defect."""
TOO_LATE = "lies in the past"
"""Said of a window that was over before its reservation got through."""
SILENCES = (Unavailable, DeadlineExceeded)
"""What leaves open whether the command was carried out."""


class Outcome(StrEnum):
    """What a client knows about a command of its own."""

    ACKED = "acked"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call, again with its answer: ``began`` and ``ended`` are of one clock, in nanoseconds.

    ``seen`` is the highest position that its client had seen when it asked. ``seq`` is the
    position of an acknowledgement. ``about`` is the stream a read asked for, ``said`` what it
    answered; of a refusal, why. ``amount`` is what a claim wanted of the provider ``of``.
    """

    id: str
    client: str
    what: str
    began: int
    ended: int
    outcome: Outcome
    seen: int = 0
    seq: int = 0
    said: str = ""
    about: str = ""
    of: str = ""
    amount: int = 0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was sent: without an answer in the file, its outcome is not known."""

    id: str
    client: str
    what: str
    began: int


class Record:
    """Calls in the order of their answers; ``path`` has them if this process should die."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls: list[Call] = []
        self.acked = 0
        self._file = path.open("ab", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def asked(self, request_id: str, client: str, what: str) -> int:
        """Note that a call is about to be sent; return the time."""
        began = time.monotonic_ns()
        self._write(Asked(id=request_id, client=client, what=what, began=began))
        return began

    def answered(self, call: Call) -> None:
        """Note how a call ended."""
        self._write(call)
        self.calls.append(call)
        self.acked += call.outcome is Outcome.ACKED

    def commands(self) -> Iterator[Call]:
        """Yield the calls that were to change something."""
        return (call for call in self.calls if not call.about)

    def reads(self) -> Iterator[Call]:
        """Yield the answered calls that looked at one stream."""
        return (c for c in self.calls if c.about and c.outcome is Outcome.ACKED)

    def _write(self, line: Asked | Call) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")


def outcome_of(error: MulliganError) -> Outcome:
    """Return what an error tells about its command; raise it where it should not occur at all."""
    if isinstance(error, SILENCES):
        return Outcome.UNKNOWN
    if isinstance(error, REFUSALS) or TOO_LATE in error.message:
        return Outcome.REFUSED
    raise error
