"""Failure domains: how many machines stand in one, and how many of them are in trouble."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from mulligan.handlers.brake import REGION_DOMAIN, Brake
from mulligan.queries.database import Database
from mulligan.queries.paging import Filters, Object, Page, PageRequest, page, reader


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """``failed`` of the domain's ``total`` machines failed or lost power in the time asked for."""

    failed: int
    total: int


async def trouble_in(database: Database, domain: str, since: datetime) -> Trouble:
    """Count the machines of a domain, and those that failed or lost power after ``since``."""
    rows = await database.fetch(
        """
        SELECT count(*) AS total, count(*) FILTER (WHERE m.troubled_at > $2) AS failed
        FROM rm_providers.provider p JOIN rm_machines.machine m ON m.key = p.key AND NOT m.deleted
        WHERE p.parent = $1 AND NOT p.deleted
        """,
        "" if domain == REGION_DOMAIN else domain,
        since,
    )
    return Trouble(failed=rows[0]["failed"], total=rows[0]["total"])


async def troubled_domains(database: Database, since: datetime) -> Sequence[str]:
    """Return every domain in which a machine failed or lost power after ``since``."""
    rows = await database.fetch(
        """
        SELECT DISTINCT p.parent
        FROM rm_machines.machine m JOIN rm_providers.provider p ON p.key = m.key
        WHERE m.troubled_at > $1 AND NOT m.deleted ORDER BY p.parent
        """,
        since,
    )
    return [row["parent"] or REGION_DOMAIN for row in rows]


async def list_brakes(database: Database, request: PageRequest) -> Page[Object[Brake]]:
    """List the brakes that hold."""
    return await page(
        database, Filters("t.applied").listing("rm_machines.brake"), request, reader(Brake)
    )
