"""Telling whether two copies of a read model are equal: a hash for each table, whatever the order.

A table's hash is the sum of the 64-bit hashes of its rows' text, with the count of the rows.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec

from mulligan.model import Seq
from mulligan.projections import checkpoint
from mulligan.projections.postgres import Connection
from mulligan.projections.schema import ReadModel

_HASH_PATIENCE = 1800.0
"""Seconds: a whole table is read."""


class TableHash(msgspec.Struct, frozen=True):
    """What a table holds, in short."""

    rows: int
    sum: int

    def __str__(self) -> str:
        return f"{self.rows} rows {self.sum & (2**64 - 1):016x}"


class Hashes(msgspec.Struct, frozen=True):
    """A read model's tables as they were at one position."""

    seq: Seq
    tables: Mapping[str, TableHash]

    def differing(self, other: "Hashes") -> list[str]:
        """Return the tables that differ."""
        names = sorted({*self.tables, *other.tables})
        return [name for name in names if self.tables.get(name) != other.tables.get(name)]


class Snapshot:
    """The database as it is at one moment."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def seq(self, schema: str) -> Seq | None:
        """Return the position of a schema; None when it is not there."""
        row = await checkpoint.find(self._connection, schema)
        return row.place.seq if row is not None else None

    async def hashes(self, model: ReadModel, schema: str) -> Hashes:
        """Hash every table of a schema that is there."""
        seq = await self.seq(schema)
        assert seq is not None, "it was there a moment ago, in the same snapshot"
        return Hashes(seq, {name: await self._hash(schema, name) for name in model.table_names})

    async def _hash(self, schema: str, table: str) -> TableHash:
        row = await self._connection.fetchrow(
            "SELECT count(*) AS rows, coalesce(sum(hashtextextended(t::text, 0)), 0)::text AS sum"
            f" FROM {schema}.{table} t",
            timeout=_HASH_PATIENCE,
        )
        assert row is not None, "an aggregate gives one row"
        return TableHash(row["rows"], int(row["sum"]))


@asynccontextmanager
async def snapshot(connection: Connection) -> AsyncIterator[Snapshot]:
    """Hold a snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        yield Snapshot(connection)


async def table_hashes(connection: Connection, model: ReadModel, schema: str) -> Hashes | None:
    """Hash every table of a schema at one position; None when the schema is not there."""
    async with snapshot(connection) as moment:
        if await moment.seq(schema) is None:
            return None
        return await moment.hashes(model, schema)
