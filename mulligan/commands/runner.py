"""Decide and append, exactly once for each request id."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NoReturn, Protocol

import anyio
import msgspec

from mulligan import tracing
from mulligan.commands.states import ABSENT, Known, Loaded, StateCache, StateSource
from mulligan.commands.trials import Tried, TriedOut
from mulligan.errors import AlreadyExists, Conflict, MulliganError, Unavailable
from mulligan.events.codec import Codec
from mulligan.events.envelope import Actor, Commit, EventRecord
from mulligan.events.formats import FORMAT, FORMAT_OF
from mulligan.handlers.arguments import arguments
from mulligan.handlers.decision import Change, Command
from mulligan.log.protocol import EventLog, Fence, ReadSet, TailTooShort
from mulligan.model import CommitId, Position, Seq, StreamId, new_id, stream_key
from mulligan.trial import is_trial

ATTEMPTS = 12
"""A command that somebody keeps overtaking is given up, with Conflict, after this many tries."""

AHEAD = timedelta(minutes=1)
"""A request id may be so far ahead of this process's clock."""

_ANY = StreamId("")
_NOTHING: Mapping[StreamId, Known] = {}
_READ_ROUNDS = 100
"""A cold tree is read level by level, in as many rounds as it is deep."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, under which id. ``digest`` tells a repeat from another request of the same id."""

    id: CommitId
    actor: Actor
    digest: str = ""
    causation: str = ""
    correlation: str = ""
    traceparent: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Where the command stands: ``commit`` is None when there was nothing to change."""

    position: Position
    commit: Commit | None = None
    repeat: bool = False


class EarlierCommit(Protocol):
    """A commit as the read model of commands remembers it."""

    @property
    def seq(self) -> Seq:
        """The entry it stands in."""

    @property
    def digest(self) -> str:
        """The digest of its request."""


class CommitIndex(Protocol):
    """Finds commits that are no longer in the log's memory."""

    async def find_commit(self, commit: CommitId) -> tuple[EarlierCommit | None, Seq]:
        """Return the commit of that id, and up to which entry all commits are known.

        Raise Unavailable when Postgres is away.
        """


class Format(Protocol):
    """Which events may be written: none that a live service cannot read."""

    @property
    def active(self) -> int:
        """The newest format that may be written now, as far as is known here."""

    async def raise_to(self, wanted: int) -> None:
        """Have a newer format written from now on; raise FailedPrecondition while it must not."""


class _Decision(msgspec.Struct, frozen=True):
    commit: Commit
    read: ReadSet
    made: Mapping[StreamId, Known]


OnCommit = Callable[[str, int, float], None]
"""Takes how an append ended (appended, repeated, conflict, failed), its events, and its seconds."""


def _untold(outcome: str, events: int, seconds: float) -> None:
    """Tell nobody."""


class Commands:
    """Runs commands against one region's log."""

    def __init__(
        self,
        log: EventLog,
        source: StateSource,
        index: CommitIndex,
        *,
        clock: Callable[[], datetime],
        codec: Codec | None = None,
        rng: random.Random | None = None,
        ids: Callable[[], str] = new_id,
        format: Format | None = None,
    ) -> None:
        self._format = format
        self.log = log
        self.new_id = ids
        self._codec = codec or Codec()
        self._states = StateCache(log, source, self._codec)
        self._index = index
        self._clock = clock
        self._rng = rng or random.Random()
        self.on_commit: OnCommit = _untold
        self._settled: dict[CommitId, anyio.Event] = {}
        self._running: dict[CommitId, anyio.Event] = {}

    def close(self) -> None:
        """Stop following the log."""
        self._states.close()

    def now(self) -> datetime:
        """Return the present time by this process's clock."""
        return self._clock()

    def position(self) -> Position:
        """Return the head as this process knows it."""
        return Position(self.log.region, self.log.head.seq)

    def peek(self, stream: StreamId) -> Known | None:
        """Return a stream's exact state if it is at hand; the same object while it is unchanged."""
        return self._states.get(stream)

    async def state(self, stream: StreamId) -> Known:
        """Return a stream's exact state at the head; version 0 and None without events."""
        return (await self.states([stream]))[stream]

    async def states(self, streams: list[StreamId]) -> Mapping[StreamId, Known]:
        """Return the exact states of several streams, all at one position."""
        for _ in range(_READ_ROUNDS):
            found = {s: known for s in streams if (known := self._states.get(s)) is not None}
            if len(found) == len(set(streams)):
                return found
            await self._states.ensure(streams)
        raise Conflict("too many streams are read at once")

    async def execute(
        self,
        command: Command,
        request: Request,
        *,
        fence: Fence | None = None,
        versions: Mapping[StreamId, int] | None = None,
    ) -> Outcome:
        """Run the command and return where it stands.

        ``versions`` are those the caller has read, 0 for any: where one has moved on, raise
        StaleEtag. Raise what ``command.decide`` raises; Conflict when others keep changing what it
        reads; AlreadyExists when the request id was used for something else; Unavailable and
        Exhausted from the log; Fenced when ``fence`` has fallen. In a dry run, raise TriedOut in
        place of any answer.
        """
        while request.id in self._running:
            await self._running[request.id].wait()
        done = self._running[request.id] = anyio.Event()
        try:
            with tracing.span(command.NAME):
                if is_trial():
                    await self.try_out([command], request, versions=versions)
                return await self._execute(command, request, fence, versions or {})
        finally:
            del self._running[request.id]
            done.set()

    async def _execute(
        self,
        command: Command,
        request: Request,
        fence: Fence | None,
        versions: Mapping[StreamId, int],
    ) -> Outcome:
        earlier = await self.earlier(request)
        if earlier is not None:
            return earlier
        for attempt in range(ATTEMPTS):
            if attempt > 1:
                await anyio.sleep(self._rng.uniform(0, 0.002 * 2 ** min(attempt, 7)))
            try:
                decision = await self._decide(command, request, versions)
            except _Unsettled as unsettled:
                for event in unsettled.events:
                    await event.wait()
                continue
            except _Newer as newer:
                await newer.format.raise_to(newer.wanted)
                continue
            if isinstance(decision, Outcome):
                return decision
            try:
                return await self._append(decision, fence)
            except Conflict:
                continue
        raise _overtaken(command)

    async def try_out(
        self,
        commands: Sequence[Command],
        request: Request,
        *,
        versions: Mapping[StreamId, int] | None = None,
    ) -> NoReturn:
        """Decide commands, each on what those before it would make, and raise TriedOut.

        ``versions`` are for the last of them. Nothing is appended, nor kept in mind. Raise what
        ``execute`` would raise, but for what only a race or a broken append meets.
        """
        await self.earlier(request)
        commits: list[Commit] = []
        made: dict[StreamId, Known] = {}
        for number, command in enumerate(commands, start=1):
            held = (versions or {}) if number == len(commands) else {}
            decision = await self._try_one(command, request, held, made)
            if isinstance(decision, _Decision):
                self.log.check(decision.commit)
                commits.append(decision.commit)
                made.update(decision.made)
            elif decision.repeat:
                raise _done_before(decision)
        position = self.position()
        raise TriedOut(Tried(position=position, commits=tuple(commits), states=made))

    async def _try_one(
        self,
        command: Command,
        request: Request,
        versions: Mapping[StreamId, int],
        made: Mapping[StreamId, Known],
    ) -> _Decision | Outcome:
        readable = False
        for _ in range(ATTEMPTS):
            try:
                return await self._decide(
                    command, request, versions, supposed=made, readable=readable
                )
            except _Unsettled as unsettled:
                for event in unsettled.events:
                    await event.wait()
            except _Newer as newer:
                await newer.format.raise_to(newer.wanted)  # which only looks, in a dry run
                readable = True
        raise _overtaken(command)

    async def earlier(self, request: Request) -> Outcome | None:
        """Return where a request stands that was executed before; None for a new one.

        In a dry run, raise TriedOut for one that was.
        """
        found = await self._earlier(request)
        if found is not None and is_trial():
            raise _done_before(found)
        return found

    async def _earlier(self, request: Request) -> Outcome | None:
        found = self._recent(request)
        if found is not None:
            return found
        if self._is_new(request.id):
            return None
        earlier, known = await self._index.find_commit(request.id)
        if earlier is None:
            self._require_no_gap(known)
            return None
        _require_same(request, earlier.digest)
        return Outcome(position=Position(self.log.region, earlier.seq), repeat=True)

    def _require_no_gap(self, known: Seq) -> None:
        """Raise Unavailable where neither the index nor the log's memory knows some entries."""
        try:
            self.log.since(_ANY, known)
        except TailTooShort as error:
            raise Unavailable(
                "the read model of commands is too far behind to tell whether this was done before",
                retry_after=2.0,
            ) from error

    def _is_new(self, commit: CommitId) -> bool:
        """Whether an id that is not in the log's memory was never used.

        Ids that lie more than ``AHEAD`` in the future are refused where they come in, so whatever
        was made under this one was made no earlier than that before the time in it.
        """
        made_at = time_of(commit) or datetime.min.replace(tzinfo=UTC) + AHEAD
        return self.log.find(commit) is None and self.log.covers(made_at - AHEAD)

    def trace_of(self, commit: CommitId) -> str:
        """Return the traceparent of a commit of the recent past; empty without one."""
        found = self.log.find(commit)
        return tracing.well_formed(found.commit.traceparent) if found is not None else ""

    def learn(self, states: Mapping[StreamId, Loaded]) -> None:
        """Take in states that were read anyway, so that deciding on them needs no other look."""
        self._states.learn(states)

    def _recent(self, request: Request) -> Outcome | None:
        found = self.log.find(request.id)
        if found is None:
            return None
        _require_same(request, found.commit.digest)
        return self._outcome(found.seq, found.commit, repeat=True)

    async def _decide(
        self,
        command: Command,
        request: Request,
        versions: Mapping[StreamId, int],
        *,
        supposed: Mapping[StreamId, Known] = _NOTHING,
        readable: bool = False,
    ) -> _Decision | Outcome:
        """Return what to append, or where the request stands when there is nothing to append.

        States that are ``supposed`` stand in for the log's. ``readable`` says that the live
        services can read whatever comes of it.
        """
        states = await self._load(command, request.id, supposed)
        # From here to the append nothing is waited for: what is read is exact at the head.
        recent = self._recent(request)
        if recent is not None:
            return recent
        assumes = frozenset(c for _, commits in states.values() for c in commits)
        view = {stream: known.state for stream, (known, _) in states.items()}
        now = max(self._clock(), self._states.latest)
        try:
            _require_versions({s: known for s, (known, _) in states.items()}, versions)
            changes = command.decide(view, now)
        except MulliganError:
            self._require_settled(assumes)
            raise
        if not changes:
            self._require_settled(assumes)
            return Outcome(position=self.position())
        made, records = self._fold(changes, {s: known for s, (known, _) in states.items()}, now)
        if not readable:
            self._require_readable(records)
        commit = Commit(
            id=request.id,
            at=now,
            actor=request.actor,
            command=command.NAME,
            events=records,
            digest=request.digest,
            causation=request.causation,
            correlation=request.correlation or request.id,
            traceparent=tracing.traceparent() or request.traceparent,
            args=arguments(command, changes, view, now),
        )
        read = ReadSet(at=self.log.head.seq, streams=frozenset(states), assumes=assumes)
        return _Decision(commit, read, made)

    async def _load(
        self, command: Command, made: CommitId, supposed: Mapping[StreamId, Known]
    ) -> dict[StreamId, tuple[Known, Sequence[CommitId]]]:
        """Return what a command reads; what it makes, under its own new id, is not there yet."""
        new = self._is_new(made)
        for _ in range(_READ_ROUNDS):
            states: dict[StreamId, tuple[Known, Sequence[CommitId]]] = {}
            missing: list[StreamId] = []
            wanted = set(command.reads({}))
            while wanted:
                for stream in wanted:
                    found = self._states.foremost(stream)
                    if stream in supposed:
                        found = supposed[stream], ()
                    if found is None and new and stream_key(stream) == made:
                        self._states.assume_absent(stream)
                        found = ABSENT, ()
                    if found is None:
                        missing.append(stream)
                    else:
                        states[stream] = found
                if missing:
                    break
                view = {stream: known.state for stream, (known, _) in states.items()}
                wanted = set(command.reads(view)) - states.keys()
            if not missing:
                return states
            await self._states.ensure(missing)
        raise Conflict(f"{command.NAME} reads more streams than can be held at once")

    def _fold(
        self, changes: list[Change], states: Mapping[StreamId, Known], now: datetime
    ) -> tuple[dict[StreamId, Known], tuple[EventRecord, ...]]:
        made: dict[StreamId, Known] = {}
        records: list[EventRecord] = []
        for stream, event in changes:
            assert stream in states, f"{stream} is written and was not read"
            known = made.get(stream, states.get(stream, ABSENT))
            record = self._codec.record(stream, known.version + 1, event)
            made[stream] = self._states.fold(known, event, stream, record.version, now)
            records.append(record)
        return made, tuple(records)

    def _require_readable(self, records: Sequence[EventRecord]) -> None:
        if self._format is None or self._format.active >= FORMAT:
            return
        wanted = max(FORMAT_OF.get((record.type, record.v), 1) for record in records)
        if wanted > self._format.active:
            raise _Newer(self._format, wanted)

    async def _append(self, decision: _Decision, fence: Fence | None) -> Outcome:
        commit = decision.commit
        self._states.push(commit, decision.made)
        settled = self._settled[commit.id] = anyio.Event()
        began, outcome = time.perf_counter(), "failed"
        try:
            with tracing.span("append") as span:
                acked = await self.log.append(commit, read=decision.read, fence=fence)
                span.set("seq", acked.seq)
            outcome = "repeated" if acked.repeat else "appended"
        except Conflict:
            outcome = "conflict"
            raise
        finally:
            self.on_commit(outcome, len(commit.events), time.perf_counter() - began)
            self._states.drop(commit.id)
            del self._settled[commit.id]
            settled.set()
        return self._outcome(acked.seq, acked.commit, repeat=acked.repeat)

    def _outcome(self, seq: Seq, commit: Commit, *, repeat: bool) -> Outcome:
        return Outcome(position=Position(self.log.region, seq), commit=commit, repeat=repeat)

    def _require_settled(self, assumes: frozenset[CommitId]) -> None:
        """Refuse to answer from what has not landed: wait for it, and decide again."""
        unsettled = [self._settled[commit] for commit in assumes if commit in self._settled]
        if unsettled:
            raise _Unsettled(unsettled)


class _Unsettled(Exception):
    def __init__(self, events: Sequence[anyio.Event]) -> None:
        self.events = events


class _Newer(Exception):
    """The events are of a newer format than the log holds as yet."""

    def __init__(self, format: Format, wanted: int) -> None:
        self.format = format
        self.wanted = wanted


class StaleEtag(Conflict):
    """The object was changed since the caller read it; deciding again would not help."""


def _done_before(outcome: Outcome) -> TriedOut:
    commits = (outcome.commit,) if outcome.commit is not None else ()
    return TriedOut(Tried(position=outcome.position, commits=commits, repeat=True))


def _overtaken(command: Command) -> Conflict:
    return Conflict(f"{command.NAME}: others keep changing the same objects; try again")


def _require_versions(states: Mapping[StreamId, Known], versions: Mapping[StreamId, int]) -> None:
    for stream, version in versions.items():
        if version and states[stream].version != version:
            raise StaleEtag("it was changed since you read it; read it again and retry")


def _require_same(request: Request, digest: str) -> None:
    if request.digest != digest:
        raise AlreadyExists(
            f"request id {request.id} was used for another request; use a new id for each"
        )


def is_ahead(commit: CommitId, now: datetime) -> bool:
    """Whether the time in a UUIDv7 lies further ahead than clocks may differ."""
    made_at = time_of(commit)
    return made_at is not None and made_at > now + AHEAD


def time_of(commit: str) -> datetime | None:
    """Return the time in a UUIDv7, which spares recent requests a look into the read model."""
    digits = commit.replace("-", "")
    if len(digits) != 32 or digits[12] != "7":
        return None
    try:
        return datetime.fromtimestamp(int(digits[:12], 16) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
