"""Bringing a log back from its archive: into an empty etcd, or into one that was put back.

Into an empty one goes an identity that says that a restore is under way, then the manifests and the
newest entries, and last, at once, the head and the identity as it is to be: whatever happens in
between, nothing takes the log for whole, and another run does it anew. Into one whose head lies
behind the archive go the entries beyond that head, each transaction moving the head along: it is a
log at every moment, and another run goes on from where it stands.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from mulligan.errors import Conflict, FailedPrecondition
from mulligan.events.codec import entry_hash
from mulligan.log.depot import Depot
from mulligan.log.etcd import Compare, Delete, Etcd, Put, prefix_end
from mulligan.log.holding import Holding, entries
from mulligan.log.keys import Keys
from mulligan.log.restore_plan import TIMEOUT_S, Found, Plan, Progress
from mulligan.log.segment import OWNER, Archived, Owner, manifest_name
from mulligan.log.store import HeadRecord
from mulligan.model import RegionName, Seq, new_id

WRITER = "restore"

_CHUNK_ENTRIES = 64
_CHUNK_BYTES = 2**19

_encode = msgspec.json.encode


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
            timeout=TIMEOUT_S,
        )
        require_alone(answer.succeeded)
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
        found = await self._etcd.range_prefix(keys.archive, keys_only=True, timeout=TIMEOUT_S)
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
            answer = await self._etcd.txn(absent, chunk, timeout=TIMEOUT_S)
            require_alone(answer.succeeded)

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
                require_alone((await self._etcd.txn(compare, puts, timeout=TIMEOUT_S)).succeeded)

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
                answer = await self._etcd.txn(compare, puts, timeout=TIMEOUT_S)
                require_alone(answer.succeeded)
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
            writer=WRITER,
            batch_id=new_id(),
        )


def require_alone(succeeded: bool) -> None:
    """Raise Conflict when a transaction found something else than what was looked at."""
    if not succeeded:
        raise Conflict(
            "the log in etcd changed during the restore: stop every service of the region, then"
            " run this again; it goes on from where it stands"
        )
