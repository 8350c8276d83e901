"""Names of objects, both ways."""

from collections.abc import Sequence

import msgspec

from mulligan.handlers.names import NameState
from mulligan.queries.database import Database, Record
from mulligan.queries.paging import Filters, Page, PageRequest, page
from mulligan.queries.states import decoder


class NameRow(msgspec.Struct, frozen=True, kw_only=True):
    """``uuid`` is called ``name`` among the objects of ``kind`` in ``scope``."""

    kind: str
    scope: str
    name: str
    slug: str
    uuid: str


def _read(row: Record) -> NameRow:
    state: NameState = decoder(NameState)(row["state"])
    return NameRow(
        kind=state.kind, scope=state.scope, name=state.name, slug=state.slug, uuid=state.object
    )


async def resolve(
    database: Database, kind: str, scope: str, slugs: Sequence[str]
) -> Sequence[NameRow]:
    """Return the holders of these slugs; those that nobody holds are left out."""
    rows = await database.fetch(
        "SELECT state FROM rm_names.name WHERE key = ANY($1::text[]) AND object <> ''",
        [f"{kind}/{scope}/{slug}" for slug in slugs],
    )
    return [_read(row) for row in rows]


async def describe(database: Database, uuids: Sequence[str]) -> Sequence[NameRow]:
    """Return what objects are called; what only guards them is no name: addresses, certificates."""
    rows = await database.fetch(
        "SELECT state FROM rm_names.name WHERE object = ANY($1::text[]) AND object <> ''"
        " AND kind NOT IN ('bmc', 'certificate') ORDER BY key",
        list(uuids),
    )
    return [_read(row) for row in rows]


async def list_names(
    database: Database, kind: str, scope: str | None, request: PageRequest
) -> Page[NameRow]:
    """List the names of a kind, in one scope or in all, by age."""
    filters = Filters("t.object <> ''")
    filters.add("t.kind = $$", kind)
    filters.add("t.scope = $$", scope)
    return await page(database, filters.listing("rm_names.name", "t.state"), request, _read)
