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

FEW = 400
"""So many rows are sooner sorted than come upon on a walk."""


def place_of(seed: int) -> int:
    """Return where the walk of a seed begins, among the values of ``shuffle``."""
    return random.Random(seed).getrandbits(64) - 2**63


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """Where a walk begins, in SQL, and after how many it stops.

    The count is written out, and conditions go into one CASE, so that Postgres takes about half of
    the rows to pass and walks along the index, whatever it would make of each condition.
    """

    begin: str
    count: int

    def along(self, source: str, indexed: Sequence[str], conditions: Sequence[str]) -> str:
        """Return the first of ``source i`` that pass, read in the order of an index.

        ``indexed`` are the conditions of that index.
        """
        where = " AND ".join([*indexed, _passing(conditions)])
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
            f" WHERE {_passing(conditions)} LIMIT {self.count})"
        )


def _passing(conditions: Sequence[str]) -> str:
    return f"CASE WHEN {' AND '.join(conditions)} THEN true ELSE false END"


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
        class_ = terms.arguments.add(walked, "text")
        indexed = ["i.open", "i.room > 0", f"i.class_ = {class_}"]
        conditions = [*terms.supplies(group, "i", walked), *besides]
    else:
        table = f"(SELECT p.key AS provider, p.* FROM {terms.schema}.provider p)"
        indexed = ["NOT i.deleted"]
        conditions = ["NOT i.cordoned", *terms.stands(group, "i.provider"), *besides]
    indexed += terms.in_tree("i.root", group)
    usable = f"SELECT i.* FROM {table} i WHERE {' AND '.join(indexed)}"
    soonest = any_time and bool(group.resources)
    if narrowed is not None:
        of = narrowed.source(terms.arguments)
        few = f"SELECT DISTINCT x.provider FROM ({of}) x LIMIT {2 * FEW}"
        # OFFSET keeps each look a look by key: a plan made for any filter would scan the fleet
        one = f"{usable} AND i.provider = d.provider OFFSET 0"
        source = f"(SELECT i.* FROM ({few}) d CROSS JOIN LATERAL ({one}) i)"
        return walk.among(source, conditions, soonest=soonest)
    if soonest:
        at_once = walk.along(table, [*indexed, "i.opens_at IS NULL"], conditions)
        then = walk.among(f"({usable} AND i.opens_at IS NOT NULL)", conditions, soonest=True)
        return f"({at_once} UNION ALL {then} LIMIT {walk.count})"
    return walk.along(table, indexed, conditions)
