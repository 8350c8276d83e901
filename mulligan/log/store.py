"""What a log needs of the place that keeps it: a compare-and-swap slot, windows, and a doorbell.

``EtcdStore`` keeps a log in etcd, ``MemoryStore`` in this process; ``regionlog`` runs on either.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

import msgspec

from mulligan.errors import Unavailable
from mulligan.log.protocol import Fence, Stored
from mulligan.model import Seq

WINDOW = 500
"""The most entries that one window may span."""


class OutcomeUnknown(Unavailable):
    """A write was sent and no answer came: it may have happened, or may still happen."""


class Compacted(Exception):
    """The revision asked for is no longer kept; read the present state and go on from there."""


class WatchLost(Exception):
    """A watch ended for any reason; read the present state and watch again."""


class HeadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The value of the head key: the newest entry, and who wrote it in which batch."""

    seq: Seq
    hash: str
    log_id: str
    writer: str
    batch_id: str


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """The head as stored at ``revision``; ``token`` is what a swap must find, 0 on an empty log."""

    log_id: str
    record: HeadRecord | None
    token: int
    revision: int

    @property
    def seq(self) -> Seq:
        """The newest entry's number, 0 on an empty log."""
        return self.record.seq if self.record else Seq(0)


class Raw(msgspec.Struct, frozen=True):
    """An entry as stored, the head's token once it was in, and its writer where that is known."""

    seq: Seq
    value: bytes
    token: int
    writer: str = ""


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to append: put ``stored`` iff the head's token and all fences still hold."""

    stored: Stored
    head: HeadRecord
    token: int
    fences: tuple[Fence, ...]


class Won(msgspec.Struct, frozen=True):
    """The slot is ours; ``token`` is the head's new one."""

    token: int


class Lost(msgspec.Struct, frozen=True):
    """Nothing was written: the head as it is, (some of) the entries missed, fences that fell."""

    mark: Mark
    missing: tuple[Raw, ...]
    fallen: frozenset[Fence]


class LogStore(Protocol):
    """A place for one region's log. Every call is bounded in time and may raise Unavailable."""

    async def identify(self) -> str:
        """Return the log's id, made now if this region never had a log."""
        ...

    async def mark(self) -> Mark:
        """Return the head, linearizable."""
        ...

    async def put(self, slot: Slot, within: float) -> Won | Lost:
        """Try to take the slot; raise OutcomeUnknown if no answer came, Exhausted on no space."""
        ...

    async def window(self, first: Seq, last: Seq) -> Sequence[Raw]:
        """Return the entries stored in [first, last], which spans at most WINDOW."""
        ...

    async def lowest(self) -> Seq | None:
        """Return the first entry that is stored (older ones are archived); slow."""
        ...

    def ring(self, after: int) -> AsyncGenerator[Sequence[Raw], None]:
        """Yield entries stored after a revision, an empty batch first; a hint, not a proof.

        Raise WatchLost or Compacted when it ends.
        """
        ...
