"""The event log in etcd."""

import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import msgspec

from mulligan.errors import Corrupt
from mulligan.log.archive import Archive
from mulligan.log.etcd import Change, Compare, Etcd, Get, KeyValue, Put, Ranged
from mulligan.log.identity import Identity, read_identity, require_whole
from mulligan.log.keys import Keys
from mulligan.log.protocol import Fence
from mulligan.log.regionlog import LogSettings, RegionLog
from mulligan.log.store import HeadRecord, Lost, Mark, Raw, Slot, Won
from mulligan.model import RegionName, Seq, new_id, utc_now

_MISSING_AT_ONCE = 16


_encode = msgspec.json.encode
_head_decoder = msgspec.json.Decoder(HeadRecord)


class EtcdStore:
    """One region's log under ``/mulligan/<region>/``, and what of it went to the archive."""

    def __init__(self, etcd: Etcd, region: RegionName, archive: Archive | None = None) -> None:
        self._etcd = etcd
        self._keys = Keys(region)
        self._archive = archive
        self._gone = Seq(0)
        self._identity_revision = 0

    async def identify(self) -> str:
        """Return the log's id; the first process of a region makes it."""
        keys = self._keys
        made = Identity(log_id=new_id(), created_at=utc_now().isoformat())
        answer = await self._etcd.txn(
            [Compare(keys.identity, "create", 0), Compare(keys.head, "create", 0)],
            [Put(keys.identity, _encode(made))],
            [Get(keys.identity)],
        )
        if answer.succeeded:
            self._identity_revision = answer.revision
            return made.log_id
        if not answer.gets[0].kvs:
            raise Corrupt(f"{keys.head} exists without {keys.identity}")
        found = answer.gets[0].kvs[0]
        identity = read_identity(found.value, found.key)
        require_whole(identity)
        self._identity_revision = found.create_revision
        return identity.log_id

    async def mark(self) -> Mark:
        """Return the head and identity as they stand."""
        keys = self._keys
        found = await self._etcd.range(keys.head, keys.identity + "\0")
        return _mark({kv.key: kv for kv in found.kvs}, keys, found.revision)

    async def put(self, slot: Slot, within: float) -> Won | Lost:
        """Take the slot if the head has not moved, this is still our log, and the fences hold."""
        keys, seq = self._keys, slot.stored.seq
        first, end = keys.entry(seq), keys.entry(seq + _MISSING_AT_ONCE)
        answer = await self._etcd.txn(
            [
                Compare(keys.head, "mod", slot.token),
                *self._newest(slot),
                Compare(keys.identity, "create", self._identity_revision),
                *(Compare(f.key, "create", f.create_revision) for f in slot.fences),
            ],
            [Put(first, slot.stored.value), Put(keys.head, _encode(slot.head))],
            [
                Get(keys.head, keys.identity + "\0"),
                Get(first, end),
                *(Get(f.key) for f in slot.fences),
            ],
            timeout=within,
        )
        if answer.succeeded:
            return Won(answer.revision)
        marks, missing, *fences = answer.gets
        mark = _mark({kv.key: kv for kv in marks.kvs}, keys, answer.revision)
        fallen = _fallen(slot.fences, fences)
        if mark.token == slot.token and mark.log_id == slot.head.log_id and not fallen:
            raise Corrupt(
                f"entry {seq - 1} is not the one that came with the head: this etcd was put back,"
                " or the entry was written by hand"
            )
        return Lost(mark, self._missed(missing, mark), fallen)

    def _newest(self, slot: Slot) -> Sequence[Compare]:
        """Hold the newest entry to the head's revision too.

        In an etcd that was put back to an older snapshot and has grown anew, a revision alone may
        come up a second time.
        """
        before = slot.stored.seq - 1
        return [Compare(self._keys.entry(before), "mod", slot.token)] if before > 0 else ()

    async def window(self, first: Seq, last: Seq) -> Sequence[Raw]:
        """Return the entries stored in [first, last]: what etcd holds, and before it the archive's.

        Entries leave etcd the oldest first, so what is gone stays gone.
        """
        held = await self._held(first, last) if last > self._gone else ()
        lowest = held[0].seq if held else last + 1
        if self._archive is None or lowest <= first:
            return held
        older = await self._archive.window(first, Seq(lowest - 1))
        if older and older[-1].seq == lowest - 1:
            self._gone = Seq(max(self._gone, lowest - 1))
        return [*older, *held]

    async def _held(self, first: Seq, last: Seq) -> Sequence[Raw]:
        keys = self._keys
        found = await self._etcd.range(keys.entry(first), keys.entry(last + 1), bulk=True)
        return [Raw(keys.seq(kv.key), kv.value, kv.mod_revision) for kv in found.kvs]

    async def lowest(self) -> Seq | None:
        """Return the first entry that etcd still holds."""
        keys = self._keys
        found = await self._etcd.range(
            keys.log, keys.entry(2**64 - 1), limit=1, keys_only=True, bulk=True
        )
        return keys.seq(found.kvs[0].key) if found.kvs else None

    async def ring(self, after: int) -> AsyncGenerator[Sequence[Raw], None]:
        """Watch head and entries together: they change at one revision and come in one piece."""
        keys = self._keys
        last = keys.entry(2**64 - 1)
        async with aclosing(self._etcd.watch(keys.head, last, revision=after + 1)) as watch:
            async for changes in watch:
                yield self._entries(changes)

    def _entries(self, changes: Sequence[Change]) -> Sequence[Raw]:
        keys = self._keys
        writers: dict[int, str] = {}
        for change in changes:
            if change.key == keys.head and not change.deleted:
                writers[change.mod_revision] = _decode_head(change.value).writer
        return [
            Raw(keys.seq(c.key), c.value, c.mod_revision, writers.get(c.mod_revision, ""))
            for c in changes
            if not c.deleted and c.key.startswith(keys.log)
        ]

    def _missed(self, missing: Ranged, mark: Mark) -> tuple[Raw, ...]:
        raws = []
        for kv in missing.kvs:
            seq = self._keys.seq(kv.key)
            writer = mark.record.writer if mark.record and mark.seq == seq else ""
            raws.append(Raw(seq, kv.value, kv.mod_revision, writer))
        return tuple(raws)


class EtcdLog(RegionLog):
    """``EventLog`` in etcd."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        etcd: Etcd,
        region: RegionName,
        settings: LogSettings | None = None,
        *,
        archive: Archive | None = None,
    ) -> AsyncIterator["EtcdLog"]:
        """Open the region's log at its head, making it if there is none; close with the block.

        With an archive, what is not in etcd any more is read from there. Raise Unavailable when
        etcd cannot be reached, Corrupt when the log contradicts itself.
        """
        store = EtcdStore(etcd, region, archive)
        async with cls.run(region, store, settings or LogSettings(), rng=random.Random()) as log:
            yield log


def _mark(found: dict[str, KeyValue], keys: Keys, revision: int) -> Mark:
    head, identity = found.get(keys.head), found.get(keys.identity)
    return Mark(
        log_id=read_identity(identity.value, identity.key).log_id if identity else "",
        record=_decode_head(head.value) if head else None,
        token=head.mod_revision if head else 0,
        revision=revision,
    )


def _fallen(fences: Sequence[Fence], gets: Sequence[Ranged]) -> frozenset[Fence]:
    return frozenset(
        fence
        for fence, found in zip(fences, gets, strict=True)
        if not found.kvs or found.kvs[0].create_revision != fence.create_revision
    )


def _decode_head(value: bytes) -> HeadRecord:
    try:
        return _head_decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"the log's head cannot be read: {error}") from error
