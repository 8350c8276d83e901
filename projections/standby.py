"""How workers of a region tell of one another through Postgres: who works, and what it is asked."""

from mulligan.projections.postgres import Connection

WORKER_LOCK = 0x6D756C6C69676101
"""Who holds this advisory lock works; the others stand by."""

SWAPPED, RETRY = "swapped", "retry"
"""What ends a notification after which a halted read model is tried again."""

SIGN = "mulligan-projector"
_OF_LOCK = """
l.locktype = 'advisory' AND l.database = (
    SELECT oid FROM pg_database WHERE datname = current_database()
) AND (l.classid::bigint << 32) + l.objid::bigint = $1
"""
HOLDER = f"""
SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.granted AND {_OF_LOCK}
"""
"""Finds what the holder of an advisory lock says of itself."""
_WAITS = f"SELECT EXISTS (SELECT FROM pg_locks l WHERE NOT l.granted AND {_OF_LOCK})"
_EVICT = f"SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.granted AND {_OF_LOCK}"


class GaveWay(Exception):
    """This worker is of an older release than what serves, and lets another have its turn."""


async def give_way(connection: Connection) -> None:
    """Raise GaveWay if another worker waits for its turn."""
    if await connection.fetchval(_WAITS, WORKER_LOCK):
        raise GaveWay("a newer release's read models serve, and another projector waits")


async def evict(connection: Connection) -> None:
    """End the connection of who works; the next one in line works then."""
    await connection.execute(_EVICT, WORKER_LOCK)


async def sign(connection: Connection, instance: str) -> None:
    """Say who holds the connection, for whoever looks."""
    await connection.execute(
        "SELECT set_config('application_name', $1, false)", f"{SIGN} {instance}".strip()
    )
