"""Table ``mulligan.projection``: how far each read model is folded, and how it fares.

A row belongs to a schema. The worker moves it on in the transaction that writes the rows, from
the very position it folded from: that is exactly-once, and the fence against a second worker.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import asyncpg
import msgspec

from mulligan.events.codec import GENESIS_HASH
from mulligan.log.protocol import Stored
from mulligan.model import Seq
from mulligan.projections.postgres import CHANNEL, Connection
from mulligan.projections.schema import ReadModel

Status = Literal["live", "building", "halted", "old"]

_DDL = """
CREATE SCHEMA IF NOT EXISTS mulligan;
CREATE TABLE IF NOT EXISTS mulligan.projection (
    schema text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    version bigint NOT NULL,
    fingerprint text NOT NULL,
    log_id text NOT NULL,
    seq bigint NOT NULL,
    chain text NOT NULL,
    at timestamptz,
    status text NOT NULL,
    problem text NOT NULL DEFAULT ''
) WITH (fillfactor = 50)
"""

_SETUP_LOCK = 0x6D756C6C69676100
_ADVANCE = f"""
WITH moved AS (
    UPDATE mulligan.projection p
    SET seq = $3, chain = $4, at = $5, problem = '',
        status = CASE status WHEN 'building' THEN status ELSE 'live' END
    FROM unnest($1::text[], $6::text[]) AS mine (schema, fingerprint)
    WHERE p.schema = mine.schema AND p.fingerprint = mine.fingerprint AND seq = $2
        AND EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = p.schema)
    RETURNING name, status
)
SELECT count(*), count(pg_notify('{CHANNEL}', name || ' ' || $3::bigint::text))
    FILTER (WHERE status = 'live') FROM moved
"""


class Fenced(Exception):
    """A checkpoint is not where this worker left it, or not of its shape: another has moved it."""


class Place(msgspec.Struct, frozen=True):
    """A position in the log with the hash of its entry; ``at`` is when that was written."""

    seq: Seq
    chain: str
    at: datetime | None = None


ORIGIN = Place(Seq(0), GENESIS_HASH)


def place_of(stored: Stored) -> Place:
    """Return the position after an entry."""
    return Place(stored.seq, stored.hash, stored.entry.at)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table."""

    schema: str
    name: str
    version: int
    fingerprint: str
    log_id: str
    place: Place
    status: Status
    problem: str

    def serves(self, model: ReadModel) -> bool:
        """Tell whether the schema is of the shape that this release folds."""
        return (self.version, self.fingerprint) == (model.version, model.fingerprint)

    def outdated(self, model: ReadModel) -> bool:
        """Tell whether this release is to build it anew: it is not of a newer one."""
        return not self.serves(model) and not self.outruns(model)

    def outruns(self, model: ReadModel) -> bool:
        """Tell whether it is of a newer release, which alone may fold it, or mark it."""
        return self.version > model.version

    @property
    def disowned(self) -> str:
        """What a release says of it that is too old; 0.1.0 writes this into the row."""
        return f"{self.name} was built by a newer release (version {self.version})"


async def prepare(connection: Connection) -> None:
    """Make the table, once."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _SETUP_LOCK)
        await connection.execute(_DDL)


async def find(connection: Connection, schema: str) -> Checkpoint | None:
    """Return a schema's row; None when the row or the schema itself is not there."""
    row = await connection.fetchrow(
        "SELECT p.* FROM mulligan.projection p JOIN pg_namespace n ON n.nspname = p.schema"
        " WHERE p.schema = $1",
        schema,
    )
    return _checkpoint(row) if row is not None else None


async def lock(connection: Connection, schema: str) -> Checkpoint | None:
    """Return a schema's row and keep the worker from moving it until this transaction ends."""
    await connection.execute(
        "SELECT 1 FROM mulligan.projection WHERE schema = $1 FOR UPDATE", schema
    )
    return await find(connection, schema)


def _checkpoint(row: asyncpg.Record) -> Checkpoint:
    return Checkpoint(
        schema=row["schema"],
        name=row["name"],
        version=row["version"],
        fingerprint=row["fingerprint"],
        log_id=row["log_id"],
        place=Place(Seq(row["seq"]), row["chain"], row["at"]),
        status=row["status"],
        problem=row["problem"],
    )


async def put(
    connection: Connection,
    model: ReadModel,
    schema: str,
    place: Place,
    log_id: str,
    status: Status = "live",
) -> None:
    """Write a schema's row as it is to be, whatever it was."""
    await connection.execute(
        """
        INSERT INTO mulligan.projection
            (schema, name, version, fingerprint, log_id, seq, chain, at, status)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (schema) DO UPDATE SET
            version = EXCLUDED.version, fingerprint = EXCLUDED.fingerprint,
            log_id = EXCLUDED.log_id, seq = EXCLUDED.seq, chain = EXCLUDED.chain,
            at = EXCLUDED.at, status = EXCLUDED.status, problem = ''
        """,
        schema,
        model.name,
        model.version,
        model.fingerprint,
        log_id,
        place.seq,
        place.chain,
        place.at,
        status,
    )


async def move(connection: Connection, schema: str, to: str, status: Status) -> None:
    """Let a row be that of the schema's new name."""
    await forget(connection, to)
    await connection.execute(
        "UPDATE mulligan.projection SET schema = $2, status = $3 WHERE schema = $1",
        schema,
        to,
        status,
    )


async def forget(connection: Connection, schema: str) -> None:
    """Delete a schema's row."""
    await connection.execute("DELETE FROM mulligan.projection WHERE schema = $1", schema)


async def advance(
    connection: Connection, models: Mapping[str, ReadModel], before: Place, after: Place
) -> None:
    """Move the checkpoints of schemas on and wake the readers.

    Raise Fenced unless every one was at ``before`` and is still of the shape of its read model:
    another release may have swapped in what only it can fold.
    """
    shapes = [model.fingerprint for model in models.values()]
    moved = await connection.fetchval(
        _ADVANCE, list(models), before.seq, after.seq, after.chain, after.at, shapes
    )
    if moved != len(models):
        raise Fenced(f"{', '.join(models)}: not at {before.seq} any more, or of another release")


async def halt(connection: Connection, model: ReadModel, problem: str) -> Place | None:
    """Note why a read model stands still; return where.

    Return None if it is not there, or of a newer release, and then leave it as it is.
    """
    row = await connection.fetchrow(
        "UPDATE mulligan.projection SET status = 'halted', problem = $2"
        " WHERE schema = $1 AND version <= $3 RETURNING seq, chain, at",
        model.schema,
        problem.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        model.version,
    )
    return Place(Seq(row["seq"]), row["chain"], row["at"]) if row is not None else None


async def revive(connection: Connection, model: ReadModel) -> None:
    """Note that a read model is live which somebody had halted, though there is nothing to fold."""
    await connection.execute(
        "UPDATE mulligan.projection SET status = 'live', problem = ''"
        " WHERE schema = $1 AND fingerprint = $2 AND status = 'halted'",
        model.schema,
        model.fingerprint,
    )
