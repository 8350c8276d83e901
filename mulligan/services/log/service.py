"""mulligan-log: the event log, read only. Tenants see what concerns their own project."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from mulligan.errors import InvalidArgument
from mulligan.events.envelope import Commit
from mulligan.log.identity import identity_of
from mulligan.log.keys import Keys
from mulligan.log.protocol import Stored
from mulligan.log.pruning import oldest_held
from mulligan.model import Seq, is_uuid, stream_kind
from mulligan.proto import v1
from mulligan.services import render
from mulligan.services.gate import visibility
from mulligan.services.log.audit import AuditCalls
from mulligan.services.log.checkpoints import CheckpointCalls, LogSigning
from mulligan.services.log.differing import DiffCalls
from mulligan.services.log.exporting import ProofCalls
from mulligan.services.log.log_views import ProjectLog
from mulligan.services.runtime import Runtime


class Log(AuditCalls, CheckpointCalls, DiffCalls, ProofCalls, v1.LogBase):
    """``mulligan.v1.Log``."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
        self._signs = LogSigning(runtime)

    async def read_log(self, message: v1.ReadLogRequest) -> AsyncIterator[v1.LogRecord]:
        """Send the commits of a range that pass the filter."""
        log, view = self._rt.parts.log, self._view()
        wanted = _filter(message.filter)
        last = min(message.last or log.head.seq, log.head.seq)
        first = Seq(message.first or 1)
        if message.last and first > message.last:
            raise InvalidArgument("last", "lies before first")
        if first > last:
            return
        async with aclosing(log.read(first, Seq(last))) as batches:
            async for batch in batches:
                for record in await self._records(batch, wanted, view):
                    yield record

    async def watch_log(self, message: v1.WatchLogRequest) -> AsyncIterator[v1.LogRecord]:
        """Send commits as they come, from after a position on."""
        log, view = self._rt.parts.log, self._view()
        wanted = _filter(message.filter)
        after = log.head.seq if message.from_head else Seq(message.after)
        if after > log.head.seq:
            raise InvalidArgument("after", f"lies beyond the head, which is {log.head.seq}")
        async with aclosing(log.tail(after)) as batches:
            async for batch in batches:
                for record in await self._records(batch, wanted, view):
                    yield record

    def _view(self) -> ProjectLog | None:
        """Return how a tenant reads the log; None for who sees all of it."""
        project = visibility.holder()
        return None if project is None else ProjectLog(self._rt.parts.commands, project)

    async def _records(
        self, batch: Sequence[Stored], wanted: v1.LogFilter, view: ProjectLog | None
    ) -> list[v1.LogRecord]:
        commits = [(stored.seq, commit) for stored in batch for commit in stored.entry.commits]
        if view is not None:
            await view.learn(commit for _, commit in commits)
            seen = ((seq, view.seen(commit)) for seq, commit in commits)
            commits = [(seq, commit) for seq, commit in seen if commit is not None]
        return [self._record(seq, one) for seq, one in commits if _passes(one, wanted)]

    def _record(self, seq: Seq, commit: Commit) -> v1.LogRecord:
        return render.log_record(commit, v1.Position(region=self._rt.region, seq=seq))

    async def get_log_status(self, message: v1.GetLogStatusRequest) -> v1.LogStatus:
        """Return the head, and how large the store is."""
        parts = self._rt.parts
        head = parts.log.head
        store = await parts.etcd.status()
        everything = visibility.sees_all()
        identity = await identity_of(parts.etcd, self._rt.region)
        return v1.LogStatus(
            head=render.position(parts.commands.position()),
            head_hash=head.hash,
            log_id=head.log_id,
            failure=str(parts.log.failure or "") if everything else "",
            store_bytes=store.db_size if everything else 0,
            store_used_bytes=store.db_size_in_use if everything else 0,
            store_quota_bytes=self._rt.config.etcd.quota_bytes if everything else 0,
            first=await oldest_held(parts.etcd, Keys(self._rt.region), head.seq),
            ancestors=[
                v1.LogAncestor(region=one.region, log_id=one.log_id, seq=one.seq, hash=one.hash)
                for one in (identity.seeded if identity is not None else ())
            ],
        )

    async def log_configure(self, message: v1.ConfigureRequest) -> v1.ConfigureResponse:
        """Change settings of this process."""
        return self._rt.settings.configure(message)


def _filter(message: v1.LogFilter | None) -> v1.LogFilter:
    wanted = message or v1.LogFilter()
    for field, value in (("account", wanted.account), ("project", wanted.project)):
        if value and not (is_uuid(value) or value.startswith("service:")):
            raise InvalidArgument(f"filter.{field}", f"{value!r} is not a UUID in lower case")
    if wanted.stream and "/" not in wanted.stream:
        raise InvalidArgument("filter.stream", "write kind/key, such as machine/<uuid>")
    return wanted


def _passes(commit: Commit, wanted: v1.LogFilter) -> bool:
    if wanted.account and commit.actor.account != wanted.account:
        return False
    if wanted.project and commit.actor.project != wanted.project:
        return False
    if not (wanted.stream or wanted.kind or wanted.type):
        return True
    return any(
        (not wanted.stream or e.stream == wanted.stream)
        and (not wanted.kind or stream_kind(e.stream) == wanted.kind)
        and (not wanted.type or e.type == wanted.type)
        for e in commit.events
    )
