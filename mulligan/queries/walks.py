"""Walks in SQL: the first providers, or trees, that could do, round the fleet from some place.

Every provider has a number drawn from its id, ``shuffle``, and a walk goes by it: nothing is
sorted, and it stops when it has enough. Where a condition leaves few rows, those are sorted.
"""

import random
from collections.abc import Sequence

import msgspec

from mulligan.events.request import RequestGroup
from mulligan.queries.database import Reads
from mulligan.queries.terms import Arguments, Terms, scarcest

FEW = 1000
"""So many rows are sooner sorted than come upon on a walk."""


def place_of(seed: int) -> int:
    """Return where the walk of a seed begins, among the values of ``shuffle``."""
    return random.Random(seed).getrandbits(64) - 2**63


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """Where a walk begins and after how many it stops; ``begin`` and ``count`` are SQL."""

    begin: str
    count: str

    def along(self, source: str, conditions: Sequence[str]) -> str:
        """Return the first of ``source i`` that pass, read in the order of an index."""
        where = " AND ".join(conditions)
        select = f"SELECT i.provider FROM {source} i WHERE {where}"
        return (
            f"(({select} AND i.shuffle >= {self.begin} ORDER BY i.shuffle LIMIT {self.count})"
            f" UNION ALL ({select} AND i.shuffle < {self.begin} ORDER BY i.shuffle"
            f" LIMIT {self.count}) LIMIT {self.count})"
        )

    def among(self, source: str, conditions: Sequence[str], *, soonest: bool = False) -> str:
        """Return the first of a small ``source i`` that pass; ``soonest`` goes by opens_at."""
        order = (
            f"{'i.opens_at NULLS FIRST, ' if soonest else ''}i.shuffle < {self.begin}, i.shuffle"
        )
        return (
            f"(SELECT i.provider FROM (SELECT i.* FROM {source} i ORDER BY {order} OFFSET 0) i"
            f" WHERE {' AND '.join(conditions)} LIMIT {self.count})"
        )


class Narrowing(msgspec.Struct, frozen=True):
    """A condition that few providers meet: ``select`` gives them."""

    select: str
    value: Sequence[str]

    def source(self, arguments: Arguments) -> str:
        """Return the statement, with its argument numbered."""
        return self.select.replace("$$", arguments.add(list(self.value), "text[]"))


def narrowings(schema: str, group: RequestGroup) -> list[Narrowing]:
    """Return what could narrow the search of a group whose provider meets all demands alone."""
    members = f"SELECT m.provider FROM {schema}.group_member m WHERE m.group_ = ANY($$)"
    tagged = f"SELECT c.provider FROM {schema}.capability c WHERE c.capability = ANY($$)"
    found = [Narrowing(members, sorted(choice)) for choice in group.groups.any_of]
    found += [Narrowing(tagged, [one]) for one in group.capabilities.require]
    return found + [Narrowing(tagged, sorted(one)) for one in group.capabilities.any_of]


async def narrowest(reads: Reads, choices: Sequence[Narrowing]) -> Narrowing | None:
    """Return the choice that leaves the fewest, if that are few."""
    if not choices:
        return None
    arguments = Arguments()
    counts = ", ".join(
        f"(SELECT count(*) FROM ({choice.source(arguments)} LIMIT {FEW + 1}) x) AS c{n}"
        for n, choice in enumerate(choices)
    )
    row = (await reads.fetch(f"SELECT {counts}", *arguments.values))[0]
    count, index = min((row[f"c{n}"], n) for n in range(len(choices)))
    return choices[index] if count <= FEW else None


def pick(
    terms: Terms,
    walk: Walk,
    group: RequestGroup,
    besides: Sequence[str],
    narrowed: Narrowing | None,
    *,
    any_time: bool,
) -> str:
    """Return the first providers that meet all demands of a group alone.

    ``besides`` are more conditions, on ``i.provider`` and ``i.root``.
    """
    if group.resources:
        walked = scarcest(group.resources)
        table = f"{terms.schema}.inventory"
        usable = ["i.open", "i.room > 0"]
        conditions = [*usable, *terms.supplies(group, "i", walked), *besides]
        of_class = f"i.class_ = {terms.arguments.add(walked, 'text')}"
        filter_ = " AND ".join([*usable, of_class])
    else:
        table = (
            f"(SELECT p.key AS provider, p.root, p.shuffle FROM {terms.schema}.provider p"
            " WHERE NOT p.deleted AND NOT p.cordoned)"
        )
        conditions = [
            *terms.in_tree("i.root", group), *terms.stands(group, "i.provider"), *besides, "true",
        ]  # fmt: skip
        filter_ = "true"
    soonest = any_time and bool(group.resources)
    if narrowed is not None:
        of = narrowed.source(terms.arguments)
        few = f"SELECT DISTINCT x.provider FROM ({of}) x LIMIT {2 * FEW}"
        source = f"(SELECT i.* FROM ({few}) d JOIN {table} i USING (provider) WHERE {filter_})"
        return walk.among(source, conditions, soonest=soonest)
    if soonest:
        return walk.among(f"(SELECT * FROM {table} i WHERE {filter_})", conditions, soonest=True)
    return walk.along(table, conditions)
