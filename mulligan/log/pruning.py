"""Deletes from etcd what is sealed in the archive, and has etcd forget it.

etcd gives no space back to the file system by this: its pages are free for what comes next.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import anyio
import msgspec
from anyio import to_thread

from mulligan.errors import Corrupt, Unavailable
from mulligan.log.archive import Archive
from mulligan.log.etcd import Compacted, Compare, Delete, Etcd
from mulligan.log.keys import Keys
from mulligan.log.protocol import EventLog, Fence, Fenced
from mulligan.log.segment import Manifest, due_to_prune, entries_of
from mulligan.model import Seq, utc_now

log = logging.getLogger(__name__)


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """When entries are sealed and when they leave etcd.

    ``leave`` entries, the newest, stay in any case: processes load them when they start.
    ``compact`` is for how many seconds etcd keeps its history for those who follow it.
    """

    segment_bytes: int = 16 * 2**20
    keep: timedelta = timedelta(days=7)
    keep_bytes: int = 2**30
    leave: int = 5000
    compact: float = 300.0
    delete_at_once: int = 1000


class Pruner:
    """Prunes and compacts one region's log in etcd, fenced by the archiver's lease.

    Each call raises Unavailable when etcd or the depot is away, Fenced when the lease is gone, and
    Corrupt, with nothing pruned, when a segment is missing or damaged.
    """

    def __init__(
        self,
        etcd: Etcd,
        event_log: EventLog,
        archive: Archive,
        keeping: Keeping,
        *,
        fence: Callable[[], Fence],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._etcd = etcd
        self._log = event_log
        self._archive = archive
        self._keeping = keeping
        self._fence = fence
        self._now = now
        self._keys = Keys(event_log.region)
        self._mark: tuple[float, int] | None = None
        self._freed = [0, 0]  # bytes deleted since the mark, and before it, not compacted yet
        self.compacted = 0
        """The revision of etcd before which no history is kept, as far as this pruner did it."""

    async def prune(self) -> Seq:
        """Delete from etcd what is sealed and old, or too much; return the last entry deleted."""
        head = self._log.head.seq
        lowest = await oldest_held(self._etcd, self._keys, head)
        await self._archive.refresh()
        known = [one for one in self._archive.sealed if one.last >= lowest]
        segments = [await self._archive.manifest(one.first) for one in known]
        used = (await self._etcd.status()).db_size_in_use
        due = due_to_prune(
            segments,
            now=self._now(),
            keep=self._keeping.keep,
            spare=used - self._keeping.keep_bytes - sum(self._freed),
            newest=Seq(head - self._keeping.leave),
        )
        for manifest in due:
            await self._prune(manifest, Seq(max(lowest, manifest.first)))
            lowest = Seq(manifest.last + 1)
        return Seq(lowest - 1)

    async def compact(self, *, pressed: bool = False) -> None:
        """Have etcd forget the history that everybody had time to follow, never that of now.

        ``pressed`` gives them a tenth of the time, for want of space.
        """
        now, revision = anyio.current_time(), (await self._etcd.status()).revision
        if self._mark is None:
            self._mark, self._freed = (now, revision), [0, sum(self._freed)]
            return
        since, mark = self._mark
        if now - since < self._keeping.compact / (10 if pressed else 1):
            return
        if mark > self.compacted:
            try:
                await self._etcd.compact(mark)
            except Compacted:
                pass  # it is done, by whomever
            except Unavailable as error:
                log.info("etcd will be compacted again", extra={"reason": error.message})
                return
            self.compacted = mark
        self._mark, self._freed = (now, revision), [0, self._freed[0]]

    async def _prune(self, manifest: Manifest, lowest: Seq) -> None:
        """Delete a segment's entries that etcd still has, once the segment was read again."""
        archived = await self._archive.archived(manifest.first)
        data = await self._archive.fetch(archived)
        await to_thread.run_sync(entries_of, manifest, data)
        key = self._keys.segment(manifest.first)
        found = await self._etcd.get(key)
        if found is None:
            raise Corrupt(f"{key} was there and is gone; nothing is pruned without it")
        for first in range(lowest, manifest.last + 1, self._keeping.delete_at_once):
            end = min(first + self._keeping.delete_at_once, manifest.last + 1)
            fence = self._fence()
            answer = await self._etcd.txn(
                [
                    Compare(key, "mod", found.mod_revision),
                    Compare(fence.key, "create", fence.create_revision),
                ],
                [Delete(self._keys.entry(first), self._keys.entry(end))],
            )
            if not answer.succeeded:
                raise Fenced("the archiver's lease is gone; another one goes on")
        self._freed[0] += manifest.raw_bytes
        log.info("pruned", extra={"segment": manifest.name})


async def oldest_held(etcd: Etcd, keys: Keys, head: Seq) -> Seq:
    """Return the oldest entry in etcd; one more than the head if there is none.

    Entries leave etcd the oldest first, so this halves the range; counting keys would walk all.
    """

    async def held(seq: int) -> bool:
        return bool((await etcd.range(keys.entry(seq), keys_only=True)).kvs)

    low, high = 1, head + 1
    if head and await held(1):
        return Seq(1)
    while low < high:
        middle = (low + high) // 2
        if await held(middle):
            high = middle
        else:
            low = middle + 1
    return Seq(low)
