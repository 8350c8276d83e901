"""An archive being made of a log in a real etcd, with sizes small enough for tests."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mulligan.log.archive import Archive
from mulligan.log.depot import Depot, File, FolderDepot
from mulligan.log.etcd import Etcd
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.keys import Keys
from mulligan.log.protocol import Fence
from mulligan.log.pruning import Keeping, Pruner, oldest_held
from mulligan.log.regionlog import LogSettings
from mulligan.log.sealing import Sealer
from mulligan.log.vouching import LogKey
from mulligan.model import RegionName, Seq, new_id, utc_now

from .commits import write
from .conftest import EtcdServer
from .proof import Signing

SMALL = Keeping(
    segment_bytes=4000,
    keep=timedelta(days=7),
    keep_bytes=2**30,
    leave=3,
    compact=0.0,
    delete_at_once=4,
)


class Key:
    """Signs with the one log key."""

    def __init__(self) -> None:
        self.signing = Signing("1")
        self.kid = "1"

    async def ready(self) -> None:
        return

    def sign(self, data: bytes) -> bytes:
        return self.signing.private.sign(data)

    async def known(self) -> Sequence[LogKey]:
        return [self.signing.public]


class Breaking:
    """A depot that fails before or after its call number ``at``, as a kill would."""

    def __init__(self, inner: Depot, at: int, *, after: bool) -> None:
        self._inner = inner
        self._left = at
        self._after = after
        self.broke = False

    @property
    def location(self) -> str:
        return self._inner.location

    async def put(self, name: str, data: bytes) -> None:
        await self._step(lambda: self._inner.put(name, data))

    async def get(self, name: str) -> bytes:
        found: bytes = await self._step(lambda: self._inner.get(name))
        return found

    async def list(self, prefix: str = "", after: str = "") -> Sequence[File]:
        found: Sequence[File] = await self._step(lambda: self._inner.list(prefix, after))
        return found

    async def delete(self, name: str) -> None:
        await self._step(lambda: self._inner.delete(name))

    async def _step(self, call: Callable[[], Any]) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            self.broke = True
            raise Killed
        found = await call()
        if self._left == 0:
            self.broke = True
            raise Killed
        return found


class Killed(BaseException):
    """The process ended here."""


class World:
    """One region's log, its archive in a folder, and who archives it."""

    def __init__(self, etcd: Etcd, log: EtcdLog, archive: Archive, folder: Path, now: Any) -> None:
        self.etcd = etcd
        self.log = log
        self.archive = archive
        self.folder = folder
        self.now = now
        self.depot: Depot = FolderDepot(folder)
        self.key = Key()
        self.keys = Keys(log.region)
        self._lease = 0

    async def fence(self, name: str = "archiver") -> Fence:
        lease = await self.etcd.lease_grant(60)
        key = self.keys.lease(name)
        return Fence(key=key, create_revision=await self.etcd.put(key, b"me", lease=lease))

    async def sealer(
        self, keeping: Keeping = SMALL, depot: Depot | None = None, fence: Fence | None = None
    ) -> Sealer:
        held = fence or await self.fence(new_id())
        return Sealer(
            self.etcd,
            self.log,
            Archive(self.etcd, self.log.region, str(self.folder)),
            depot or self.depot,
            self.key,
            keeping,
            fence=lambda: held,
            keys=self.key.known,
            now=self.now,
        )

    async def pruner(self, keeping: Keeping = SMALL, fence: Fence | None = None) -> Pruner:
        held = fence or await self.fence(new_id())
        archive = Archive(self.etcd, self.log.region, str(self.folder))
        return Pruner(self.etcd, self.log, archive, keeping, fence=lambda: held, now=self.now)

    async def grow(self, count: int) -> None:
        for number in range(count):
            await write(self.log, f"claim/{number}")

    async def oldest(self) -> Seq:
        return await oldest_held(self.etcd, self.keys, self.log.head.seq)

    async def values(self, first: int = 1) -> list[bytes]:
        return [
            stored.value
            async for batch in self.log.read(Seq(first), self.log.head.seq)
            for stored in batch
        ]


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@asynccontextmanager
async def archiving(server: EtcdServer, folder: Path) -> AsyncIterator[World]:
    """Open a new region's log, with an archive in ``folder``."""
    region = RegionName(new_id())
    async with Etcd(server.settings) as etcd:
        archive = Archive(etcd, region, str(folder))
        settings = LogSettings(window_entries=5, load_entries=3)
        async with EtcdLog.open(etcd, region, settings, archive=archive) as log:
            yield World(etcd, log, archive, folder, Clock())


@asynccontextmanager
async def beside(world: World, *, archived: bool = True) -> AsyncIterator[EtcdLog]:
    """Open the same log as another process does, with or without its archive."""
    region = world.log.region
    archive = Archive(world.etcd, region, str(world.folder)) if archived else None
    settings = LogSettings(window_entries=5, load_entries=3)
    async with EtcdLog.open(world.etcd, region, settings, archive=archive) as log:
        yield log
