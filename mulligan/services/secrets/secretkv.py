"""Sealed secrets in etcd, beside the log and never in it, and what is left of deleted ones.

etcd keeps what a key held before until its history is compacted. After a deletion the history up
to it is compacted, once for all deletions of some seconds. Nobody needs it: whoever follows
etcd reads the present again when the past is gone.
"""

import logging
from collections.abc import Sequence

import anyio

from mulligan.errors import Exhausted, MulliganError
from mulligan.log.etcd import Compacted, Compare, Delete, Etcd, Put, prefix_end
from mulligan.log.keys import Keys

log = logging.getLogger(__name__)

SHRED_S = 5.0
"""The history is compacted at most so often."""

_RETRY_S = 1.0


class Shredder:
    """Compacts etcd's history up to what was deleted, while ``run`` runs."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd
        self._wanted = 0
        self._done = 0
        self._bell = anyio.Event()

    @property
    def done(self) -> int:
        """The revision before which nothing that was deleted can be read any more."""
        return self._done

    def shred(self, revision: int) -> None:
        """Have everything forgotten that was deleted up to this revision."""
        self._wanted = max(self._wanted, revision)
        self._bell.set()

    async def run(self) -> None:
        """Compact when there is something to forget, for ever."""
        while True:
            await self._bell.wait()
            self._bell = anyio.Event()
            while self._done < self._wanted:
                await self._compact(self._wanted)
            await anyio.sleep(SHRED_S)

    async def _compact(self, revision: int) -> None:
        try:
            await self._etcd.compact(revision)
        except Compacted:
            pass  # another process was faster
        except (MulliganError, Exhausted) as error:
            log.warning("deleted secrets can still be read", extra={"reason": error.message})
            await anyio.sleep(_RETRY_S)
            return
        self._done = revision


class EtcdSecretKv:
    """``SecretKv`` under the region's prefix ``secret/``; a shredder is told of deletions."""

    def __init__(self, etcd: Etcd, keys: Keys, shredder: Shredder | None = None) -> None:
        self._etcd = etcd
        self._prefix = f"{keys.prefix}secret/"
        self._shredder = shredder

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None."""
        found = await self._etcd.get(self._prefix + key)
        return found.value if found is not None else None

    async def put(self, key: str, value: bytes) -> None:
        """Store the value."""
        await self._etcd.put(self._prefix + key, value)

    async def put_while(self, key: str, value: bytes, held: str, at: bytes | None) -> bool:
        """Store the value if the key ``held`` still has the value ``at``; tell whether."""
        guard = self._prefix + held
        compare = Compare(guard, "create", 0) if at is None else Compare(guard, "value", at)
        answer = await self._etcd.txn([compare], [Put(self._prefix + key, value)])
        return answer.succeeded

    async def replace(self, key: str, old: bytes, new: bytes) -> bool:
        """Store ``new`` if the value is still ``old``; tell whether."""
        compare = Compare(self._prefix + key, "value", old)
        answer = await self._etcd.txn([compare], [Put(self._prefix + key, new)])
        if answer.succeeded:
            self._forget(answer.revision)  # the old value may be under a master key that leaked
        return answer.succeeded

    async def delete(self, prefix: str) -> int:
        """Delete every key that starts with ``prefix``; return how many."""
        start = self._prefix + prefix
        answer = await self._etcd.txn([], [Delete(start, prefix_end(start))])
        self._forget(answer.revision)
        return answer.deleted

    async def keys(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        """Return the next keys in order."""
        start = self._prefix + prefix
        first = max(start, f"{self._prefix}{after}\0") if after else start
        found = await self._etcd.range(
            first, prefix_end(start), limit=limit, keys_only=True, bulk=True
        )
        return [kv.key[len(self._prefix) :] for kv in found.kvs]

    def _forget(self, revision: int) -> None:
        if self._shredder is not None:
            self._shredder.shred(revision)
