"""The archiver's work: one instance seals, copies, prunes and compacts, round by round."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import anyio

from mulligan.config import Config
from mulligan.errors import Exhausted, MulliganError, Unavailable
from mulligan.log.archive import Archive
from mulligan.log.depot import Depot
from mulligan.log.etcd_kv import StoreStatus
from mulligan.log.etcd_members import EtcdMember
from mulligan.log.keys import Keys
from mulligan.log.protocol import Fenced, TailTooShort
from mulligan.log.pruning import Keeping, Pruner, oldest_held
from mulligan.log.sealing import Copied, Sealer
from mulligan.log.segment import COPY, manifest_name, read_manifest
from mulligan.log.vouching import LogKey
from mulligan.model import Seq, utc_now
from mulligan.services.archive.backups import Backups, look, overdue
from mulligan.services.leading import ARCHIVE
from mulligan.services.log.checkpoints import LogSigning, log_keys, trusted
from mulligan.services.metrics.archive import ArchiveTally
from mulligan.services.runtime import Parts
from mulligan.services.work import Share

log = logging.getLogger(__name__)

WARN_AT = 0.6
"""The part of etcd's quota in use from which on it is time to do something."""
LATE = 10
"""After so many times ``archive.copy_s`` without a copy, something is wrong."""

_LOOK_S = 5.0
_BACKUPS_S = 60.0
_WARN_S = 3600.0


def keeping_of(config: Config) -> Keeping:
    """Return what the configuration says of sealing and pruning."""
    archive = config.archive
    return Keeping(
        segment_bytes=archive.segment_bytes,
        keep=timedelta(days=archive.keep_days),
        keep_bytes=archive.keep_bytes,
        leave=archive.keep_entries,
    )


class Archiving:
    """Archives while this instance is the one to do it; ``problem`` says why it does not get on."""

    def __init__(
        self, config: Config, parts: Parts, depot: Depot, signs: LogSigning, share: Share
    ) -> None:
        self._config = config
        self._parts = parts
        self._depot = depot
        self._signs = signs
        self._share = share
        self._keeping = keeping_of(config)
        self._turn = anyio.Lock()
        self._archive = Archive(parts.etcd, parts.log.region, str(config.archive.location))
        self._sealer = self._new_sealer()
        self._pruner = self._new_pruner()
        self._copy_at = 0.0
        self._backups_at = 0.0
        self._backups: Backups | None = None
        self._warned_at = float("-inf")
        self._seen: StoreStatus | None = None
        self.problem = ""

    @property
    def archive(self) -> Archive:
        """The sealed segments."""
        return self._archive

    @property
    def compacted(self) -> int:
        """The revision of etcd before which this instance left no history."""
        return self._pruner.compacted

    def mine(self) -> bool:
        """Tell whether this instance archives now."""
        return self._share.mine(ARCHIVE)

    async def run(self) -> None:
        """Archive for ever."""
        while True:
            if self.mine():
                async with self._turn:
                    await self._round()
            else:  # what another instance does meanwhile is looked at anew
                self.problem = ""
                self._sealer, self._pruner = self._new_sealer(), self._new_pruner()
            await anyio.sleep(min(_LOOK_S, self._config.archive.copy_s))

    async def seal_now(self) -> None:
        """Seal all that is in the log; raise what keeps it from being sealed.

        Any instance may: two at once make one archive.
        """
        async with self._turn:
            await self._sealer.seal(everything=True)

    async def copied(self) -> Copied:
        """Return how far the copy goes, as the depot tells where another instance archives."""
        if self.mine() and self._sealer.copied.at is not None:
            return self._sealer.copied
        try:
            name = manifest_name(COPY)
            manifest = read_manifest(await self._depot.get(name), name)
        except MulliganError:
            return Copied(seq=Seq(0), at=None)
        return Copied(seq=manifest.last, at=manifest.sealed_at)

    def tally(self, members: Sequence[EtcdMember] = ()) -> ArchiveTally | None:
        """Return how far it is, as this instance knows; None where another one archives."""
        if not self.mine():
            return None
        sealed, store = self._archive.sealed, self._seen
        copied, backups = self._sealer.copied, self._backups
        saved = backups.saved if backups is not None else None
        return ArchiveTally(
            sealed=sealed[-1].last if sealed else 0,
            copied=copied.seq,
            head=self._parts.log.head.seq,
            segments=len(sealed),
            segment_bytes=self._archive.file_bytes,
            stuck=bool(self.problem),
            copied_at=copied.at.timestamp() if copied.at is not None else 0.0,
            store_bytes=store.db_size if store is not None else 0,
            store_used_bytes=store.db_size_in_use if store is not None else 0,
            store_quota_bytes=self._quota,
            saved_at=saved.at.timestamp() if saved is not None else 0.0,
            overdue=backups is not None and overdue(backups, utc_now()),
            members=len(members),
            members_away=sum(1 for one in members if one.problem),
        )

    async def late(self, safe: Seq) -> datetime | None:
        """Return since when something committed lies outside of any copy, if that is for long."""
        if safe >= self._parts.log.head.seq:
            return None
        async for batch in self._parts.log.read(Seq(safe + 1), Seq(safe + 1)):
            since = batch[0].entry.at
            allowed = timedelta(seconds=LATE * self._config.archive.copy_s)
            return since if utc_now() - since > allowed else None
        return None

    async def backups(self) -> Backups | None:
        """Return what is known of backups of the secrets."""
        return await look(self._parts.etcd, self._parts.log.region)

    async def oldest(self) -> Seq:
        """Return the oldest entry in etcd."""
        keys, head = Keys(self._parts.log.region), self._parts.log.head.seq
        return await oldest_held(self._parts.etcd, keys, head)

    async def _round(self) -> None:
        store = self._seen = await self._store() or self._seen
        pressed = store is not None and store.db_size_in_use > WARN_AT * self._quota
        steps: list[Callable[[], Awaitable[object]]] = [self._sealer.seal]
        if anyio.current_time() >= self._copy_at:
            steps.append(self._copy)
        steps += [self._pruner.prune, lambda: self._pruner.compact(pressed=pressed)]
        problem = ""
        for step in steps:
            try:
                await step()
            except Fenced:
                return  # the lease comes back, or another instance goes on
            except (Exhausted, Unavailable) as error:
                problem = problem or error.message  # what comes after may get on, or make room
            except (MulliganError, TailTooShort) as error:
                problem = str(error)
                break
        if problem and problem != self.problem:
            log.warning("the archiver does not get on", extra={"problem": problem})
        self.problem = problem
        if store is not None:
            self._warn(store)
        await self._look_at_backups()

    async def _copy(self) -> None:
        await self._sealer.copy()
        self._copy_at = anyio.current_time() + self._config.archive.copy_s

    async def _look_at_backups(self) -> None:
        if anyio.current_time() < self._backups_at:
            return
        try:
            self._backups = await self.backups()
        except MulliganError as error:
            log.debug("cannot tell whether there are backups", extra={"reason": error.message})
            return
        self._backups_at = anyio.current_time() + _BACKUPS_S

    async def _store(self) -> StoreStatus | None:
        try:
            return await self._parts.etcd.status()
        except (Unavailable, Exhausted):
            return None

    def _warn(self, store: StoreStatus) -> None:
        share = store.db_size_in_use / self._quota
        if share > WARN_AT and anyio.current_time() > self._warned_at + _WARN_S:
            self._warned_at = anyio.current_time()
            log.warning(
                "etcd fills up",
                extra={"used": store.db_size_in_use, "quota": self._quota, "problem": self.problem},
            )

    @property
    def _quota(self) -> int:
        return self._config.etcd.quota_bytes

    def _new_sealer(self) -> Sealer:
        return Sealer(
            self._parts.etcd,
            self._parts.log,
            self._archive,
            self._depot,
            self._signs,
            self._keeping,
            fence=self._parts.registration.fence,
            keys=self._keys,
        )

    async def _keys(self) -> Sequence[LogKey]:
        return trusted(await log_keys(self._parts.commands))

    def _new_pruner(self) -> Pruner:
        return Pruner(
            self._parts.etcd,
            self._parts.log,
            self._archive,
            self._keeping,
            fence=self._parts.registration.fence,
        )
