"""Bringing a log back from its archive: into an empty etcd, or into one that was put back.

Into an empty one goes an identity that says that a restore is under way, then the manifests and the
newest entries, and last, at once, the head and the identity as it is to be: whatever happens in
between, nothing takes the log for whole, and another run does it anew. Into one whose head lies
behind the archive go the entries beyond that head, each transaction moving the head along: it is a
log at every moment, and another run goes on from where it stands.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Literal

import msgspec

from mulligan.errors import Conflict, Corrupt, FailedPrecondition
from mulligan.events.codec import entry_hash
from mulligan.log.depot import Depot
from mulligan.log.etcd import Compare, Delete, Etcd, KeyValue, Put, prefix_end
from mulligan.log.holding import Holding, Proven, entries, prove
from mulligan.log.identity import Ancestor, Identity, read_identity
from mulligan.log.keys import Keys
from mulligan.log.segment import OWNER, Archived, Manifest, Owner, manifest_name
from mulligan.log.store import HeadRecord
from mulligan.log.vouching import LogKey, Vouched
from mulligan.model import RegionName, Seq, new_id, utc_now

KEEP_ENTRIES = 5_000
"""So many of the newest entries go into an empty etcd, and all that are in no segment."""
KEEP_BYTES = 64 * 2**20

_TIMEOUT_S = 15.0
_CHUNK_ENTRIES = 64
_CHUNK_BYTES = 2**19
_WRITER = "restore"

_encode = msgspec.json.encode
_head_decoder = msgspec.json.Decoder(HeadRecord)

Progress = Callable[[str, int, int], None]
"""Is told what is done (``verify``, ``copy``, ``write``), how much of it, and of how much."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be restored: up to ``to`` (an entry or a time; None: all), for ``region``.

    ``keys`` are the log keys to trust, None those that the log announces.
    """

    region: RegionName
    to: Seq | datetime | None = None
    keys: tuple[LogKey, ...] | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is in etcd now; tokens are revisions, 0 for what is not there."""

    identity: Identity | None
    identity_token: int
    head: HeadRecord | None
    head_token: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore does: writes entries [first, last], under an identity, beside ``segments``.

    ``fork`` says that the log becomes another one, which goes on from the archived one.
    """

    mode: Literal["nothing", "fill", "extend"]
    identity: Identity
    fork: bool
    first: Seq
    last: Seq
    hash: str
    at: datetime
    commits: int
    vouched: Vouched | None
    segments: tuple[Manifest, ...]


async def look(etcd: Etcd, region: RegionName) -> Found:
    """Return what a region's etcd holds of a log."""
    keys = Keys(region)
    found = await etcd.range(keys.head, keys.identity + "\0", timeout=_TIMEOUT_S)
    at: Mapping[str, KeyValue] = {kv.key: kv for kv in found.kvs}
    head, identity = at.get(keys.head), at.get(keys.identity)
    try:
        record = _head_decoder.decode(head.value) if head is not None else None
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{keys.head} cannot be read: {error}") from error
    return Found(
        identity=read_identity(identity.value, identity.key) if identity is not None else None,
        identity_token=identity.mod_revision if identity is not None else 0,
        head=record,
        head_token=head.mod_revision if head is not None else 0,
    )


async def plan_restore(
    found: Found, depot: Depot, holding: Holding, wish: Wish, progress: Progress
) -> Plan:
    """Prove the archive and decide what is to be done; change nothing.

    Raise FailedPrecondition where a restore would overwrite or mix logs, Corrupt for an archive
    that does not hold.
    """
    head = found.head.seq if found.head is not None else Seq(0)
    total = holding.last
    proven = await prove(
        depot,
        holding,
        to=wish.to,
        keys=wish.keys,
        note=(head,),
        newest=KEEP_ENTRIES,
        progress=lambda seq: progress("verify", seq, total),
    )
    return decide(found, holding, proven, wish)


def decide(found: Found, holding: Holding, proven: Proven, wish: Wish) -> Plan:
    """Return what to do about what was found, given an archive that was proven."""
    owner = holding.owner
    if found.identity is None and found.head is not None:
        raise FailedPrecondition("etcd holds a log's head without its identity: look at it first")
    if found.identity is not None and not found.identity.restoring:
        return _extension(found, holding, proven, wish)
    fork = owner.region != wish.region or proven.last < holding.last
    segments = tuple(one for one in holding.segments if one.last <= proven.last)
    return _plan(
        "fill",
        holding,
        proven,
        identity=_identity(found, owner, proven, fork=fork),
        fork=fork,
        first=_first_kept(proven, segments[-1].last if segments else 0),
    )


def _identity(found: Found, owner: Owner, proven: Proven, *, fork: bool) -> Identity:
    """Return who the log is to be: who it was, or one that goes on from that."""
    if not fork:
        log_id, seeded = owner.log_id, owner.seeded
    else:
        origin = Ancestor(
            region=owner.region, log_id=owner.log_id, seq=proven.last, hash=proven.hash
        )
        older = (one for one in owner.seeded if one.seq < proven.last)
        log_id, seeded = new_id(), (*older, origin)
    begun = found.identity
    if fork and begun is not None and begun.seeded == seeded:
        log_id = begun.log_id
    return Identity(log_id=log_id, created_at=utc_now().isoformat(), seeded=seeded)


def _first_kept(proven: Proven, sealed: int) -> Seq:
    """Return the first entry that goes into etcd: some of the newest, and what no segment has."""
    size = count = 0
    for one in reversed(proven.sizes):
        size += one
        if count == KEEP_ENTRIES or size > KEEP_BYTES:
            break
        count += 1
    return Seq(max(1, min(proven.last - count + 1, sealed + 1, proven.last)))


def _extension(found: Found, holding: Holding, proven: Proven, wish: Wish) -> Plan:
    identity, head, owner = found.identity, found.head, holding.owner
    assert identity is not None
    if identity.log_id != owner.log_id:
        raise FailedPrecondition(
            f"etcd holds the log {identity.log_id} of {wish.region} already, and the archive at"
            f" {holding.location} is of {owner.log_id} of {owner.region}: two logs are never mixed."
            " Restore into a region whose etcd is empty"
        )
    if wish.to is not None:
        raise FailedPrecondition(
            "--to cuts a log, and there is one in etcd already: restore into an empty etcd"
        )
    seq = head.seq if head is not None else Seq(0)
    expected = proven.noted.get(seq)
    if head is not None and seq <= holding.last and expected != head.hash:
        raise FailedPrecondition(
            f"entry {seq} in etcd is not the one in the archive at {holding.location}: the log went"
            " on after it was put back, and there are two histories. Keep etcd as it is for"
            " evidence, and restore from the archive into an empty etcd"
        )
    behind = seq < holding.last
    return _plan(
        "extend" if behind else "nothing",
        holding,
        proven,
        identity=identity,
        fork=False,
        first=Seq(seq + 1),
    )


def _plan(
    mode: Literal["nothing", "fill", "extend"],
    holding: Holding,
    proven: Proven,
    *,
    identity: Identity,
    fork: bool,
    first: Seq,
) -> Plan:
    return Plan(
        mode=mode,
        identity=identity,
        fork=fork,
        first=first,
        last=proven.last,
        hash=proven.hash,
        at=proven.at,
        commits=proven.commits,
        vouched=proven.vouched,
        segments=tuple(one for one in holding.segments if one.last <= proven.last),
    )


class Restore:
    """Carries out a plan. No service of the region may run meanwhile; one that does is noticed."""

    def __init__(
        self,
        etcd: Etcd,
        region: RegionName,
        source: Depot,
        target: Depot,
        progress: Progress,
    ) -> None:
        self._etcd = etcd
        self._region = region
        self._keys = Keys(region)
        self._source = source
        self._target = target
        self._progress = progress

    async def run(self, found: Found, holding: Holding, plan: Plan) -> None:
        """Do it, or raise Conflict when something else writes into the log meanwhile."""
        if plan.mode == "nothing":
            return
        if plan.mode == "fill":
            token = await self._begin(found, plan)
            await self._copy_segments(plan)
            await self._note_segments(plan)
            await self._fill(holding, plan, token)
        else:
            await self._note_segments(plan)
            await self._extend(found, holding, plan)

    async def require_room(self, holding: Holding, plan: Plan) -> None:
        """Raise FailedPrecondition unless the segments may lie in the target."""
        if self._target.location == self._source.location and not plan.fork:
            return
        if self._target.location == self._source.location:
            raise FailedPrecondition(
                f"the archive at {holding.location} goes on beyond what is restored, or is another"
                " region's: give the new log a place of its own, archive.location in its"
                " configuration, and say --from for this one"
            )
        other = [one for one in await self._target.list() if one.name == OWNER]
        if other:
            owner = msgspec.json.decode(await self._target.get(OWNER), type=Owner)
            if owner.log_id != plan.identity.log_id:
                raise FailedPrecondition(
                    f"archive.location {self._target.location} holds the log {owner.log_id} of"
                    f" {owner.region} already: name an empty place"
                )

    async def _begin(self, found: Found, plan: Plan) -> int:
        """Say that a restore is under way, and remove what an earlier one has left."""
        keys = self._keys
        begun = msgspec.structs.replace(plan.identity, restoring=f"entry {plan.last}")
        answer = await self._etcd.txn(
            [
                Compare(keys.identity, "mod", found.identity_token),
                Compare(keys.head, "create", 0),
            ],
            [
                Put(keys.identity, _encode(begun)),
                Delete(keys.archive, prefix_end(keys.archive)),
                Delete(keys.log, prefix_end(keys.log)),
            ],
            timeout=_TIMEOUT_S,
        )
        _require(answer.succeeded)
        return answer.revision

    async def _copy_segments(self, plan: Plan) -> None:
        if self._source.location == self._target.location:
            return
        identity = plan.identity
        owner = Owner(region=self._region, log_id=identity.log_id, seeded=identity.seeded)
        await self._target.put(OWNER, _encode(owner))
        there = {file.name: file.size for file in await self._target.list()}
        for count, one in enumerate(plan.segments, start=1):
            manifest = manifest_name(one.name)
            if there.get(one.name) != one.bytes or manifest not in there:
                await self._target.put(one.name, await self._source.get(one.name))
                await self._target.put(manifest, await self._source.get(manifest))
            self._progress("copy", count, len(plan.segments))

    async def _note_segments(self, plan: Plan) -> None:
        """Write the manifests that etcd does not have."""
        keys = self._keys
        found = await self._etcd.range_prefix(keys.archive, keys_only=True, timeout=_TIMEOUT_S)
        there = {kv.key for kv in found.kvs}
        location = self._target.location
        puts = [
            Put(keys.segment(one.first), _encode(Archived(location=location, manifest=one)))
            for one in plan.segments
            if keys.segment(one.first) not in there
        ]
        for start in range(0, len(puts), _CHUNK_ENTRIES):
            chunk = puts[start : start + _CHUNK_ENTRIES]
            absent = [Compare(put.key, "create", 0) for put in chunk]
            answer = await self._etcd.txn(absent, chunk, timeout=_TIMEOUT_S)
            _require(answer.succeeded)

    async def _fill(self, holding: Holding, plan: Plan, token: int) -> None:
        """Write the newest entries, then the last one with the head and the identity."""
        keys = self._keys
        ours = Compare(keys.identity, "mod", token)
        async with aclosing(self._chunks(holding, plan)) as chunks:
            async for chunk in chunks:
                puts = [Put(keys.entry(seq), value) for seq, value in chunk]
                if chunk[-1][0] == plan.last:
                    head = self._head(plan, *chunk[-1])
                    puts += [
                        Put(keys.head, _encode(head)),
                        Put(keys.identity, _encode(plan.identity)),
                    ]
                compare = [ours, Compare(keys.head, "create", 0)]
                _require((await self._etcd.txn(compare, puts, timeout=_TIMEOUT_S)).succeeded)

    async def _extend(self, found: Found, holding: Holding, plan: Plan) -> None:
        """Write what is missing, and the head with it."""
        keys, token = self._keys, found.head_token
        async with aclosing(self._chunks(holding, plan)) as chunks:
            async for chunk in chunks:
                puts = [Put(keys.entry(seq), value) for seq, value in chunk]
                puts.append(Put(keys.head, _encode(self._head(plan, *chunk[-1]))))
                compare = [
                    Compare(keys.head, "mod", token),
                    Compare(keys.identity, "mod", found.identity_token),
                ]
                answer = await self._etcd.txn(compare, puts, timeout=_TIMEOUT_S)
                _require(answer.succeeded)
                token = answer.revision

    async def _chunks(
        self, holding: Holding, plan: Plan
    ) -> AsyncGenerator[Sequence[tuple[Seq, bytes]], None]:
        total = plan.last - plan.first + 1
        stream = entries(self._source, holding, plan.first, plan.last)
        async with aclosing(stream) as files:
            async for file in files:
                chunk: list[tuple[Seq, bytes]] = []
                size = 0
                for seq, value in file:
                    if chunk and (len(chunk) == _CHUNK_ENTRIES or size + len(value) > _CHUNK_BYTES):
                        yield chunk
                        self._progress("write", chunk[-1][0] - plan.first + 1, total)
                        chunk, size = [], 0
                    chunk.append((seq, value))
                    size += len(value)
                if chunk:
                    yield chunk
                    self._progress("write", chunk[-1][0] - plan.first + 1, total)

    def _head(self, plan: Plan, seq: Seq, value: bytes) -> HeadRecord:
        return HeadRecord(
            seq=seq,
            hash=entry_hash(value),
            log_id=plan.identity.log_id,
            writer=_WRITER,
            batch_id=new_id(),
        )


def _require(succeeded: bool) -> None:
    if not succeeded:
        raise Conflict(
            "the log in etcd changed during the restore: stop every service of the region, then"
            " run this again; it goes on from where it stands"
        )
