"""Read models in memory, behind as much of a Postgres connection as folding them needs.

The folding itself, its statements and the checkpoint's fence are the product's own.
"""

import re
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import msgspec

from mulligan.errors import Unavailable
from mulligan.model import CommitId, Seq, StreamId
from mulligan.projections.checkpoint import ORIGIN, Place
from mulligan.projections.models import STREAM_TABLES
from mulligan.projections.schema import ReadModel

from .road import SimulatedRoad

Rows = dict[tuple[Any, ...], dict[str, Any]]

_LOAD = re.compile(r"SELECT .* FROM (\w+)\.(\w+) WHERE key = ANY", re.DOTALL)
_UPSERT = re.compile(
    r"INSERT INTO (\w+)\.(\w+) \(([^)]*)\) SELECT .* ON CONFLICT \(([^)]*)\)", re.DOTALL
)
_DELETE = re.compile(r"DELETE FROM (\w+)\.(\w+) t USING .* AS gone \(([^)]*)\)", re.DOTALL)


class Earlier(NamedTuple):
    """A commit as the journal of commands has it."""

    seq: Seq
    digest: str


class Loaded(NamedTuple):
    """A stream as its table has it."""

    version: int
    state: Any
    seq: Seq
    created_at: Any
    updated_at: Any


class Tables:
    """What lies in Postgres."""

    def __init__(self, models: Sequence[ReadModel]) -> None:
        self.models = tuple(models)
        self.places: dict[str, Place] = {model.schema: ORIGIN for model in models}
        self.rows: dict[str, Rows] = {}
        self.journals: dict[str, list[bytes]] = {}
        self.commits: dict[str, Earlier] = {}
        self.away = False
        self.moved = anyio.Event()
        self.locks = {model.schema: anyio.Lock() for model in models}
        self.by_key: dict[str, dict[str, dict[str, Any]]] = {}

    def table(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a table, ``schema.name``, by key."""
        return [row for _, row in sorted(self.rows.get(name, {}).items())]

    def wake(self) -> None:
        """Tell who waits for the read models that they have moved."""
        moved, self.moved = self.moved, anyio.Event()
        moved.set()

    def content(self) -> dict[str, Any]:
        """Everything, to be compared."""
        rows = {name: found for name, found in sorted(self.rows.items()) if found}
        journals = {name: b"".join(found) for name, found in sorted(self.journals.items())}
        return {"rows": rows, "journals": journals}


class _Row(dict[str, Any]):
    """A row as the driver gives it."""


class TableConnection:
    """One connection to the tables; ``fenced`` False forgets the checkpoint's fence."""

    def __init__(
        self,
        tables: Tables,
        road: SimulatedRoad | None = None,
        *,
        fenced: bool = True,
        lost: Callable[[], bool] = lambda: False,
    ) -> None:
        self._tables = tables
        self._road = road
        self._fenced = fenced
        self._lost = lost
        self._pending: list[Callable[[], None]] = []
        self._locked: list[anyio.Lock] = []

    async def fetch(self, statement: str, keys: Sequence[str]) -> list[_Row]:
        """Load rows of a state table by key."""
        await self._travel()
        match = _LOAD.match(statement)
        assert match is not None, statement
        found = self._tables.rows.get(f"{match[1]}.{match[2]}", {})
        return [_Row(found[(key,)]) for key in keys if (key,) in found]

    async def fetchval(
        self, statement: str, schemas: Sequence[str], before: Seq, *after: Any
    ) -> int:
        """Move checkpoints on; return how many stood where they were said to stand."""
        await self._travel()
        moved = 0
        for schema in schemas:
            lock = self._tables.locks[schema]
            if lock.locked():
                await lock.acquire()
            else:
                lock.acquire_nowait()
            self._locked.append(lock)
            if self._fenced and self._tables.places[schema].seq != before:
                continue
            moved += 1
            self._pending.append(lambda s=schema: self._move(s, Place(*after[:3])))  # type: ignore[misc]
        return moved

    def _move(self, schema: str, place: Place) -> None:
        self._tables.places[schema] = place

    async def execute(self, statement: str, *arrays: Sequence[Any]) -> None:
        """Upsert or delete rows."""
        if match := _UPSERT.match(statement):
            names, key = match[3].split(", "), len(match[4].split(", "))
            self._pending.append(lambda: self._upsert(f"{match[1]}.{match[2]}", names, key, arrays))
        else:
            gone = _DELETE.match(statement)
            assert gone is not None, statement
            self._pending.append(lambda: self._delete(f"{gone[1]}.{gone[2]}", arrays))

    def _upsert(
        self, name: str, names: Sequence[str], key: int, arrays: Sequence[Sequence[Any]]
    ) -> None:
        rows = self._tables.rows.setdefault(name, {})
        for row in zip(*arrays, strict=True):
            rows[row[:key]] = dict(zip(names, row, strict=True))

    def _delete(self, name: str, arrays: Sequence[Sequence[Any]]) -> None:
        rows = self._tables.rows.setdefault(name, {})
        for row in zip(*arrays, strict=True):
            for key in [key for key in rows if key[: len(row)] == row]:
                del rows[key]

    async def copy_to_table(
        self,
        name: str,
        *,
        schema_name: str,
        columns: Sequence[str],
        source: Any,
        format: str,
    ) -> None:
        """Add rows to a journal."""
        data: bytes = source.read()
        self._pending.append(lambda: self._add(f"{schema_name}.{name}", columns, data, format))

    def _add(self, name: str, columns: Sequence[str], data: bytes, form: str) -> None:
        fields = list(_binary(data) if form == "binary" else _text(data))
        kept = self._tables.journals.setdefault(name, [])
        kept += [b"\t".join(one or b"" for one in row) + b"\n" for row in fields]
        if name == "rm_commands.command":
            places = [columns.index(column) for column in ("id", "seq", "digest")]
            for row in fields:
                commit, seq, digest = (row[place] or b"" for place in places)
                number = int.from_bytes(seq, "big") if form == "binary" else int(seq)
                self._tables.commits.setdefault(
                    commit.decode(), Earlier(Seq(number), digest.decode())
                )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Do all of it or nothing; the answer to the commit may get lost."""
        try:
            yield
            await self._travel()
            for change in self._pending:
                change()
            self._tables.wake()
        finally:
            self._pending.clear()
            for lock in self._locked:
                lock.release()
            self._locked.clear()
        if self._lost():
            raise Unavailable("the answer to a commit was lost")

    async def _travel(self) -> None:
        if self._road is not None:
            await self._road.there()
        if self._tables.away:
            raise Unavailable("Postgres is away")


def _text(data: bytes) -> Iterable[list[bytes | None]]:
    for line in data.splitlines():
        yield list(line.split(b"\t"))


def _binary(data: bytes) -> Iterable[list[bytes | None]]:
    """Read the binary form of COPY: a header of 19 bytes, counted fields, -1 at the end."""
    at = 19
    while True:
        (count,) = struct.unpack_from("!h", data, at)
        at += 2
        if count < 0:
            return
        row: list[bytes | None] = []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", data, at)
            at += 4
            row.append(data[at : at + length] if length >= 0 else None)
            at += max(length, 0)
        yield row


class TableReads:
    """One process's reads: ``StateSource`` and ``CommitIndex``, and waiting to be up to date."""

    def __init__(self, tables: Tables, road: SimulatedRoad) -> None:
        self._tables = tables
        self._road = road

    async def load(self, streams: Iterable[StreamId]) -> dict[StreamId, Loaded]:
        """Return states at the checkpoints of their read models."""
        wanted = sorted(streams)
        await self.look()
        found = {stream: self._loaded(stream) for stream in wanted}
        await self._road.back()
        return found

    def _loaded(self, stream: StreamId) -> Loaded:
        kind, _, key = stream.partition("/")
        model, table = STREAM_TABLES[kind]
        seq = self._tables.places[model.schema].seq
        row = self._tables.rows.get(f"{model.schema}.{table.name}", {}).get((key,))
        if row is None:
            return Loaded(0, None, seq, None, None)
        state: Any = msgspec.json.decode(row["state"], type=table.state)
        return Loaded(row["version"], state, seq, row["created_at"], row["updated_at"])

    async def find_commit(self, commit: CommitId) -> tuple[Earlier | None, Seq]:
        """Return a commit from the journal of commands, and how far that is folded."""
        await self.look()
        found = self._tables.commits.get(commit)
        folded = self._tables.places["rm_commands"].seq
        await self._road.back()
        return found, folded

    async def look(self) -> None:
        """Reach Postgres; raise Unavailable when that fails."""
        await self._road.there()
        if self._tables.away:
            raise Unavailable("Postgres is away")

    async def caught_up(self, schema: str, seq: Seq, patience: float = 3.0) -> None:
        """Wait until a read model has folded an entry; raise Unavailable after that long."""
        await self.look()
        with anyio.move_on_after(patience):
            while self._tables.places[schema].seq < seq:
                await self._tables.moved.wait()
        if self._tables.places[schema].seq < seq:
            raise Unavailable(f"{schema} is behind")
        await self.look()

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return the rows of a table as they are now."""
        return self._tables.table(table)
