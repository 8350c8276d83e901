"""What the history of a stream asks of a region."""

from collections import OrderedDict
from contextlib import aclosing
from typing import NamedTuple, Protocol

import anyio
import msgspec

from mulligan.console.log.feed import LogFeed, RegionLog
from mulligan.console.log.filter import Filter, Term
from mulligan.console.log.rows import ROOM, LoggedCommit
from mulligan.console.source import Source
from mulligan.errors import DeadlineExceeded
from mulligan.proto.v1 import DiffLogRequest, ObjectChange

DIFF_S = 15.0
KEPT = 500
"""Differences held; those looked at longest ago give way."""
FIRST_STRETCH = 2_000
FARTHEST = 128_000
ENOUGH = 200
"""Commits of a stream that are read at once."""


class Change(NamedTuple):
    """One value of an object that an entry changed, in JSON; empty for none."""

    path: str
    before: str
    after: str


class Lifetime(msgspec.Struct, frozen=True):
    """Between which entries things happened to a stream; ``name`` is what it is called."""

    first: int
    last: int
    events: int
    name: str = ""


class HistoryFeed(Protocol):
    """The log, and what its entries changed."""

    @property
    def log(self) -> LogFeed:
        """The log."""
        ...

    async def lifetime(self, stream: str) -> Lifetime:
        """Return between which entries things happened to a stream, as far as is known."""
        ...

    async def changes(self, stream: str, seq: int) -> tuple[Change, ...]:
        """Return what an entry changed in a stream's state, as the services fold it."""
        ...


class RegionHistory:
    """Histories from a region's log, and differences from its services."""

    def __init__(self, source: Source) -> None:
        self.log: LogFeed = RegionLog(source)
        self._source = source
        self._known: OrderedDict[tuple[str, int], tuple[Change, ...]] = OrderedDict()

    async def lifetime(self, stream: str) -> Lifetime:
        """Return between which entries things happened to a stream.

        A stream that is as it was at the first entry may have no difference: then it is the log.
        """
        head = await self.log.head()
        found = await self._diff(stream, 1, head) if head > 1 else None
        if found is None or found.first is None or found.last is None:
            return Lifetime(1, head, 0)
        return Lifetime(1, found.last.seq, found.events, found.name)

    async def changes(self, stream: str, seq: int) -> tuple[Change, ...]:
        """Return what an entry changed in a stream's state; entries never change, so once."""
        if seq <= 1:
            return ()
        known = self._known.get((stream, seq))
        if known is None:
            found = await self._diff(stream, seq - 1, seq)
            fields = found.fields if found is not None else []
            known = tuple(Change(one.path, one.before, one.after) for one in fields)
            self._known[stream, seq] = known
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return known

    async def _diff(self, stream: str, first: int, last: int) -> ObjectChange | None:
        request = DiffLogRequest(from_=str(first), to=str(last), stream=stream, limit=1)
        try:
            with anyio.fail_after(DIFF_S):
                found = self._source.present.log.diff_log(request, timeout=DIFF_S)
                async with aclosing(found) as changes:  # type: ignore[type-var]
                    async for change in changes:
                        return change
        except TimeoutError:
            raise DeadlineExceeded(f"what #{last} changed is not known in {DIFF_S:g} s") from None
        return None


async def back_from(
    feed: LogFeed, stream: str, before: int, first: int = 1
) -> tuple[list[LoggedCommit], int]:
    """Return a stream's commits before an entry, and how far back was looked.

    It looks further while there are fewer than ``ENOUGH`` and something may be left.
    """
    wanted = Filter((Term("stream", (stream,)),))
    found: list[LoggedCommit] = []
    stretch = FIRST_STRETCH
    while before > first and len(found) < ENOUGH:
        begin = max(first, before - stretch)
        read = await feed.read(begin, before - 1, wanted)
        if len(read) >= ROOM:  # there may be older ones in the stretch
            begin = max(begin, read[0].seq)
        found = [*read, *found]
        before, stretch = begin, min(stretch * 2, FARTHEST)
    return found, before
