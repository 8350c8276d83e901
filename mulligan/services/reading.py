"""What reads have in common: pages, freshness, positions."""

from mulligan.errors import InvalidArgument
from mulligan.model import Seq
from mulligan.proto import v1
from mulligan.queries.freshness import wait_until
from mulligan.queries.paging import PageRequest
from mulligan.services.runtime import Runtime

DEFAULT_PAGE = 100


def page_of(runtime: Runtime, page: v1.Page | None) -> PageRequest:
    """Return the page asked for; raise InvalidArgument for a size out of bounds."""
    limit = runtime.config.limits.page_size_max
    if page is None:
        return PageRequest(size=DEFAULT_PAGE, token="")
    if not 0 <= page.size <= limit:
        raise InvalidArgument("page.size", f"{page.size} is not between 0 and {limit}")
    return PageRequest(size=page.size or DEFAULT_PAGE, token=page.token)


async def wait_for(runtime: Runtime, freshness: v1.Freshness | None, *models: str) -> v1.Position:
    """Wait until the read models have what the caller has seen; return the position read at."""
    seq = Seq(0)
    stale = False
    if freshness is not None and runtime.past is None:  # what was is as fresh as it can be
        stale = freshness.allow_stale
        wanted = freshness.at_least
        if wanted is not None and wanted.region in {"", runtime.region}:
            seq = Seq(wanted.seq)
    reached = await wait_until(runtime.parts.database, models, seq, allow_stale=stale)
    return v1.Position(region=runtime.region, seq=reached)
