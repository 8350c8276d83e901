"""Earlier commands by request id, to answer a repeat that the log's memory no longer knows."""

from datetime import datetime

import msgspec

from mulligan.errors import Unavailable
from mulligan.model import CommitId, Seq
from mulligan.queries.database import Database


class CommandRow(msgspec.Struct, frozen=True, kw_only=True):
    """The entry in which a command's commit stands; ``digest`` tells what was asked."""

    id: CommitId
    seq: Seq
    digest: str
    command: str
    at: datetime


async def find_commit(database: Database, commit: CommitId) -> tuple[CommandRow | None, Seq]:
    """Return the first commit of that id, if any, and how far the read model is folded.

    Raise Unavailable when Postgres is away, or the read model is not built.
    """
    row = await database.fetchrow(
        "SELECT p.seq AS folded, c.id, c.seq, c.digest, c.command, c.at FROM mulligan.projection p"
        " LEFT JOIN rm_commands.command c ON c.id = $1 WHERE p.schema = 'rm_commands'"
        " ORDER BY c.seq LIMIT 1",
        commit,
    )
    if row is None:
        raise Unavailable("the read model of commands is not built yet", retry_after=2.0)
    if row["id"] is None:
        return None, Seq(row["folded"])
    found = CommandRow(
        id=CommitId(row["id"]),
        seq=Seq(row["seq"]),
        digest=row["digest"],
        command=row["command"],
        at=row["at"],
    )
    return found, Seq(row["folded"])
