"""Connections to Postgres: how they are made, and how to tell that one is gone."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias

import asyncpg
import msgspec

CHANNEL = "mulligan_projection"
"""Notifications: ``<read model> <seq>`` after each commit of the worker."""

LOST: tuple[type[Exception], ...] = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what a connection that breaks in mid-command may end in
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,  # a full disk, no memory, too many connections
    asyncpg.InvalidAuthorizationSpecificationError,  # it does not take us, or our certificate
    OSError,
    TimeoutError,
)
"""What a Postgres that is away, starting or overrun looks like: try again later."""

DROPPED: tuple[type[Exception], ...] = (
    asyncpg.UndefinedTableError,
    asyncpg.InvalidSchemaNameError,
)
"""What a read model looks like whose schema somebody dropped."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that connecting, one command, and closing may take."""

    connect: float = 10.0
    command: float = 120.0
    close: float = 2.0


@asynccontextmanager
async def connected(dsn: str, deadlines: Deadlines | None = None) -> AsyncIterator[Connection]:
    """Hold a connection for writing read models; it closes with the block.

    Commits do not wait for the disk: rows and checkpoint are one transaction, so a crash that
    loses the newest ones only makes the worker fold them again.
    """
    limits = deadlines or Deadlines()
    connection: Connection = await asyncpg.connect(
        dsn,
        timeout=limits.connect,
        command_timeout=limits.command,
        server_settings={
            "application_name": "mulligan-projector",
            "synchronous_commit": "off",
            "TimeZone": "UTC",
            "jit": "off",
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
        },
    )
    try:
        yield connection
    finally:
        try:
            await connection.close(timeout=limits.close)
        except LOST:
            connection.terminate()


def lost(error: BaseException) -> bool:
    """Tell whether the error means that Postgres is away, for now."""
    return isinstance(error, LOST)


@contextmanager
def ungrouped() -> Iterator[None]:
    """Raise the first error of a task group by itself, for callers who know no groups."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group
