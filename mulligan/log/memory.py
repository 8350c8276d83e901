"""The in-memory twin: the same log over a disk in this process, with faults on demand.

Several logs opened on one ``MemoryDisk`` race as processes do on one etcd. All chance comes from
the seed in ``Faults``, so a run under a deterministic scheduler repeats exactly.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Protocol

import msgspec

from mulligan.errors import Exhausted, Unavailable
from mulligan.log.protocol import Fence
from mulligan.log.regionlog import LogSettings, RegionLog
from mulligan.log.store import (
    Compacted,
    HeadRecord,
    Lost,
    Mark,
    OutcomeUnknown,
    Raw,
    Slot,
    WatchLost,
    Won,
)
from mulligan.model import RegionName, Seq, new_id, utc_now

_REGION = RegionName("memory")


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """Chances, 0 to 1, of what may befall one call; ``delay`` is the most scheduler turns it takes.

    ``lost_ack``: the write happened but its answer is lost. ``lost_write``: it did not happen and
    nobody says so. ``late_write``: as that, but it is tried again later by itself. ``unavailable``:
    nothing was sent. ``deaf``: the doorbell misses an entry. ``twice``: it rings twice.
    ``broken_watch``: it ends, as on a compaction or a lost leader.
    """

    seed: int = 0
    delay: int = 0
    lost_ack: float = 0.0
    lost_write: float = 0.0
    late_write: float = 0.0
    unavailable: float = 0.0
    deaf: float = 0.0
    twice: float = 0.0
    broken_watch: float = 0.0


class Road(Protocol):
    """The way between one process and the disk."""

    async def there(self) -> None:
        """Bring a request to the disk; raise Unavailable when it gets lost."""

    async def back(self) -> None:
        """Bring an answer back; raise Unavailable when it gets lost."""

    async def hears(self) -> bool:
        """Bring a doorbell's ring to the process; False when it gets lost."""


class MemoryDisk:
    """What would lie in etcd: entries, head, leases; shared by every log opened on it.

    ``down`` and ``full`` make every call fail as a dead etcd and one without space do. ``sealed``
    is what an archive would hold: entries that were pruned and can be read all the same.
    """

    def __init__(self, faults: Faults | None = None, log_id: str = "memory") -> None:
        self.faults = faults or Faults()
        self.rng = random.Random(self.faults.seed)
        self.log_id = log_id
        self.entries: dict[int, Raw] = {}
        self.sealed: dict[int, Raw] = {}
        self.compacted = 0
        self.record: HeadRecord | None = None
        self.token = 0
        self.revision = 1
        self.down = False
        self.full = False
        self._leases: dict[str, int] = {}
        self._late: list[Slot] = []
        self._bells: list[asyncio.Queue[Sequence[Raw] | None]] = []

    def grant(self, key: str) -> Fence:
        """Put a lease key and return the fence that holds while it stays."""
        self.revision += 1
        self._leases[key] = self.revision
        return Fence(key=key, create_revision=self.revision)

    def revoke(self, key: str) -> None:
        """Let the lease key expire."""
        self._leases.pop(key, None)

    def break_watches(self) -> None:
        """End every doorbell, as a compaction or a lost leader does."""
        for bell in self._bells:
            bell.put_nowait(None)

    def archive(self, before: Seq) -> None:
        """Drop the entries before ``before``, as the archiver does once they are sealed."""
        for seq in [seq for seq in self.entries if seq < before]:
            del self.entries[seq]

    def seal(self, before: Seq) -> None:
        """Prune the entries before ``before`` and keep them where readers find them."""
        self.sealed |= {seq: raw for seq, raw in self.entries.items() if seq < before}
        self.archive(before)

    def compact(self) -> None:
        """Forget every revision but the present one: older ones cannot be watched from."""
        self.compacted = self.revision

    def swap(self, slot: Slot) -> Won | Lost:
        """The transaction itself."""
        fallen = frozenset(f for f in slot.fences if self._leases.get(f.key) != f.create_revision)
        if slot.token != self.token or fallen or slot.head.log_id != self.log_id:
            newer = [r for seq, r in self.entries.items() if seq >= slot.stored.seq][:16]
            return Lost(self.mark(), tuple(newer), fallen)
        self.revision += 1
        self.token = self.revision
        self.record = slot.head
        raw = Raw(slot.stored.seq, slot.stored.value, self.token, slot.head.writer)
        self.entries[raw.seq] = raw
        self._ring(raw)
        return Won(self.token)

    def mark(self) -> Mark:
        """The head as it stands."""
        return Mark(
            log_id=self.log_id, record=self.record, token=self.token, revision=self.revision
        )

    def chance(self, probability: float) -> bool:
        """Draw."""
        return probability > 0 and self.rng.random() < probability

    def hold_back(self, slot: Slot) -> None:
        """Keep a write for later."""
        self._late.append(slot)

    def deliver_late(self) -> None:
        """Try the writes held back; those that come too late change nothing."""
        late, self._late = self._late, []
        for slot in late:
            self.swap(slot)

    def subscribe(self) -> asyncio.Queue[Sequence[Raw] | None]:
        """Return a doorbell's queue; None in it ends the watch."""
        bell: asyncio.Queue[Sequence[Raw] | None] = asyncio.Queue()
        self._bells.append(bell)
        return bell

    def unsubscribe(self, bell: asyncio.Queue[Sequence[Raw] | None]) -> None:
        """Forget a doorbell."""
        self._bells.remove(bell)

    def _ring(self, raw: Raw) -> None:
        for bell in self._bells:
            if self.chance(self.faults.broken_watch):
                bell.put_nowait(None)
            elif not self.chance(self.faults.deaf):
                bell.put_nowait([raw, raw] if self.chance(self.faults.twice) else [raw])


class _Turns:
    """A road that takes some turns of the scheduler, and on which nothing gets lost."""

    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk

    async def there(self) -> None:
        await self.back()

    async def back(self) -> None:
        for _ in range(1 + self._disk.rng.randint(0, self._disk.faults.delay)):
            await asyncio.sleep(0)

    async def hears(self) -> bool:
        return True


class MemoryStore:
    """One process's connection to a ``MemoryDisk``."""

    def __init__(self, disk: MemoryDisk, road: Road | None = None) -> None:
        self._disk = disk
        self._road = road or _Turns(disk)

    async def identify(self) -> str:
        """Return the disk's log id."""
        await self._travel()
        return self._disk.log_id

    async def mark(self) -> Mark:
        """Return the head."""
        await self._travel()
        mark = self._disk.mark()
        await self._road.back()
        return mark

    async def put(self, slot: Slot, within: float) -> Won | Lost:
        """Try to take the slot, or suffer a fault."""
        disk, faults = self._disk, self._disk.faults
        await self._travel()
        if disk.full:
            raise Exhausted("the disk is full", retry_after=5.0)
        disk.deliver_late()
        if disk.chance(faults.lost_write):
            raise OutcomeUnknown("a write was lost on its way")
        if disk.chance(faults.late_write):
            disk.hold_back(slot)
            raise OutcomeUnknown("a write is late")
        answer = disk.swap(slot)
        if disk.chance(faults.lost_ack):
            raise OutcomeUnknown("an answer was lost on its way")
        try:
            await self._road.back()
        except Unavailable as error:
            raise OutcomeUnknown(error.message) from error
        return answer

    async def window(self, first: Seq, last: Seq) -> Sequence[Raw]:
        """Return the entries in [first, last]."""
        await self._travel()
        entries, sealed = self._disk.entries, self._disk.sealed
        wanted = range(first, last + 1)
        found = [raw for seq in wanted if (raw := entries.get(seq) or sealed.get(seq))]
        await self._road.back()
        return found

    async def lowest(self) -> Seq | None:
        """Return the first entry that is stored."""
        await self._travel()
        return Seq(min(self._disk.entries)) if self._disk.entries else None

    async def ring(self, after: int) -> AsyncGenerator[Sequence[Raw], None]:
        """Yield entries as they are written."""
        await self._travel()
        disk = self._disk
        if after + 1 < disk.compacted:
            raise Compacted("the revision to watch from is compacted")
        bell = disk.subscribe()
        try:
            yield [raw for raw in disk.entries.values() if raw.token > after]
            while (batch := await bell.get()) is not None:
                if await self._road.hears():
                    yield batch
            raise WatchLost("the watch was broken on purpose")
        finally:
            disk.unsubscribe(bell)

    async def _travel(self) -> None:
        await self._road.there()
        if self._disk.down or self._disk.chance(self._disk.faults.unavailable):
            raise Unavailable("the disk is away")


class MemoryLog(RegionLog):
    """``EventLog`` in memory."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        region: RegionName = _REGION,
        disk: MemoryDisk | None = None,
        settings: LogSettings | None = None,
        now: Callable[[], datetime] = utc_now,
        *,
        road: Road | None = None,
        rng: random.Random | None = None,
        ids: Callable[[], str] = new_id,
    ) -> AsyncIterator["MemoryLog"]:
        """Open a log on ``disk`` (a new one by default); entries are dated by ``now``.

        ``rng`` and ``ids`` are for what the process draws; ``road`` is its way to the disk.
        """
        disk = disk or MemoryDisk()
        store = MemoryStore(disk, road)
        rng = rng or random.Random(disk.rng.random())
        async with cls.run(
            region, store, settings or LogSettings(), now=now, rng=rng, ids=ids
        ) as log:
            yield log
