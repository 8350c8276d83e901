"""The event log's contract, which ``MemoryLog`` and ``EtcdLog`` both keep.

One ordered, dense, hash-chained log per region. ``tests/log/contract`` holds the suite that both
implementations pass.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from mulligan.events.envelope import Commit, Entry, EventRecord
from mulligan.model import CommitId, RegionName, Seq, StreamId


class ReadSet(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The consistency boundary of a command: every stream it loaded, absent ones included.

    ``at`` is the position the states were exact at. ``assumes`` are commits of this process, not
    yet acknowledged, whose events the states already include; they must land first.
    """

    at: Seq
    streams: frozenset[StreamId]
    assumes: frozenset[CommitId] = frozenset()


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """The append holds only while the lease key still has this ``create_revision``."""

    key: str
    create_revision: int


class Stored(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An entry as read back: decoded, with its exact bytes and their hash."""

    entry: Entry
    value: bytes
    hash: str

    @property
    def seq(self) -> Seq:
        """The entry's number."""
        return self.entry.seq


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The newest entry this process has applied."""

    seq: Seq
    hash: str
    log_id: str


class Acked(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a commit stands in the log; ``repeat`` when an earlier request had put it there."""

    seq: Seq
    commit: Commit
    repeat: bool = False


class Touch(msgspec.Struct, frozen=True, gc=False):
    """One event of a stream, with the entry and the commit that it came in."""

    seq: Seq
    commit: Commit
    event: EventRecord


Listener = Callable[[Stored], None]
"""Called once for each applied entry, in order, before any waiting append is acknowledged."""


class EventLog(Protocol):
    """A region's log as one process sees it: append, tail, and the recent past in memory."""

    region: RegionName

    @property
    def head(self) -> Head:
        """The newest applied entry; seq 0 and the genesis hash on an empty log."""
        ...

    @property
    def failure(self) -> Exception | None:
        """Why the log halted for good (corruption, another log, a rewound head), or None."""
        ...

    async def append(self, commit: Commit, *, read: ReadSet, fence: Fence | None = None) -> Acked:
        """Append all of the commit's events or none, and return where they stand.

        Raise Conflict if a stream in ``read`` moved after ``read.at`` other than by the commits in
        ``read.assumes`` (or one of those did not land); Fenced if the lease is gone;
        AlreadyExists if ``commit.id`` was used for another payload (``digest``); Unavailable if
        the log cannot be reached (the outcome was looked up first: nothing was written, or, if
        that could not be learnt in time, the message says so); Exhausted on NOSPACE or when too
        many commits wait; Corrupt once halted.
        """
        ...

    def check(self, commit: Commit) -> None:
        """Raise what would keep ``append`` from so much as trying: see there; do nothing else."""
        ...

    def find(self, commit: CommitId) -> Acked | None:
        """Return a commit of the recent past by its id."""
        ...

    def covers(self, since: datetime) -> bool:
        """Tell whether ``find`` knows every commit written at ``since`` or later."""
        ...

    def since(self, stream: StreamId, after: Seq) -> Sequence[Touch]:
        """Return the events of ``stream`` in entries (after, head], oldest first.

        Raise TailTooShort when ``after`` lies before what is kept in memory.
        """
        ...

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` for each entry applied from now on; return how to stop that."""
        ...

    def read(self, first: Seq, last: Seq) -> AsyncGenerator[Sequence[Stored], None]:
        """Yield the entries [first, last] in order, in bounded batches, chain-checked."""
        ...

    def tail(
        self, after: Seq, after_hash: str | None = None
    ) -> AsyncGenerator[Sequence[Stored], None]:
        """Yield entries after ``after`` for ever, in order, in bounded batches, none twice.

        Raise Corrupt when the chain does not continue from ``after_hash``, when the log's head
        lies before ``after``, or when it is another log. A lost connection is waited out.
        """
        ...

    async def wait(self, seq: Seq) -> None:
        """Return when the head is at ``seq`` or beyond."""
        ...


class Fenced(Exception):
    """The lease that guards an append is gone; its holder must stop what it does."""


class TailTooShort(Exception):
    """A question about the past beyond the window that is kept in memory."""
