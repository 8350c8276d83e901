"""A log that is only read: exported files, an archive, or what else gives entries in their order.

Every entry is proven to follow from the one before, across files and segments too. Who signed what
is not looked at: that is ``log verify`` and ``archive verify``.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path

import msgspec
from anyio import to_thread

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.events.codec import GENESIS_HASH
from mulligan.events.envelope import Commit
from mulligan.log.depot import Depot
from mulligan.log.export_file import Reader, names_of
from mulligan.log.holding import survey
from mulligan.log.moment import last_before, read_time
from mulligan.log.protocol import Acked, Fence, Head, Listener, ReadSet, Stored, Touch
from mulligan.log.segment import Manifest, checked
from mulligan.log.view import BrokenChain, link
from mulligan.model import CommitId, RegionName, Seq, StreamId

_BATCH, _BATCH_BYTES = 500, 8 * 2**20
"""So many entries, and about so many bytes of them, are in memory at once."""

Batches = AsyncGenerator[Sequence[Stored], None]
Fetch = Callable[[Seq, Seq], AsyncIterator[bytes]]
"""Gives the entries of a range as they are stored, in their order."""


class Part(msgspec.Struct, frozen=True):
    """Entries [first, last] of a log, and how to read them all; ``since`` is when they begin."""

    first: Seq
    last: Seq
    open: Callable[[], Batches]
    since: datetime | None = None


class OfflineLog:
    """An ``EventLog`` of which there is nothing but entries to be read.

    ``head`` has the hash of its entry only where it is known without reading up to there.
    """

    def __init__(self, region: str, head: Head) -> None:
        self.region = RegionName(region)
        self.head = head
        self.failure: Exception | None = None

    def read(self, first: Seq, last: Seq) -> Batches:
        """Yield the entries [first, last] in order, in bounded batches, chain-checked."""
        raise NotImplementedError

    async def end_at(self, text: str, field: str) -> Seq:
        """Let the log end at a position, or at the last entry that a time has seen.

        Raise InvalidArgument naming the ``field`` when it is neither, or not within the log.
        """
        head = self.head
        if text.isdecimal() and len(text) <= 18:
            seq = Seq(int(text))
            if not 1 <= seq <= head.seq:
                raise InvalidArgument(field, f"{seq} is not between 1 and the head, {head.seq}")
        else:
            seq = await self.last_before(read_time(text, field))
            if not seq:
                raise InvalidArgument(field, f"{text} lies before the first entry")
        if seq != head.seq:
            self.head = Head(seq=seq, hash="", log_id=head.log_id)
        return seq

    async def last_before(self, when: datetime) -> Seq:
        """Return the last entry dated ``when`` or earlier, 0 if all are later."""
        found = Seq(0)
        async with aclosing(self.read(Seq(1), self.head.seq)) as batches:
            async for batch in batches:
                for stored in batch:
                    if stored.entry.at > when:
                        return found
                    found = stored.seq
        return found

    async def append(self, commit: Commit, *, read: ReadSet, fence: Fence | None = None) -> Acked:
        """Refuse."""
        raise _unchangeable()

    def check(self, commit: Commit) -> None:
        """Refuse."""
        raise _unchangeable()

    def find(self, commit: CommitId) -> Acked | None:
        """Know no commit by its id."""
        return None

    def covers(self, since: datetime) -> bool:
        """Know no commit by its id, whenever it was written."""
        return False

    def since(self, stream: StreamId, after: Seq) -> Sequence[Touch]:
        """Refuse: nothing is in memory."""
        raise _unchangeable()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Never call ``listener``: nothing comes."""
        return lambda: None

    def tail(self, after: Seq, after_hash: str | None = None) -> Batches:
        """Refuse: nothing comes."""
        raise _unchangeable()

    async def wait(self, seq: Seq) -> None:
        """Return if the head is there; it never moves."""
        if seq > self.head.seq:
            raise _unchangeable()


def _unchangeable() -> FailedPrecondition:
    return FailedPrecondition("this log is not at hand: it can be read, and nothing else")


class FetchedLog(OfflineLog):
    """A log that somebody else hands over entry by entry."""

    def __init__(self, region: str, head: Head, fetch: Fetch) -> None:
        super().__init__(region, head)
        self._fetch = fetch

    async def read(self, first: Seq, last: Seq) -> Batches:
        """Yield the entries [first, last]; raise BrokenChain where one does not follow."""
        prev = GENESIS_HASH if first == 1 else None
        batch: list[Stored] = []
        seq, size = first, 0
        async for value in self._fetch(first, Seq(min(last, self.head.seq))):
            batch.append(link(seq, prev, value))
            seq, prev, size = Seq(seq + 1), batch[-1].hash, size + len(value)
            if len(batch) == _BATCH or size > _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch
        if seq <= min(last, self.head.seq):
            raise BrokenChain(seq, "did not come, nor what follows")

    async def last_before(self, when: datetime) -> Seq:
        """Return the last entry dated ``when`` or earlier, by ~log2 reads of one entry."""
        return await last_before(self, when)


class PartedLog(OfflineLog):
    """A log in several parts, such as files, each after the one before; they may overlap."""

    def __init__(self, region: str, log_id: str, parts: Sequence[Part]) -> None:
        super().__init__(region, Head(seq=parts[-1].last, hash="", log_id=log_id))
        self._parts = parts
        seq = Seq(0)
        for part in parts:
            if part.first > seq + 1:
                where = f"what follows begins at entry {part.first}"
                raise FailedPrecondition(f"entry {seq + 1} is missing: {where}; give all from 1 on")
            seq = Seq(max(seq, part.last))

    async def read(self, first: Seq, last: Seq) -> Batches:
        """Yield the entries [first, last]; raise BrokenChain where one does not follow."""
        seq, prev = first, GENESIS_HASH if first == 1 else None
        for part in self._parts:
            if seq > last or part.last < seq:
                continue
            async with aclosing(part.open()) as batches:
                async for batch in batches:
                    wanted = [stored for stored in batch if seq <= stored.seq <= last]
                    if wanted:
                        if prev is not None and wanted[0].entry.prev != prev:
                            raise BrokenChain(wanted[0].seq, "does not follow from the part before")
                        yield wanted
                        seq, prev = Seq(wanted[-1].seq + 1), wanted[-1].hash
                    if seq > last:
                        break

    async def last_before(self, when: datetime) -> Seq:
        """Return the last entry dated ``when`` or earlier, looking into one part if it can."""
        begun = [part for part in self._parts if part.since is None or part.since <= when]
        if not begun:
            return Seq(0)
        found = Seq(0)
        last = begun[-1]
        parts = [last] if last.since is not None else begun
        for part in parts:
            async with aclosing(part.open()) as batches:
                async for batch in batches:
                    before = [stored.seq for stored in batch if stored.entry.at <= when]
                    found = max([found, *before])
                    if len(before) < len(batch):
                        return found
        return found


async def exported_log(paths: Sequence[Path]) -> PartedLog:
    """Return the log of exported files or segments, in any order; raise Corrupt for others."""
    headers = []
    for path in paths:
        with Reader.open(path) as reader:
            headers.append((reader.header, path))
    if not headers:
        raise InvalidArgument("--from", "names no file")
    region, log_id = names_of([header for header, _ in headers])
    headers.sort(key=lambda one: (one[0].first, one[0].last))
    parts = [Part(header.first, header.last, _file(path)) for header, path in headers]
    return PartedLog(region, log_id, parts)


async def archived_log(depot: Depot) -> PartedLog:
    """Return the log that an archive holds, up to its copy of what was not sealed.

    Raise FailedPrecondition for a place without an archive, Corrupt for one with a gap.
    """
    holding = await survey(depot)
    owner = holding.owner
    parts = [
        Part(one.first, one.last, _segment(depot, one), one.first_at) for one in holding.segments
    ]
    if holding.copy is not None:
        one = holding.copy.manifest
        parts.append(Part(one.first, one.last, _packed(one, holding.copy.data), one.first_at))
    if not parts:
        raise FailedPrecondition(f"{depot.location} holds an archive with nothing in it yet")
    return PartedLog(owner.region, owner.log_id, parts)


def _file(path: Path) -> Callable[[], Batches]:
    async def batches() -> Batches:
        with Reader.open(path) as reader:
            async for batch in _batches(reader.entries()):
                yield batch

    return batches


def _segment(depot: Depot, manifest: Manifest) -> Callable[[], Batches]:
    async def batches() -> Batches:
        data = await depot.get(manifest.name)
        async for batch in _batches(checked(manifest, data)):
            yield batch

    return batches


def _packed(manifest: Manifest, data: bytes) -> Callable[[], Batches]:
    def batches() -> Batches:
        return _batches(checked(manifest, data))

    return batches


async def _batches(entries: Iterator[Stored]) -> Batches:
    while batch := await to_thread.run_sync(_some, entries):
        yield batch


def _some(entries: Iterator[Stored]) -> Sequence[Stored]:
    batch: list[Stored] = []
    size = 0
    for stored in entries:
        batch.append(stored)
        size += len(stored.value)
        if len(batch) == _BATCH or size > _BATCH_BYTES:
            break
    return batch
