"""How much was, is and will be used: summed up by holder or by what is used, and for quotas."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from mulligan.events.quota import Level
from mulligan.handlers.quota import Quota
from mulligan.model import ProjectId, ResourceClass
from mulligan.queries.database import Database
from mulligan.queries.states import decoder

_KEYS = {
    "project": "a.project",
    "account": "a.account",
    "provider": "a.provider",
    "group": "m.group_",
    "class": "a.class_",
}
_NAMES = {
    "project": "SELECT n.name FROM rm_iam.project n WHERE n.key = s.key",
    "account": "SELECT n.name FROM rm_iam.account n WHERE n.key = s.key",
    "provider": "SELECT n.state::json ->> 'name' FROM rm_providers.provider n WHERE n.key = s.key",
    "group": "SELECT n.state::json ->> 'name' FROM rm_providers.provider_group n"
    " WHERE n.key = s.key",
    "class": "SELECT s.key",
}

_PATIENCE = 30.0
"""Seconds that a sum over a whole region with a million holds may take."""


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """Use of a class within a window, by whatever ``key`` is the id of.

    ``unit_seconds`` is base units times seconds, ``peak`` the most at any instant, ``claims`` how
    many claims it was.
    """

    key: str
    name: str
    class_: ResourceClass
    unit_seconds: float
    peak: int
    claims: int


async def summarize(
    database: Database,
    start: datetime,
    end: datetime,
    *,
    by: str,
    project: str | None = None,
    account: str | None = None,
    provider: str | None = None,
    group: str | None = None,
    class_: str | None = None,
    limit: int = 1000,
) -> Sequence[UsageRow]:
    """Sum up what claims hold within [start, end), the most used of each class first.

    ``by`` is project, account, provider, group or class; a provider counts for each of its groups.
    """
    joined = ""
    if by == "group":
        joined = "JOIN rm_providers.group_member m ON m.provider = a.provider"
    filters = {
        "a.project = $$": project,
        "a.account = $$": account,
        "a.provider = $$": provider,
        "a.class_ = $$": class_,
        "a.provider = ANY(ARRAY(SELECT g.provider FROM rm_providers.group_member g"
        " WHERE g.group_ = $$))": group,
    }
    if by == "group":
        filters["m.group_ = $$"] = group
    arguments: list[object] = [start, end, limit]
    where: list[str] = []
    for condition, value in filters.items():
        if value is not None:
            arguments.append(value)
            where.append(f" AND {condition.replace('$$', f'${len(arguments)}::text')}")
    query = _summary(by, joined, "".join(where))
    async with database.snapshot() as snapshot:
        rows = await snapshot.fetch(query, *arguments, deadline=_PATIENCE)
    return [
        UsageRow(
            key=row["key"],
            name=row["name"] or "",
            class_=ResourceClass(row["class_"]),
            unit_seconds=float(row["unit_seconds"]),
            peak=row["peak"],
            claims=row["claims"],
        )
        for row in rows
    ]


def _summary(by: str, joined: str, where: str) -> str:
    """Return the statement; ``hold`` is what was held, clipped to the window.

    Use is summed first, without any order, and only the rows that are shown go in order of time:
    each hold is a rise and a fall of a running total, the falls first where times are equal; falls
    at the end of the window change no peak. Nearly every claim has one hold of a class, so holds
    are counted, and only of the claims with more than one is it looked which are the same claim's.
    ``spot`` is a hash of key and class, which sorts sooner; it is looked up by IN () IS TRUE, for
    what is held is too hard to estimate for Postgres to join it well.
    """
    return f"""
        WITH hold AS MATERIALIZED (
            SELECT {_KEYS[by]} AS key, a.class_, a.claim, a.amount,
                hashtextextended({_KEYS[by]}, hashtextextended(a.class_, 0)) AS spot,
                greatest(a.from_, $1::timestamptz) AS since,
                least(a.to_, $2::timestamptz) AS until
            FROM rm_claims.allocation a {joined}
            WHERE a.from_ < $2 AND (a.to_ IS NULL OR a.to_ > $1 AND a.to_ > a.from_){where}
        ), shown AS MATERIALIZED (
            SELECT key, class_, count(*) AS holds,
                sum(amount * date_part('epoch', until - since)) AS unit_seconds,
                hashtextextended(key, hashtextextended(class_, 0)) AS spot
            FROM hold GROUP BY key, class_ ORDER BY unit_seconds DESC, class_, key LIMIT $3
        ), peak AS (
            SELECT spot, max(level)::bigint AS peak FROM (
                SELECT spot, sum(step) OVER (
                    PARTITION BY spot ORDER BY at, step ROWS UNBOUNDED PRECEDING
                ) AS level
                FROM hold, LATERAL (VALUES (since, amount), (until, -amount)) AS s (at, step)
                WHERE (step > 0 OR at < $2) AND (spot IN (SELECT spot FROM shown)) IS TRUE
            ) run GROUP BY spot
        ), again AS (
            SELECT spot, sum(holds - 1) AS holds FROM (
                SELECT spot, count(*) AS holds FROM hold
                WHERE (claim IN (
                    SELECT m.claim FROM rm_claims.allocation m WHERE m.ordinal > 0)) IS TRUE
                GROUP BY spot, claim
            ) same GROUP BY spot
        )
        SELECT s.key, s.class_, s.unit_seconds, p.peak, ({_NAMES[by]}) AS name,
            (s.holds - coalesce(again.holds, 0))::bigint AS claims
        FROM shown s JOIN peak p USING (spot) LEFT JOIN again USING (spot)
        ORDER BY s.unit_seconds DESC, s.class_, s.key
    """


async def project_tree(database: Database, project: str) -> Sequence[ProjectId]:
    """Return a project and all that are below it, itself first."""
    rows = await database.fetch(
        """
        WITH RECURSIVE tree AS (
            SELECT $1::text COLLATE "C" AS key UNION
            SELECT p.key FROM tree t JOIN rm_iam.project p ON p.parent = t.key
        )
        SELECT key FROM tree ORDER BY key <> $1, key
        """,
        project,
    )
    return [ProjectId(row["key"]) for row in rows]


async def baseline(
    database: Database, projects: Sequence[str], since: datetime | None = None
) -> dict[ResourceClass, tuple[Level, ...]]:
    """Return what the live claims of projects use that their quota does not count yet.

    The quota is the first project's, which the others are below. Claims and quota are of one
    moment, so the two together are all that is in use. What was in use before ``since`` is left
    out, which leaves far fewer levels.
    """
    async with database.snapshot() as snapshot:
        held = await snapshot.fetch(
            """
            SELECT class_, greatest(from_, $2::timestamptz) AS since, to_,
                sum(amount)::bigint AS amount
            FROM rm_claims.allocation
            WHERE project = ANY($1::text[]) AND live
                AND (to_ IS NULL OR to_ > greatest(from_, $2::timestamptz))
            GROUP BY class_, since, to_ ORDER BY class_, since, to_
            """,
            list(projects),
            since,
        )
        tracked = await snapshot.fetch(
            "SELECT state FROM rm_claims.quota WHERE key = $1", projects[0]
        )
    steps: dict[ResourceClass, dict[datetime | None, int]] = {}
    for row in held:
        _step(steps, row["class_"], row["since"], row["to_"], row["amount"])
    for row in tracked:
        quota: Quota = decoder(Quota)(row["state"])
        for class_, use in quota.use.items():
            for segment in use:
                start = segment.start if since is None else max(segment.start, since)
                if segment.end is None or segment.end > start:
                    _step(steps, class_, start, segment.end, -segment.used)
    found = {class_: _levels(changes) for class_, changes in sorted(steps.items())}
    return {class_: levels for class_, levels in found.items() if levels}


def _step(
    steps: dict[ResourceClass, dict[datetime | None, int]],
    class_: str,
    start: datetime,
    end: datetime | None,
    amount: int,
) -> None:
    changes = steps.setdefault(ResourceClass(class_), {})
    changes[start] = changes.get(start, 0) + amount
    changes[end] = changes.get(end, 0) - amount


def _levels(changes: dict[datetime | None, int]) -> tuple[Level, ...]:
    """Return the level between each change and the next; a change at None is never."""
    times: list[datetime] = sorted(t for t, step in changes.items() if t is not None and step)
    ends: list[datetime | None] = [*times[1:], None] if times else []
    levels: list[Level] = []
    level = 0
    for start, end in zip(times, ends, strict=True):
        level += changes[start]
        if level:
            levels.append(Level(start, end, level))
    return tuple(levels)
