"""A region in memory: logs on one disk, and read models of it that lag as far as a test likes."""

import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from mulligan.commands.runner import Commands, Request
from mulligan.commands.states import Known
from mulligan.errors import Unavailable
from mulligan.events.claim import Allocation
from mulligan.events.codec import Codec, decode_entry
from mulligan.events.envelope import Actor
from mulligan.events.provider import Inventory
from mulligan.handlers.claim import MakeClaim
from mulligan.handlers.kinds import KINDS
from mulligan.handlers.provider import Provider
from mulligan.handlers.provider_commands import CreateProvider
from mulligan.log.appender import AppendLimits
from mulligan.log.follower import Pace
from mulligan.log.memory import MemoryDisk, MemoryLog
from mulligan.log.regionlog import LogSettings
from mulligan.model import (
    AccountId,
    ClaimId,
    CommitId,
    ProjectId,
    ProviderId,
    RegionName,
    ResourceClass,
    Seq,
    StreamId,
    new_id,
    stream_id,
    stream_kind,
    utc_now,
)

QUICK = LogSettings(
    append=AppendLimits(patience=0.5), pace=Pace(poll=0.02, retry=0.005, grace=0.02)
)
GPU = ResourceClass("gpu")


class Loaded(NamedTuple):
    """A stream as the read model has it."""

    version: int
    state: Any
    seq: Seq
    created_at: datetime | None
    updated_at: datetime | None


class Earlier(NamedTuple):
    """A commit as the read model remembers it."""

    seq: Seq
    digest: str


class ReadModel:
    """Folds what lies on the disk up to ``checkpoint``; None is all of it."""

    def __init__(self, disk: MemoryDisk, checkpoint: int | None = None) -> None:
        self.checkpoint = checkpoint
        self.away = False
        self.loads: list[StreamId] = []
        self.lookups: list[CommitId] = []
        self._disk = disk
        self._codec = Codec()
        self._seq = 0
        self._known: dict[StreamId, Known] = {}
        self._commits: dict[CommitId, Earlier] = {}

    async def load(self, streams: Iterable[StreamId]) -> dict[StreamId, Loaded]:
        """Return the states at the checkpoint."""
        self._require_here()
        wanted = list(streams)
        self.loads += wanted
        self.fold()
        return {stream: self._loaded(stream) for stream in wanted}

    async def find_commit(self, commit: CommitId) -> tuple[Earlier | None, Seq]:
        """Return a commit below the checkpoint, and the checkpoint."""
        self._require_here()
        self.lookups.append(commit)
        self.fold()
        return self._commits.get(commit), Seq(self._seq)

    def fold(self) -> dict[StreamId, Known]:
        """Bring it to its checkpoint and return every state."""
        last = max(self._disk.entries, default=0)
        if self.checkpoint is not None:
            last = min(last, self.checkpoint)
        for seq in range(self._seq + 1, last + 1):
            entry = decode_entry(self._disk.entries[seq].value)
            for commit in entry.commits:
                assert commit.id not in self._commits, "a request stands in the log twice"
                self._commits[commit.id] = Earlier(entry.seq, commit.digest)
                for record in commit.events:
                    known = self._known.get(record.stream, Known(0, None))
                    assert record.version == known.version + 1, f"a gap in {record.stream}"
                    state = KINDS[stream_kind(record.stream)].evolve(
                        known.state, self._codec.event(record), commit.at
                    )
                    created = known.created_at or commit.at
                    self._known[record.stream] = Known(record.version, state, created, commit.at)
        self._seq = max(self._seq, last)
        return self._known

    def _loaded(self, stream: StreamId) -> Loaded:
        known = self._known.get(stream, Known(0, None))
        return Loaded(
            known.version, known.state, Seq(self._seq), known.created_at, known.updated_at
        )

    def _require_here(self) -> None:
        if self.away:
            raise Unavailable("Postgres is away")


class Process(NamedTuple):
    """One service's parts."""

    log: MemoryLog
    model: ReadModel
    commands: Commands


@asynccontextmanager
async def process(
    disk: MemoryDisk,
    *,
    checkpoint: int | None = None,
    settings: LogSettings = QUICK,
    clock: Callable[[], datetime] = utc_now,
    rng: random.Random | None = None,
) -> AsyncIterator[Process]:
    """Run commands against a disk, as one process of several would."""
    async with MemoryLog.open(RegionName("r"), disk, settings, now=clock) as log:
        model = ReadModel(disk, checkpoint)
        commands = Commands(log, model, model, clock=clock, rng=rng)
        try:
            yield Process(log, model, commands)
        finally:
            commands.close()


def truth(disk: MemoryDisk) -> dict[StreamId, Known]:
    """Every state, folded from the whole disk."""
    return ReadModel(disk).fold()


def request(id: str = "", digest: str = "d") -> Request:
    """A request of nobody in particular."""
    return Request(id=CommitId(id or new_id()), actor=Actor(account="tester"), digest=digest)


def provide(key: str, total: int, turnaround: int = 0) -> CreateProvider:
    """A provider with so many GPUs and a turnaround in seconds."""
    inventories = {GPU: Inventory(total=total)}
    return CreateProvider(
        provider=ProviderId(key),
        name=key,
        type="compute",
        inventories=inventories,
        turnaround=turnaround,
    )


def take(
    claim: str,
    *providers: str,
    amount: int = 1,
    end: datetime | None = None,
    start: datetime | None = None,
    project: str = "web",
) -> MakeClaim:
    """A claim of GPUs, from now on unless a start is given."""
    return MakeClaim(
        claim=ClaimId(claim),
        project=ProjectId(project),
        start=start,
        account=AccountId("ann"),
        allocations=tuple(
            Allocation(provider=ProviderId(p), amounts={GPU: amount}) for p in providers
        ),
        end=end,
    )


def provider_stream(key: str) -> StreamId:
    """Name a provider's stream."""
    return stream_id("provider", key)


def used(disk: MemoryDisk, key: str) -> int:
    """How many GPUs of a provider are in use."""
    state: Provider = truth(disk)[provider_stream(key)].state
    return sum(s.used for s in state.use.get(GPU, ()))


def plain(known: Known) -> bytes:
    """A state as bytes, to compare by content."""
    return msgspec.json.encode(known)
