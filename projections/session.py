"""One stretch of the worker's work, for as long as its connection and the log hold."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing

import anyio
import asyncpg

from mulligan.errors import Corrupt
from mulligan.events.codec import Codec
from mulligan.log.protocol import EventLog
from mulligan.model import Seq
from mulligan.projections import building, checkpoint, standby
from mulligan.projections.checkpoint import ORIGIN, Checkpoint, Fenced, Place
from mulligan.projections.fold import Poison
from mulligan.projections.lane import Dropped, Lane
from mulligan.projections.postgres import Connection, connected
from mulligan.projections.rebuild import Rebuilder
from mulligan.projections.schema import ReadModel
from mulligan.projections.status import Batch, Building, Seen

_log = logging.getLogger(__name__)

_STARTS_EMPTY = 1_000
"""Entries of a log that is folded by the tail rather than built in bulk when there is no schema."""
_SIDE_CONNECTIONS = 3


class Session:
    """Brings every read model into the lane, and back into it when it falls out."""

    def __init__(
        self,
        log: EventLog,
        dsn: str,
        models: Sequence[ReadModel],
        codec: Codec,
        seen: Mapping[str, Seen],
        look_every: float,
        on_batch: Callable[[str, Batch], None],
        built_ahead: anyio.Event,
    ) -> None:
        self._built_ahead = built_ahead
        self._log = log
        self._dsn = dsn
        self._models = tuple(models)
        self._codec = codec
        self._seen = seen
        self._look_every = look_every
        self._on_batch = on_batch
        self._left: dict[str, Exception] = {}
        self._leaving = {model.name: anyio.Event() for model in models}
        self._building = anyio.Lock()
        self._side = anyio.Semaphore(_SIDE_CONNECTIONS)

    async def run(self, connection: Connection) -> None:
        """Work until something that concerns all read models goes wrong, and raise that."""
        start = await self._start(connection)
        lane = Lane(self._log, connection, self._codec, start, self._on_leave, self._on_advance)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._fold, lane, name="projections: lane")
            tasks.start_soon(self._look, lane, name="projections: look")
            for model in self._models:
                tasks.start_soon(self._keep, lane, model, name=f"projections: {model.name}")

    async def _start(self, connection: Connection) -> Place:
        """Return where the lane begins: where the foremost read model stands."""
        places = []
        for model in self._models:
            row = await checkpoint.find(connection, model.schema)
            if row is not None and row.serves(model) and row.log_id == self._log.head.log_id:
                places.append(row.place)
        if places:
            return max(places, key=lambda place: place.seq)
        head = self._log.head
        return ORIGIN if head.seq <= _STARTS_EMPTY else Place(head.seq, head.hash)

    async def _fold(self, lane: Lane) -> None:
        try:
            await lane.run()
        except Corrupt as error:
            for model in self._models:
                await self._halt(model, error)
            raise

    async def _keep(self, lane: Lane, model: ReadModel) -> None:
        seen = self._seen[model.name]
        while True:
            self._leaving[model.name] = leaving = anyio.Event()
            try:
                async with self._side, connected(self._dsn) as connection:
                    place = await self._ready(connection, model)
                    self._on_advance(model, place, None)
                    await lane.admit(connection, model, place)
                    await checkpoint.revive(connection, model)
                seen.settle("live")
                await leaving.wait()
                seen.status = "catching-up"
                raise self._left.pop(model.name)
            except Dropped:
                _log.warning("read model was dropped", extra={"model": model.name})
            except Fenced:
                if not await self._dropped(model):
                    raise
            except (Poison, Corrupt) as error:
                await self._halt(model, error)
                await seen.retry.wait()
                seen.status = "catching-up"
            seen.retry = anyio.Event()

    async def _ready(self, connection: Connection, model: ReadModel) -> Place:
        """Return where the serving schema stands, after making it if need be."""
        row = await checkpoint.find(connection, model.schema)
        if row is None or row.outdated(model):
            row = await self._made(connection, model)
        if not row.serves(model):
            raise Corrupt(row.disowned)
        if row.log_id != self._log.head.log_id:
            raise Corrupt(
                f"{model.name} was folded from log {row.log_id}, this is {self._log.head.log_id};"
                " `mulligan rebuild` folds it from this one"
            )
        return row.place

    async def _made(self, connection: Connection, model: ReadModel) -> Checkpoint:
        """Create what is missing, or build it and all the others that need it in one pass."""
        async with self._building:
            await self._built_ahead.wait()
            missing = []
            for one in self._models:
                row = await checkpoint.find(connection, one.schema)
                if row is None and self._log.head.seq <= _STARTS_EMPTY:
                    await self._create(connection, one)
                elif row is None or row.outdated(one):
                    missing.append(one.name)
            problems = await self._build(missing) if missing else {}
            row = await checkpoint.find(connection, model.schema)
        if row is None or row.outdated(model):
            raise Corrupt(problems.get(model.name) or f"{model.name} could not be built")
        return row

    async def _create(self, connection: Connection, model: ReadModel) -> None:
        try:
            await building.create_empty(connection, model, self._log.head.log_id)
        except asyncpg.DuplicateSchemaError:
            _log.info("read model was created by another", extra={"model": model.name})

    async def _build(self, names: Sequence[str]) -> dict[str, str]:
        """Build read models beside what serves; return the problems of those that failed."""
        problems: dict[str, str] = {}
        rebuilder = Rebuilder(self._log, self._dsn, models=self._models, codec=self._codec)
        _log.info("read models are being built", extra={"models": list(names)})
        versions = {model.name: model.version for model in self._models}
        head = self._log.head.seq
        for name in names:
            self._seen[name].building = Building(version=versions[name], seq=Seq(0), target=head)
        try:
            async with aclosing(rebuilder.rebuild(names)) as messages:
                async for one in messages:
                    if one.phase == "failed":
                        problems[one.name] = one.detail
                    at = Building(version=versions[one.name], seq=one.seq, target=one.target)
                    self._seen[one.name].building = None if one.finished else at
        finally:
            for name in names:
                self._seen[name].building = None
        return problems

    async def _look(self, lane: Lane) -> None:
        """Notice schemas that were dropped, even while no event touches them.

        One that was made anew meanwhile, with others that were missing, stands behind its lane.
        Raise GaveWay where a newer release's serve and another worker waits, which may be of that.
        """
        async with connected(self._dsn) as connection:
            while True:
                await anyio.sleep(self._look_every)
                least = {model.name: self._seen[model.name].place.seq for model in self._models}
                found = await connection.fetch(
                    "SELECT p.schema, p.seq, p.version FROM mulligan.projection p"
                    " JOIN pg_namespace n ON n.nspname = p.schema WHERE p.schema = ANY($1::text[])",
                    [model.schema for model in self._models],
                )
                there = {row["schema"]: row["seq"] for row in found}
                for model in self._models:
                    gone = there.get(model.schema, -1) < least[model.name]
                    if gone and lane.expel(model):
                        self._on_leave(model, Dropped(model.schema))
                versions = {row["schema"]: row["version"] for row in found}
                if any(versions.get(one.schema, 0) > one.version for one in self._models):
                    await standby.give_way(connection)

    async def _dropped(self, model: ReadModel) -> bool:
        async with connected(self._dsn) as connection:
            return await checkpoint.find(connection, model.schema) is None

    async def _halt(self, model: ReadModel, error: Exception) -> None:
        seen = self._seen[model.name]
        _log.error("read model halted", extra={"model": model.name, "problem": str(error)})
        async with connected(self._dsn) as connection:
            place = await checkpoint.halt(connection, model, str(error))
        if place is not None:
            self._on_advance(model, place, None)
        seen.settle("halted", str(error))

    def _on_advance(self, model: ReadModel, place: Place, batch: Batch | None) -> None:
        self._seen[model.name].advance(place, batch)
        if batch is not None:
            self._on_batch(model.name, batch)

    def _on_leave(self, model: ReadModel, reason: Exception) -> None:
        self._left[model.name] = reason
        self._leaving[model.name].set()
