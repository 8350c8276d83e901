"""Claims, and which of them have a timer that is due."""

from collections.abc import Sequence
from datetime import datetime
from typing import get_args

import msgspec

from mulligan.handlers.claim import Claim, State
from mulligan.handlers.provider import FAILED_CORDON, MACHINE_FAILED_CORDON
from mulligan.model import ClaimId, ProviderId
from mulligan.queries.database import Database
from mulligan.queries.paging import Filters, Object, Page, PageRequest, page, reader


async def list_claims(
    database: Database,
    request: PageRequest,
    *,
    project: str | None = None,
    states: Sequence[str] | None = None,
    provider: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    stranded: bool = False,
) -> Page[Object[Claim]]:
    """List claims by age; with a window, those that overlap it.

    At a provider are those that hold something there, or did to their end; with a window, also
    those that have left it.
    """
    filters = Filters(*_standing(states), *(["t.stranded"] if stranded else []))
    filters.add("t.project = $$", project)
    at_provider = "t.key IN (SELECT a.claim FROM rm_claims.allocation a WHERE a.provider = $$)"
    if start is None and end is None:
        at_provider = (
            "t.key IN (SELECT a.claim FROM rm_claims.allocation a JOIN rm_claims.claim c"
            " ON c.key = a.claim WHERE a.provider = $$"
            " AND (a.live OR c.status <> ALL('{reserved,active}')))"
        )
    filters.add(at_provider, provider)
    filters.add("(t.end_at IS NULL OR t.end_at > $$)", start)
    filters.add("t.start_at < $$", end)
    return await page(database, filters.listing("rm_claims.claim"), request, reader(Claim))


def _standing(states: Sequence[str] | None) -> list[str]:
    """Return the condition with the states spelt out.

    Some are of nearly all claims and some of none: Postgres only plans for that if it sees them.
    """
    if not states:
        return []
    known = [f"'{state}'" for state in get_args(State) if state in states]
    return [f"t.status IN ({', '.join(known)})" if known else "false"]


class DueClaims(msgspec.Struct, frozen=True, kw_only=True):
    """Claims with something due, the earliest first, and when the next one comes."""

    claims: tuple[ClaimId, ...]
    next_at: datetime | None


async def find_due(database: Database, now: datetime, limit: int = 1000) -> DueClaims:
    """Return at most ``limit`` claims due at ``now``; ``next_at`` is the first time after it."""
    rows = await database.fetch(
        """
        (SELECT key, due_at FROM rm_claims.claim
         WHERE due_at <= $1 ORDER BY due_at, key LIMIT $2)
        UNION ALL
        (SELECT '', min(due_at) FROM rm_claims.claim WHERE due_at > $1)
        """,
        now,
        limit,
    )
    return DueClaims(
        claims=tuple(ClaimId(row["key"]) for row in rows if row["key"]),
        next_at=next(row["due_at"] for row in rows if not row["key"]),
    )


class Afflicted(msgspec.Struct, frozen=True, kw_only=True):
    """A reservation that holds something at a provider that has failed."""

    claim: ClaimId
    provider: ProviderId


async def find_afflicted(database: Database, limit: int = 1000) -> Sequence[Afflicted]:
    """Return reservations at failed providers, those that begin first ahead."""
    rows = await database.fetch(
        """
        SELECT t.key, a.provider FROM rm_providers.cordon c
        JOIN rm_claims.allocation a ON a.provider = c.provider AND a.live
        JOIN rm_claims.claim t ON t.key = a.claim AND t.status = 'reserved'
        WHERE c.cause = ANY($1::text[])
        GROUP BY t.start_at, t.key, a.provider ORDER BY t.start_at, t.key LIMIT $2
        """,
        [FAILED_CORDON, MACHINE_FAILED_CORDON],
        limit,
    )
    return [Afflicted(claim=ClaimId(r["key"]), provider=ProviderId(r["provider"])) for r in rows]
