"""The read models as they were: made when they are first asked for, shared, and dropped when idle.

The ordinary queries run on them: ``PastDatabase`` names the scratch schemas in the place of those
that serve, and has the read models made that a query names.
"""

import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import anyio
import asyncpg
from anyio.abc import TaskGroup

from mulligan.errors import FailedPrecondition, MulliganError, Unavailable
from mulligan.projections import audit, moment
from mulligan.projections.models import READ_MODELS
from mulligan.projections.moment import Scene
from mulligan.projections.postgres import DROPPED, Connection, connected
from mulligan.projections.schema import ReadModel
from mulligan.queries.database import Database, PoolSettings, Record, Snapshot, translated
from mulligan.queries.freshness import wait_until

KEPT = 8
"""So many moments are kept at most, in the whole region."""
IDLE_S = 600.0
"""A moment that nobody has asked for so long is dropped."""
PATIENCE = 6.0
"""Seconds that a read waits for what it needs to be made; that goes on without it."""
SWEEP_S = 120.0
_TOUCH_S = 60.0
_AT_ONCE = 3
_READS = PoolSettings(acquire=8.0, command=20.0)
"""Reads of the past have connections of their own, so that they keep no other read waiting."""

_MODELS: Mapping[str, ReadModel] = {model.name: model for model in READ_MODELS}
_SCHEMA = re.compile(r"\brm_([a-z]+)\b")


class _Making:
    """A read model that is being made for a moment."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.error: MulliganError | None = None
        self.folded = 0
        self.total = 0

    def told(self, folded: int, total: int) -> None:
        self.folded, self.total = folded, total


class Moments:
    """Makes what reads of the past need, in the background, and drops what nobody needs."""

    def __init__(self, database: Database, log_id: str, *, patience: float = PATIENCE) -> None:
        self._patience = patience
        self.database = database
        self.reads = Database(database.dsn, _READS)
        self._log_id = log_id
        self._tasks: TaskGroup | None = None
        self._making: dict[tuple[Scene, str], _Making] = {}
        self._made: dict[tuple[Scene, str], float] = {}
        self._turns = anyio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Make what is asked for, and drop what is idle, until cancelled."""
        async with self.reads, anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                while True:
                    await anyio.sleep(SWEEP_S)
                    await self._sweep()
            finally:
                self._tasks = None

    def past(self, scene: Scene) -> "PastDatabase":
        """Return the database as it was."""
        return PastDatabase(self, scene)

    async def ensure(self, scene: Scene, names: Iterable[str]) -> None:
        """Return once these read models are made; raise Unavailable if that takes longer."""
        wanted = [name for name in dict.fromkeys(names) if not self.is_made(scene, name)]
        if not wanted:
            return
        waits = [self._start(scene, name) for name in wanted]
        with anyio.move_on_after(self._patience):
            for one in waits:
                await one.done.wait()
        for name, one in zip(wanted, waits, strict=True):
            if not one.done.is_set():
                shown = f", {one.folded} of {one.total} rows" if one.total else ""
                raise Unavailable(
                    f"the read model {name} as of entry {scene.seq} is still being made{shown};"
                    " ask again",
                    1.0,
                )
            if one.error is not None:
                raise one.error

    def forget(self, scene: Scene) -> None:
        """Look again whether what was made of a moment is still there."""
        for key in [key for key in self._made if key[0] == scene]:
            del self._made[key]

    def is_made(self, scene: Scene, name: str) -> bool:
        """Whether a read model was there a moment ago."""
        touched = self._made.get((scene, name))
        return touched is not None and time.monotonic() - touched < _TOUCH_S

    def _start(self, scene: Scene, name: str) -> _Making:
        key = scene, name
        making = self._making.get(key)
        if making is None:
            if self._tasks is None:
                raise Unavailable("this instance is shutting down; another one answers", 0.2)
            making = self._making[key] = _Making()
            self._tasks.start_soon(self._make, scene, name, making)
        return making

    async def _make(self, scene: Scene, name: str, making: _Making) -> None:
        try:
            async with self._turns:
                with translated(), _may_create():
                    if await self._build(scene, name, making):
                        await self._sweep()
        except MulliganError as error:
            making.error = error
        finally:
            del self._making[scene, name]
            making.done.set()

    async def _build(self, scene: Scene, name: str, making: _Making) -> bool:
        """Make it, or see that it is there; tell whether it is the first of its moment here."""
        if (scene, name) not in self._made:
            await wait_until(self.database, dict.fromkeys((name, audit.MODEL.name)), scene.seq)
        async with connected(self.database.dsn) as connection:
            await moment.prepare(connection)
            await moment.build(connection, scene, _MODELS[name], making.told)
            await moment.note_use(connection, scene)
        known = any(other == scene for other, _ in self._made)
        self._made[scene, name] = time.monotonic()
        return not known

    async def _sweep(self) -> None:
        now = time.monotonic()
        for key in [key for key, at in self._made.items() if now - at > IDLE_S]:
            del self._made[key]
        try:
            with translated():
                async with connected(self.database.dsn) as connection:
                    await moment.sweep(connection, self._log_id, most=KEPT, idle_s=IDLE_S)
        except MulliganError:
            return  # Postgres is away: somebody sees to it later
        except asyncpg.PostgresError:
            return  # two swept at once, or a schema is in use: likewise


class PastDatabase(Database):
    """Reads of the read models as they were after one entry; raises as ``Database`` does."""

    def __init__(self, moments: Moments, scene: Scene) -> None:
        reads = moments.reads
        self.dsn, self.settings, self.bell = reads.dsn, reads.settings, reads.bell
        self.scene = scene
        self._reads = reads
        self._moments = moments

    async def fetch(self, query: str, *args: Any) -> Sequence[Record]:
        """Return all rows."""
        for again in (True, False):
            query_then, args_then, names = _then(self.scene, query, args)
            await self._moments.ensure(self.scene, names)
            try:
                return await self._reads.fetch(query_then, *args_then)
            except Unavailable as error:
                if not (again and isinstance(error.__cause__, DROPPED)):
                    raise
                self._moments.forget(self.scene)
        raise AssertionError("it returns or raises")

    def has(self, names: Iterable[str]) -> bool:
        """Whether these read models are made already."""
        return all(self._moments.is_made(self.scene, name) for name in names)

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Hold one connection; the past does not change, so its reads need not see one snapshot.

        They may not: what a later one needs is made only then.
        """
        return self._held()

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[Snapshot]:
        async with self._reads.held("read_committed") as held:
            yield _PastSnapshot(held.connection, self)

    async def made(self, query: str, args: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
        """Return a query as it is to be put to the scratch schemas, once these are there."""
        query_then, args_then, names = _then(self.scene, query, args)
        await self._moments.ensure(self.scene, names)
        return query_then, args_then


class _PastSnapshot(Snapshot):
    def __init__(self, connection: Connection, past: PastDatabase) -> None:
        super().__init__(connection)
        self._past = past

    async def fetch(
        self, query: str, *args: Any, deadline: float | None = None
    ) -> Sequence[Record]:
        """Return all rows; each query sees the one past."""
        query, values = await self._past.made(query, args)
        return await super().fetch(query, *values, deadline=deadline)

    async def execute(self, statements: str) -> None:
        """Run statements, on temporary tables only."""
        statements, _ = await self._past.made(statements, ())
        await super().execute(statements)


def _then(
    scene: Scene, query: str, args: Sequence[Any]
) -> tuple[str, tuple[Any, ...], tuple[str, ...]]:
    """Put the scratch schemas in the place of those that serve; name the read models meant.

    Arguments name schemas only where the checkpoints are asked for; any other is somebody's text.
    """
    names: dict[str, None] = {}

    def schema(found: re.Match[str]) -> str:
        if found[1] not in _MODELS:
            return found[0]
        names[found[1]] = None
        return scene.schema(found[1])

    def value(one: Any) -> Any:
        if isinstance(one, str):
            return _SCHEMA.sub(schema, one) if _SCHEMA.fullmatch(one) else one
        return [value(each) for each in one] if isinstance(one, list | tuple) else one

    query_then = _SCHEMA.sub(schema, query)
    values = tuple(args)
    if "mulligan.projection" in query_then:
        query_then = query_then.replace("mulligan.projection", "mulligan.moment")
        values = tuple(value(one) for one in args)
    return query_then, values, tuple(names)


@contextmanager
def _may_create() -> Iterator[None]:
    """Say what is missing when the role of the services may not make schemas."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        raise FailedPrecondition(
            "reads of the past need scratch schemas, which the services' role may not make: run"
            " GRANT CREATE ON DATABASE <name> TO <role> as the owner of the database"
        ) from error
