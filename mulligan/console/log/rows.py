"""What the log's views hold of it: commits as small structs, a line an event, and their window."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from mulligan.console.trouble import harmless

if TYPE_CHECKING:
    from mulligan.proto.v1 import LogRecord

ROOM = 5_000
"""Lines that a window of the log holds; older ones give way, for the log has them."""
SUMMARY = 160
"""Characters of an event's data that are told beside it."""
_TOLD_FIRST = (
    "name", "state", "verb", "step", "outcome", "message", "fault", "reason", "note", "power",
    "health", "claim", "image", "machine",
)  # fmt: skip
"""Fields that say most of an event; the others come after them."""


class LoggedEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as it is stored; ``data`` is its JSON."""

    stream: str
    version: int
    type: str
    schema: int
    data: str


class LoggedCommit(msgspec.Struct, frozen=True):
    """What one command did, at entry ``seq``; ``commit`` is its request id too."""

    seq: int
    commit: str
    at: datetime
    account: str
    project: str
    command: str
    causation: str
    correlation: str
    credential: str
    traceparent: str
    events: tuple[LoggedEvent, ...]

    @property
    def trace(self) -> str:
        """Return the id of the trace that the command belongs to; empty for none."""
        parts = self.traceparent.split("-")
        return parts[1] if len(parts) == 4 else ""


class LogRow(NamedTuple):
    """A line of the log: one event of a commit."""

    commit: LoggedCommit
    event: LoggedEvent

    @property
    def key(self) -> tuple[int, str, str, int]:
        """Return what tells the line from all others."""
        return self.commit.seq, self.commit.commit, self.event.stream, self.event.version


def commit_of(record: "LogRecord") -> LoggedCommit:
    """Return a record of the log in the console's form."""
    at = record.at
    assert at is not None, "every commit has its time"
    return LoggedCommit(
        seq=record.position.seq if record.position else 0,
        commit=record.commit,
        at=at,
        account=record.account,
        project=record.project,
        command=record.command,
        causation=record.causation,
        correlation=record.correlation,
        credential=record.credential,
        traceparent=record.traceparent,
        events=tuple(
            LoggedEvent(one.stream, one.version, one.type, one.schema, one.data)
            for one in record.events
        ),
    )


def rows_of(commits: Iterable[LoggedCommit]) -> list[LogRow]:
    """Return the lines of commits, in their order."""
    return [LogRow(commit, event) for commit in commits for event in commit.events]


def summary_of(event: LoggedEvent, names: Mapping[str, str]) -> str:
    """Return an event's data on a line: what says most first, UUIDs by name where known."""
    try:
        data = msgspec.json.decode(event.data)
    except msgspec.DecodeError:
        return harmless(event.data[:SUMMARY])
    if not isinstance(data, dict):
        return harmless(str(data)[:SUMMARY])
    own = event.stream.partition("/")[2]
    first = [key for key in _TOLD_FIRST if key in data]
    words = []
    for key in [*first, *(key for key in data if key not in first)]:
        value = data[key]
        if value in ("", None, [], {}) or value == own:
            continue
        words.append(f"{key}={_shown(value, names)}")
        if sum(map(len, words)) > SUMMARY:
            break
    return harmless(" ".join(words)[:SUMMARY].replace("\n", " "))


def _shown(value: object, names: Mapping[str, str]) -> str:
    if isinstance(value, str):
        return names.get(value, value)
    return msgspec.json.encode(value).decode()


class LogWindow:
    """A bounded stretch of the log, oldest first, that grows at either end.

    While it is held, what comes at the end is counted and left in the log; it is read from there
    when the window follows again. Adding at one end takes from the other what is too much.
    """

    def __init__(self, room: int = ROOM) -> None:
        self.rows: list[LogRow] = []
        self.held = False
        self.waiting = 0
        self.head = 0
        self._room = room

    @property
    def first(self) -> int:
        """Return the oldest entry in the window; 0 while it is empty."""
        return self.rows[0].commit.seq if self.rows else 0

    @property
    def last(self) -> int:
        """Return the newest entry in the window; 0 while it is empty."""
        return self.rows[-1].commit.seq if self.rows else 0

    def arrive(self, commits: Sequence[LoggedCommit]) -> int:
        """Take what was appended to the log; return how many lines gave way at the top."""
        if commits:
            self.head = max(self.head, commits[-1].seq)
        if self.held:
            self.waiting += sum(len(commit.events) for commit in commits)
            return 0
        self.rows.extend(rows_of(commits))
        return self._trim_top()

    def prepend(self, commits: Sequence[LoggedCommit]) -> int:
        """Take older entries; return how many lines they are."""
        older = rows_of(commits)
        self.rows[:0] = older
        if len(self.rows) > self._room:
            del self.rows[self._room :]
            self.held = True  # its end is not the log's end any more
        return len(older)

    def replace(self, commits: Sequence[LoggedCommit], *, held: bool) -> None:
        """Begin anew with another stretch of the log."""
        self.rows = rows_of(commits)
        self._trim_top()
        self.held = held
        self.waiting = 0

    def _trim_top(self) -> int:
        """Give up the oldest entries, whole ones: reading back begins before the oldest left."""
        excess = len(self.rows) - self._room
        if excess <= 0:
            return 0
        seq = self.rows[excess - 1].commit.seq
        begin = next((n for n, row in enumerate(self.rows) if row.commit.seq > seq), excess)
        del self.rows[:begin]
        return begin
