"""The lane: the read models that stand at one position and are folded together from one tail."""

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import anyio
import asyncpg

from mulligan.errors import Corrupt
from mulligan.events.codec import Codec
from mulligan.log.protocol import EventLog, Stored
from mulligan.model import Seq
from mulligan.projections import applying, checkpoint, fold
from mulligan.projections.checkpoint import Fenced, Place, place_of
from mulligan.projections.fold import Poison, occurrences
from mulligan.projections.postgres import DROPPED, Connection, lost
from mulligan.projections.schema import ReadModel
from mulligan.projections.status import Batch
from mulligan.projections.stopwatch import Stopwatch
from mulligan.projections.traced import traced

_log = logging.getLogger(__name__)

BATCH_EVENTS = 2_000
"""About so many events are folded at once, so that other tasks get their turn."""


REST_S = 0.03
"""Folding begins at most this often: a busy log is folded in fewer and larger batches."""


class Dropped(Exception):
    """The schema of a read model is gone."""


def slices(batch: Sequence[Stored], most: int = BATCH_EVENTS) -> list[Sequence[Stored]]:
    """Cut a batch so that no slice but one of a single entry has more than ``most`` events."""
    found: list[Sequence[Stored]] = []
    first = events = 0
    for index, stored in enumerate(batch):
        count = sum(len(commit.events) for commit in stored.entry.commits)
        if events and events + count > most:
            found.append(batch[first:index])
            first, events = index, 0
        events += count
    found.append(batch[first:])
    return found


async def advance_one(
    connection: Connection,
    model: ReadModel,
    schema: str,
    before: Place,
    batch: Sequence[Stored],
    codec: Codec,
) -> Place:
    """Fold a batch onto one schema as far as it goes.

    Raise Poison with everything before the bad entry written, Dropped when the schema is gone,
    Fenced when another worker has moved it on.
    """
    events = occurrences(batch, model.kinds, codec)
    try:
        return await applying.apply(connection, model, schema, before, batch, events)
    except DROPPED as error:
        raise Dropped(schema) from error
    except Poison as poison:
        await _require_unmoved(connection, schema, before)
        sound = [stored for stored in batch if stored.seq < poison.seq]
        if sound:
            kept = fold.before(events, poison.seq)
            await applying.apply(connection, model, schema, before, sound, kept)
        raise
    except asyncpg.PostgresError as error:
        if lost(error):
            raise
        if len(batch) == 1:
            raise Poison(batch[0].seq, f"entry {batch[0].seq}: {error}") from error
    for stored in batch:
        before = await advance_one(connection, model, schema, before, [stored], codec)
    return before


async def _require_unmoved(connection: Connection, schema: str, before: Place) -> None:
    """Raise Fenced where another worker has folded on: its rows look like poison to this one."""
    row = await checkpoint.find(connection, schema)
    if row is not None and row.place.seq != before.seq:
        raise Fenced(f"{schema}: not at {before.seq} any more")


async def entries(log: EventLog, after: Place, last: Seq) -> AsyncGenerator[Sequence[Stored], None]:
    """Yield the entries after a place up to ``last``; raise Corrupt on another chain."""
    if last <= after.seq:
        return
    async with aclosing(log.read(Seq(after.seq + 1), last)) as batches:
        prev = after.chain
        async for batch in batches:
            if batch[0].entry.prev != prev:
                raise Corrupt(
                    f"log entry {batch[0].seq} does not continue from what was folded: this is"
                    " another log, or the chain is broken"
                )
            prev = batch[-1].hash
            for part in slices(batch):
                yield part


class Lane:
    """Folds the tail onto every admitted read model; each leaves by itself when it cannot go on.

    ``on_leave`` is told of each that leaves, with the reason.
    """

    def __init__(
        self,
        log: EventLog,
        connection: Connection,
        codec: Codec,
        start: Place,
        on_leave: Callable[[ReadModel, Exception], None],
        on_advance: Callable[[ReadModel, Place, Batch | None], None],
    ) -> None:
        self.place = start
        self._log = log
        self._connection = connection
        self._codec = codec
        self._on_leave = on_leave
        self._on_advance = on_advance
        self._models: list[ReadModel] = []
        self._turn = anyio.Lock()
        self._moved = anyio.Event()

    async def run(self) -> None:
        """Fold until cancelled; raise what the log or Postgres cannot recover from by itself."""
        async with aclosing(self._log.tail(self.place.seq, self.place.chain)) as batches:
            async for batch in batches:
                next_at = anyio.current_time() + REST_S
                for part in slices(batch):
                    async with self._turn:
                        with traced(part):
                            await self._fold(part)
                await anyio.sleep_until(next_at)

    async def admit(self, connection: Connection, model: ReadModel, place: Place) -> None:
        """Bring a read model from ``place`` up to the lane and into it; raise as advance_one."""
        while place.seq > self.place.seq:
            await self._moved.wait()
        while self.place.seq - place.seq > BATCH_EVENTS:
            place = await self._catch_up(connection, model, place)
        async with self._turn:
            place = await self._catch_up(connection, model, place)
            if place.chain != self.place.chain:
                raise Corrupt(f"{model.name} was folded from another log")
            self._models.append(model)

    def expel(self, model: ReadModel) -> bool:
        """Fold no more onto a read model; tell whether it was admitted."""
        if model not in self._models:
            return False
        self._models.remove(model)
        return True

    async def _catch_up(self, connection: Connection, model: ReadModel, place: Place) -> Place:
        async with aclosing(entries(self._log, place, self.place.seq)) as parts:
            async for part in parts:
                place = await advance_one(connection, model, model.schema, place, part, self._codec)
                self._on_advance(model, place, None)
        return place

    async def _fold(self, batch: Sequence[Stored]) -> None:
        before, after = self.place, place_of(batch[-1])
        kinds = frozenset(kind for model in self._models for kind in model.kinds)
        watch = Stopwatch(batch)
        events = occurrences(batch, kinds, self._codec)
        watch.folded()
        idle: list[ReadModel] = []
        for model in tuple(self._models):
            try:
                watch.begin()
                prepared = await applying.prepare(
                    self._connection, model, model.schema, batch, events
                )
                if prepared.empty:
                    idle.append(model)
                    continue
                watch.folded()
                await applying.commit(self._connection, prepared, model.schema, before, after)
                self._on_advance(model, after, watch.written())
            except (Poison, checkpoint.Fenced, asyncpg.PostgresError) as error:
                if lost(error):
                    raise
                await self._alone(model, before, batch, error)
        await self._advance_idle(idle, before, after, watch)
        self.place = after
        self._moved.set()
        self._moved = anyio.Event()

    async def _advance_idle(
        self, idle: Sequence[ReadModel], before: Place, after: Place, watch: Stopwatch
    ) -> None:
        if not idle:
            return
        try:
            watch.begin()
            async with self._connection.transaction():
                await checkpoint.advance(
                    self._connection, {model.schema: model for model in idle}, before, after
                )
            for model in idle:
                self._on_advance(model, after, watch.written())
        except checkpoint.Fenced as error:
            if len(idle) == 1:
                await self._leave(idle[0], error)
                return
            for model in idle:
                await self._advance_idle([model], before, after, watch)

    async def _alone(
        self, model: ReadModel, before: Place, batch: Sequence[Stored], error: Exception
    ) -> None:
        """Take a batch that failed as a whole as far as it goes."""
        if isinstance(error, checkpoint.Fenced):
            await self._leave(model, error)
            return
        try:
            place = await advance_one(
                self._connection, model, model.schema, before, batch, self._codec
            )
            self._on_advance(model, place, None)
        except (Poison, Dropped, checkpoint.Fenced) as reason:
            await self._leave(model, reason)

    async def _leave(self, model: ReadModel, reason: Exception) -> None:
        if not self.expel(model):
            return
        _log.error("read model left the lane", extra={"model": model.name, "problem": str(reason)})
        self._on_leave(model, reason)
