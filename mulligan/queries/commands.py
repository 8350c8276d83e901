"""Earlier commands by request id, to answer a repeat that the log's memory no longer knows."""

from datetime import datetime

import msgspec

from mulligan.model import CommitId, Seq
from mulligan.queries.database import Database


class CommandRow(msgspec.Struct, frozen=True, kw_only=True):
    """The entry in which a command's commit stands; ``digest`` tells what was asked."""

    id: CommitId
    seq: Seq
    digest: str
    command: str
    at: datetime


async def find_commit(database: Database, commit: CommitId) -> CommandRow | None:
    """Return the first commit of that id; None when the read model has none."""
    row = await database.fetchrow(
        "SELECT id, seq, digest, command, at FROM rm_commands.command WHERE id = $1"
        " ORDER BY seq LIMIT 1",
        commit,
    )
    if row is None:
        return None
    return CommandRow(
        id=CommitId(row["id"]),
        seq=Seq(row["seq"]),
        digest=row["digest"],
        command=row["command"],
        at=row["at"],
    )
