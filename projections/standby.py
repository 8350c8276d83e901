"""How workers of a region tell of one another through Postgres: who works, and what it is asked."""

from mulligan.projections.postgres import Connection

WORKER_LOCK = 0x6D756C6C69676101
"""Who holds this advisory lock works; the others stand by."""

SWAPPED, RETRY = "swapped", "retry"
"""What ends a notification after which a halted read model is tried again."""

SIGN = "mulligan-projector"
HOLDER = """
SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.database = (
    SELECT oid FROM pg_database WHERE datname = current_database()
) AND (l.classid::bigint << 32) + l.objid::bigint = $1
"""
"""Finds what the holder of an advisory lock says of itself."""


async def sign(connection: Connection, instance: str) -> None:
    """Say who holds the connection, for whoever looks."""
    await connection.execute(
        "SELECT set_config('application_name', $1, false)", f"{SIGN} {instance}".strip()
    )
