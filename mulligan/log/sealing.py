"""Seals the log's older entries into segments, each read back before it counts.

Any step may be broken off, run again, or run by two archivers at once: a segment counts when etcd
has its manifest, which one transaction puts there; see ``log.pruning`` for what follows from that.
"""

import logging
from array import array
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime

import anyio
import msgspec
from anyio import to_thread

from mulligan.errors import Corrupt, NotFound, Unavailable
from mulligan.events.codec import GENESIS_HASH
from mulligan.log.archive import Archive
from mulligan.log.archive_files import claim, manifests_in, owner_of, the_copy
from mulligan.log.depot import Depot
from mulligan.log.etcd import Compare, Etcd, Get, Put
from mulligan.log.export_file import Header
from mulligan.log.keys import Keys
from mulligan.log.protocol import EventLog, Fence, Fenced
from mulligan.log.pruning import Keeping
from mulligan.log.segment import (
    COPY,
    FOLDER,
    Archived,
    Manifest,
    Owner,
    Packed,
    Signs,
    checked,
    cut,
    manifest_name,
    pack,
    read_archived,
    signed,
)
from mulligan.log.store import HeadRecord
from mulligan.log.vouching import LogKey
from mulligan.model import Seq, utc_now

log = logging.getLogger(__name__)

_FOLLOW_S = 10.0


class Rewound(Corrupt):
    """The archive has more of this log than etcd, or another: etcd was set back."""


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """How far the copy of what is not sealed goes, and when it was known to be whole."""

    seq: Seq
    at: datetime | None


class Sealer:
    """Seals and copies one region's log, fenced by the archiver's lease.

    Each call raises Unavailable when etcd or the depot is away, Exhausted when etcd has no space,
    Fenced when the lease is gone, Corrupt when what is stored contradicts itself.
    """

    def __init__(
        self,
        etcd: Etcd,
        event_log: EventLog,
        archive: Archive,
        depot: Depot,
        signs: Signs,
        keeping: Keeping,
        *,
        fence: Callable[[], Fence],
        keys: Callable[[], Awaitable[Sequence[LogKey]]],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._etcd = etcd
        self._log = event_log
        self._archive = archive
        self._depot = depot
        self._signs = signs
        self._keeping = keeping
        self._fence = fence
        self._known_keys = keys
        self._now = now
        self._keys = Keys(event_log.region)
        self._tally = Tally()
        self._claimed = False
        self.copied = Copied(seq=Seq(0), at=None)

    async def seal(self, *, everything: bool = False) -> int:
        """Seal what makes full segments, or is old; return how many segments were made.

        With ``everything``, seal what is in the log now, however little.
        """
        await self._claim()
        made = 0
        head = self._log.head.seq
        while (last := await self._due(head, everything)) is not None:
            made += await self._seal(last)
        return made

    async def copy(self) -> bool:
        """Copy what is not sealed, if that changed; tell whether. ``seal`` comes first."""
        await self._claim()
        before = await self._archive.newest()
        first = Seq(before.last + 1 if before else 1)
        last = Seq(await self._count(first, self._log.head.seq))
        if last < first or last == self.copied.seq:
            self.copied = Copied(seq=Seq(max(last, first - 1)), at=self._now())
            return False
        at = self._now()
        entries = await self._read(first, last)
        packed = await self._packed(before, first, entries, COPY)
        self._fence()
        await self._put(packed)
        self.copied = Copied(seq=last, at=at)
        return True

    async def _claim(self) -> None:
        """Make sure, once, that the archive is of this log and not ahead of it."""
        if self._claimed:
            return
        head = self._log.head
        before = await self._archive.newest()
        if before is not None:
            where = (await self._archive.archived(before.first)).location
            if where == self._depot.location and await owner_of(self._depot) is None:
                raise Unavailable(f"there is no archive at {where} any more: mount it", 5.0)
        await claim(self._depot, Owner(region=self._log.region, log_id=head.log_id))
        await self._beyond(Seq(before.last + 1 if before else 1))
        copy = await the_copy(self._depot)
        if copy is not None:
            await self._require_same(copy.manifest)
            self.copied = Copied(seq=copy.manifest.last, at=copy.manifest.sealed_at)
        self._claimed = True

    async def _require_same(self, manifest: Manifest) -> None:
        """Raise Rewound unless etcd has what a file of the archive has."""
        head = self._log.head.seq
        if manifest.last > head:
            head = await self._stored_head(manifest.last)
        told = f"etcd of {manifest.region} was set back, or holds another history"
        cure = "nothing is sealed, copied or pruned; see `mulligan archive restore`"
        if manifest.last > head:
            raise Rewound(
                f"{told}: its head is {head}, and the archive has entries up to {manifest.last}"
                f" in {manifest.name}; {cure}"
            )
        (found,) = await self._read_stored(manifest.last, manifest.last)
        if found[1] != manifest.hash:
            raise Rewound(
                f"{told}: entry {manifest.last} is another one than in {manifest.name} of the"
                f" archive; {cure}"
            )

    async def _stored_head(self, wanted: Seq) -> Seq:
        """Return the head as etcd has it, once this process is there if that is far enough."""
        found = await self._etcd.get(self._keys.head)
        seq = msgspec.json.decode(found.value, type=HeadRecord).seq if found else Seq(0)
        if seq >= wanted:
            with anyio.move_on_after(_FOLLOW_S):
                await self._log.wait(wanted)
                return seq
            raise Unavailable("the archiver's own log lags behind etcd's head")
        return seq

    async def _beyond(self, first: Seq) -> Sequence[Manifest]:
        """Return manifests in the depot that etcd knows nothing of, from ``first`` on.

        An archiver that was killed left them, or etcd was set back: then raise Rewound.
        """
        left = await manifests_in(self._depot, f"{FOLDER}{first:016x}")
        log_id = self._log.head.log_id
        ours = [one for one in left if one.first >= first and one.log_id == log_id]
        for manifest in ours:
            await self._require_same(manifest)
        return ours

    async def _due(self, head: Seq, everything: bool) -> Seq | None:
        """Return the last entry of the segment to be sealed next, if it is time."""
        before = await self._archive.newest()
        first = Seq(before.last + 1 if before else 1)
        newest = await self._count(first, head)
        count = cut(self._tally.sizes, self._keeping.segment_bytes)
        if count is not None:
            return Seq(first + count - 1)
        if newest < first:
            return None
        old = self._tally.began is not None and (
            self._tally.began < self._now() - self._keeping.keep
        )
        return Seq(newest) if everything or old else None

    async def _count(self, first: Seq, head: Seq) -> Seq:
        """Note the sizes of entries from ``first`` on, to a segment's worth; return the last."""
        tally, limit = self._tally, self._keeping.segment_bytes
        if tally.first != first:
            self._tally = tally = Tally(first)
        last = Seq(first + len(tally.sizes) - 1)
        if tally.total > limit or last >= head:
            return last
        async with aclosing(self._log.read(Seq(last + 1), head)) as batches:
            async for batch in batches:
                for stored in batch:
                    tally.add(len(stored.value), stored.entry.at)
                if tally.total > limit:
                    break
        return Seq(first + len(tally.sizes) - 1)

    async def _seal(self, last: Seq) -> int:
        before = await self._archive.newest()
        first = Seq(before.last + 1 if before else 1)
        if last < first:
            return 0  # another archiver was faster
        left = [one for one in await self._beyond(first) if one.first == first]
        if left:
            last = left[0].last
        entries = await self._read(first, last)
        if left and await self._holds(left[0], entries):
            manifest = left[0]
        else:
            packed = await self._packed(before, first, entries)
            manifest = packed.manifest
            await self._depot.put(manifest.name, packed.data)
            if not await self._holds(manifest, entries):
                raise Corrupt(
                    f"{manifest.name} at {self._depot.location} reads back as something else than"
                    " was written: see to that storage; nothing was pruned"
                )
            await self._put_manifest(manifest)
        return await self._announce(manifest)

    async def _announce(self, manifest: Manifest) -> int:
        """Put the manifest into etcd unless one is there that covers its first entry."""
        key, fence = self._keys.segment(manifest.first), self._fence()
        archived = Archived(location=self._depot.location, manifest=manifest)
        answer = await self._etcd.txn(
            [Compare(key, "create", 0), Compare(fence.key, "create", fence.create_revision)],
            [Put(key, msgspec.json.encode(archived))],
            [Get(key)],
        )
        if answer.succeeded:
            log.info("sealed", extra={"segment": manifest.name, "events": manifest.events})
            return 1
        if not answer.gets[0].kvs:
            raise Fenced("the archiver's lease is gone; another one goes on")
        won = read_archived(answer.gets[0].kvs[0].value, key).manifest
        if won.name != manifest.name:  # another archiver set other bounds
            await self._depot.delete(manifest_name(manifest.name))
            await self._depot.delete(manifest.name)
        return 0

    async def _packed(
        self, before: Manifest | None, first: Seq, entries: Sequence[bytes], name: str = ""
    ) -> Packed:
        await self._signs.ready()
        header = Header(
            region=self._log.region,
            log_id=self._log.head.log_id,
            first=first,
            last=Seq(first + len(entries) - 1),
            prev=before.hash if before else GENESIS_HASH,
            keys=tuple(await self._known_keys()),
        )
        packed = await to_thread.run_sync(
            pack, header, enumerate(entries, first), self._now(), name
        )
        return Packed(signed(packed.manifest, self._signs), packed.data)

    async def _put(self, packed: Packed) -> None:
        await self._depot.put(packed.manifest.name, packed.data)
        await self._put_manifest(packed.manifest)

    async def _put_manifest(self, manifest: Manifest) -> None:
        await self._depot.put(manifest_name(manifest.name), msgspec.json.encode(manifest))

    async def _holds(self, manifest: Manifest, entries: Sequence[bytes]) -> bool:
        """Tell whether a file of the depot holds just these entries, chained, and nothing else."""
        try:
            data = await self._depot.get(manifest.name)
            return await to_thread.run_sync(_same, manifest, data, entries)
        except (NotFound, Corrupt):
            return False

    async def _read(self, first: Seq, last: Seq) -> Sequence[bytes]:
        values: list[bytes] = []
        async with aclosing(self._log.read(first, last)) as batches:
            async for batch in batches:
                values += [stored.value for stored in batch]
        return values

    async def _read_stored(self, first: Seq, last: Seq) -> Sequence[tuple[Seq, str]]:
        found: list[tuple[Seq, str]] = []
        async with aclosing(self._log.read(first, last)) as batches:
            async for batch in batches:
                found += [(stored.seq, stored.hash) for stored in batch]
        return found


class Tally:
    """The sizes of entries from ``first`` on that lie in no segment, and when the oldest came."""

    def __init__(self, first: Seq | None = None) -> None:
        self.first = first
        self.sizes = array("L")
        self.total = 0
        self.began: datetime | None = None

    def add(self, size: int, at: datetime) -> None:
        """Note the next entry."""
        self.sizes.append(size)
        self.total += size
        self.began = self.began or at


def _same(manifest: Manifest, data: bytes, entries: Iterable[bytes]) -> bool:
    return [stored.value for stored in checked(manifest, data)] == list(entries)
