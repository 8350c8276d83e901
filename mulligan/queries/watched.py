"""Machines whose BMCs are watched between operations."""

from collections.abc import Sequence

from mulligan.model import MachineId
from mulligan.queries.database import Database

RESTING = ("manageable", "available", "active", "rescue", "failed")
"""States in which a machine is watched."""


async def list_watched(
    database: Database, *, after: str = "", limit: int = 1000
) -> Sequence[MachineId]:
    """Return the next machines by key that may be watched; an empty page is the end.

    Those in maintenance are among them, and those with an operation, which is about to end.
    """
    rows = await database.fetch(
        "SELECT key FROM rm_machines.machine"
        " WHERE key > $1 AND status = ANY($2::text[]) AND NOT deleted ORDER BY key LIMIT $3",
        after,
        list(RESTING),
        limit,
    )
    return [MachineId(row["key"]) for row in rows]
