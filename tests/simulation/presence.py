"""Lease keys as etcd keeps them, for ``mulligan.log.registry`` to run on."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple

from mulligan.errors import NotFound
from mulligan.log.etcd_kv import Change, Compare, KeyValue, Put, Ranged, TxnResult

from .disk import WatchedDisk
from .road import SimulatedRoad


class _Key(NamedTuple):
    value: bytes
    created: int
    lease: int


class LeaseKeys:
    """Every lease key of the region; a lease falls when nobody renewed it in time."""

    def __init__(self, disk: WatchedDisk) -> None:
        self.disk = disk
        self.keys: dict[str, _Key] = {}
        self.watchers: list[asyncio.Queue[Change]] = []
        self._leases: dict[int, tuple[float, asyncio.TimerHandle]] = {}
        self._count = 0

    def grant(self, ttl: float) -> int:
        """Make a lease."""
        self._count += 1
        self._arm(self._count, ttl)
        return self._count

    def renew(self, lease: int) -> None:
        """Have a lease last for its time from now on; raise NotFound when it has fallen."""
        if lease not in self._leases:
            raise NotFound("lease", str(lease))
        ttl, timer = self._leases[lease]
        timer.cancel()
        self._arm(lease, ttl)

    def fall(self, lease: int) -> None:
        """End a lease, and its keys with it."""
        if lease in self._leases:
            self._leases.pop(lease)[1].cancel()
        for key in [key for key, one in self.keys.items() if one.lease == lease]:
            one = self.keys.pop(key)
            self.disk.revoke(key)
            self._tell(Change(key, b"", True, one.created, self.disk.revision, 0))

    def put(self, put: Put) -> None:
        """Store a key under a lease."""
        if put.lease not in self._leases:
            raise NotFound("lease", str(put.lease))
        known = self.keys.get(put.key)
        created = known.created if known else self.disk.grant(put.key).create_revision
        self.keys[put.key] = _Key(put.value, created, put.lease)
        self._tell(Change(put.key, put.value, False, created, self.disk.revision, 1))

    def _arm(self, lease: int, ttl: float) -> None:
        timer = asyncio.get_running_loop().call_later(ttl, self.fall, lease)
        self._leases[lease] = (ttl, timer)

    def _tell(self, change: Change) -> None:
        for watcher in self.watchers:
            watcher.put_nowait(change)


class SimulatedEtcd:
    """One process's connection: as much of ``mulligan.log.etcd.Etcd`` as leases need."""

    def __init__(self, keys: LeaseKeys, road: SimulatedRoad) -> None:
        self._keys = keys
        self._road = road

    async def lease_grant(self, ttl: int) -> int:
        """Make a lease."""
        await self._road.there()
        lease = self._keys.grant(ttl)
        await self._road.back()
        return lease

    async def lease_keepalive(self, lease: int) -> int:
        """Renew a lease."""
        await self._road.there()
        self._keys.renew(lease)
        await self._road.back()
        return 0

    async def lease_revoke(self, lease: int) -> None:
        """End a lease."""
        await self._road.there()
        self._keys.fall(lease)

    async def txn(self, conditions: Sequence[Compare], puts: Sequence[Put]) -> TxnResult:
        """Store all iff every key was created as said."""
        await self._road.there()
        holds = all(self._created(one.key) == one.value for one in conditions)
        if holds:
            for put in puts:
                self._keys.put(put)
        await self._road.back()
        return TxnResult(self._keys.disk.revision, holds, ())

    async def get(self, key: str) -> KeyValue | None:
        """Read a key."""
        await self._road.there()
        found = self._found(key)
        await self._road.back()
        return found[0] if found else None

    async def range_prefix(self, prefix: str) -> Ranged:
        """Read the keys below a prefix."""
        await self._road.there()
        names = [key for key in sorted(self._keys.keys) if key.startswith(prefix)]
        found = tuple(kv for key in names for kv in self._found(key))
        revision = self._keys.disk.revision
        await self._road.back()
        return Ranged(revision, found)

    async def watch(
        self, prefix: str, end: str, *, revision: int
    ) -> AsyncGenerator[Sequence[Change], None]:
        """Yield what changes; a cut-off process hears nothing, and all of it later."""
        changes: asyncio.Queue[Change] = asyncio.Queue()
        self._keys.watchers.append(changes)
        try:
            yield self._missed(prefix, revision)
            while True:
                change = await changes.get()
                while not await self._road.hears():
                    await asyncio.sleep(1.0)
                yield [change]
        finally:
            self._keys.watchers.remove(changes)

    def _missed(self, prefix: str, revision: int) -> Sequence[Change]:
        """Return what the keys below a prefix are now; what is gone is found out by the next."""
        return [
            Change(key, one.value, False, one.created, self._keys.disk.revision, 1)
            for key, one in self._keys.keys.items()
            if key.startswith(prefix)
        ]

    def _created(self, key: str) -> int:
        known = self._keys.keys.get(key)
        return known.created if known else 0

    def _found(self, key: str) -> tuple[KeyValue, ...]:
        known = self._keys.keys.get(key)
        if known is None:
            return ()
        return (KeyValue(key, known.value, known.created, known.created, 1, known.lease),)
