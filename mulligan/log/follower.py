"""Keeps a view at the log's head: bounded windows, then a doorbell, then windows again."""

import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import anyio
import msgspec

from mulligan.errors import Corrupt, Exhausted, Unavailable
from mulligan.log.protocol import Stored, TailTooShort
from mulligan.log.store import WINDOW, Compacted, LogStore, Mark, Raw, WatchLost
from mulligan.log.view import BrokenChain, Gap, View, link
from mulligan.model import Seq

_FIRST_SPAN = 64
_WINDOW_BYTES = 16 * 1024 * 1024


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: between polls, between tries while the store is away, and of grace for a watch."""

    poll: float = 1.0
    retry: float = 0.25
    grace: float = 0.5


async def windows(store: LogStore, first: Seq, last: Seq) -> AsyncGenerator[Sequence[Raw], None]:
    """Yield all of [first, last] in windows sized for memory; raise when an entry is missing."""
    span = _FIRST_SPAN
    while first <= last:
        end = Seq(min(last, first + span - 1))
        found = dense(await store.window(first, end), first)
        if not found:
            raise await _missing(store, first)
        yield found
        first = Seq(found[-1].seq + 1)
        mean = sum(len(raw.value) for raw in found) / len(found)
        span = max(1, min(WINDOW, int(_WINDOW_BYTES / mean)))


async def advance(store: LogStore, view: View, last: Seq) -> None:
    """Apply everything up to entry ``last``, wherever it is kept by now."""
    while view.head.seq < last:
        async with aclosing(windows(store, Seq(view.head.seq + 1), last)) as batches:
            async for batch in batches:
                for raw in batch:
                    view.apply(raw)


def dense(found: Sequence[Raw], first: Seq) -> Sequence[Raw]:
    """Return the entries that follow on ``first`` without a gap, it included."""
    for place, raw in enumerate(found):
        if raw.seq != first + place:
            return found[:place]
    return found


async def _missing(store: LogStore, seq: int) -> Exception:
    lowest = await store.lowest()
    if lowest is not None and lowest > seq:
        return TailTooShort(f"entries before {lowest} are in the archive; {seq} was asked for")
    return BrokenChain(seq, "is missing")


async def linked(
    store: LogStore, first: Seq, last: Seq, prev: str | None
) -> AsyncGenerator[Sequence[Stored], None]:
    """Yield the entries of [first, last], each checked to continue from the one before."""
    async with aclosing(windows(store, first, last)) as batches:
        async for batch in batches:
            entries = []
            for raw in batch:
                stored = link(raw.seq, prev, raw.value)
                prev = stored.hash
                entries.append(stored)
            yield entries


class Follower:
    """Brings every entry of the store to the view, and the view to a halt if it must not go on."""

    def __init__(self, store: LogStore, view: View, pace: Pace, rng: random.Random) -> None:
        self._store = store
        self._view = view
        self._pace = pace
        self._rng = rng
        self._watching = anyio.CancelScope()
        self._rung = Seq(0)

    async def follow(self) -> None:
        """Apply entries as they appear, for as long as the log has not halted."""
        while self._view.failure is None:
            try:
                mark = await self.catch_up()
                with anyio.CancelScope() as self._watching:
                    self._rung = mark.seq
                    await self._listen(mark.revision)
            except (Unavailable, Exhausted, WatchLost, Compacted, Gap):
                await anyio.sleep(self._pace.retry * self._rng.uniform(0.3, 1.0))
            except Exception as error:
                self._view.halt(error)

    async def poll(self) -> None:
        """Look at the head now and then: a watch that fell silent is found out and replaced.

        What counts is what the watch brought. The view may be at the head without it, for a lost
        race brings entries too; a writer that learns of others only so comes too late every time.
        """
        while self._view.failure is None:
            away = self._view.away is not None
            await anyio.sleep(self._pace.retry if away else self._pace.poll)
            try:
                mark = await self._mark()
                watching = self._watching
                if self._rung < mark.seq:
                    await anyio.sleep(self._pace.grace)
                if self._rung < mark.seq:
                    watching.cancel()
            except (Unavailable, Exhausted):
                continue
            except Exception as error:
                self._view.halt(error)

    async def catch_up(self) -> Mark:
        """Apply everything up to the head as it is stored now, and return that."""
        mark = await self._mark()
        while mark.seq > self._view.head.seq:
            await advance(self._store, self._view, mark.seq)
            mark = await self._mark()
        return mark

    async def _mark(self) -> Mark:
        seen = self._view.head.seq
        mark = await self._store.mark()
        self._view.check(mark, seen)
        self._view.away = None
        return mark

    async def _listen(self, revision: int) -> None:
        view = self._view
        async with aclosing(self._store.ring(revision)) as bell:
            async for batch in bell:
                for raw in batch:
                    view.apply(raw)
                    self._rung = max(self._rung, raw.seq)


async def load_recent(
    store: LogStore, mark: Mark, max_entries: int, max_bytes: int
) -> Sequence[Stored]:
    """Return the newest entries up to the head ``mark``, as many as the bounds allow."""
    if mark.record is None:
        return ()
    found: list[Raw] = []
    last, span, room = mark.seq, _FIRST_SPAN, max_bytes
    while last > 0 and len(found) < max_entries and room > 0:
        first = Seq(max(1, last - min(span, max_entries - len(found)) + 1))
        try:
            batch = await store.window(first, last)
        except (Unavailable, Corrupt):
            if found:
                break  # what is older may lie in the archive, which may be away
            raise
        room -= sum(len(raw.value) for raw in batch)
        found = [*batch, *found]
        if len(batch) < last - first + 1:
            break
        last, span = Seq(first - 1), min(WINDOW, span * 2)
    return _checked(found, mark)


def _checked(found: Sequence[Raw], mark: Mark) -> Sequence[Stored]:
    record = mark.record
    if record is None or not found or found[-1].seq != record.seq:
        raise Corrupt(f"log entry {mark.seq}, which the head names, is missing")
    entries: list[Stored] = []
    for raw in found:
        prev = entries[-1].hash if entries else None
        if entries and raw.seq != entries[-1].seq + 1:
            raise BrokenChain(entries[-1].seq + 1, "is missing")
        entries.append(link(raw.seq, prev, raw.value))
    if entries[-1].hash != record.hash:
        raise BrokenChain(record.seq, "is not the one that the head names")
    return entries
