"""Building read models from the log's first entry: fold in memory, COPY the final rows, index.

What changes is held in memory until its end: about 1.5 kB an object ever created. Journals are
copied as they come and need none.
"""

import gc
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing

import anyio

from mulligan.events.codec import Codec
from mulligan.log.protocol import EventLog, Stored
from mulligan.model import Seq
from mulligan.projections import checkpoint, teams, writing
from mulligan.projections.checkpoint import ORIGIN, Checkpoint, Place, place_of
from mulligan.projections.crew import Crew, Folding
from mulligan.projections.fold import ModelFold, Occurrences, Poison, occurrences
from mulligan.projections.lane import entries
from mulligan.projections.postgres import Connection, connected, ungrouped
from mulligan.projections.schema import ReadModel

_SLOW = 3600.0
"""Seconds that indexing and analysing one table may take."""
_BUILDS_FASTER = 4
"""An entry is built in so much less time than it is caught up with."""


class Draft:
    """One read model being built in a schema of its own, up to its ``target``."""

    def __init__(self, model: ReadModel, target: Seq, connection: Connection) -> None:
        self.model = model
        self.schema = model.build_schema
        self.target = target
        self.place = ORIGIN
        self._connection = connection
        self._fold = ModelFold(model)
        self._rows: list[list[bytes]] = [[] for _ in model.journals]
        self._bytes = 0

    async def create(self) -> None:
        """Make the bare tables, in place of what an earlier attempt left."""
        await self.discard()
        for statement in self.model.create(self.schema):
            await self._connection.execute(statement)

    async def discard(self) -> None:
        """Drop the schema."""
        await self._connection.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")

    def take(self, batch: Sequence[Stored], events: Occurrences) -> None:
        """Fold a batch, unless it lies behind the target; raise Poison, which voids the draft."""
        if batch[0].seq > self.target:
            return
        self._fold.fold(events)
        self.place = place_of(batch[-1])
        for journal, rows in zip(self.model.journals, self._rows, strict=True):
            rows += map(journal.encode, batch)

    def take_rows(self) -> list[list[bytes]]:
        """Return the journals' rows that were not sent yet, to be sent."""
        rows, self._rows = self._rows, [[] for _ in self.model.journals]
        return rows

    async def send(self, rows: list[list[bytes]]) -> None:
        """Send rows of the journals."""
        for journal, encoded in zip(self.model.journals, rows, strict=True):
            await writing.copy_journal(self._connection, self.schema, journal, encoded)

    async def finish(self, log_id: str) -> None:
        """Write the rows, index and analyse them, and note the position."""
        connection = self._connection
        await self.send(self.take_rows())
        for table in self._fold.tables:
            await writing.copy_held(connection, self.schema, table.table, table.held)
            table.held.clear()
        for statement in self.model.index(self.schema):
            await connection.execute(statement, timeout=_SLOW)
        for statement in self.model.analyze(self.schema):
            await connection.execute(statement, timeout=_SLOW)
        await checkpoint.put(
            connection, self.model, self.schema, self.place, log_id, status="building"
        )


class Drafts:
    """Read models being built by this process, in one pass over parts of the log.

    Each is written over a connection and in a transaction of its own, so that Postgres copies and
    indexes one while the others go on. A read model that cannot fold an event is left out, and
    named in ``poisoned``.
    """

    def __init__(self, dsn: str, targets: Mapping[ReadModel, Seq], codec: Codec) -> None:
        self.poisoned: dict[ReadModel, Poison] = {}
        self._dsn = dsn
        self._targets = targets
        self._codec = codec
        self._drafts: list[Draft] = []

    async def run(
        self, parts: AsyncGenerator[Sequence[Stored], None], log_id: str
    ) -> AsyncGenerator[Folding, None]:
        """Build, telling of each step; what is not finished leaves nothing behind."""
        events = 0
        async with AsyncExitStack() as stack:
            stack.callback(gc.unfreeze)
            await self._open(stack)
            part = await anext(parts, None)
            while part is not None:
                seq = part[-1].seq
                events += count(part)
                part = await self._step(part, parts)
                yield Folding(seq=seq, events=events, phase="folding")
            last = max((draft.target for draft in self._drafts), default=ORIGIN.seq)
            yield Folding(seq=last, events=events, phase="writing")
            await self._finish(log_id)

    async def _open(self, stack: AsyncExitStack) -> None:
        for model, target in self._targets.items():
            draft = Draft(model, target, await self._transaction(stack))
            await draft.create()
            self._drafts.append(draft)

    async def _transaction(self, stack: AsyncExitStack) -> Connection:
        connection = await stack.enter_async_context(connected(self._dsn))
        await connection.execute("SET maintenance_work_mem = '256MB'")
        await stack.enter_async_context(connection.transaction())
        return connection

    async def _step(
        self, part: Sequence[Stored], parts: AsyncGenerator[Sequence[Stored], None]
    ) -> Sequence[Stored] | None:
        """Fold a part while the rows of the one before are sent and the next one is read."""
        with ungrouped():
            async with anyio.create_task_group() as tasks:
                for draft in self._drafts:
                    if draft.model.journals:
                        tasks.start_soon(draft.send, draft.take_rows())
                tasks.start_soon(anyio.to_thread.run_sync, self._fold, part)
                following = await anext(parts, None)
        for draft in tuple(self._drafts):
            if draft.model in self.poisoned:
                self._drafts.remove(draft)
                await draft.discard()
        return following

    def _fold(self, part: Sequence[Stored]) -> None:
        kinds = frozenset(kind for draft in self._drafts for kind in draft.model.kinds)
        found = occurrences(part, kinds, self._codec)
        for draft in self._drafts:
            try:
                draft.take(part, found)
            except Poison as poison:
                self.poisoned[draft.model] = poison
        gc.freeze()  # what is folded stays: let the collector not walk it again

    async def _finish(self, log_id: str) -> None:
        """Write and index, the journals first, for theirs are the largest indices."""
        with ungrouped():
            async with anyio.create_task_group() as tasks:
                for draft in sorted(self._drafts, key=lambda draft: not draft.model.journals):
                    tasks.start_soon(draft.finish, log_id)


def count(part: Sequence[Stored]) -> int:
    """Return how many events there are in entries."""
    return sum(len(commit.events) for stored in part for commit in stored.entry.commits)


class Build:
    """Builds the schemas ``rm_<name>_v<N>`` up to their targets, all in one pass over the log.

    A long log is folded by several processes, each with some of the read models; ``processes``
    says how many, None to let the log's length and this process's processors decide. A read model
    that cannot fold an event is left out, and named in ``poisoned`` once the build has run.
    """

    def __init__(
        self,
        dsn: str,
        log: EventLog,
        targets: Mapping[ReadModel, Seq],
        codec: Codec,
        *,
        processes: int | None = None,
    ) -> None:
        self.poisoned: dict[ReadModel, Poison] = {}
        self._dsn = dsn
        self._log = log
        self._targets = targets
        self._codec = codec
        self._processes = processes

    async def run(self) -> AsyncGenerator[Folding, None]:
        """Build, telling of each step; what is not finished leaves nothing behind."""
        divided = await self._teams()
        drafts: Drafts | Crew = Drafts(self._dsn, self._targets, self._codec)
        if len(divided) > 1:
            drafts = Crew(self._dsn, [{m: self._targets[m] for m in team} for team in divided])
        async with (
            aclosing(self._parts()) as parts,
            aclosing(drafts.run(parts, self._log.head.log_id)) as steps,
        ):
            async for step in steps:
                yield step
        self.poisoned = drafts.poisoned

    async def _teams(self) -> Sequence[Sequence[ReadModel]]:
        models = tuple(self._targets)
        if not self._codec.own or not all(map(teams.known, models)):
            return [models]  # another process could not be told of them
        processes = self._processes
        if processes is None:
            last = max(self._targets.values(), default=ORIGIN.seq)
            processes = teams.processes(await teams.events_before(self._log, last))
        return teams.divided(models, processes)

    async def _parts(self) -> AsyncGenerator[Sequence[Stored], None]:
        """Yield the log in parts that no target lies within."""
        place = ORIGIN
        for edge in sorted(set(self._targets.values())):
            async with aclosing(entries(self._log, place, edge)) as parts:
                async for part in parts:
                    yield part
                    place = place_of(part[-1])


async def create_empty(connection: Connection, model: ReadModel, log_id: str) -> Place:
    """Make the serving schema, indexed and empty, at the log's origin."""
    async with connection.transaction():
        for statement in [*model.create(model.schema), *model.index(model.schema)]:
            await connection.execute(statement)
        await checkpoint.put(connection, model, model.schema, ORIGIN, log_id)
    return ORIGIN


async def swap(connection: Connection, model: ReadModel, place: Place, log_id: str) -> None:
    """Let the built schema serve, and keep what served as ``rm_<name>_old``; in a transaction.

    The row of the serving schema is updated in place: a worker that waits for it goes on.
    """
    live, built, old = model.schema, model.build_schema, model.old_schema
    served = await checkpoint.find(connection, live)
    if served is not None:
        await connection.execute(f"DROP SCHEMA IF EXISTS {old} CASCADE")
        await connection.execute(f"ALTER SCHEMA {live} RENAME TO {old}")
        await checkpoint.forget(connection, old)
        await connection.execute(
            "INSERT INTO mulligan.projection SELECT $2, name, version, fingerprint, log_id, seq,"
            " chain, at, 'old', problem FROM mulligan.projection WHERE schema = $1",
            live,
            old,
        )
    await connection.execute(f"ALTER SCHEMA {built} RENAME TO {live}")
    await checkpoint.forget(connection, built)
    await checkpoint.put(connection, model, live, place, log_id)


async def is_ahead(connection: Connection, model: ReadModel, log_id: str, head: Seq) -> bool:
    """Tell whether the built schema was built ahead, and is of use; as ``take_back``."""
    row = await checkpoint.find(connection, model.build_schema)
    return row is not None and _of_use(row, model, log_id, head)


def _of_use(row: Checkpoint, model: ReadModel, log_id: str, head: Seq) -> bool:
    if not row.serves(model) or row.log_id != log_id:
        return False
    return row.place.seq <= head and (head - row.place.seq) * _BUILDS_FASTER <= head


async def take_back(connection: Connection, model: ReadModel, log_id: str, head: Seq) -> bool:
    """Make what served before the last swap the built schema, if it is of use; tell whether.

    So a release that was rolled back, or forward again, need not build anew what was kept. What
    is far behind is no use: building folds several times as fast as catching up.
    """
    async with connection.transaction():
        old = await checkpoint.find(connection, model.old_schema)
        if old is None or not _of_use(old, model, log_id, head):
            return False
        await connection.execute(f"DROP SCHEMA IF EXISTS {model.build_schema} CASCADE")
        await connection.execute(f"ALTER SCHEMA {model.old_schema} RENAME TO {model.build_schema}")
        await checkpoint.move(connection, model.old_schema, model.build_schema, "building")
    return True
