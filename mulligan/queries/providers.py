"""Providers and groups."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from mulligan.handlers.distance import DistanceType
from mulligan.handlers.group import Group
from mulligan.handlers.provider import Provider
from mulligan.model import GroupId, ProviderId, ResourceClass
from mulligan.queries.database import Database, Record
from mulligan.queries.paging import OBJECT_COLUMNS, Filters, Object, Page, PageRequest, page, reader

_GROUPS = (
    "ARRAY(SELECT m.group_ FROM rm_providers.group_member m WHERE m.provider = t.key ORDER BY 1)"
)


class ProviderRow(msgspec.Struct, frozen=True, kw_only=True):
    """A provider with the groups that it is a member of.

    Its inventories, capabilities, cordons and use over time are in the state.
    """

    state: Provider
    version: int
    created_at: datetime
    updated_at: datetime
    groups: tuple[GroupId, ...]


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """``used`` of a class over [start, end); ``end`` None is open."""

    resource_class: ResourceClass
    start: datetime
    end: datetime | None
    used: int


def _read(row: Record) -> ProviderRow:
    found = reader(Provider)(row)
    return ProviderRow(
        state=found.state,
        version=found.version,
        created_at=found.created_at,
        updated_at=found.updated_at,
        groups=tuple(GroupId(group) for group in row["groups"]),
    )


async def list_providers(
    database: Database,
    request: PageRequest,
    *,
    type: str | None = None,
    parent: str | None = None,
    group: str | None = None,
) -> Page[ProviderRow]:
    """List providers by age; ``parent`` "" means roots."""
    filters = Filters("NOT t.deleted")
    filters.add("t.type = $$", type)
    filters.add("t.parent = $$", parent)
    filters.add(
        "t.key IN (SELECT m.provider FROM rm_providers.group_member m WHERE m.group_ = $$)", group
    )
    listing = filters.listing("rm_providers.provider", f"{OBJECT_COLUMNS}, {_GROUPS} AS groups")
    return await page(database, listing, request, _read)


async def groups_of(database: Database, provider: str) -> Sequence[GroupId]:
    """Return the groups that a provider is a member of, sorted."""
    rows = await database.fetch(
        "SELECT group_ FROM rm_providers.group_member WHERE provider = $1 ORDER BY 1", provider
    )
    return [GroupId(row["group_"]) for row in rows]


async def groups_of_each(
    database: Database, providers: Sequence[str]
) -> dict[ProviderId, frozenset[GroupId]]:
    """Return the groups of several providers; those in none are left out."""
    rows = await database.fetch(
        "SELECT provider, array_agg(group_) AS groups FROM rm_providers.group_member"
        " WHERE provider = ANY($1::text[]) GROUP BY provider",
        list(providers),
    )
    return {ProviderId(row["provider"]): frozenset(map(GroupId, row["groups"])) for row in rows}


async def list_groups(database: Database, request: PageRequest) -> Page[Object[Group]]:
    """List groups by age."""
    listing = Filters("NOT t.deleted").listing("rm_providers.provider_group")
    return await page(database, listing, request, reader(Group))


async def list_distance_types(
    database: Database, request: PageRequest
) -> Page[Object[DistanceType]]:
    """List the kinds of distance by age."""
    listing = Filters().listing("rm_providers.distance_type")
    return await page(database, listing, request, reader(DistanceType))


async def list_usage(
    database: Database,
    provider: str,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Sequence[Segment]:
    """Return the use of a provider over a window, by class and time."""
    rows = await database.fetch(
        """
        SELECT class_, from_, to_, used FROM rm_providers.usage_segment
        WHERE provider = $1
            AND ($2::timestamptz IS NULL OR to_ IS NULL OR to_ > $2)
            AND ($3::timestamptz IS NULL OR from_ < $3)
        ORDER BY class_, from_
        """,
        provider,
        start,
        end,
    )
    return [
        Segment(
            resource_class=ResourceClass(row["class_"]),
            start=row["from_"],
            end=row["to_"],
            used=row["used"],
        )
        for row in rows
    ]
