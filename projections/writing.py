"""Rows to Postgres in bulk: COPY for what is only added, one upsert a table for the rest."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from mulligan.model import Seq
from mulligan.projections.copying import whole
from mulligan.projections.fold import Held, TableFold
from mulligan.projections.postgres import Connection
from mulligan.projections.schema import ChildTable, Column, Journal, Row, StateTable

_COPY_ROWS = 20_000

_encode = msgspec.json.Encoder().encode


@cache
def _decoder(state: type) -> Callable[[str], Any]:
    return msgspec.json.Decoder(state).decode


class Damaged(Exception):
    """Rows that cannot be read, each with why; nothing but a rebuild makes them anew."""

    def __init__(self, rows: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{key}: {why}" for key, why in rows.items()))
        self.rows = rows


class Write(msgspec.Struct, frozen=True):
    """The rows of one statement, ready to be sent."""

    statement: str
    rows: Sequence[Row]


async def load(
    connection: Connection, schema: str, table: StateTable, keys: Iterable[str]
) -> dict[str, Held]:
    """Return the rows that are there already, by key; raise Damaged."""
    found = await connection.fetch(
        "SELECT key, version, seq, created_seq, created_at, state"
        f" FROM {schema}.{table.name} WHERE key = ANY($1::text[])",
        list(keys),
    )
    decode = _decoder(table.state)
    held, damaged = {}, {}
    for row in found:
        key = row["key"]
        try:
            state = decode(row["state"])
        except msgspec.DecodeError as error:
            damaged[key] = str(error)
            continue
        held[key] = Held(
            row["version"], Seq(row["seq"]), Seq(row["created_seq"]), row["created_at"], state
        )
    if damaged:
        raise Damaged(damaged)
    return held


def writes(schema: str, fold: TableFold, before: Mapping[str, Any]) -> list[Write]:
    """Return what brings a table and its children from the states ``before`` to the fold's."""
    table, held = fold.table, fold.held
    main = [state_row(table, key, row) for key, row in held.items()]
    found = [Write(_upsert(schema, table.name, table.all_columns, 1), main)]
    for child in table.children:
        gone: list[Row] = []
        new: list[Row] = []
        for key, row in held.items():
            old = before.get(key)
            was = set(child.rows(key, old)) if old is not None else set()
            now = set(child.rows(key, row.state))
            if was != now:
                kept = {r[: child.key] for r in now}
                gone += [k for r in was if (k := r[: child.key]) not in kept]
                new += now - was
        found.append(Write(_delete(schema, child), gone))
        found.append(Write(_upsert(schema, child.name, child.columns, child.key), new))
    return [write for write in found if write.rows]


def state_row(table: StateTable, key: str, row: Held) -> Row:
    """Return the values of all of the table's columns."""
    state = row.state
    text = _encode(state).decode()
    values = table.row(key, state)
    return (
        key,
        row.version,
        row.seq,
        row.created_seq,
        row.created_at,
        row.updated_at,
        getattr(state, "deleted", False),
        text,
        *(map(_clean, values) if "\\u0000" in text else values),
    )


def _clean(value: Any) -> Any:
    """Return a value that Postgres can store: a text must not hold NUL."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


async def send(connection: Connection, write: Write) -> None:
    """Run one statement over all of its rows."""
    await connection.execute(write.statement, *map(list, zip(*write.rows, strict=True)))


async def copy_held(
    connection: Connection, schema: str, table: StateTable, held: Mapping[str, Held]
) -> None:
    """Add rows that are not there yet, with their children's."""
    rows = [state_row(table, key, row) for key, row in held.items()]
    await copy_rows(connection, schema, table.name, table.all_columns, rows)
    for child in table.children:
        rows = [made for key, row in held.items() for made in child.rows(key, row.state)]
        await copy_rows(connection, schema, child.name, child.columns, rows)


async def copy_rows(
    connection: Connection, schema: str, name: str, columns: Sequence[Column], rows: Sequence[Row]
) -> None:
    """COPY rows into a table."""
    names = [c.name for c in columns]
    for first in range(0, len(rows), _COPY_ROWS):
        await connection.copy_records_to_table(
            name, schema_name=schema, columns=names, records=rows[first : first + _COPY_ROWS]
        )


async def copy_journal(
    connection: Connection, schema: str, journal: Journal, rows: Sequence[bytes]
) -> None:
    """COPY rows that are encoded already."""
    if rows:
        await connection.copy_to_table(
            journal.name,
            schema_name=schema,
            columns=[c.name for c in journal.columns],
            source=io.BytesIO(whole(rows)),
            format="binary",
        )


@cache
def _upsert(schema: str, name: str, columns: tuple[Column, ...], key: int) -> str:
    names = ", ".join(c.name for c in columns)
    arrays = ", ".join(f"${n}::{c.type}[]" for n, c in enumerate(columns, start=1))
    keys = ", ".join(c.name for c in columns[:key])
    updates = ", ".join(f"{c.name} = EXCLUDED.{c.name}" for c in columns[key:])
    action = f"UPDATE SET {updates}" if updates else "NOTHING"
    return (
        f"INSERT INTO {schema}.{name} ({names}) SELECT * FROM unnest({arrays})"
        f" ON CONFLICT ({keys}) DO {action}"
    )


@cache
def _delete(schema: str, child: ChildTable) -> str:
    columns = child.columns[: child.key]
    arrays = ", ".join(f"${n}::{c.type}[]" for n, c in enumerate(columns, start=1))
    names = ", ".join(c.name for c in columns)
    same = " AND ".join(f"t.{c.name} = gone.{c.name}" for c in columns)
    return (
        f"DELETE FROM {schema}.{child.name} t USING unnest({arrays}) AS gone ({names}) WHERE {same}"
    )
