"""Telling whether two copies of a read model are equal: a hash for each table, whatever the order.

A table's hash is the sum of the 64-bit hashes of its rows' text, with the count of the rows.
"""

from collections.abc import Mapping

import msgspec

from mulligan.model import Seq
from mulligan.projections import checkpoint
from mulligan.projections.postgres import Connection
from mulligan.projections.schema import ReadModel


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


async def table_hashes(connection: Connection, model: ReadModel, schema: str) -> Hashes | None:
    """Hash every table of a schema at one position; None when the schema is not there."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        row = await checkpoint.find(connection, schema)
        if row is None:
            return None
        tables = {name: await _hash(connection, schema, name) for name in model.table_names}
        return Hashes(row.place.seq, tables)


async def _hash(connection: Connection, schema: str, table: str) -> TableHash:
    row = await connection.fetchrow(
        "SELECT count(*) AS rows, coalesce(sum(hashtextextended(t::text, 0)), 0)::text AS sum"
        f" FROM {schema}.{table} t",
        timeout=_HASH_PATIENCE,
    )
    assert row is not None, "an aggregate gives one row"
    return TableHash(row["rows"], int(row["sum"]))


_HASH_PATIENCE = 1800.0
"""Seconds: the whole table is read."""
