"""How the read models fare, as any process can see it."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from mulligan.model import Seq
from mulligan.queries.database import Database


class ProjectionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A read model's checkpoint. ``at`` is when the entry ``seq`` was written.

    ``status``: live, or halted, with the event that did it in ``problem``.
    """

    name: str
    version: int
    seq: Seq
    chain: str
    at: datetime | None
    status: str
    problem: str


async def list_projections(database: Database) -> Sequence[ProjectionRow]:
    """Return every serving read model, by name."""
    rows = await database.fetch(
        "SELECT name, version, seq, chain, at, status, problem FROM mulligan.projection"
        " WHERE schema = 'rm_' || name ORDER BY name"
    )
    return [
        ProjectionRow(
            name=row["name"],
            version=row["version"],
            seq=Seq(row["seq"]),
            chain=row["chain"],
            at=row["at"],
            status=row["status"],
            problem=row["problem"],
        )
        for row in rows
    ]
