"""Quotas of projects."""

from mulligan.handlers.quota import Quota
from mulligan.queries.database import Database
from mulligan.queries.paging import Filters, Object, Page, PageRequest, page, reader


async def list_quotas(
    database: Database, request: PageRequest, *, project: str | None = None
) -> Page[Object[Quota]]:
    """List quotas by age."""
    filters = Filters()
    filters.add("t.key = $$", project)
    return await page(database, filters.listing("rm_claims.quota"), request, reader(Quota))
