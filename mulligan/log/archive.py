"""Reads of what was sealed: from an entry's number to its bytes, wherever its segment lies."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence

import anyio
import msgspec
from anyio import to_thread

from mulligan.errors import Corrupt, NotFound, Unavailable
from mulligan.log.archive_files import owner_of
from mulligan.log.depot import Depot, open_depot
from mulligan.log.etcd import Etcd, prefix_end
from mulligan.log.keys import Keys
from mulligan.log.segment import Archived, Manifest, entries_of, read_archived
from mulligan.log.store import Raw
from mulligan.log.view import BrokenChain
from mulligan.model import RegionName, Seq

_DECODED = 2
"""Segments that are kept as entries in memory, for who reads on from one window to the next."""
_MANIFESTS = 512
_PAGE = 500


class Sealed(msgspec.Struct, frozen=True):
    """What is kept in memory of every segment; all else of its manifest is read when needed."""

    first: Seq
    last: Seq
    size: int


class Archive:
    """The sealed segments of one region's log; it grows as others seal more.

    A segment is looked for where it was sealed, then at ``location``, to which a whole archive may
    have been moved. Calls raise Unavailable when etcd or the depot is away, and Corrupt, naming the
    segment and an entry, for one that is missing or not what its manifest says.
    """

    def __init__(self, etcd: Etcd, region: RegionName, location: str) -> None:
        self._etcd = etcd
        self._keys = Keys(region)
        self._location = location
        self._depots: dict[str, Depot] = {}
        self._sealed: list[Sealed] = []
        self._bytes = 0
        self._manifests: OrderedDict[Seq, Archived] = OrderedDict()
        self._decoded: OrderedDict[str, Sequence[bytes]] = OrderedDict()
        self._loading = anyio.Lock()

    @property
    def sealed(self) -> Sequence[Sealed]:
        """Every segment known, the oldest first; ``refresh`` brings what was sealed since."""
        return self._sealed

    @property
    def file_bytes(self) -> int:
        """The bytes of all their files."""
        return self._bytes

    async def refresh(self) -> None:
        """Learn of segments that were sealed since."""
        end = prefix_end(self._keys.archive)
        while True:
            key = self._keys.segment(Seq(self._sealed[-1].first + 1 if self._sealed else 0))
            found = await self._etcd.range(key, end, limit=_PAGE, bulk=True)
            for kv in found.kvs:
                archived = read_archived(kv.value, kv.key)
                self._learn(archived.manifest)
                self._keep(archived)
            if not found.more:
                return

    async def newest(self) -> Manifest | None:
        """Return the manifest of the last segment, as etcd has it now."""
        await self.refresh()
        return await self.manifest(self._sealed[-1].first) if self._sealed else None

    async def manifest(self, first: Seq) -> Manifest:
        """Return the manifest of the segment that begins at ``first``; raise NotFound."""
        return (await self.archived(first)).manifest

    async def archived(self, first: Seq) -> Archived:
        """Return what etcd keeps of the segment that begins at ``first``; raise NotFound."""
        known = self._manifests.get(first)
        if known is not None:
            self._manifests.move_to_end(first)
            return known
        key = self._keys.segment(first)
        found = await self._etcd.get(key)
        if found is None:
            raise NotFound("segment", str(first))
        archived = read_archived(found.value, key)
        self._keep(archived)
        return archived

    async def find(self, seq: Seq) -> Sealed | None:
        """Return the segment that holds an entry, or None if it is in none."""
        for fresh in (False, True):
            if fresh:
                await self.refresh()
            place = bisect_right(self._sealed, seq, key=lambda one: one.first) - 1
            if place >= 0 and self._sealed[place].last >= seq:
                return self._sealed[place]
        return None

    async def window(self, first: Seq, last: Seq) -> Sequence[Raw]:
        """Return the entries [first, last], as far as segments hold them without a break."""
        found: list[Raw] = []
        while first <= last:
            segment = await self.find(first)
            if segment is None:
                break
            try:
                entries = await self._entries(segment)
            except (Corrupt, Unavailable):
                if found:
                    break  # whoever goes on from there is told
                raise
            end = min(last, segment.last)
            start = segment.first
            found += [Raw(Seq(n), entries[n - start], 0) for n in range(first, end + 1)]
            first = Seq(end + 1)
        return found

    async def fetch(self, archived: Archived) -> bytes:
        """Return a segment's file as it lies there, not checked yet."""
        manifest = archived.manifest
        missing: NotFound | None = None
        away: Unavailable | None = None
        for location in dict.fromkeys((archived.location, self._location)):
            try:
                return await self._depot(location).get(manifest.name)
            except NotFound as error:
                missing = error
                if await owner_of(self._depot(location)) is None:
                    away = Unavailable(
                        f"there is no archive at {location}: mount it, or move it back", 5.0
                    )
            except Unavailable as error:
                away = error
        if away is not None:
            raise away
        raise BrokenChain(
            manifest.first,
            f"and those up to {manifest.last} are in {manifest.name}, which is missing at"
            f" {archived.location}: bring that file back",
        ) from missing

    def _depot(self, location: str) -> Depot:
        if location not in self._depots:
            self._depots[location] = open_depot(location)
        return self._depots[location]

    async def _entries(self, segment: Sealed) -> Sequence[bytes]:
        async with self._loading:  # readers side by side need not decode it each
            archived = await self.archived(segment.first)
            digest = archived.manifest.sha256
            if digest in self._decoded:
                self._decoded.move_to_end(digest)
                return self._decoded[digest]
            data = await self.fetch(archived)
            entries = await to_thread.run_sync(entries_of, archived.manifest, data)
            while len(self._decoded) >= _DECODED:
                self._decoded.popitem(last=False)
            self._decoded[digest] = entries
            return entries

    def _learn(self, manifest: Manifest) -> None:
        before = self._sealed[-1] if self._sealed else None
        if before is not None and manifest.first != before.last + 1:
            raise Corrupt(
                f"the segments under {self._keys.archive} do not follow: {manifest.first} comes"
                f" after {before.last}"
            )
        self._sealed.append(Sealed(manifest.first, manifest.last, manifest.raw_bytes))
        self._bytes += manifest.bytes

    def _keep(self, archived: Archived) -> None:
        self._manifests[archived.manifest.first] = archived
        while len(self._manifests) > _MANIFESTS:
            self._manifests.popitem(last=False)
