"""Deciding a log's commands again, on the states they were decided on, with the present handlers.

The log is read once, in its order. What is held is the folded state of every stream, about 1.5 kB
an object that was ever created, and no entry for longer than it takes to fold it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mulligan.commands.findings import (
    Differing,
    EventDifference,
    Findings,
    Kind,
    Tally,
    Unfolded,
)
from mulligan.errors import MulliganError
from mulligan.events.codec import Codec, UnreadableEvent
from mulligan.events.envelope import Commit, EventRecord
from mulligan.handlers.arguments import Unrecalled, recall
from mulligan.handlers.command_names import COMMANDS
from mulligan.handlers.decision import Change, Command
from mulligan.handlers.kinds import KINDS, StreamKind
from mulligan.log.protocol import Stored
from mulligan.model import Seq, StreamId, stream_kind
from mulligan.queries.differences import FieldChange, field_changes

_READ_ROUNDS = 100
_FIELDS = 12
"""So many fields are told of one difference."""
_REPORTED = 1000


class _Known(NamedTuple):
    version: int
    state: Any


class _Outcome(NamedTuple):
    result: str
    differing: Differing | None = None


class _Rests(Exception):
    """The command reads a stream that is not known."""


_ABSENT = _Known(0, None)
_SAME, _REWRITTEN = _Outcome("same"), _Outcome("rewritten")
_WITHOUT, _RESTS = _Outcome("without"), _Outcome("rest")


class Redeciding:
    """Takes a log from its first entry on; ``commits`` before entry ``since`` are only folded.

    ``report`` is how many differences are kept to be told, 1,000 at most; all are counted.
    """

    def __init__(
        self,
        *,
        commands: Mapping[str, type[Command]] = COMMANDS,
        kinds: Mapping[str, StreamKind] = KINDS,
        codec: Codec | None = None,
        since: Seq = Seq(1),
        report: int = 20,
    ) -> None:
        self._commands = commands
        self._kinds = kinds
        self._codec = codec or Codec()
        self._since = since
        self._report = min(report, _REPORTED)
        self._known: dict[StreamId, _Known] = {}
        self._lost: set[StreamId] = set()
        self._entries = 0
        self._cannot_fold = 0
        self._tallies: dict[str, Counter[str]] = {}
        self._differing: list[Differing] = []
        self._unfolded: list[Unfolded] = []

    def take(self, batch: Sequence[Stored]) -> None:
        """Decide again what the entries hold, and fold them; for a thread."""
        for stored in batch:
            self._entries += 1
            for commit in stored.entry.commits:
                self._take(stored.seq, commit)

    def findings(self) -> Findings:
        """Return what was found so far."""
        tallies = tuple(_tally(name, self._tallies[name]) for name in sorted(self._tallies))
        return Findings(
            entries=self._entries,
            commits=sum(one.commits for one in tallies),
            objects=len(self._known),
            same=sum(one.same for one in tallies),
            rewritten=sum(one.rewritten for one in tallies),
            differ=sum(one.differ for one in tallies),
            without=sum(one.without for one in tallies),
            rest=sum(one.rest for one in tallies),
            cannot_fold=self._cannot_fold,
            commands=tallies,
            differing=tuple(self._differing),
            unfolded=tuple(self._unfolded),
        )

    def _take(self, seq: Seq, commit: Commit) -> None:
        changes: list[Change] | None = []
        for record in commit.events:
            try:
                event = self._codec.event(record)
            except UnreadableEvent as error:
                self._lose(seq, commit, record.stream, str(error))
                changes = None
                continue
            if changes is not None:
                changes.append(Change(record.stream, event))
        if seq >= self._since:
            outcome = _RESTS if changes is None else self._decide_again(seq, commit, changes)
            tally = self._tallies.setdefault(commit.command, Counter())
            tally[outcome.result] += 1
            if outcome.differing is not None and len(self._differing) < self._report:
                self._differing.append(outcome.differing)
        for record in commit.events:
            self._fold(seq, commit, record)

    def _fold(self, seq: Seq, commit: Commit, record: EventRecord) -> None:
        stream = record.stream
        if stream in self._lost:
            return
        known = self._known.get(stream, _ABSENT)
        try:
            if record.version != known.version + 1:
                raise ValueError(f"version {record.version} follows version {known.version}")
            kind = self._kinds[stream_kind(stream)]
            state = kind.evolve(known.state, self._codec.event(record), commit.at)
        except Exception as error:
            what = f"event {record.type} (version {record.version} of {stream})"
            self._lose(seq, commit, stream, f"{what}: {_told(error)}")
            return
        self._known[stream] = _Known(record.version, state)

    def _lose(self, seq: Seq, commit: Commit, stream: StreamId, detail: str) -> None:
        self._cannot_fold += 1
        self._lost.add(stream)
        self._known.pop(stream, None)
        if len(self._unfolded) < self._report:
            self._unfolded.append(
                Unfolded(entry=seq, commit=commit.id, stream=stream, detail=detail)
            )

    def _decide_again(self, seq: Seq, commit: Commit, changes: Sequence[Change]) -> _Outcome:
        if not commit.args:
            return _WITHOUT

        def differs(kind: Kind, detail: str = "", *events: EventDifference) -> _Outcome:
            found = Differing(
                entry=seq,
                commit=commit.id,
                command=commit.command,
                kind=kind,
                detail=detail,
                events=events,
            )
            return _Outcome("differ", found)

        cls = self._commands.get(commit.command)
        if cls is None:
            return differs("unknown", f"there is no command {commit.command}")
        try:
            before = {change.stream: self._state(change.stream) for change in changes}
            command = recall(cls, commit.args, changes, before, commit.at)
            states = self._read(command)
            decided = command.decide(states, commit.at)
            records = self._records(decided)
        except _Rests:
            return _RESTS
        except Unrecalled as error:
            return differs("arguments", str(error))
        except MulliganError as error:
            return differs("refused", f"{type(error).__name__}: {error.message}")
        except Exception as error:
            return differs("crashed", _told(error))
        if not decided:
            return differs("nothing")
        if records == commit.events:
            return _SAME
        found = tuple(self._compare(commit.events, records))
        return differs("events", "", *found) if found else _REWRITTEN

    def _state(self, stream: StreamId) -> Any:
        if stream in self._lost:
            raise _Rests
        return self._known.get(stream, _ABSENT).state

    def _read(self, command: Command) -> dict[StreamId, Any]:
        states: dict[StreamId, Any] = {}
        for _ in range(_READ_ROUNDS):
            wanted = [one for one in command.reads(states) if one not in states]
            if not wanted:
                return states
            for stream in wanted:
                states[stream] = self._state(stream)
        raise RecursionError("it reads deeper than can be")

    def _records(self, changes: Sequence[Change]) -> tuple[EventRecord, ...]:
        versions: dict[StreamId, int] = {}
        records = []
        for stream, event in changes:
            if stream not in versions:
                versions[stream] = self._known.get(stream, _ABSENT).version
            versions[stream] += 1
            records.append(self._codec.record(stream, versions[stream], event))
        return tuple(records)

    def _compare(
        self, recorded: Sequence[EventRecord], decided: Sequence[EventRecord]
    ) -> Iterator[EventDifference]:
        for old, new in zip(recorded, decided, strict=False):
            if (old.stream, old.version, old.type) != (new.stream, new.version, new.type):
                what = f"would be {new.type}, version {new.version} of {new.stream}"
                yield _event_difference(old, what)
                continue
            before, after = self._codec.event(old), self._codec.event(new)
            if before != after:
                fields = tuple(field_changes(before, after)[:_FIELDS])
                yield _event_difference(old, "would say otherwise", fields)
        for old in recorded[len(decided) :]:
            yield _event_difference(old, "would not be")
        for new in decided[len(recorded) :]:
            yield _event_difference(new, "would be there too")


def _event_difference(
    record: EventRecord, what: str, fields: tuple[FieldChange, ...] = ()
) -> EventDifference:
    return EventDifference(
        stream=record.stream, version=record.version, type=record.type, what=what, fields=fields
    )


def _tally(command: str, counts: Mapping[str, int]) -> Tally:
    def of(result: str) -> int:
        return counts.get(result, 0)

    return Tally(
        command=command,
        commits=sum(counts.values()),
        same=of("same") + of("rewritten"),
        rewritten=of("rewritten"),
        differ=of("differ"),
        without=of("without"),
        rest=of("rest"),
    )


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
