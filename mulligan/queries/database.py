"""The services' connections to Postgres: few, with deadlines, and back by themselves."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Literal, Protocol, Self, cast

import anyio
import asyncpg
import msgspec

from mulligan.errors import Unavailable
from mulligan.projections.postgres import DROPPED, Connection, lost
from mulligan.queries.bell import Bell

Record = asyncpg.Record
Isolation = Literal["repeatable_read", "read_committed"]


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Connections kept, and seconds that waiting for one, making one and one query may take."""

    smallest: int = 0
    largest: int = 4
    acquire: float = 5.0
    connect: float = 5.0
    command: float = 5.0


class Database:
    """A pool of connections that read. A Postgres that is away is Unavailable at once."""

    def __init__(self, dsn: str, settings: PoolSettings | None = None) -> None:
        self.dsn = dsn
        self.settings = settings or PoolSettings()
        self._pool: asyncpg.Pool[Record] | None = None
        self._opening = anyio.Lock()
        self.bell = Bell(dsn, READER_SETTINGS)

    async def __aenter__(self) -> Self:
        """Hold the pool; connections are made when needed, so Postgres may come later."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close every connection at once."""
        self.bell.close()
        if self._pool is not None:
            self._pool.terminate()

    async def fetch(self, query: str, *args: Any) -> Sequence[Record]:
        """Return all rows; raise Unavailable when Postgres or the read model is away."""
        with translated():
            pool = await self._opened()
            async with pool.acquire(timeout=self.settings.acquire) as connection:
                try:
                    rows: Sequence[Record] = await connection.fetch(query, *args)
                except TimeoutError:
                    connection.terminate()  # or its release waits for a server that is silent
                    raise
                return rows

    async def fetchrow(self, query: str, *args: Any) -> Record | None:
        """Return the first row, or None; raise as fetch does."""
        rows = await self.fetch(query, *args)
        return rows[0] if rows else None

    def snapshot(self) -> AbstractAsyncContextManager["Snapshot"]:
        """Hold one connection on which every read sees the same moment; raise as fetch does.

        What is written within, to temporary tables only, is gone with the block.
        """
        return self.held("repeatable_read")

    @asynccontextmanager
    async def held(self, isolation: Isolation) -> AsyncIterator["Snapshot"]:
        """Hold one connection in a transaction of this isolation."""
        with translated():
            pool = await self._opened()
            async with pool.acquire(timeout=self.settings.acquire) as held:
                connection = cast(Connection, held)
                transaction = connection.transaction(isolation=isolation)
                await transaction.start()
                try:
                    await connection.execute("SET TRANSACTION READ WRITE")
                    yield Snapshot(connection)
                except BaseException as error:
                    if lost(error) or not isinstance(error, Exception):
                        connection.terminate()  # it may be in the middle of a command
                    else:
                        await transaction.rollback()
                    raise
                await transaction.rollback()

    async def _opened(self) -> "asyncpg.Pool[Record]":
        if self._pool is not None:
            return self._pool
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self.dsn,
                    min_size=self.settings.smallest,
                    max_size=self.settings.largest,
                    timeout=self.settings.connect,
                    command_timeout=self.settings.command,
                    server_settings=READER_SETTINGS,
                    reset=_keep,
                )
        return self._pool


class Reads(Protocol):
    """What reads can be made on: the pool, or one snapshot."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Record]:
        """Return all rows."""
        ...


class Snapshot:
    """A connection in a transaction that sees one moment."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def fetch(
        self, query: str, *args: Any, deadline: float | None = None
    ) -> Sequence[Record]:
        """Return all rows, as they were at the moment of the first query.

        ``deadline`` is in seconds, by default that of the pool's settings.
        """
        rows: Sequence[Record] = await self.connection.fetch(query, *args, timeout=deadline)
        return rows

    async def execute(self, statements: str) -> None:
        """Run statements that write to temporary tables only."""
        await self.connection.execute(statements)


async def _keep(_connection: object) -> None:
    """Leave a connection as it is: readers change nothing that outlives their transactions."""


READER_SETTINGS = {
    "application_name": "mulligan",
    "default_transaction_read_only": "on",
    "TimeZone": "UTC",
    "jit": "off",
    "work_mem": "64MB",  # or what a whole fleet is held against is not hashed but read, row by row
    "plan_cache_mode": "force_generic_plan",  # to plan a search anew takes longer than the search
}


@contextmanager
def translated() -> Iterator[None]:
    """Turn what Postgres says when it or a read model is away into Unavailable."""
    try:
        yield
    except DROPPED as error:
        raise Unavailable("the read model is being rebuilt", retry_after=2.0) from error
    except Exception as error:
        if not lost(error):
            raise
        silent = "it does not answer" if isinstance(error, TimeoutError) else type(error).__name__
        raise Unavailable(f"Postgres is away: {str(error) or silent}") from error
