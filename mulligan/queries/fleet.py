"""The part of the fleet that a search is to look at, of one moment.

For groups that one provider meets alone, the first providers that do; for what is bound to a tree,
the first trees that could, with their pools. ``mulligan.placement`` solves on what comes of it.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from mulligan.errors import Unavailable
from mulligan.events.request import ClaimRequest, RequestGroup
from mulligan.handlers.distance import DistanceType
from mulligan.handlers.provider import Provider
from mulligan.model import GroupId, ProviderId, Seq
from mulligan.placement.fleet import Node, Space
from mulligan.queries.bundles import Bundle, bundles
from mulligan.queries.database import Database, Reads, Record, Snapshot
from mulligan.queries.fork import Fork, laid, snapshot_of
from mulligan.queries.states import Loaded as State
from mulligan.queries.states import decoder
from mulligan.queries.terms import FLEET, Arguments, Terms, scarcest
from mulligan.queries.trees import Forest
from mulligan.queries.walks import Narrowing, Walk, narrowest, narrowings, pick, place_of

__all__ = ["Fork", "Loaded", "load_space"]

MAX_NODES = 20_000
"""So many nodes are fetched at most."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A space of the read model at entry ``seq``.

    ``complete`` when all that could matter is in it; ``considered`` counts what is to be tried.
    ``states`` are the providers as they stood there, with their versions.
    """

    space: Space
    complete: bool
    seq: Seq
    considered: int
    states: Mapping[ProviderId, State]


async def load_space(
    database: Database | Snapshot,
    request: ClaimRequest,
    start: datetime,
    end: datetime | None,
    *,
    seed: int,
    breadth: int,
    exclude: Collection[ProviderId] = (),
    fork: Fork | None = None,
    any_time: bool = False,
) -> Loaded:
    """Return what could meet a request over [start, end): ``breadth`` providers or trees a group.

    The walk starts at a place drawn from ``seed``. ``exclude`` are not to supply anything. With
    ``any_time``, what is in use when is left aside, and those free soonest come first. Raise
    Unavailable when Postgres or the read model is away.
    """
    search = _Search(request, start, end, seed, breadth, frozenset(exclude), any_time)
    if fork is not None:
        async with laid(database, fork) as (snapshot, schema):
            return await search.run(snapshot, schema)
    if search.bundles:
        async with snapshot_of(database) as snapshot:
            return await search.run(snapshot, FLEET)
    return await search.run(database, FLEET)


async def load_sample(
    database: Database | Snapshot, group: RequestGroup, *, limit: int = 64, fork: Fork | None = None
) -> Space:
    """Return some providers that offer what a group asks for, whatever keeps it from them.

    Half of them may be claimed and half are cordoned, those with the most room first.
    """
    if fork is not None:
        async with laid(database, fork) as (snapshot, schema):
            return await _sample(snapshot, schema, group, limit)
    return await _sample(database, FLEET, group, limit)


async def _sample(reads: Reads, schema: str, group: RequestGroup, limit: int) -> Space:
    arguments = Arguments()
    half = arguments.add(limit // 2, "bigint")
    class_ = arguments.add(scarcest(group.resources) if group.resources else "", "text")
    halves = [
        f"(SELECT 0 AS part, i.provider FROM {schema}.inventory i"
        f" WHERE i.class_ = {class_} AND {which} ORDER BY i.room DESC, i.shuffle LIMIT {half})"
        for which in ("i.open", "NOT i.open")
    ]
    ctes = [f"pick AS MATERIALIZED ({' UNION ALL '.join(halves)})"]
    named = arguments.add(sorted(_named(ClaimRequest(groups=(group,)))), "text[]")
    rows = await reads.fetch(_gathering(schema, ctes, named, with_trees=False), *arguments.values)
    found = [row for row in rows if row["key"] is not None]
    nodes = [_node(row) for row in found]
    order = [node.id for row, node in zip(found, nodes, strict=True) if row["tried"]]
    return Space(nodes, order)


def _node(row: Record) -> Node:
    groups = frozenset(GroupId(group) for group in row["groups"])
    return Node(provider=decoder(Provider)(row["state"]), groups=groups)


class _Search:
    def __init__(
        self,
        request: ClaimRequest,
        start: datetime,
        end: datetime | None,
        seed: int,
        breadth: int,
        exclude: frozenset[ProviderId],
        any_time: bool,
    ) -> None:
        self.bundles: Sequence[Bundle] = bundles(request)
        bound = {id(group) for bundle in self.bundles for group in bundle.groups}
        self._alone = [group for group in request.groups if id(group) not in bound]
        self._request = request
        self._window = start, end
        self._begin = place_of(seed)
        self._breadth = breadth
        self._exclude = sorted(exclude)
        self._any_time = any_time

    async def run(self, reads: Reads, schema: str) -> Loaded:
        narrowed = [await narrowest(reads, narrowings(schema, group)) for group in self._alone]
        forest = await Forest.plan(reads, schema, self.bundles)
        query, arguments = self._statement(schema, narrowed, forest)
        rows = await reads.fetch(query, *arguments.values)
        if not rows:
            raise Unavailable("the read model providers is not built yet", 2.0)
        types = await _distance_types(reads) if self._request.distances else {}
        return self._loaded(rows, types)

    def _statement(
        self, schema: str, narrowed: Sequence[Narrowing | None], forest: Forest
    ) -> tuple[str, Arguments]:
        arguments = Arguments()
        terms = Terms(arguments, schema, *self._window, any_time=self._any_time)
        walk = Walk(begin=arguments.add(self._begin, "bigint"), count=self._breadth)
        spared = arguments.add(self._exclude, "text[]") if self._exclude else ""
        besides = [f"i.provider <> ALL({spared})"] if spared else []
        if self._alone:
            besides += terms.capable("i.root", self._request.root_capabilities)
        picks = [
            f"SELECT {part} AS part, x.provider FROM"
            f" {pick(terms, walk, group, besides, few, any_time=self._any_time)} x"
            for part, (group, few) in enumerate(zip(self._alone, narrowed, strict=True))
        ]
        picks = picks or ["SELECT 0 AS part, NULL::text AS provider WHERE false"]
        ctes = [f"pick AS MATERIALIZED ({' UNION ALL '.join(picks)})"]
        ctes += forest.ctes(terms, walk, len(self._alone), spared, MAX_NODES)
        named = arguments.add(sorted(_named(self._request)), "text[]")
        return _gathering(schema, ctes, named, with_trees=bool(self.bundles)), arguments

    def _loaded(self, rows: Sequence[Record], types: dict[str, tuple[str, ...]]) -> Loaded:
        nodes: list[Node] = []
        tried: list[tuple[bool, int, ProviderId]] = []
        states: dict[ProviderId, State] = {}
        seq = Seq(rows[0]["seq"])
        found = [0] * (len(self._alone) + len(self.bundles))
        for row in rows:
            if row["key"] is None:
                continue
            node = _node(row)
            nodes.append(node)
            states[node.provider.id] = State(
                row["version"], node.provider, seq, row["created_at"], row["updated_at"]
            )
            for part in row["parts"]:
                found[part] += 1
            if row["tried"]:
                tried.append((row["shuffle"] < self._begin, row["shuffle"], node.provider.id))
        tried.sort()
        whole = len(tried) <= MAX_NODES and all(bundle.exact for bundle in self.bundles)
        return Loaded(
            space=Space(nodes, [provider for _, _, provider in tried], types),
            complete=whole and all(count < self._breadth for count in found),
            seq=seq,
            considered=len(tried),
            states=states,
        )


def _gathering(schema: str, ctes: Sequence[str], named: str, *, with_trees: bool) -> str:
    """Return the statement that fetches what was found, with all that stands above it."""
    parts, tried = "pick", "SELECT provider FROM pick"
    if with_trees:
        parts = "(TABLE pick UNION ALL TABLE tree)"
        tried += " UNION SELECT provider FROM member"
    return f"""
        WITH {", ".join(ctes)},
        tried AS MATERIALIZED ({tried}),
        wanted AS MATERIALIZED (
            TABLE tried UNION SELECT x.provider FROM {parts} x UNION SELECT unnest({named})
        ),
        line AS MATERIALIZED (
            TABLE wanted UNION
            SELECT a.ancestor FROM wanted w JOIN {schema}.ancestor a ON a.provider = w.provider
        )
        SELECT c.seq, f.* FROM mulligan.projection c LEFT JOIN (
            SELECT p.key, p.shuffle, p.state, p.version, p.created_at, p.updated_at,
                ARRAY(
                    SELECT m.group_ FROM {schema}.group_member m WHERE m.provider = p.key
                ) AS groups,
                ARRAY(SELECT x.part FROM {parts} x WHERE x.provider = p.key) AS parts,
                p.key IN (TABLE tried) AS tried
            FROM line l JOIN {schema}.provider p ON p.key = l.provider WHERE NOT p.deleted
        ) f ON true WHERE c.schema = 'rm_providers'
    """


def _named(request: ClaimRequest) -> set[str]:
    found = {group.in_tree for group in request.groups}
    found |= {rule.provider for rule in request.distances}
    return {provider for provider in found if provider}


async def _distance_types(reads: Reads) -> dict[str, tuple[str, ...]]:
    rows = await reads.fetch("SELECT state FROM rm_providers.distance_type WHERE NOT deleted")
    decode = decoder(DistanceType)
    types: list[DistanceType] = [decode(row["state"]) for row in rows]
    return {type_.name: type_.positions for type_ in types}
