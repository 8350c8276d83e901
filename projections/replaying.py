"""Read models of the past, or of another region's log, in a database of their own.

Such a database is marked, so that none that serves a region is ever taken for one.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import asyncpg

from mulligan import __version__
from mulligan.errors import FailedPrecondition, Unavailable
from mulligan.log.protocol import EventLog
from mulligan.projections.models import READ_MODELS
from mulligan.projections.postgres import LOST, Connection, connected
from mulligan.projections.rebuild import Progress, Rebuilder
from mulligan.projections.schema import ReadModel

_LOCK = 0x6D756C6C69676110
_MARK = """
CREATE SCHEMA IF NOT EXISTS mulligan;
CREATE TABLE IF NOT EXISTS mulligan.replay (
    region text NOT NULL,
    log_id text NOT NULL,
    seq bigint NOT NULL,
    release text NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
)
"""
_OTHERS = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1 LIMIT 3
"""


async def replay(
    log: EventLog, dsn: str, models: Sequence[ReadModel] = READ_MODELS
) -> AsyncGenerator[Progress, None]:
    """Fold a log from its first entry to its head into the read models of a database.

    What an earlier replay left there goes. Raise FailedPrecondition for a database that holds
    anything else, Unavailable when it cannot be reached. A read model that cannot fold an event
    ends before it, and its last message is ``failed``.
    """
    try:
        async with connected(dsn) as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                raise Unavailable("another replay into this database is still running")
            await _clear(connection)
            await _mark(connection, log)
            rebuilder = Rebuilder(log, dsn, models=models)
            async with aclosing(rebuilder.rebuild()) as messages:
                async for message in messages:
                    yield _short(message, log)
            await connection.execute("UPDATE mulligan.replay SET ended_at = now()")
    except LOST as error:
        raise Unavailable(f"Postgres is away: {error}") from error
    except (asyncpg.PostgresError, ValueError) as error:
        raise FailedPrecondition(f"the database cannot be used: {error}") from error


def _short(message: Progress, log: EventLog) -> Progress:
    """Call a read model failed that ends before the log does."""
    if not message.finished or message.phase != "swapped" or message.seq >= log.head.seq:
        return message
    detail = f"entry {message.seq + 1} cannot be folded; replay with --check says why"
    return Progress(
        name=message.name,
        seq=message.seq,
        target=log.head.seq,
        events=message.events,
        seconds=message.seconds,
        phase="failed",
        detail=detail,
        finished=True,
    )


async def _clear(connection: Connection) -> None:
    """Drop what an earlier replay left; refuse a database that is not empty besides."""
    if await connection.fetchval("SELECT to_regclass('mulligan.replay')") is None:
        found = [row[0] for row in await connection.fetch(_OTHERS)]
        if found:
            raise FailedPrecondition(
                f"the database holds {', '.join(found)} and is not one that a replay made; make"
                " an empty one (createdb) and name that"
            )
        return
    schemas = await connection.fetch(
        "SELECT nspname FROM pg_namespace WHERE nspname ~ '^(rm_|at_[0-9])'"
    )
    async with connection.transaction():
        for row in schemas:
            await connection.execute(f'DROP SCHEMA "{row[0]}" CASCADE')
        await connection.execute("DROP TABLE IF EXISTS mulligan.projection, mulligan.moment")
        await connection.execute("DELETE FROM mulligan.replay")


async def _mark(connection: Connection, log: EventLog) -> None:
    async with connection.transaction():
        await connection.execute(_MARK)
        await connection.execute(
            "INSERT INTO mulligan.replay (region, log_id, seq, release) VALUES ($1, $2, $3, $4)",
            log.region,
            log.head.log_id,
            log.head.seq,
            __version__,
        )
