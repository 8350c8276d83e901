"""What the live claims of one project hold, and how much of it when."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from mulligan.handlers import usage
from mulligan.model import ClaimId, GroupId, MachineId, ProviderId, ResourceClass
from mulligan.queries.database import Database

HELD = (
    "SELECT a.provider FROM rm_claims.allocation a"
    " WHERE a.live AND (a.to_ IS NULL OR a.to_ > now()) AND a.project = $$"
)
"""The providers that a project holds something of, now or by a reservation; ``$$`` is the project.

What has ended by the clock is not held any more, even while the end is still to be written down.
"""


OPEN = (
    "SELECT a.provider FROM rm_claims.allocation a WHERE a.live AND a.class_ = 'machine'"
    " AND a.from_ <= now() AND (a.to_ IS NULL OR a.to_ > now()) AND a.project = $$"
)
"""The machines that claims of a project hold whose window is open; ``$$`` is the project."""


async def open_claims(
    database: Database, project: str, machines: Sequence[str]
) -> Mapping[MachineId, ClaimId]:
    """Return by which claim, its window open, the project holds machines."""
    if not machines:
        return {}
    rows = await database.fetch(
        f"{OPEN.replace('$$', '$1').replace('a.provider', 'a.provider, a.claim', 1)}"
        " AND a.provider = ANY($2::text[]) ORDER BY a.from_, a.claim",
        project,
        list(machines),
    )
    return {MachineId(row["provider"]): ClaimId(row["claim"]) for row in rows}


async def held_of(database: Database, project: str, providers: Sequence[str]) -> frozenset[str]:
    """Return which of the providers the project holds something of."""
    if not providers:
        return frozenset()
    rows = await database.fetch(
        f"{HELD.replace('$$', '$1')} AND a.provider = ANY($2::text[])", project, list(providers)
    )
    return frozenset(row["provider"] for row in rows)


async def own_use(
    database: Database, project: str, providers: Sequence[str], at: datetime | None = None
) -> Mapping[ProviderId, Mapping[ResourceClass, usage.Use]]:
    """Return what the project itself uses of providers over time; ``at`` a time, only then."""
    if not providers:
        return {}
    rows = await database.fetch(
        """
        SELECT provider, class_, from_, to_, sum(amount)::bigint AS amount
        FROM rm_claims.allocation
        WHERE project = $1 AND provider = ANY($2::text[]) AND live
            AND ($3::timestamptz IS NULL OR from_ <= $3 AND (to_ IS NULL OR to_ > $3))
        GROUP BY provider, class_, from_, to_ ORDER BY provider, class_, from_, to_
        """,
        project,
        list(providers),
        at,
    )
    found: dict[ProviderId, dict[ResourceClass, usage.Use]] = {}
    for row in rows:
        use = found.setdefault(ProviderId(row["provider"]), {})
        class_ = ResourceClass(row["class_"])
        use[class_] = usage.add(use.get(class_, ()), row["from_"], row["to_"], row["amount"])
    return found


async def held_members(
    database: Database, project: str, groups: Sequence[str]
) -> Mapping[GroupId, tuple[ProviderId, ...]]:
    """Return the members of groups that the project holds something of, in order."""
    rows = await database.fetch(
        "SELECT m.group_, array_agg(m.provider ORDER BY m.provider) AS providers"
        " FROM rm_providers.group_member m"
        f" WHERE m.group_ = ANY($2::text[]) AND m.provider IN ({HELD.replace('$$', '$1')})"
        " GROUP BY m.group_",
        project,
        list(groups),
    )
    return {
        GroupId(row["group_"]): tuple(ProviderId(one) for one in row["providers"]) for row in rows
    }
