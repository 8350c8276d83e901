"""Claims, and which of them have a timer that is due."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from mulligan.handlers.claim import Claim
from mulligan.model import ClaimId
from mulligan.queries.database import Database
from mulligan.queries.paging import Filters, Object, Page, PageRequest, page, reader


async def list_claims(
    database: Database,
    request: PageRequest,
    *,
    project: str | None = None,
    states: Sequence[str] | None = None,
    provider: str | None = None,
) -> Page[Object[Claim]]:
    """List claims by age."""
    filters = Filters()
    filters.add("t.project = $$", project)
    filters.add("t.status = ANY($$::text[])", list(states) if states else None)
    filters.add(
        "t.key IN (SELECT a.claim FROM rm_claims.allocation a WHERE a.provider = $$)", provider
    )
    return await page(database, filters.listing("rm_claims.claim"), request, reader(Claim))


class DueClaims(msgspec.Struct, frozen=True, kw_only=True):
    """Claims whose start or end has come, the earliest first, and when the next one comes."""

    starts: tuple[ClaimId, ...]
    ends: tuple[ClaimId, ...]
    next_at: datetime | None


async def find_due(database: Database, now: datetime, limit: int = 1000) -> DueClaims:
    """Return at most ``limit`` claims due at ``now``; ``next_at`` is the first time after it.

    A reservation that was never started is due to start first, even when its end has come too.
    """
    rows = await database.fetch(
        """
        (SELECT key, status, due_at FROM rm_claims.claim
         WHERE due_at <= $1 ORDER BY due_at, key LIMIT $2)
        UNION ALL
        (SELECT '', '', min(due_at) FROM rm_claims.claim WHERE due_at > $1)
        """,
        now,
        limit,
    )
    due = [row for row in rows if row["key"]]
    return DueClaims(
        starts=tuple(ClaimId(row["key"]) for row in due if row["status"] == "reserved"),
        ends=tuple(ClaimId(row["key"]) for row in due if row["status"] == "active"),
        next_at=next(row["due_at"] for row in rows if not row["key"]),
    )
