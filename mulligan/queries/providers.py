"""Providers and groups."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from mulligan.handlers import usage
from mulligan.handlers.distance import DistanceType
from mulligan.handlers.group import Group
from mulligan.handlers.provider import Provider
from mulligan.model import GroupId, ProviderId, ResourceClass, utc_now
from mulligan.queries.database import Database, Record
from mulligan.queries.holdings import HELD, own_use
from mulligan.queries.paging import Filters, Listing, Object, Page, PageRequest, page, reader
from mulligan.queries.states import decoder

_COLUMNS = (
    "t.version, t.created_at, t.updated_at, t.brief AS state,"
    " ARRAY(SELECT m.group_ FROM rm_providers.group_member m WHERE m.provider = t.key ORDER BY 1)"
    " AS groups"
)


_MEMBERS = "SELECT m.provider FROM rm_providers.group_member m WHERE m.group_ = $$"
_ABOVE = (
    "SELECT a.ancestor FROM rm_providers.ancestor a"
    " JOIN rm_providers.provider b ON b.key = a.provider WHERE b.type = $$ AND NOT b.deleted"
)


class ProviderRow(msgspec.Struct, frozen=True, kw_only=True):
    """A provider with the groups that it is a member of.

    Its inventories, capabilities and cordons are in the state. Of its use over time there is what
    is in use at one moment, and of an over-committed one also the most of each class.
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


class ProviderBrief(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider is called and where it stands, as in ``Provider``; read from its JSON."""

    id: ProviderId
    name: str
    type: str
    parent: str = ""


class ProviderFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which providers are wanted; None leaves a condition out.

    ``parent`` "" means roots. ``above`` is a type: those that one of it stands under, at any depth.
    ``holder`` is a project: only those that it holds.
    """

    type: str | None = None
    parent: str | None = None
    group: str | None = None
    above: str | None = None
    holder: str | None = None

    def listing(self, columns: str) -> Listing:
        """Return the list of them."""
        filters = Filters("NOT t.deleted")
        filters.add("t.type = $$", self.type)
        filters.add("t.parent = $$", self.parent)
        filters.add(f"t.key IN ({_MEMBERS})", self.group)
        filters.add(f"t.key IN ({_ABOVE})", self.above)
        filters.add(f"t.key IN ({HELD})", self.holder)
        return filters.listing("rm_providers.provider", columns)


_ALL = ProviderFilter()


async def list_briefs(
    database: Database, request: PageRequest, wanted: ProviderFilter
) -> Page[ProviderBrief]:
    """List by age what providers are called and where they stand."""
    decode = decoder(ProviderBrief)
    listing = wanted.listing("t.brief")
    return await page(database, listing, request, lambda row: decode(row["brief"]))


async def list_providers(
    database: Database,
    request: PageRequest,
    wanted: ProviderFilter = _ALL,
    now: datetime | None = None,
) -> Page[ProviderRow]:
    """List providers by age, with what they use ``now``; for a holder, of their use its own."""
    holder = wanted.holder
    found = await page(database, wanted.listing(_COLUMNS), request, _read)
    ids, at = [row.state.id for row in found.items], now or utc_now()
    used: Mapping[ProviderId, Mapping[ResourceClass, usage.Use]]
    if holder is None:
        used = await _use(database, ids, at)
    else:
        used = await own_use(database, holder, ids, at)
    rows = (
        replace(row, state=replace(row.state, use=dict(used.get(row.state.id, {}))))
        for row in found.items
    )
    return Page(items=tuple(rows), next_token=found.next_token)


def _read(row: Record) -> ProviderRow:
    found = reader(Provider)(row)
    return ProviderRow(
        state=found.state,
        version=found.version,
        created_at=found.created_at,
        updated_at=found.updated_at,
        groups=tuple(GroupId(group) for group in row["groups"]),
    )


async def _use(
    database: Database, providers: Sequence[ProviderId], now: datetime
) -> dict[ProviderId, dict[ResourceClass, usage.Use]]:
    """Return what each uses ``now``, and where it uses the most if it is over-committed."""
    rows = await database.fetch(
        """
        SELECT provider, class_, from_, to_, used FROM rm_providers.usage_segment
        WHERE provider = ANY($1::text[]) AND from_ <= $2 AND (to_ IS NULL OR to_ > $2)
        UNION
        (SELECT DISTINCT ON (s.provider, s.class_) s.provider, s.class_, s.from_, s.to_, s.used
         FROM rm_providers.provider t JOIN rm_providers.usage_segment s ON s.provider = t.key
         WHERE t.key = ANY($1::text[]) AND t.over_committed
         ORDER BY s.provider, s.class_, s.used DESC, s.from_)
        ORDER BY provider, class_, from_
        """,
        providers,
        now,
    )
    found: dict[ProviderId, dict[ResourceClass, usage.Use]] = {}
    for row in rows:
        use = found.setdefault(ProviderId(row["provider"]), {})
        class_ = ResourceClass(row["class_"])
        segment = usage.Segment(row["from_"], row["to_"], row["used"])
        use[class_] = (*use.get(class_, ()), segment)
    return found


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
