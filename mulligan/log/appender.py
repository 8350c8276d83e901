"""Appends: admission, group commit, the compare-and-swap and what follows when it does not win."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Literal

import anyio
import msgspec

from mulligan.errors import (
    AlreadyExists,
    Conflict,
    Exhausted,
    FailedPrecondition,
    InvalidArgument,
    Unavailable,
)
from mulligan.events.codec import encode_commit, encode_entry, entry_hash
from mulligan.events.envelope import Commit, Entry
from mulligan.log.follower import advance, dense
from mulligan.log.protocol import Acked, Fence, Fenced, ReadSet, Stored
from mulligan.log.store import HeadRecord, LogStore, Lost, OutcomeUnknown, Raw, Slot, Won
from mulligan.log.turns import Turns
from mulligan.log.view import View
from mulligan.model import CommitId, Seq, StreamId, new_id
from mulligan.quantities import format_time

MAX_ENTRY_BYTES = 512 * 1024
_ENVELOPE_BYTES = 256


class AppendLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the queue, and in seconds how long an append may stay without an answer."""

    entry_bytes: int = MAX_ENTRY_BYTES
    waiting: int = 10_000
    waiting_bytes: int = 64 * 1024 * 1024
    patience: float = 2.5
    attempt: float = 1.2


class Pending:
    """A commit that waits for its entry, and everybody who waits for it.

    ``settled`` once it has its answer, whatever that is; it may still lie in the queue then.
    """

    __slots__ = ("body", "commit", "fence", "read", "settled", "waiters")

    def __init__(self, commit: Commit, body: bytes, read: ReadSet, fence: Fence | None) -> None:
        self.commit = commit
        self.body = body
        self.read = read
        self.fence = fence
        self.settled = False
        self.waiters: list[asyncio.Future[Acked]] = []

    def is_wanted(self) -> bool:
        """Tell whether anybody still waits."""
        for waiter in self.waiters:  # noqa: SIM110 - any() takes five times as long for the one
            if not waiter.done():
                return True
        return False


class Batch:
    """The commits of one entry in the making."""

    def __init__(self) -> None:
        self.taken: list[Pending] = []
        self.bytes = _ENVELOPE_BYTES
        self.ids: set[CommitId] = set()
        self.touched: dict[StreamId, list[CommitId]] = {}
        self.deferred: list[Pending] = []
        self.deferred_ids: set[CommitId] = set()

    def take(self, pending: Pending) -> None:
        """Put a commit into the entry."""
        self.taken.append(pending)
        self.bytes += len(pending.body) + 1
        commit, touched = pending.commit, self.touched
        self.ids.add(commit.id)
        for event in commit.events:
            ids = touched.get(event.stream)
            if ids is None:
                touched[event.stream] = [commit.id]
            else:
                ids.append(commit.id)

    def defer(self, pending: Pending) -> None:
        """Leave a commit for the entry after this one."""
        self.deferred.append(pending)
        self.deferred_ids.add(pending.commit.id)


class Appender:
    """One process's way into the log: one transaction in flight, everything waiting in it."""

    def __init__(
        self,
        store: LogStore,
        view: View,
        *,
        limits: AppendLimits,
        now: Callable[[], datetime],
        rng: random.Random,
        ids: Callable[[], str] = new_id,
    ) -> None:
        self._new_id = ids
        self.writer = ids()
        self.lost_races = 0
        self.linger: Callable[[], float] = lambda: 0.0
        self.transactions = 0
        self._store = store
        self._view = view
        self._window = view.window
        self._limits = limits
        self._now = now
        self._rng = rng
        self._turns = Turns(self.writer, rng)
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._queue: deque[Pending] = deque()
        self._queued_bytes = 0
        self._pending: dict[CommitId, Pending] = {}
        self._work = asyncio.Event()
        self._applied = asyncio.Event()
        view.on_applied = self._on_applied
        view.on_halt = self._fail_all

    @property
    def waiting(self) -> int:
        """How many commits have no answer yet."""
        return len(self._pending)

    def admit(
        self, commit: Commit, read: ReadSet, fence: Fence | None
    ) -> Acked | asyncio.Future[Acked]:
        """Queue a commit, or join it if it waits already; a known one is answered at once."""
        known = self._window.find(commit.id)
        if known is not None:
            _require_same(commit, known.commit)
            return known
        self._require_sound()
        future: asyncio.Future[Acked] = self._loop.create_future()
        pending = self._pending.get(commit.id)
        if pending is not None:
            _require_same(commit, pending.commit)
            if commit.events != pending.commit.events:
                raise Conflict("the same request waits already, decided on another state")
        else:
            pending = self._enqueue(commit, read, fence)
        pending.waiters.append(future)
        return future

    def _enqueue(self, commit: Commit, read: ReadSet, fence: Fence | None) -> Pending:
        queue = self._queue
        body = self._admitted(commit)
        pending = self._pending[commit.id] = Pending(commit, body, read, fence)
        self._queued_bytes += len(body)
        if not queue:
            self._work.set()
        queue.append(pending)
        return pending

    def check(self, commit: Commit) -> None:
        """Raise what would keep a commit out of the queue."""
        self._require_sound()
        self._admitted(commit)

    def _require_sound(self) -> None:
        if self._view.failure:
            raise self._view.failure

    def _admitted(self, commit: Commit) -> bytes:
        """Return the body of a commit that may wait."""
        limits = self._limits
        if self._view.away:
            raise self._view.away
        if len(self._pending) >= limits.waiting or self._queued_bytes >= limits.waiting_bytes:
            raise Exhausted("too many commits wait to be appended", retry_after=0.5)
        body = encode_commit(commit)
        if len(body) + _ENVELOPE_BYTES >= limits.entry_bytes:
            raise InvalidArgument("events", f"{len(body)} bytes are too many for a log entry")
        return body

    async def run(self) -> None:
        """Append what is queued, for as long as the log has not halted."""
        try:
            while self._view.failure is None:
                if not self._queue:
                    self._work.clear()
                    await self._work.wait()
                await self._linger()
                await self._take_turn()
                batch = self._collect()
                if batch.taken:
                    await self._append(batch)
        except Exception as error:
            self._view.halt(error)

    async def _linger(self) -> None:
        """Let more commits come, where the process knows that they will: an entry costs everybody.

        Every process of the region reads every entry, so few large ones are cheaper than many.
        """
        if (seconds := self.linger()) > 0:
            await asyncio.sleep(seconds)

    async def _take_turn(self) -> None:
        while (delay := self._turns.delay(self._clock())) > 0:
            self._applied.clear()
            with anyio.move_on_after(delay):
                await self._applied.wait()
        self._turns.go(self._clock())

    def _collect(self) -> Batch:
        batch, queue, limit = Batch(), self._queue, self._limits.entry_bytes
        while queue:
            pending = queue[0]
            if pending.settled:
                pass
            elif not pending.is_wanted():
                self._forget(pending)
            elif (verdict := self._judge(pending, batch)) == "defer":
                batch.defer(pending)
            elif verdict == "refuse":
                self._fail(pending, Conflict("a stream that was read has changed since"))
            elif batch.bytes + len(pending.body) >= limit:
                break
            else:
                batch.take(pending)
            queue.popleft()
        queue.extendleft(reversed(batch.deferred))
        return batch

    def _judge(self, pending: Pending, batch: Batch) -> Literal["take", "defer", "refuse"]:
        read, window = pending.read, self._window
        if read.at < window.floor:
            return "refuse"
        if read.assumes:
            return self._judge_optimist(read, batch)
        moved, touched = window.moved, batch.touched
        verdict: Literal["take", "defer"] = "take"
        at = read.at
        for stream in read.streams:
            if stream in moved and moved[stream] > at:
                return "refuse"
            if stream in touched:
                verdict = "defer"
        return verdict

    def _judge_optimist(self, read: ReadSet, batch: Batch) -> Literal["take", "defer", "refuse"]:
        window, verdict = self._window, "take"
        for assumed in read.assumes:
            if assumed in batch.deferred_ids:
                verdict = "defer"
            elif assumed not in batch.ids and not window.holds(assumed):
                return "refuse"
        for stream in read.streams:
            if window.moved_by_others(stream, read.at, read.assumes):
                return "refuse"
            if not read.assumes.issuperset(batch.touched.get(stream, ())):
                verdict = "defer"
        return "defer" if verdict == "defer" else "take"

    def _slot(self, batch: Batch) -> Slot:
        view = self._view
        head, seq = view.head, Seq(view.head.seq + 1)
        at = max(self._now(), view.at)
        text = at.isoformat().replace("+00:00", "Z")
        value = encode_entry(seq, head.hash, text, [p.body for p in batch.taken])
        commits = tuple([p.commit for p in batch.taken])
        stored = Stored(
            entry=Entry(seq=seq, prev=head.hash, at=at, commits=commits),
            value=value,
            hash=entry_hash(value),
        )
        record = HeadRecord(
            seq=seq,
            hash=stored.hash,
            log_id=head.log_id,
            writer=self.writer,
            batch_id=self._new_id(),
        )
        fences = {p.fence: None for p in batch.taken if p.fence}
        return Slot(stored=stored, head=record, token=view.token, fences=tuple(fences))

    async def _append(self, batch: Batch) -> None:
        slot = self._slot(batch)
        self._view.expected = slot.stored
        started = self._clock()
        answered, sent = False, False
        while not answered:
            left = started + self._limits.patience - self._clock()
            if left <= 0:
                self._give_up(sent)
                break
            try:
                answered = await self._attempt(slot, batch, min(left, self._limits.attempt))
            except OutcomeUnknown:
                sent = True
                answered = await self._look(slot)
            except Unavailable:
                pass
            except Exhausted as error:
                # etcd may apply a write and still report that it ran out of space
                if not await self._look(slot):
                    self._fail_batch(batch, error)
                answered = True
            except (InvalidArgument, FailedPrecondition) as error:
                self._fail_batch(batch, error)
                answered = True
            if not answered:
                answered = self._view.head.seq >= slot.stored.seq
                await anyio.sleep(self._rng.uniform(0.02, 0.08))
        self._view.expected = None
        self._requeue(batch)

    async def _attempt(self, slot: Slot, batch: Batch, within: float) -> bool:
        self.transactions += 1
        began = self._clock()
        answer = await self._store.put(slot, within)
        self._turns.took(self._clock() - began)
        match answer:
            case Won(token):
                stored = slot.stored
                self._view.apply(Raw(stored.seq, stored.value, token, self.writer))
            case Lost(mark, missing, fallen):
                self._view.check(mark, Seq(slot.stored.seq - 1))
                # those that were pruned meanwhile are not among them
                for raw in dense(missing, slot.stored.seq):
                    self._view.apply(raw)
                for pending in batch.taken:
                    if pending.fence in fallen:
                        self._fail(pending, Fenced(f"{pending.fence} no longer holds"))
                if mark.token != slot.token:
                    self.lost_races += 1
                    self._turns.lost(self._clock())
                    await advance(self._store, self._view, mark.seq)
        return True

    async def _look(self, slot: Slot) -> bool:
        """Tell whether the slot is taken, by us or another; apply what is there."""
        seq = slot.stored.seq
        try:
            with anyio.fail_after(self._limits.attempt):
                for raw in await self._store.window(seq, seq):
                    self._view.apply(raw)
        except (Unavailable, TimeoutError):
            return False
        return self._view.head.seq >= seq

    def _requeue(self, batch: Batch) -> None:
        for pending in reversed(batch.taken):
            if not pending.settled:
                self._queue.appendleft(pending)

    def _on_applied(self, stored: Stored, raw: Raw) -> None:
        ours = stored is self._view.expected
        self._turns.saw(self.writer if ours else raw.writer, self._clock())
        self._applied.set()
        pendings = self._pending
        if not pendings:
            return
        seq = stored.entry.seq
        for commit in stored.entry.commits:
            pending = pendings.get(commit.id)
            if pending is None:
                continue
            self._forget(pending)
            if not ours and commit.digest != pending.commit.digest:
                self._fail(pending, _taken(commit))
            else:
                acked = Acked(seq=seq, commit=commit, repeat=not ours)
                for waiter in pending.waiters:
                    if not waiter.done():
                        waiter.set_result(acked)
            if not ours and commit.events != pending.commit.events:
                self._fail_optimists(commit.id)

    def _fail_optimists(self, assumed: CommitId) -> None:
        """Refuse what builds on our form of a commit: another process's form of it has landed."""
        for pending in list(self._pending.values()):
            if assumed in pending.read.assumes:
                self._fail(pending, Conflict("what this assumed was decided otherwise elsewhere"))

    def _give_up(self, sent: bool) -> None:
        self._view.away = Unavailable("the log cannot be reached; nothing was written", 1.0)
        doubt = Unavailable(
            "the log was lost while appending and the outcome is not known;"
            " repeat the request with the same request id",
            1.0,
        )
        flying = self._view.expected
        ids = {c.id for c in flying.entry.commits} if flying and sent else set()
        for pending in list(self._pending.values()):
            self._fail(pending, doubt if pending.commit.id in ids else self._view.away)

    def _fail_all(self, error: Exception) -> None:
        for pending in list(self._pending.values()):
            self._fail(pending, error)

    def _fail_batch(self, batch: Batch, error: Exception) -> None:
        for pending in batch.taken:
            if not pending.settled:
                self._fail(pending, error)

    def _fail(self, pending: Pending, error: Exception) -> None:
        self._forget(pending)
        for waiter in pending.waiters:
            if not waiter.done():
                waiter.set_exception(error)

    def _forget(self, pending: Pending) -> None:
        if not pending.settled:
            pending.settled = True
            del self._pending[pending.commit.id]
            self._queued_bytes -= len(pending.body)


def _taken(earlier: Commit) -> AlreadyExists:
    return AlreadyExists(
        f"request id {earlier.id} was used at {format_time(earlier.at)} for another"
        f" {earlier.command}; use a new request id"
    )


def _require_same(commit: Commit, earlier: Commit) -> None:
    if commit.digest != earlier.digest:
        raise _taken(earlier)
