"""Machines whose BMCs are watched between operations."""

from collections.abc import Iterable, Sequence

from mulligan.model import MachineId
from mulligan.queries.database import Database


async def list_watched(
    database: Database, states: Iterable[str], *, after: str = "", limit: int = 200
) -> Sequence[MachineId]:
    """Return the next machines by key in one of these states; an empty page is the end.

    Those in maintenance are among them, and those with an operation that leaves their state.
    """
    rows = await database.fetch(
        "SELECT key FROM rm_machines.machine"
        " WHERE key > $1 AND status = ANY($2::text[]) AND NOT deleted ORDER BY key LIMIT $3",
        after,
        list(states),
        limit,
    )
    return [MachineId(row["key"]) for row in rows]
