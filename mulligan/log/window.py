"""The recent past of the log in memory, indexed by stream and by commit."""

from bisect import bisect_right
from collections.abc import Sequence, Set
from datetime import datetime
from itertools import islice
from operator import attrgetter

from mulligan.log.protocol import Acked, Stored, TailTooShort, Touch
from mulligan.model import CommitId, Seq, StreamId

_seq = attrgetter("seq")


class Window:
    """Entries (floor, head], at most ``max_entries`` and about ``max_bytes`` of stored values."""

    def __init__(self, floor: Seq, max_entries: int, max_bytes: int) -> None:
        self.floor = floor
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: dict[int, Stored] = {}
        self._commits: dict[CommitId, Seq] = {}
        self._streams: dict[StreamId, list[Touch]] = {}
        self.moved: dict[StreamId, Seq] = {}

    def add(self, stored: Stored) -> None:
        """Take the next entry in, and let the oldest go where the bounds ask for it."""
        seq = stored.entry.seq
        self._entries[seq] = stored
        self._bytes += len(stored.value)
        streams, moved, commits = self._streams, self.moved, self._commits
        for commit in stored.entry.commits:
            commits[commit.id] = seq
            for event in commit.events:
                touches = streams.get(event.stream)
                if touches is None:
                    streams[event.stream] = [Touch(seq, commit, event)]
                else:
                    touches.append(Touch(seq, commit, event))
                moved[event.stream] = seq
        while len(self._entries) > self._max_entries or (
            self._bytes > self._max_bytes and len(self._entries) > 1
        ):
            self._drop_oldest()

    def find(self, commit: CommitId) -> Acked | None:
        """Return a commit kept here and where it stands."""
        seq = self._commits.get(commit)
        if seq is None:
            return None
        found = next(one for one in self._entries[seq].entry.commits if one.id == commit)
        return Acked(seq=seq, commit=found, repeat=True)

    def holds(self, commit: CommitId) -> bool:
        """Tell whether a commit is kept here; cheaper than to find it."""
        return commit in self._commits

    def covers(self, since: datetime) -> bool:
        """Tell whether every entry written at ``since`` or later is kept here."""
        if not self.floor:
            return True
        oldest = self._entries.get(self.floor + 1)
        return oldest is not None and oldest.entry.at < since

    def since(self, stream: StreamId, after: Seq) -> Sequence[Touch]:
        """Return the stream's events after ``after``; raise TailTooShort beyond the floor."""
        if after < self.floor:
            raise TailTooShort(f"entries up to {self.floor} are no longer kept in memory")
        if self.moved.get(stream, 0) <= after:
            return ()
        return self._touches(stream, after)

    def moved_by_others(self, stream: StreamId, after: Seq, ours: Set[CommitId]) -> bool:
        """Tell whether a commit not in ``ours`` touched the stream after ``after``."""
        if self.moved.get(stream, 0) <= after:
            return False
        return any(t.commit.id not in ours for t in self._touches(stream, after))

    def _touches(self, stream: StreamId, after: Seq) -> Sequence[Touch]:
        touches = self._streams[stream]
        return touches[bisect_right(touches, after, key=_seq) :]

    def after(self, seq: Seq, limit: int) -> Sequence[Stored]:
        """Return up to ``limit`` entries after ``seq``, which must not lie before the floor."""
        newest = self.floor + len(self._entries)
        return [self._entries[n] for n in islice(range(seq + 1, newest + 1), limit)]

    def _drop_oldest(self) -> None:
        self.floor = Seq(self.floor + 1)
        stored = self._entries.pop(self.floor)
        self._bytes -= len(stored.value)
        for commit in stored.entry.commits:
            if self._commits.get(commit.id) == self.floor:
                del self._commits[commit.id]
            for event in commit.events:
                touches = self._streams[event.stream]
                del touches[0]
                if not touches:
                    del self._streams[event.stream], self.moved[event.stream]
