"""Rebuilding: a read model anew beside the live one, compared at one position, swapped in."""

import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing

import anyio
import msgspec

from mulligan.errors import Unavailable
from mulligan.events.codec import Codec
from mulligan.log.protocol import EventLog
from mulligan.model import Seq
from mulligan.projections import building, checkpoint, hashes
from mulligan.projections.checkpoint import Checkpoint, Place
from mulligan.projections.fold import Poison
from mulligan.projections.hashes import Hashes
from mulligan.projections.lane import advance_one, entries
from mulligan.projections.models import READ_MODELS, named
from mulligan.projections.postgres import CHANNEL, LOST, Connection, connected, ungrouped
from mulligan.projections.schema import ReadModel

_BUILD_LOCK = 0x6D756C6C69676102
_TURN_PATIENCE = 600.0
"""Seconds to wait for another rebuild to end."""
_CLOSE = 100
"""A build this few entries behind the live one makes it wait for the rest."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where the rebuild of one read model stands.

    ``phase``: folding, writing, comparing, equal, different, swapped, failed. ``detail`` names the
    tables that differ, or the problem. ``finished`` marks the last message of a read model.
    """

    name: str
    seq: Seq
    target: Seq
    events: int
    seconds: float
    phase: str
    detail: str = ""
    finished: bool = False


class Rebuilder:
    """Rebuilds read models, in any process: it meets the worker in Postgres alone."""

    def __init__(
        self,
        log: EventLog,
        dsn: str,
        *,
        models: Sequence[ReadModel] = READ_MODELS,
        codec: Codec | None = None,
        processes: int | None = None,
    ) -> None:
        self._processes = processes
        self._log = log
        self._dsn = dsn
        self._models = tuple(models)
        self._codec = codec or Codec()

    async def rebuild(
        self, names: Iterable[str] = (), *, verify: bool = False
    ) -> AsyncGenerator[Progress, None]:
        """Build from the log's first entry, compare with what serves, and swap.

        With ``verify`` only compare. A schema that was dropped has nothing to be compared with.
        Raise NotFound for an unknown name, Unavailable when Postgres or the log is away.
        """
        models = named(names, self._models)
        try:
            async with AsyncExitStack() as stack:
                connection = await stack.enter_async_context(connected(self._dsn))
                await checkpoint.prepare(connection)
                await _take_turn(connection)
                run = _Run(self._log, connection, self._dsn, self._codec, self._processes, verify)
                async with aclosing(run.go(models)) as messages:
                    async for message in messages:
                        yield message
        except LOST as error:
            raise Unavailable(f"Postgres is away: {error}") from error

    async def build_ahead(self) -> AsyncGenerator[Progress, None]:
        """Have every read model built beside what serves, up to the head, and swap nothing.

        What was built ahead before is brought up to the head. Raise as ``rebuild`` does.
        """
        try:
            async with connected(self._dsn) as connection:
                await checkpoint.prepare(connection)
                await _take_turn(connection)
                run = _Run(self._log, connection, self._dsn, self._codec, self._processes, False)
                async with aclosing(run.ahead(self._models)) as messages:
                    async for message in messages:
                        yield message
        except LOST as error:
            raise Unavailable(f"Postgres is away: {error}") from error

    async def table_hashes(self, name: str) -> Hashes | None:
        """Return the hashes of what serves, and the position they are of; None when dropped."""
        (model,) = named([name], self._models)
        async with connected(self._dsn) as connection:
            return await hashes.table_hashes(connection, model, model.schema)

    async def drop(self, names: Iterable[str] = ()) -> None:
        """Drop what serves; a running worker notices and builds it again from the log."""
        async with connected(self._dsn) as connection:
            for model in named(names, self._models):
                await connection.execute(f"DROP SCHEMA IF EXISTS {model.schema} CASCADE")


async def _take_turn(connection: Connection) -> None:
    """Let one rebuild run at a time; the turn ends with the connection."""
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _BUILD_LOCK, timeout=_TURN_PATIENCE)
    except TimeoutError as error:
        raise Unavailable("another rebuild is still running; try again when it is done") from error


class _Run:
    def __init__(
        self,
        log: EventLog,
        connection: Connection,
        dsn: str,
        codec: Codec,
        processes: int | None,
        verify: bool,
    ) -> None:
        self._processes = processes
        self._log = log
        self._connection = connection
        self._dsn = dsn
        self._codec = codec
        self._verify = verify
        self._began = time.monotonic()
        self._events = 0

    async def go(self, models: Sequence[ReadModel]) -> AsyncGenerator[Progress, None]:
        """Build all in one pass; then compare and swap them one after the other."""
        served = {m.name: await checkpoint.find(self._connection, m.schema) for m in models}
        targets = {m: self._target(m, served[m.name]) for m in models}
        for model in [m for m in models if await self._kept(m, served[m.name])]:
            target = targets.pop(model)
            yield self._progress(model, target, target, "folding", "what was built ahead, or kept")
            async with aclosing(self._settle(model, target, served[model.name])) as messages:
                async for message in messages:
                    yield message
        while targets:
            build = building.Build(
                self._dsn, self._log, targets, self._codec, processes=self._processes
            )
            async with aclosing(build.run()) as steps:
                async for step in steps:
                    self._events = step.events
                    for model, target in targets.items():
                        seq = Seq(min(step.seq, target))
                        yield self._progress(model, seq, target, step.phase)
            for model, target in targets.items():
                if model in build.poisoned:
                    poison = build.poisoned[model]
                    if served[model.name] is not None or self._verify:
                        yield self._failed(model, poison, target)
                    continue
                async with aclosing(self._settle(model, target, served[model.name])) as messages:
                    async for message in messages:
                        yield message
            targets = {
                model: Seq(poison.seq - 1)
                for model, poison in build.poisoned.items()
                if served[model.name] is None and not self._verify
            }

    async def ahead(self, models: Sequence[ReadModel]) -> AsyncGenerator[Progress, None]:
        """Build what is not built, and bring all of it up to the head."""
        head = self._log.head
        targets = {
            model: head.seq
            for model in models
            if not await building.is_ahead(self._connection, model, head.log_id, head.seq)
        }
        build = building.Build(
            self._dsn, self._log, targets, self._codec, processes=self._processes
        )
        if targets:
            async with aclosing(build.run()) as steps:
                async for step in steps:
                    self._events = step.events
                    for model, target in targets.items():
                        yield self._progress(model, step.seq, target, step.phase)
        for model in models:
            target = self._log.head.seq
            try:
                if model in build.poisoned:
                    raise build.poisoned[model]
                await self._catch_up(model, target)
            except Poison as poison:
                yield self._failed(model, poison, target)
            else:
                yield self._progress(model, target, target, "ahead", finished=True)

    async def _kept(self, model: ReadModel, served: Checkpoint | None) -> bool:
        """Tell whether what was built ahead, or served before the last swap, is what is wanted."""
        if served is None or self._alike(model, served) or self._verify:
            return False
        head = self._log.head
        if await building.is_ahead(self._connection, model, head.log_id, head.seq):
            return True
        return await building.take_back(self._connection, model, head.log_id, head.seq)

    def _failed(self, model: ReadModel, poison: Poison, target: Seq) -> Progress:
        return self._progress(model, poison.seq, target, "failed", str(poison), finished=True)

    def _target(self, model: ReadModel, served: Checkpoint | None) -> Seq:
        """Stop where the live one stands: it can only be ahead when they are compared."""
        return served.place.seq if served and self._alike(model, served) else self._log.head.seq

    def _alike(self, model: ReadModel, served: Checkpoint) -> bool:
        return served.serves(model) and self._is_of_this_log(served)

    def _is_of_this_log(self, served: Checkpoint) -> bool:
        """Tell whether it has seen nothing that a loss gave up."""
        return served.log_id == self._log.head.log_id

    async def _settle(
        self, model: ReadModel, target: Seq, served: Checkpoint | None
    ) -> AsyncGenerator[Progress, None]:
        detail, phase = "", "equal"
        if served is not None and self._alike(model, served):
            yield self._progress(model, target, target, "comparing")
            differing = await self._compare(model)
            phase = "different" if differing else "equal"
            detail = ", ".join(differing)
            yield self._progress(model, target, target, phase, detail, finished=self._verify)
        elif self._verify:
            yield self._progress(
                model, target, target, "different", "nothing serves", finished=True
            )
        if self._verify:
            await self._discard(model)
            return
        try:
            place = await self._swap(model)
        except Poison as poison:
            yield self._failed(model, poison, target)
            return
        yield self._progress(model, place.seq, place.seq, "swapped", detail, finished=True)

    async def _compare(self, model: ReadModel) -> list[str]:
        """Return the tables that differ at the live one's position of this moment."""
        async with connected(self._dsn) as other, hashes.snapshot(other) as live:
            seq = await live.seq(model.schema)
            if seq is None:
                return ["everything: it was dropped meanwhile"]
            await self._catch_up(model, seq)
            found: dict[str, Hashes] = {}

            async def hash_live() -> None:
                found["live"] = await live.hashes(model, model.schema)

            with ungrouped():
                async with (
                    anyio.create_task_group() as tasks,
                    hashes.snapshot(self._connection) as built,
                ):
                    tasks.start_soon(hash_live)
                    found["built"] = await built.hashes(model, model.build_schema)
        return found["live"].differing(found["built"])

    async def _catch_up(self, model: ReadModel, last: Seq) -> Place:
        place = await self._place(model)
        async with aclosing(entries(self._log, place, last)) as parts:
            async for part in parts:
                place = await advance_one(
                    self._connection, model, model.build_schema, place, part, self._codec
                )
        return place

    async def _swap(self, model: ReadModel) -> Place:
        """Swap at the live one's very position, so that its worker goes on without noticing.

        Where nothing serves, a bad event is no hindrance: the worker will halt at it.
        """
        try:
            place = await self._catch_up(model, await self._aim(model))
            while await self._aim(model) - place.seq > _CLOSE:
                place = await self._catch_up(model, await self._aim(model))
        except Poison:
            if await checkpoint.find(self._connection, model.schema) is not None:
                raise
            place = await self._place(model)
        async with self._connection.transaction():
            served = await checkpoint.lock(self._connection, model.schema)
            if served is not None and self._is_of_this_log(served) and served.place.seq > place.seq:
                place = await self._catch_up(model, served.place.seq)
            await building.swap(self._connection, model, place, self._log.head.log_id)
        await self._connection.execute(
            "SELECT pg_notify($1, $2)", CHANNEL, f"{model.name} {place.seq} swapped"
        )
        return place

    async def _place(self, model: ReadModel) -> Place:
        row = await checkpoint.find(self._connection, model.build_schema)
        assert row is not None, "it was built"
        return row.place

    async def _aim(self, model: ReadModel) -> Seq:
        served = await checkpoint.find(self._connection, model.schema)
        if served is None or not self._alike(model, served):
            return self._log.head.seq
        return served.place.seq

    async def _discard(self, model: ReadModel) -> None:
        async with self._connection.transaction():
            await self._connection.execute(f"DROP SCHEMA {model.build_schema} CASCADE")
            await checkpoint.forget(self._connection, model.build_schema)

    def _progress(
        self,
        model: ReadModel,
        seq: Seq,
        target: Seq,
        phase: str,
        detail: str = "",
        *,
        finished: bool = False,
    ) -> Progress:
        return Progress(
            name=model.name,
            seq=seq,
            target=target,
            events=self._events,
            seconds=time.monotonic() - self._began,
            phase=phase,
            detail=detail,
            finished=finished,
        )
