"""How workers of a region tell of one another through Postgres: who works, and what it is asked."""

from mulligan.projections.postgres import CHANNEL, Connection

WORKER_LOCK = 0x6D756C6C69676101
"""Who holds this advisory lock works; the others stand by."""

SWAPPED, RETRY = "swapped", "retry"
"""What ends a notification after which a halted read model is tried again."""

_SIGN = "mulligan-projector"
_HOLDER = """
SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.database = (
    SELECT oid FROM pg_database WHERE datname = current_database()
) AND (l.classid::bigint << 32) + l.objid::bigint = $1
"""


async def sign(connection: Connection, instance: str) -> None:
    """Say who holds the connection, for whoever looks."""
    await connection.execute(
        "SELECT set_config('application_name', $1, false)", f"{_SIGN} {instance}".strip()
    )


async def who_works(connection: Connection) -> str:
    """Return the instance that works; empty when none does, or it did not say."""
    holder = await connection.fetchval(_HOLDER, WORKER_LOCK)
    return str(holder or "").removeprefix(_SIGN).strip()


async def ask_to_retry(connection: Connection, name: str) -> None:
    """Ask whoever works to try a halted read model again."""
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, f"{name} 0 {RETRY}")
