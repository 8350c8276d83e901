"""What a read model is made of: tables of folded states with their child rows, and journals."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import msgspec

from mulligan.handlers.kinds import KINDS
from mulligan.log.protocol import Stored

Row = tuple[Any, ...]


class Column(NamedTuple):
    """A column; ``type`` is its SQL type."""

    name: str
    type: str

    @property
    def ddl(self) -> str:
        """The column's definition; text sorts by bytes, whatever the database's locale."""
        collate = ' COLLATE "C"' if self.type == "text" else ""
        return f"{self.name} {self.type}{collate}"


def columns(**types: str) -> tuple[Column, ...]:
    """Name columns with their types."""
    return tuple(Column(name, type_) for name, type_ in types.items())


STATE_COLUMNS = columns(
    key="text",
    version="bigint",
    seq="bigint",
    created_seq="bigint",
    created_at="timestamptz",
    updated_at="timestamptz",
    deleted="boolean",
    state="text",
)
"""What every state table begins with; ``state`` is the msgspec JSON of the folded state."""


DOCUMENTS = frozenset({"state", "data", "brief"})
"""Columns that hold JSON, in any table."""


class ChildTable(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that one state gives, so that SQL can search what lies inside of it.

    The first column holds the state's key, and the first ``key`` columns are the primary key.
    """

    name: str
    columns: tuple[Column, ...]
    key: int
    rows: Callable[[str, Any], Iterable[Row]]
    indices: tuple[str, ...] = ()


class StateTable(msgspec.Struct, frozen=True, kw_only=True):
    """One row for each folded state of streams of ``kind``.

    ``row`` gives the values of ``columns`` (those beyond ``STATE_COLUMNS``). A table that folds
    another thing than whole streams names the event ``types`` it wants and how to find the row's
    ``key`` from the stream's key and the event.
    """

    name: str
    kind: str
    state: type
    evolve: Callable[[Any, Any, datetime], Any]
    columns: tuple[Column, ...] = ()
    row: Callable[[str, Any], Row] = lambda key, state: ()
    children: tuple[ChildTable, ...] = ()
    indices: tuple[str, ...] = ()
    types: frozenset[str] = frozenset()
    key: Callable[[str, Any], str] | None = None

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """Every column, in order."""
        return STATE_COLUMNS + self.columns


def stream_table(
    name: str,
    kind: str,
    columns: tuple[Column, ...] = (),
    row: Callable[[str, Any], Row] = lambda key, state: (),
    *,
    children: tuple[ChildTable, ...] = (),
    indices: tuple[str, ...] = (),
) -> StateTable:
    """Make the table that holds each stream of ``kind``, folded as the command handlers do it.

    Lists of it go by age, so filters want their column indexed before (created_seq, key).
    """
    return StateTable(
        name=name,
        kind=kind,
        state=KINDS[kind].state,
        evolve=KINDS[kind].evolve,
        columns=columns,
        row=row,
        children=children,
        indices=("(created_seq, key)", *indices),
    )


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """An insert-only table; ``encode`` gives an entry's rows in the binary form of COPY."""

    name: str
    columns: tuple[Column, ...]
    encode: Callable[[Stored], bytes]
    indices: tuple[str, ...] = ()


class ReadModel(msgspec.Struct, frozen=True, kw_only=True):
    """A unit of folding, serving and rebuilding: a schema with a checkpoint of its own.

    Raise ``version`` whenever the same events are to give other rows. A change of the tables or of
    the states' fields is noticed without that, by the ``fingerprint``.
    """

    name: str
    version: int = 1
    tables: tuple[StateTable, ...] = ()
    journals: tuple[Journal, ...] = ()

    @property
    def schema(self) -> str:
        """The schema that serves reads."""
        return f"rm_{self.name}"

    @property
    def build_schema(self) -> str:
        """The schema in which it is built anew."""
        return f"rm_{self.name}_v{self.version}"

    @property
    def old_schema(self) -> str:
        """The schema that served before the last swap, kept to look back at."""
        return f"rm_{self.name}_old"

    @property
    def kinds(self) -> frozenset[str]:
        """The stream kinds whose events it folds."""
        return frozenset(table.kind for table in self.tables)

    @property
    def table_names(self) -> tuple[str, ...]:
        """Every table of the schema."""
        names = [j.name for j in self.journals]
        for table in self.tables:
            names += [table.name, *(c.name for c in table.children)]
        return tuple(names)

    def create(self, schema: str) -> list[str]:
        """Return the statements that make the schema and its tables, bare of indices."""
        made = [f"CREATE SCHEMA {schema}"]
        for table in self.tables:
            made.append(_create(schema, table.name, table.all_columns))
            made += [_create(schema, c.name, c.columns) for c in table.children]
        return made + [_create(schema, j.name, j.columns) for j in self.journals]

    def index(self, schema: str) -> list[str]:
        """Return the statements that index filled tables."""
        made: list[str] = []
        for table in self.tables:
            made.append(f"ALTER TABLE {schema}.{table.name} ADD PRIMARY KEY (key)")
            made += _indices(schema, table.name, table.indices)
            for child in table.children:
                key = ", ".join(c.name for c in child.columns[: child.key])
                made.append(f"ALTER TABLE {schema}.{child.name} ADD PRIMARY KEY ({key})")
                made += _indices(schema, child.name, child.indices)
        for journal in self.journals:
            made += _indices(schema, journal.name, journal.indices)
        return made

    def analyze(self, schema: str) -> list[str]:
        """Return the statements that let the planner know filled tables.

        Documents are left out: nothing is searched by what they are, and they are most of the work.
        """
        shapes = [(journal.name, journal.columns) for journal in self.journals]
        for table in self.tables:
            shapes.append((table.name, table.all_columns))
            shapes += [(child.name, child.columns) for child in table.children]
        return [
            f"ANALYZE {schema}.{name} ({', '.join(c.name for c in of if c.name not in DOCUMENTS)})"
            for name, of in shapes
        ]

    @property
    def fingerprint(self) -> str:
        """A digest of tables, indices and the shapes of the states."""
        return _fingerprint(self)


@cache
def _fingerprint(model: ReadModel) -> str:
    shapes = [msgspec.json.schema(table.state) for table in model.tables]
    text = [*model.create("s"), *model.index("s"), msgspec.json.encode(shapes).decode()]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()


def _create(schema: str, table: str, columns: Sequence[Column]) -> str:
    return f"CREATE TABLE {schema}.{table} ({', '.join(c.ddl for c in columns)})"


def _indices(schema: str, table: str, indices: Iterable[str]) -> list[str]:
    return [f"CREATE INDEX ON {schema}.{table} {index}" for index in indices]
