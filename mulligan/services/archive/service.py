"""mulligan-archiver: the log's older entries, sealed outside of etcd."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import anyio
from anyio.abc import TaskGroup

from mulligan.errors import Corrupt, InvalidArgument, MulliganError, Unavailable
from mulligan.events.codec import entry_hash
from mulligan.log.archive import Sealed
from mulligan.log.depot import open_depot
from mulligan.log.etcd_members import MemberWatch
from mulligan.log.identity import identity_of
from mulligan.log.keys import Keys
from mulligan.log.proving import Proof
from mulligan.log.segment import Archived, Manifest, require_next
from mulligan.log.view import BrokenChain
from mulligan.log.vouching import Vouching
from mulligan.model import Seq, utc_now
from mulligan.proto import v1
from mulligan.services import render
from mulligan.services.archive.archiving import Archiving
from mulligan.services.archive.backups import overdue
from mulligan.services.log.checkpoints import LogSigning, log_keys, rendered, trusted
from mulligan.services.metrics.archive import ArchiveMetrics, ArchiveTally
from mulligan.services.metrics.registry import Metrics
from mulligan.services.reading import page_of
from mulligan.services.runtime import Parts, Runtime, etcd_settings
from mulligan.services.work import Share

_TOLD_S = 0.5
_MEMBERS_S = 10.0
"""Seconds between two looks at the members of etcd."""


class Archiver(v1.ArchiverBase):
    """``mulligan.v1.Archiver``; one instance of all works, each of them answers."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
        self._signs = LogSigning(runtime)
        self._depot = open_depot(runtime.config.archive.location)
        self._work: Archiving | None = None

    async def work(self, parts: Parts, tasks: TaskGroup) -> None:
        """Archive, if this instance is the one to do it."""
        share = Share(self._rt, parts)
        self._work = Archiving(self._rt.config, parts, self._depot, self._signs, share)
        tasks.start_soon(self._signs.run, parts)
        tasks.start_soon(self._work.run)
        watch = MemberWatch(parts.etcd, etcd_settings(self._rt.config))
        self._rt.etcd_members = lambda: watch.members
        tasks.start_soon(_look_for_ever, watch)

    def measure(self, metrics: Metrics) -> None:
        """Add this service's metrics to those of the process."""
        ArchiveMetrics(metrics.registry, self._tally)

    def _tally(self) -> ArchiveTally | None:
        return self._work.tally(self._rt.etcd_members()) if self._work is not None else None

    @property
    def _archiving(self) -> Archiving:
        if self._work is None:
            raise Unavailable("the archiver is starting", 1.0)
        return self._work

    async def list_segments(self, message: v1.ListSegmentsRequest) -> v1.ListSegmentsResponse:
        """List segments, the oldest first."""
        page = page_of(self._rt, message.page)
        archive = self._archiving.archive
        await archive.refresh()
        after = _place(page.token)
        rest = [one for one in archive.sealed if one.first > after]
        oldest = await self._archiving.oldest()
        shown = [await archive.archived(one.first) for one in rest[: page.size]]
        return v1.ListSegmentsResponse(
            segments=[_segment(one, oldest) for one in shown],
            next_page_token=str(rest[page.size - 1].first) if len(rest) > page.size else "",
            position=render.position(self._rt.parts.commands.position()),
        )

    async def get_archive_status(self, message: v1.GetArchiveStatusRequest) -> v1.ArchiveStatus:
        """Tell how far the log is sealed, copied and pruned."""
        return await self._status()

    async def seal_archive(self, message: v1.SealArchiveRequest) -> v1.SealArchiveResponse:
        """Seal all that is in the log."""
        await self._archiving.seal_now()
        return v1.SealArchiveResponse(status=await self._status())

    async def verify_archive(
        self, message: v1.VerifyArchiveRequest
    ) -> AsyncIterator[v1.VerifyArchiveProgress]:
        """Read segments back and check them, then the seam to what etcd holds."""
        archive = self._archiving.archive
        await archive.refresh()
        chosen = _overlapping(archive.sealed, message.first, message.last)
        total = sum(one.last - one.first + 1 for one in chosen)
        if not chosen:
            yield v1.VerifyArchiveProgress(total=0)
            return
        proof = await self._proof(chosen[0])
        at, verified, told = chosen[0].first, 0, anyio.current_time()
        progress = v1.VerifyArchiveProgress(total=total)
        try:
            async with aclosing(proof.run(self._manifests(chosen), self._fetch)) as steps:
                async for step in steps:
                    at = Seq(step.seq + 1)
                    verified = step.seq - chosen[0].first + 1
                    progress = v1.VerifyArchiveProgress(
                        verified=verified,
                        total=total,
                        segment=step.segment,
                        hash=step.hash,
                        vouched=(
                            rendered(step.vouched.signed, self._rt.region) if step.vouched else None
                        ),
                    )
                    if anyio.current_time() > told + _TOLD_S and verified < total:
                        told = anyio.current_time()
                        yield progress
            proof.finish()
            await self._check_seam(chosen)
        except Corrupt as error:
            bad = error.seq if isinstance(error, BrokenChain) else at
            yield v1.VerifyArchiveProgress(
                verified=verified,
                total=total,
                bad_seq=bad,
                problem=error.message,
                segment=await self._name_of(chosen, bad),
            )
            return
        yield progress

    async def archiver_configure(self, message: v1.ConfigureRequest) -> v1.ConfigureResponse:
        """Change settings of this process."""
        return self._rt.settings.configure(message)

    async def _status(self) -> v1.ArchiveStatus:
        work, parts = self._archiving, self._rt.parts
        await work.archive.refresh()
        sealed = work.archive.sealed
        last = sealed[-1].last if sealed else Seq(0)
        copied = await work.copied()
        store = await parts.etcd.status()
        return v1.ArchiveStatus(
            location=self._depot.location,
            head=render.position(parts.commands.position()),
            sealed=last,
            copied=max(copied.seq, last),
            pruned=await work.oldest() - 1,
            segments=len(sealed),
            bytes=work.archive.file_bytes,
            store_bytes=store.db_size,
            store_used_bytes=store.db_size_in_use,
            store_quota_bytes=self._rt.config.etcd.quota_bytes,
            compacted=work.compacted,
            problem=work.problem or await self._lateness(Seq(max(copied.seq, last))),
            copied_at=copied.at,
            backups=await self._backups(),
        )

    async def _backups(self) -> list[v1.Backup]:
        try:
            found = await self._archiving.backups()
        except MulliganError as error:
            return [v1.Backup(of="secrets", problem=error.message)]
        if found is None:
            return []
        return [
            v1.Backup(
                of="secrets",
                since=found.since,
                saved_at=found.saved.at if found.saved is not None else None,
                newer=found.newer,
                overdue=overdue(found, utc_now()),
            )
        ]

    async def _lateness(self, safe: Seq) -> str:
        try:
            since = await self._archiving.late(safe)
        except MulliganError as error:
            return error.message
        if since is None:
            return ""
        return f"what was committed since {since:%Y-%m-%d %H:%M:%S} UTC lies in no copy yet"

    async def _proof(self, first: Sealed) -> Proof:
        parts = self._rt.parts
        keys = trusted(await log_keys(parts.commands))
        identity = await identity_of(parts.etcd, self._rt.region)
        manifest = await self._archiving.archive.manifest(first.first)
        vouching = Vouching(
            self._rt.region,
            parts.log.head.log_id,
            keys,
            before=(Seq(manifest.first - 1), manifest.prev),
            seeded=identity.seeded if identity is not None else (),
        )
        return Proof(vouching, keys)

    async def _manifests(self, chosen: Sequence[Sealed]) -> AsyncIterator[Manifest]:
        for one in chosen:
            yield await self._archiving.archive.manifest(one.first)

    async def _name_of(self, chosen: Sequence[Sealed], seq: int) -> str:
        for one in chosen:
            if one.first <= seq <= one.last:
                return (await self._archiving.archive.manifest(one.first)).name
        return ""

    async def _fetch(self, manifest: Manifest) -> bytes:
        archive = self._archiving.archive
        return await archive.fetch(await archive.archived(manifest.first))

    async def _check_seam(self, chosen: Sequence[Sealed]) -> None:
        """Raise BrokenChain where etcd has other entries than segments, or goes on from others."""
        archive, parts = self._archiving.archive, self._rt.parts
        keys, oldest = Keys(self._rt.region), await self._archiving.oldest()
        for one in chosen:
            if one.last < oldest:
                continue
            manifest = await archive.manifest(one.first)
            found = await parts.etcd.get(keys.entry(one.last))
            if found is None and one.last < await self._archiving.oldest():
                continue  # it was pruned meanwhile
            if found is None or entry_hash(found.value) != manifest.hash:
                raise BrokenChain(one.last, f"is not in etcd what it is in {manifest.name}")
        newest = await archive.manifest(chosen[-1].first)
        following = await archive.find(Seq(newest.last + 1))
        if following is not None:
            require_next(await archive.manifest(following.first), newest)
        elif parts.log.head.seq > newest.last:
            async for batch in parts.log.read(Seq(newest.last + 1), Seq(newest.last + 1)):
                if batch[0].entry.prev != newest.hash:
                    raise BrokenChain(batch[0].seq, f"does not follow from {newest.name}")


async def _look_for_ever(watch: MemberWatch) -> None:
    while True:
        await watch.look()
        await anyio.sleep(_MEMBERS_S)


def _overlapping(sealed: Sequence[Sealed], first: int, last: int) -> Sequence[Sealed]:
    if last and first > last:
        raise InvalidArgument("last", "lies before first")
    return [one for one in sealed if one.last >= first and (not last or one.first <= last)]


def _place(token: str) -> Seq:
    if token and not (token.isdecimal() and len(token) <= 19):
        raise InvalidArgument("page.token", "is not of a page that this call gave")
    return Seq(int(token or 0))


def _segment(archived: Archived, oldest: Seq) -> v1.Segment:
    manifest = archived.manifest
    return v1.Segment(
        first=manifest.first,
        last=manifest.last,
        first_at=manifest.first_at,
        last_at=manifest.last_at,
        events=manifest.events,
        raw_bytes=manifest.raw_bytes,
        bytes=manifest.bytes,
        sha256=manifest.sha256,
        prev=manifest.prev,
        hash=manifest.hash,
        name=manifest.name,
        location=archived.location,
        region=manifest.region,
        log_id=manifest.log_id,
        kid=manifest.kid,
        pruned=manifest.last < oldest,
    )
