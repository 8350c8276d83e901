"""``EventLog`` on any store: the view of this process, its follower and its appender together."""

import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from typing import Self

import anyio
import msgspec

from mulligan.errors import Corrupt, Exhausted, Unavailable
from mulligan.events.codec import GENESIS_HASH
from mulligan.events.envelope import Commit
from mulligan.log.appender import Appender, AppendLimits
from mulligan.log.follower import Follower, Pace, linked, load_recent
from mulligan.log.protocol import Acked, Fence, Head, Listener, ReadSet, Stored, Touch
from mulligan.log.store import WINDOW, LogStore, Mark
from mulligan.log.view import CURE, View
from mulligan.log.window import Window
from mulligan.model import CommitId, RegionName, Seq, StreamId, new_id, utc_now
from mulligan.trial import refuse_in_trial


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the past is kept in memory, how much of it is loaded at the start, and paces."""

    window_entries: int = 20_000
    window_bytes: int = 64 * 1024 * 1024
    load_entries: int = 5_000
    append: AppendLimits = AppendLimits()
    pace: Pace = Pace()


class RegionLog:
    """A region's log as one process sees it; see ``EventLog`` for what each call promises."""

    def __init__(
        self,
        region: RegionName,
        store: LogStore,
        view: View,
        appender: Appender,
        follower: Follower,
    ) -> None:
        self.region = region
        self._store = store
        self._view = view
        self._appender = appender
        self._follower = follower

    @classmethod
    @asynccontextmanager
    async def run(
        cls,
        region: RegionName,
        store: LogStore,
        settings: LogSettings,
        *,
        now: Callable[[], datetime] = utc_now,
        rng: random.Random,
        ids: Callable[[], str] = new_id,
    ) -> AsyncIterator[Self]:
        """Open the log at its head and keep it there until the block ends.

        Raise Unavailable when the store cannot be reached, Corrupt when what it holds contradicts
        itself.
        """
        view = await _open_view(store, settings)
        appender = Appender(store, view, limits=settings.append, now=now, rng=rng, ids=ids)
        follower = Follower(store, view, settings.pace, rng)
        raised: Exception | None = None  # by the block: it leaves as it is, in no group
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.follow, name=f"log {region}: follow")
            tasks.start_soon(follower.poll, name=f"log {region}: poll")
            tasks.start_soon(appender.run, name=f"log {region}: append")
            try:
                yield cls(region, store, view, appender, follower)
            except Exception as error:
                raised = error
            finally:
                tasks.cancel_scope.cancel()
                view.halt(Unavailable("this process has closed its log"))
        if raised is not None:
            raise raised

    @property
    def head(self) -> Head:
        """The newest applied entry."""
        return self._view.head

    @property
    def failure(self) -> Exception | None:
        """Why the log halted for good, or None."""
        return self._view.failure

    @property
    def writer(self) -> str:
        """The id under which this process writes the head."""
        return self._appender.writer

    @property
    def lost_races(self) -> int:
        """How many transactions of this process another process was ahead of."""
        return self._appender.lost_races

    @property
    def transactions(self) -> int:
        """How many transactions this process sent."""
        return self._appender.transactions

    @property
    def waiting(self) -> int:
        """How many commits wait to be appended."""
        return self._appender.waiting

    async def append(self, commit: Commit, *, read: ReadSet, fence: Fence | None = None) -> Acked:
        """Append all of the commit's events or none, and return where they stand."""
        refuse_in_trial("append to the log")
        admitted = self._appender.admit(commit, read, fence)
        if isinstance(admitted, Acked):
            return admitted
        return await admitted

    def check(self, commit: Commit) -> None:
        """Raise what would keep ``append`` from so much as trying."""
        self._appender.check(commit)

    def find(self, commit: CommitId) -> Acked | None:
        """Return a commit of the recent past by its id."""
        return self._view.window.find(commit)

    def halt(self, error: Exception) -> None:
        """Halt for good, for what was found out elsewhere; the first reason stays."""
        self._view.halt(error)

    def linger_while(self, seconds: Callable[[], float]) -> None:
        """Wait so long for company before each append, as ``seconds`` says then; 0 goes at once."""
        self._appender.linger = seconds

    def covers(self, since: datetime) -> bool:
        """Tell whether every entry written at ``since`` or later is in memory."""
        return self._view.window.covers(since)

    def since(self, stream: StreamId, after: Seq) -> Sequence[Touch]:
        """Return the events of ``stream`` in entries (after, head], oldest first."""
        return self._view.window.since(stream, after)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` for each entry applied from now on; return how to stop that."""
        return self._view.listen(listener)

    async def wait(self, seq: Seq) -> None:
        """Return when the head is at ``seq`` or beyond."""
        await self._view.wait(seq)

    async def read(self, first: Seq, last: Seq) -> AsyncGenerator[Sequence[Stored], None]:
        """Yield the entries [first, last] in order, in bounded batches, chain-checked."""
        prev = GENESIS_HASH if first <= 1 else None
        async with aclosing(linked(self._store, Seq(max(1, first)), last, prev)) as batches:
            async for batch in batches:
                yield batch

    async def tail(
        self, after: Seq, after_hash: str | None = None
    ) -> AsyncGenerator[Sequence[Stored], None]:
        """Yield entries after ``after`` for ever, in order, in bounded batches, none twice."""
        await self._require_head(after)
        prev = GENESIS_HASH if after <= 0 else after_hash
        while True:
            async with aclosing(self._next(after, prev)) as batches:
                async for batch in batches:
                    _require_link(batch[0], prev)
                    yield batch
                    after, prev = batch[-1].seq, batch[-1].hash
            await self._view.wait(Seq(after + 1))

    async def _next(self, after: Seq, prev: str | None) -> AsyncGenerator[Sequence[Stored], None]:
        window = self._view.window
        if after >= window.floor:
            if batch := window.after(after, WINDOW):
                yield batch
            return
        try:
            stored = linked(self._store, Seq(after + 1), Seq(window.floor + 1), prev)
            async with aclosing(stored) as batches:
                async for batch in batches:
                    yield batch
        except (Unavailable, Exhausted) as error:
            await anyio.sleep(getattr(error, "retry_after", None) or 0.5)

    async def _require_head(self, seq: Seq) -> None:
        while seq > self._view.head.seq:
            if self._view.failure:
                raise self._view.failure
            try:
                mark = await self._store.mark()
            except (Unavailable, Exhausted):
                await anyio.sleep(0.25)
                continue
            if mark.seq < seq:
                raise Corrupt(f"the log's head {mark.seq} lies before the position {seq}. {CURE}")
            await self._view.wait(seq)


def _require_link(first: Stored, prev: str | None) -> None:
    if prev is not None and first.entry.prev != prev:
        raise Corrupt(
            f"log entry {first.seq} does not continue from the position it was read after:"
            " this is another log, or the chain is broken"
        )


async def _open_view(store: LogStore, settings: LogSettings) -> View:
    log_id = await store.identify()
    mark: Mark = await store.mark()
    recent = await load_recent(
        store, mark, min(settings.load_entries, settings.window_entries), settings.window_bytes // 2
    )
    floor = Seq(recent[0].seq - 1) if recent else Seq(0)
    window = Window(floor, settings.window_entries, settings.window_bytes)
    for stored in recent:
        window.add(stored)
    head_hash = recent[-1].hash if recent else GENESIS_HASH
    view = View(Head(seq=mark.seq, hash=head_hash, log_id=log_id), mark.token, window)
    if recent:
        view.at = max(stored.entry.at for stored in recent)
    view.check(mark, mark.seq)
    return view
