"""Quotas of projects."""

from collections.abc import Sequence

from mulligan.handlers.quota import Quota
from mulligan.queries.database import Database
from mulligan.queries.paging import Filters, Object, Page, PageRequest, page, reader


async def list_quotas(
    database: Database, request: PageRequest, *, projects: Sequence[str] | None = None
) -> Page[Object[Quota]]:
    """List quotas by age, of some projects or of all."""
    filters = Filters()
    filters.add("t.key = ANY($$::text[])", None if projects is None else list(projects))
    return await page(database, filters.listing("rm_claims.quota"), request, reader(Quota))
