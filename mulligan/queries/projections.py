"""How the read models fare, as any process can see it."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from mulligan.model import Seq
from mulligan.projections.postgres import CHANNEL
from mulligan.projections.standby import HOLDER, RETRY, SIGN, WORKER_LOCK
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


async def is_prepared(database: Database) -> bool:
    """Tell whether any projector has begun on this database."""
    row = await database.fetchrow("SELECT to_regclass('mulligan.projection') IS NOT NULL AS there")
    return row is not None and bool(row["there"])


async def who_works(database: Database) -> str:
    """Return the projector that keeps the read models at present; empty when none does."""
    row = await database.fetchrow(HOLDER, WORKER_LOCK)
    return str(row["application_name"]).removeprefix(SIGN).strip() or SIGN if row else ""


async def ask_to_retry(database: Database, name: str) -> None:
    """Ask whichever projector works to try a halted read model again."""
    await database.fetch("SELECT pg_notify($1, $2)", CHANNEL, f"{name} 0 {RETRY}")
