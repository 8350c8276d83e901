"""How far a log has been folded at most: what Postgres can witness of it."""

import msgspec

from mulligan.model import Seq
from mulligan.queries.database import Database
from mulligan.queries.projections import is_prepared

_FOREMOST = """
SELECT name, seq, chain FROM mulligan.projection
WHERE log_id = $1 AND seq > 0 ORDER BY seq DESC LIMIT 1
"""


class Foremost(msgspec.Struct, frozen=True):
    """The read model that is folded furthest, up to entry ``seq`` of that hash."""

    name: str
    seq: Seq
    hash: str


async def foremost(database: Database, log_id: str) -> Foremost | None:
    """Return the foremost read model of a log, None where there is none yet; raise as fetch."""
    if not await is_prepared(database):
        return None
    row = await database.fetchrow(_FOREMOST, log_id)
    return Foremost(row["name"], Seq(row["seq"]), row["chain"]) if row is not None else None
