"""Read models as they were at an earlier entry, each in a scratch schema ``at_<seq>_<name>``.

Nothing is folded that need not be: a row that no entry touched since is copied from what serves, a
journal is a view that ends at the entry, and only what changed since is folded again, from its
events in the read model of the audit. All is read in one snapshot, so what serves may go on.

The tables are unlogged and so is the list of them: a crash of Postgres empties both at once.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any

import anyio
import msgspec
from msgspec.structs import replace

from mulligan.errors import Corrupt, Unavailable
from mulligan.model import Seq
from mulligan.projections import audit, writing
from mulligan.projections.audited import COLUMNS, event_of, record_of
from mulligan.projections.fold import Occurrence, Poison, TableFold
from mulligan.projections.postgres import Connection
from mulligan.projections.schema import ReadModel, StateTable

_SETUP_LOCK = 0x6D756C6C69676103
_DDL = """
CREATE SCHEMA IF NOT EXISTS mulligan;
CREATE UNLOGGED TABLE IF NOT EXISTS mulligan.moment (
    schema text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    seq bigint NOT NULL,
    log_id text NOT NULL,
    chain text NOT NULL,
    status text NOT NULL DEFAULT 'live',
    problem text NOT NULL DEFAULT '',
    used_at timestamptz NOT NULL DEFAULT now()
)
"""
_SLOW = 3600.0
"""Seconds that copying, indexing or analysing one table may take."""
_KEYS = 2_000
_EVENTS = 5_000
"""Rows are folded for so many keys at once, and their events fetched in such parts."""


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """A moment of a log: after entry ``seq``, whose hash is ``chain``."""

    seq: Seq
    chain: str
    log_id: str

    def schema(self, name: str) -> str:
        """Return the scratch schema of a read model."""
        return f"at_{self.seq}_{name}"


Told = Callable[[int, int], None]
"""Told how many rows were folded again, of how many."""


async def prepare(connection: Connection) -> None:
    """Make the list of scratch schemas, once."""
    if await connection.fetchval("SELECT to_regclass('mulligan.moment')") is not None:
        return
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _SETUP_LOCK)
        await connection.execute(_DDL)


async def build(connection: Connection, scene: Scene, model: ReadModel, told: Told) -> None:
    """Make a read model's scratch schema, unless it is there; one process does, the others wait.

    The lock goes with the connection. Raise Unavailable when what serves is not of this release's
    shape or has not come as far, Corrupt for an event that cannot be folded.
    """
    schema = scene.schema(model.name)
    await connection.execute(
        "SELECT pg_advisory_lock(hashtextextended($1, 0))", schema, timeout=_SLOW
    )
    if await _is_there(connection, scene, schema):
        return
    async with connection.transaction(isolation="repeatable_read"):
        await _require(connection, scene, model)
        await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        await connection.execute("DELETE FROM mulligan.moment WHERE schema = $1", schema)
        await _Make(connection, scene, model, told).run()
        await connection.execute(
            "INSERT INTO mulligan.moment (schema, name, seq, log_id, chain)"
            " VALUES ($1, $2, $3, $4, $5)",
            schema,
            model.name,
            scene.seq,
            scene.log_id,
            scene.chain,
        )


async def _is_there(connection: Connection, scene: Scene, schema: str) -> bool:
    found = await connection.fetchrow(
        "SELECT 1 FROM mulligan.moment m JOIN pg_namespace n ON n.nspname = m.schema"
        " WHERE m.schema = $1 AND m.log_id = $2 AND m.chain = $3",
        schema,
        scene.log_id,
        scene.chain,
    )
    return found is not None


async def _require(connection: Connection, scene: Scene, model: ReadModel) -> None:
    """Refuse to build from read models that are of another shape, log or time."""
    rows = await connection.fetch(
        "SELECT schema, fingerprint, log_id, seq, problem FROM mulligan.projection"
        " WHERE schema = ANY($1::text[])",
        [model.schema, audit.MODEL.schema],
    )
    found = {row["schema"]: row for row in rows}
    for one in {model.name: model, audit.MODEL.name: audit.MODEL}.values():
        row = found.get(one.schema)
        if row is None or row["log_id"] != scene.log_id:
            raise Unavailable(f"the read model {one.name} is being built", 2.0)
        if row["fingerprint"] != one.fingerprint:
            raise Unavailable(f"the read model {one.name} is of another release", 5.0)
        if row["seq"] < scene.seq:
            why = f": {row['problem']}" if row["problem"] else ""
            raise Unavailable(
                f"the read model {one.name} is at {row['seq']}, before entry {scene.seq}{why}"
            )


class _Make:
    """One read model being made, in the caller's transaction."""

    def __init__(self, connection: Connection, scene: Scene, model: ReadModel, told: Told) -> None:
        self._connection = connection
        self._seq = scene.seq
        self._schema = scene.schema(model.name)
        self._model = model
        self._told = told

    async def run(self) -> None:
        folded = replace(self._model, journals=())
        for statement in folded.create(self._schema):
            await self._execute(statement.replace("CREATE TABLE", "CREATE UNLOGGED TABLE", 1))
        for journal in self._model.journals:
            await self._execute(
                f"CREATE VIEW {self._schema}.{journal.name} AS"
                f" SELECT * FROM {self._model.schema}.{journal.name} WHERE seq <= {int(self._seq)}"
            )
        for table in self._model.tables:
            await self._copy(table)
            await self._fold(table)
        for statement in (*folded.index(self._schema), *folded.analyze(self._schema)):
            await self._execute(statement)

    async def _execute(self, statement: str, *values: Any) -> str:
        return await self._connection.execute(statement, *values, timeout=_SLOW)

    async def _copy(self, table: StateTable) -> None:
        """Copy the rows that are as they were then, with their children."""
        live, then = self._model.schema, self._schema
        names = ", ".join(c.name for c in table.all_columns)
        await self._execute(
            f"INSERT INTO {then}.{table.name} ({names})"
            f" SELECT {names} FROM {live}.{table.name} WHERE seq <= $1",
            self._seq,
        )
        for child in table.children:
            names = ", ".join(c.name for c in child.columns)
            of = child.columns[0].name
            await self._execute(
                f"INSERT INTO {then}.{child.name} ({names}) SELECT {names} FROM {live}.{child.name}"
                f" WHERE {of} IN (SELECT key FROM {live}.{table.name} WHERE seq <= $1)",
                self._seq,
            )

    async def _fold(self, table: StateTable) -> None:
        """Fold the rows again that were there then and changed since."""
        where = f"FROM {self._model.schema}.{table.name} WHERE seq > $1 AND created_seq <= $1"
        total = await self._connection.fetchval(f"SELECT count(*) {where}", self._seq)
        if table.key is not None:
            first = await self._connection.fetchval(f"SELECT min(created_seq) {where}", self._seq)
            keys = [
                r["key"] for r in await self._connection.fetch(f"SELECT key {where}", self._seq)
            ]
            if keys:
                await self._fold_keyed(table, keys, first)
            return
        done, after = 0, ""
        while done < total:
            rows = await self._connection.fetch(
                f"SELECT key {where} AND key > $2 ORDER BY key LIMIT {_KEYS}", self._seq, after
            )
            keys = [row["key"] for row in rows]
            await self._fold_streams(table, keys)
            done, after = done + len(keys), keys[-1]
            self._told(done, total)

    async def _fold_streams(self, table: StateTable, keys: Sequence[str]) -> None:
        fold = TableFold(table)
        events = self._events(
            "key = ANY($1::text[]) AND kind = $2 AND seq <= $3 ORDER BY key, version",
            keys,
            table.kind,
            self._seq,
        )
        async with aclosing(events) as parts:
            async for part in parts:
                await anyio.to_thread.run_sync(self._take, fold, part)
        await writing.copy_held(self._connection, self._schema, table, fold.held)

    async def _fold_keyed(self, table: StateTable, keys: Sequence[str], first: Seq) -> None:
        """Fold rows of which a stream has many: their events lie after the oldest row began."""
        fold, wanted = TableFold(table), frozenset(keys)
        events = self._events(
            "seq BETWEEN $1 AND $2 AND kind = $3 AND type = ANY($4::text[]) ORDER BY key, version",
            first,
            self._seq,
            table.kind,
            sorted(table.types),
        )
        async with aclosing(events) as parts:
            async for part in parts:
                await anyio.to_thread.run_sync(self._take, fold, part, wanted)
        await writing.copy_held(self._connection, self._schema, table, fold.held)

    async def _events(self, where: str, *values: Any) -> AsyncGenerator[Sequence[Any], None]:
        """Yield events of the audit, in bounded parts."""
        cursor = await self._connection.cursor(
            f"SELECT seq, {COLUMNS}, at FROM {audit.MODEL.schema}.event WHERE {where}",
            *values,
            timeout=_SLOW,
        )
        while rows := await cursor.fetch(_EVENTS, timeout=_SLOW):
            yield rows

    def _take(
        self, fold: TableFold, rows: Iterable[Any], wanted: frozenset[str] | None = None
    ) -> None:
        found = [self._occurrence(row) for row in rows]
        key_of = fold.table.key
        if wanted is not None and key_of is not None:
            found = [one for one in found if key_of(one[2], one[4]) in wanted]
        try:
            fold.fold(found)
        except Poison as poison:
            raise Corrupt(f"the read model {self._model.name} cannot fold {poison}") from poison

    def _occurrence(self, row: Any) -> Occurrence:
        record = record_of(row)
        return Seq(row["seq"]), row["at"], row["key"], record, event_of(record)


async def note_use(connection: Connection, scene: Scene) -> None:
    """Keep what was made of a moment for another while."""
    await connection.execute("UPDATE mulligan.moment SET used_at = now() WHERE seq = $1", scene.seq)


async def sweep(connection: Connection, log_id: str, *, most: int, idle_s: float) -> int:
    """Drop what lay idle, is of another log, or goes beyond the ``most`` recent moments.

    Return how many schemas were dropped: also those that a crash has left without a note.
    """
    if await connection.fetchval("SELECT to_regclass('mulligan.moment')") is None:
        return 0
    rows = await connection.fetch(
        r"""
        WITH recent AS (
            SELECT seq FROM mulligan.moment GROUP BY seq ORDER BY max(used_at) DESC LIMIT $2
        )
        SELECT coalesce(m.schema, n.nspname) AS schema FROM mulligan.moment m
        FULL JOIN (SELECT nspname::text COLLATE "C" AS nspname FROM pg_namespace
                   WHERE nspname ~ '^at_[0-9]+_[a-z]+$') n ON n.nspname = m.schema
        WHERE m.schema IS NULL OR n.nspname IS NULL OR m.log_id <> $1
            OR m.used_at < now() - make_interval(secs => $3) OR m.seq NOT IN (TABLE recent)
        """,
        log_id,
        most,
        idle_s,
    )
    for row in rows:
        async with connection.transaction():
            await connection.execute(f"DROP SCHEMA IF EXISTS {row['schema']} CASCADE")
            await connection.execute("DELETE FROM mulligan.moment WHERE schema = $1", row["schema"])
    return len(rows)
