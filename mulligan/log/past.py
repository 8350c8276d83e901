"""The log as it was after one entry: it ends there, for whoever only reads."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime

from mulligan.errors import FailedPrecondition
from mulligan.events.envelope import Commit
from mulligan.log.protocol import Acked, EventLog, Fence, Head, Listener, ReadSet, Stored, Touch
from mulligan.model import CommitId, Seq, StreamId


class PastLog:
    """An ``EventLog`` with an earlier head; nothing can be appended to it, and nothing comes."""

    def __init__(self, log: EventLog, head: Head) -> None:
        self.region = log.region
        self.head = head
        self._log = log

    @property
    def failure(self) -> Exception | None:
        """Why the log halted, or None."""
        return self._log.failure

    async def append(self, commit: Commit, *, read: ReadSet, fence: Fence | None = None) -> Acked:
        """Refuse: the past is settled."""
        raise unchangeable()

    def check(self, commit: Commit) -> None:
        """Refuse: the past is settled."""
        raise unchangeable()

    def find(self, commit: CommitId) -> Acked | None:
        """Return a commit of the recent past by its id, if it was there then."""
        found = self._log.find(commit)
        return found if found is not None and found.seq <= self.head.seq else None

    def covers(self, since: datetime) -> bool:
        """Tell whether ``find`` knows every commit written at ``since`` or later."""
        return self._log.covers(since)

    def since(self, stream: StreamId, after: Seq) -> Sequence[Touch]:
        """Return the events of ``stream`` in entries (after, head], oldest first."""
        return [one for one in self._log.since(stream, after) if one.seq <= self.head.seq]

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Never call ``listener``: no entry comes any more."""
        return lambda: None

    async def read(self, first: Seq, last: Seq) -> AsyncGenerator[Sequence[Stored], None]:
        """Yield the entries [first, last] that were there then."""
        async with aclosing(self._log.read(first, min(last, self.head.seq))) as batches:
            async for batch in batches:
                yield batch

    def tail(
        self, after: Seq, after_hash: str | None = None
    ) -> AsyncGenerator[Sequence[Stored], None]:
        """Refuse: nothing comes after the past but the present."""
        raise unchangeable()

    async def wait(self, seq: Seq) -> None:
        """Return if the head is there; it never moves."""
        if seq > self.head.seq:
            raise unchangeable()


def unchangeable() -> FailedPrecondition:
    """Return what is said to who would act in the past, or wait for more of it."""
    return FailedPrecondition("the past can be read only; leave --at (mulligan-at) out to act now")
