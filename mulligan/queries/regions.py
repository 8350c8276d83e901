"""The regions of a log: itself and those that it was told of."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from mulligan.handlers.region import Region
from mulligan.model import RegionName, Seq
from mulligan.projections.regions import MODEL
from mulligan.queries.database import Database
from mulligan.queries.freshness import positions
from mulligan.queries.paging import OBJECT_COLUMNS, Object, reader

MAX_REGIONS = 1000
"""Regions that one region knows, itself counted; a list of them has one page."""

_ALL = f"SELECT {OBJECT_COLUMNS} FROM {MODEL.schema}.region t ORDER BY t.key LIMIT $1"
_KNOWN = (
    f"SELECT {OBJECT_COLUMNS} FROM {MODEL.schema}.region t WHERE NOT t.deleted"
    " ORDER BY t.key LIMIT $1"
)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Regions below another one at any depth, of one visibility, with all of some attributes."""

    under: str = ""
    visibility: str = ""
    attributes: Mapping[str, str] = {}


async def known_regions(database: Database) -> Sequence[Object[Region]]:
    """Return the regions that are known, by name."""
    rows = await database.fetch(_KNOWN, MAX_REGIONS)
    return [reader(Region)(row) for row in rows]


async def every_region(database: Database) -> tuple[Seq, Sequence[Object[Region]]]:
    """Return a position and all regions ever known as they were there or later, in any order."""
    at = (await positions(database, [MODEL.name]))[MODEL.name]
    rows = await database.fetch(_ALL, MAX_REGIONS * 10)
    return at, [reader(Region)(row) for row in rows]


def select(found: Iterable[Object[Region]], wanted: Wanted) -> list[Object[Region]]:
    """Return those of the regions that are wanted, in their order; all are needed for ``under``."""
    regions = list(found)
    below = _below(regions, wanted.under) if wanted.under else None
    return [
        one
        for one in regions
        if (below is None or one.state.name in below)
        and wanted.visibility in ("", one.state.visibility)
        and wanted.attributes.items() <= one.state.attributes.items()
    ]


def _below(regions: Iterable[Object[Region]], root: str) -> set[RegionName]:
    children: dict[str, list[RegionName]] = {}
    for one in regions:
        children.setdefault(one.state.parent, []).append(one.state.name)
    found: set[RegionName] = set()
    waiting = [root]
    while waiting:
        for name in children.get(waiting.pop(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found
