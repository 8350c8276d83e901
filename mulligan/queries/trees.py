"""Trees in SQL: the first that could meet a bundle of groups, their members and their pools.

The conditions are necessary ones: whether a tree really does is for the solver.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from mulligan.events.request import CapabilityDemand, RequestGroup
from mulligan.model import ResourceClass
from mulligan.placement.eligibility import split
from mulligan.queries.bundles import Bundle
from mulligan.queries.database import Reads
from mulligan.queries.terms import Terms, scarcest
from mulligan.queries.walks import FEW, Walk


class Forest(msgspec.Struct, frozen=True, kw_only=True):
    """Bundles, each with the class along whose few inventories its trees are found, if any.

    ``least`` is the smallest amount asked for of each class.
    """

    bundles: Sequence[Bundle]
    along: Sequence[ResourceClass | None]
    least: Mapping[ResourceClass, int]

    @classmethod
    async def plan(cls, reads: Reads, schema: str, bundles: Sequence[Bundle]) -> "Forest":
        """Look how rare the classes are."""
        least = _least(group for bundle in bundles for group in bundle.groups)
        if not least:
            return cls(bundles=bundles, along=[None] * len(bundles), least=least)
        rows = await reads.fetch(
            f"""
            SELECT w.class_, (
                SELECT count(*) FROM (
                    SELECT FROM {schema}.inventory i WHERE i.class_ = w.class_
                        AND i.open AND i.room > 0 AND i.room >= w.amount LIMIT {FEW + 1}
                ) x
            ) AS offered, (
                SELECT true FROM {schema}.share s
                JOIN {schema}.inventory i ON i.provider = s.provider
                WHERE i.class_ = w.class_ AND i.open AND i.room >= w.amount LIMIT 1
            ) AS pooled FROM unnest($1::text[], $2::bigint[]) AS w (class_, amount)
            """,
            sorted(least),
            [least[class_] for class_ in sorted(least)],
        )
        rare = {row["class_"]: row["offered"] for row in rows if not row["pooled"]}
        along = [_rarest(bundle, rare) for bundle in bundles]
        return cls(bundles=bundles, along=along, least=least)

    def ctes(self, terms: Terms, walk: Walk, first: int, spared: str, bound: int) -> list[str]:
        """Return ``pool``, ``tree (part, provider)`` and ``member (provider)`` as statements.

        Parts are numbered from ``first`` on. ``spared`` providers, an SQL array, are no members.
        """
        if not self.bundles:
            return []
        trees = [
            f"SELECT {first + n} AS part, x.provider FROM"
            f" {_walk(terms, walk, bundle, along, self.least)} x"
            for n, (bundle, along) in enumerate(zip(self.bundles, self.along, strict=True))
        ]
        members = [
            member
            for n, bundle in enumerate(self.bundles)
            for member in _members(terms, bundle, first + n)
        ]
        found = [f"tree AS MATERIALIZED ({' UNION ALL '.join(trees)})"]
        if any(bundle.uses_pools for bundle in self.bundles):
            found.insert(0, f"pool AS MATERIALIZED ({_pools(terms, self.bundles)})")
            found.append(f"link AS MATERIALIZED ({_links(terms)})")
            members += ["SELECT l.member FROM link l", "SELECT l.pool FROM link l"]
        but = f" WHERE x.provider <> ALL({spared})" if spared else ""
        members_of = f"SELECT x.provider FROM ({' UNION '.join(members)}) x (provider){but}"
        return [*found, f"member AS MATERIALIZED ({members_of} LIMIT {bound + 1})"]


def _least(groups: Iterable[RequestGroup]) -> dict[ResourceClass, int]:
    """Return the smallest amount that one instance asks for, by class."""
    least: dict[ResourceClass, int] = {}
    for group in groups:
        for class_, number in group.resources.items():
            least[class_] = min(number, least.get(class_, number))
    return least


def _rarest(bundle: Bundle, rare: dict[ResourceClass, int]) -> ResourceClass | None:
    classes = [c for group in bundle.groups for c in group.resources if c in rare]
    found = min(classes, key=lambda class_: rare[class_], default=None)
    return found if found is not None and rare[found] <= FEW else None


def _walk(
    terms: Terms,
    walk: Walk,
    bundle: Bundle,
    along: ResourceClass | None,
    least: Mapping[ResourceClass, int],
) -> str:
    conditions = [c for group in bundle.groups for c in _tree_meets(terms, bundle, group)]
    conditions += [*terms.capable("i.provider", bundle.root), "true"]
    table = f"(SELECT p.key AS provider, p.* FROM {terms.schema}.provider p)"
    tops = ["i.parent = ''", "NOT i.deleted"]
    if along is None:
        return walk.along(table, tops, conditions)
    class_ = terms.arguments.add(along, "text")
    roots = (
        f"SELECT DISTINCT v.root AS provider FROM {terms.schema}.inventory v"
        f" WHERE v.class_ = {class_} AND v.open AND v.room > 0"
        f" AND v.room >= {terms.arguments.add(least[along], 'bigint')} LIMIT {FEW}"
    )
    joined = f"SELECT i.* FROM ({roots}) d JOIN {table} i USING (provider)"
    return walk.among(f"({joined} WHERE {' AND '.join(tops)})", conditions)


def _tree_meets(terms: Terms, bundle: Bundle, group: RequestGroup) -> list[str]:
    """Return what the tree with the top ``i.provider`` has to have for one group."""
    if split(group):
        found = [
            _or_pooled(terms, group, *_supplying(terms, group, class_, number))
            for class_, number in sorted(group.resources.items())
        ]
        if group.in_tree:
            found += terms.in_tree("i.provider", group)
        wanted = [[one] for one in group.capabilities.require] + [
            list(choice) for choice in group.capabilities.any_of
        ]
        return found + [_or_pooled(terms, group, *_having(terms, group, one)) for one in wanted]
    if group.resources:
        walked = scarcest(group.resources)
        own = [
            f"v.class_ = {terms.arguments.add(walked, 'text')}",
            *terms.in_tree("v.root", group),
            *terms.supplies(group, "v", walked),
        ]
        pool = own if bundle.pools else ["false"]
        return [_or_pooled(terms, group, own, pool)]
    if bundle.pools:  # its place may be on a pool, whatever that offers
        return []
    own = [*terms.in_tree("v.root", group), *terms.stands(group, "v.key"), "true"]
    return [
        f"(SELECT true FROM {terms.schema}.provider v WHERE v.root = i.provider AND NOT v.deleted"
        f" AND NOT v.cordoned AND {' AND '.join(own)} LIMIT 1)"
    ]


def _or_pooled(terms: Terms, group: RequestGroup, own: Sequence[str], pool: Sequence[str]) -> str:
    """Whether an open inventory ``v`` passes: of the tree, or of a pool shared with a member."""
    mine = (
        f"(SELECT true FROM {terms.schema}.inventory v WHERE v.root = i.provider AND v.open"
        f" AND v.room > 0 AND {' AND '.join(own)} LIMIT 1)"
    )
    if "false" in pool:
        return mine
    return f"""({mine} OR (
        (SELECT true FROM pool LIMIT 1) AND (
            SELECT true FROM {terms.schema}.provider t
            WHERE t.root = i.provider AND NOT t.deleted AND (
                SELECT true FROM {terms.schema}.group_member m
                WHERE m.provider = t.key AND (
                    SELECT true FROM pool v
                    WHERE v.group_ = m.group_ AND {" AND ".join(pool)} LIMIT 1
                ) LIMIT 1
            ) LIMIT 1
        )
    ))"""


def _supplying(
    terms: Terms, group: RequestGroup, class_: ResourceClass, number: int
) -> tuple[list[str], list[str]]:
    """Return what ``v`` has to meet to give one class of a split group, here and as a pool."""
    amount = terms.arguments.add(number, "bigint")
    conditions = [
        f"v.class_ = {terms.arguments.add(class_, 'text')}",
        terms.form("v", amount),
        terms.room("v", amount),
        *terms.capable("v.provider", CapabilityDemand(forbid=group.capabilities.forbid)),
        *terms.member(("v.provider", "v.root"), group.groups),
        terms.open_above("v.provider"),
    ]
    return conditions, ["false"] if group.in_tree else conditions


def _having(
    terms: Terms, group: RequestGroup, capabilities: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return what ``v`` has to meet to be the one supplier with a capability."""
    conditions = [
        f"v.class_ = ANY({terms.arguments.add(sorted(group.resources), 'text[]')})",
        terms.has("v.provider", capabilities),
    ]
    return conditions, ["false"] if group.in_tree else conditions


def _pools(terms: Terms, bundles: Sequence[Bundle]) -> str:
    """Return the inventories that are shared and could be used, by group shared with.

    A group without resources may stand on any pool, even on one that offers nothing of use.
    """
    classes = sorted({c for b in bundles for group in b.groups for c in group.resources})
    bare = any(b.pools and not group.resources for b in bundles for group in b.groups)
    return (
        f"SELECT s.group_, s.provider AS supplier, v.* FROM {terms.schema}.share s"
        f" {'LEFT ' if bare else ''}JOIN {terms.schema}.inventory v ON v.provider = s.provider"
        f" AND v.open AND v.room > 0"
        f" AND v.class_ = ANY({terms.arguments.add(classes, 'text[]')})"
    )


def _links(terms: Terms) -> str:
    """Return the pools of the trees, each with a member that it shares a group with."""
    return f"""
        SELECT m.member, s.supplier AS pool FROM (
            SELECT DISTINCT ON (p.root, m.group_) p.key AS member, m.group_
            FROM (SELECT DISTINCT x.provider FROM tree x) x
            JOIN {terms.schema}.provider p ON p.root = x.provider AND NOT p.deleted
            JOIN {terms.schema}.group_member m ON m.provider = p.key
            WHERE m.group_ IN (SELECT s.group_ FROM pool s)
            ORDER BY p.root, m.group_, p.shuffle
        ) m JOIN (SELECT DISTINCT s.group_, s.supplier FROM pool s) s USING (group_)
    """


def _members(terms: Terms, bundle: Bundle, part: int) -> list[str]:
    """Return the members of the bundle's trees that could be chosen."""
    least = _least(bundle.groups)
    offers = " OR ".join(
        f"(v.class_ = {terms.arguments.add(class_, 'text')}"
        f" AND v.room >= {terms.arguments.add(number, 'bigint')})"
        for class_, number in sorted(least.items())
    )
    found = [
        f"SELECT v.provider FROM tree x JOIN {terms.schema}.inventory v ON v.root = x.provider"
        f" WHERE x.part = {part} AND v.open AND v.room > 0 AND ({offers})"
    ]
    if not least:
        found.clear()
    for group in bundle.groups:
        if not group.resources:
            stands = [*terms.in_tree("v.root", group), *terms.stands(group, "v.key")]
            found.append(
                f"SELECT v.key FROM tree x JOIN {terms.schema}.provider v ON v.root = x.provider"
                f" WHERE x.part = {part} AND NOT v.deleted AND NOT v.cordoned"
                f" AND {' AND '.join(stands)}"
            )
    return found
