"""Exact states of streams: a bounded cache that the log's tail keeps true.

A state enters from the read model at some checkpoint and is folded forward with the tail to the
head; from then on every applied entry is folded in. What this process has decided and not yet
heard the log confirm is kept on top, so that commands on one hot stream are decided in a row and
land in one batch.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from mulligan.errors import Corrupt, Unavailable
from mulligan.events.codec import Codec, UnreadableEvent
from mulligan.events.envelope import Commit, EventRecord
from mulligan.handlers.kinds import KINDS
from mulligan.log.protocol import EventLog, Stored, TailTooShort
from mulligan.model import CommitId, Seq, StreamId, stream_kind


class Loaded(Protocol):
    """A stream as a read model has it: its state and version at the model's checkpoint."""

    @property
    def version(self) -> int:
        """Events folded so far; 0 for a stream without any."""

    @property
    def state(self) -> Any:
        """The folded state, None without events."""

    @property
    def seq(self) -> Seq:
        """The checkpoint that this is exact at."""

    @property
    def created_at(self) -> datetime | None:
        """When the stream's first event was committed."""

    @property
    def updated_at(self) -> datetime | None:
        """When its latest event was committed."""


class StateSource(Protocol):
    """Where states come from: the read models."""

    async def load(self, streams: Iterable[StreamId]) -> Mapping[StreamId, Loaded]:
        """Return every stream asked for; raise Unavailable when Postgres is away."""


class Known(msgspec.Struct, frozen=True):
    """A stream's version and state, exact at some position; times are those of its commits."""

    version: int
    state: Any
    created_at: datetime | None = None
    updated_at: datetime | None = None


class _Ahead(msgspec.Struct, frozen=True):
    """A state that holds once ``commit`` has landed."""

    commit: CommitId
    known: Known


ABSENT = Known(0, None)


class StateCache:
    """Holds up to ``limit`` states exact at the head of ``log``; the least used leave first.

    ``latest`` is the newest commit time seen: a decision is never dated before what it builds on.
    A state is folded from what landed, even where this process had decided the same request itself.
    """

    def __init__(
        self, log: EventLog, source: StateSource, codec: Codec, limit: int = 20_000
    ) -> None:
        self._log = log
        self._source = source
        self._codec = codec
        self._limit = limit
        self._known: OrderedDict[StreamId, Known] = OrderedDict()
        self._ahead: dict[StreamId, list[_Ahead]] = {}
        self._pushed: dict[CommitId, tuple[Commit, Iterable[StreamId]]] = {}
        self.latest = datetime.min.replace(tzinfo=UTC)
        self._stop = log.listen(self._applied)

    def close(self) -> None:
        """Stop following the log."""
        self._stop()

    async def ensure(self, streams: Iterable[StreamId]) -> None:
        """Bring the streams in; raise Unavailable when that needs Postgres and it is away."""
        missing = {s for s in streams if s not in self._known}
        if not missing:
            return
        self.learn(await self._source.load(missing))

    def learn(self, loaded: Mapping[StreamId, Loaded]) -> None:
        """Take in what a read model has; raise Unavailable when it is too far behind."""
        for stream, found in loaded.items():
            if stream not in self._known:
                known = self._known[stream] = self._forward(stream, found)
                self.latest = max(self.latest, known.updated_at or self.latest)
        self._trim(len(loaded))

    def assume_absent(self, stream: StreamId) -> None:
        """Take in a stream that is known to have no event yet."""
        self._known.setdefault(stream, ABSENT)
        self._trim(1)

    def _trim(self, least: int) -> None:
        while len(self._known) > max(self._limit, least):
            self._known.popitem(last=False)

    def get(self, stream: StreamId) -> Known | None:
        """Return a state as the log has it; None when it is not here."""
        known = self._known.get(stream)
        if known is not None:
            self._known.move_to_end(stream)
        return known

    def foremost(self, stream: StreamId) -> tuple[Known, Sequence[CommitId]] | None:
        """Return a state with what was decided on top of it, and the commits that must land."""
        known = self.get(stream)
        ahead = self._ahead.get(stream)
        if known is not None and ahead:
            return ahead[-1].known, [one.commit for one in ahead]
        return (known, ()) if known is not None else None

    def push(self, commit: Commit, states: Mapping[StreamId, Known]) -> None:
        """Put what ``commit`` will have made of the streams on top, until it lands or fails."""
        self._pushed[commit.id] = (commit, states.keys())
        for stream, known in states.items():
            self._ahead.setdefault(stream, []).append(_Ahead(commit.id, known))

    def drop(self, commit: CommitId) -> None:
        """Take ``commit`` back, and with it all that was decided on top of it."""
        for stream in self._pushed.pop(commit, (None, ()))[1]:
            ahead = self._ahead.get(stream, [])
            for index, one in enumerate(ahead):
                if one.commit == commit:
                    del ahead[index:]
                    break
            if not ahead:
                self._ahead.pop(stream, None)

    def fold(self, known: Known, event: Any, stream: StreamId, version: int, at: datetime) -> Known:
        """Return the state after one more event."""
        state = KINDS[stream_kind(stream)].evolve(known.state, event, at)
        return Known(version, state, known.created_at or at, at)

    def _forward(self, stream: StreamId, loaded: Loaded) -> Known:
        known = Known(loaded.version, loaded.state, loaded.created_at, loaded.updated_at)
        try:
            later = self._log.since(stream, loaded.seq)
        except TailTooShort as error:
            raise Unavailable(
                "the read models are too far behind the log to decide; they are catching up", 5.0
            ) from error
        for touch in later:
            known = self._record(known, touch.event, touch.commit.at)
        return known

    def _record(self, known: Known, record: EventRecord, at: datetime) -> Known:
        if record.version != known.version + 1:
            raise Corrupt(
                f"{record.stream} jumps from version {known.version} to {record.version};"
                " rebuild the read models"
            )
        try:
            event = self._codec.event(record)
        except UnreadableEvent as error:
            raise Corrupt(str(error)) from error
        return self.fold(known, event, record.stream, record.version, at)

    def _applied(self, stored: Stored) -> None:
        for commit in stored.entry.commits:
            self._fold_commit(commit)

    def _fold_commit(self, commit: Commit) -> None:
        self.latest = max(self.latest, commit.at)
        pushed, _ = self._pushed.get(commit.id, (commit, ()))
        if pushed.events != commit.events:  # the request was decided elsewhere, and otherwise
            self.drop(commit.id)
        ours = self._confirmed(commit)
        for record in commit.events:
            known = self._known.get(record.stream)
            if known is None or record.version <= known.version:
                continue  # the read model was ahead of this process
            if record.stream in ours:
                self._known[record.stream] = ours[record.stream]
                continue
            try:
                self._known[record.stream] = self._record(known, record, commit.at)
            except Corrupt:
                del self._known[record.stream]  # who asks for it next is told what is wrong

    def _confirmed(self, commit: Commit) -> dict[StreamId, Known]:
        """Return the states that this commit was expected to make, taken off the top."""
        ours: dict[StreamId, Known] = {}
        for stream in {record.stream for record in commit.events} & self._ahead.keys():
            ahead = self._ahead[stream]
            if ahead[0].commit == commit.id:
                ours[stream] = ahead.pop(0).known
            else:  # somebody else was faster: what is on top will be refused and decided again
                ahead.clear()
            if not ahead:
                del self._ahead[stream]
        return ours
