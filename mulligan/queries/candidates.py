"""The candidate search: providers that fit a request over a window, and why others do not.

The read model only proposes: what it finds is checked on exact state when it is claimed.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from mulligan.model import GroupId, ProviderId, ResourceClass
from mulligan.queries.database import Database

Policy = Literal["random", "pack", "spread"]

RANKED = 256
"""pack and spread rank about so many fitting providers, found at a random place, not the fleet."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider must have, besides room.

    All of ``require``, none of ``forbid``, and one of each inner tuple of ``any_of``; so for its
    groups.
    """

    require: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    any_of: tuple[tuple[str, ...], ...] = ()
    groups_any_of: tuple[tuple[GroupId | str, ...], ...] = ()
    groups_forbid: tuple[GroupId | str, ...] = ()


class Candidate(msgspec.Struct, frozen=True):
    """A provider that fits; ``free`` is what it has left, at least, of the scarcest class asked."""

    provider: ProviderId
    free: int


class WhyNot(msgspec.Struct, frozen=True, kw_only=True):
    """How many providers each stage dropped, in this order; ``fit`` passed them all."""

    considered: int
    inventory: int
    form: int
    capability: int
    group: int
    cordoned: int
    capacity: int
    fit: int

    def text(self) -> str:
        """Say it in a sentence."""
        reasons = {
            "do not offer what is asked": self.inventory,
            "do not give it in such amounts": self.form,
            "lack a capability or have a forbidden one": self.capability,
            "are not in the right groups": self.group,
            "are cordoned": self.cordoned,
            "have not enough left in the window": self.capacity,
        }
        said = ", ".join(f"{count} {why}" for why, count in reasons.items() if count)
        return f"of {self.considered} providers {said or 'none'}"


class _Arguments:
    """Numbers the arguments of a statement as they are used."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: Any, type_: str) -> str:
        self.values.append(value)
        return f"${len(self.values)}::{type_}"


def scarcest(amounts: Mapping[ResourceClass, int]) -> ResourceClass:
    """Return the class likely offered by the fewest: the search walks along its inventories."""
    common = ("memory", "cpu.shared", "cpu.dedicated", "storage.block", "machine")
    return min(amounts, key=lambda class_: common.index(class_) + 1 if class_ in common else 0)


async def find_candidates(
    database: Database,
    amounts: Mapping[ResourceClass, int],
    start: datetime,
    end: datetime | None,
    filter: Filter,
    *,
    policy: str = "random",
    limit: int = 10,
    seed: int = 0,
    exclude: Iterable[str] = (),
) -> Sequence[Candidate]:
    """Return up to ``limit`` providers that have room for all amounts over [start, end).

    The search starts at a place drawn from ``seed`` and goes once round the fleet. ``pack``
    prefers those with the least left, ``spread`` those with the most, among the ``RANKED`` first.
    """
    arguments = _Arguments()
    walked = scarcest(amounts)
    begin = arguments.add(_place(seed), "bigint")
    ranked = policy in {"pack", "spread"}
    count = arguments.add(max(limit, RANKED) if ranked else limit, "bigint")
    conditions = _conditions(arguments, amounts, start, end, filter, walked)
    excluded = list(exclude)
    if excluded:
        conditions.append(f"i.provider <> ALL({arguments.add(excluded, 'text[]')})")
    select = f"""
        SELECT i.provider, i.capacity - {_peak(arguments, "i", start, end)} AS free
        FROM rm_providers.inventory i
        WHERE i.open AND {" AND ".join(conditions)}
    """
    rows = await database.fetch(
        f"""
        ({select} AND i.shuffle >= {begin} ORDER BY i.shuffle LIMIT {count})
        UNION ALL
        ({select} AND i.shuffle < {begin} ORDER BY i.shuffle LIMIT {count})
        LIMIT {count}
        """,
        *arguments.values,
    )
    found = [Candidate(ProviderId(row["provider"]), row["free"]) for row in rows]
    if ranked:
        found.sort(key=lambda c: c.free, reverse=policy == "spread")
    return found[:limit]


async def why_not(
    database: Database,
    amounts: Mapping[ResourceClass, int],
    start: datetime,
    end: datetime | None,
    filter: Filter,
) -> WhyNot:
    """Count, over the whole fleet, the providers that each stage of the search drops."""
    arguments = _Arguments()
    classes = sorted(amounts)
    wanted = (
        f"unnest({arguments.add(classes, 'text[]')},"
        f" {arguments.add([amounts[c] for c in classes], 'bigint[]')}) AS w (class_, amount)"
    )
    offered = "rm_providers.inventory i ON i.provider = p.key AND i.class_ = w.class_"
    peak = _peak(arguments, "i", start, end)
    tags = _tags(arguments, "p.key", filter) or ["true"]
    groups = _groups(arguments, "p.key", filter) or ["true"]
    rows = await database.fetch(
        f"""
        SELECT stage, count(*) AS providers FROM (
            SELECT CASE
                WHEN EXISTS (
                    SELECT FROM {wanted} LEFT JOIN {offered} WHERE i.provider IS NULL
                ) THEN 'inventory'
                WHEN EXISTS (
                    SELECT FROM {wanted} JOIN {offered}
                    WHERE NOT ({_form("i", "w.amount")})
                ) THEN 'form'
                WHEN ({" AND ".join(tags)}) IS NOT TRUE THEN 'capability'
                WHEN ({" AND ".join(groups)}) IS NOT TRUE THEN 'group'
                WHEN p.cordoned THEN 'cordoned'
                WHEN EXISTS (
                    SELECT FROM {wanted} JOIN {offered} WHERE i.capacity - w.amount < {peak}
                ) THEN 'capacity'
                ELSE 'fit'
            END AS stage
            FROM rm_providers.provider p WHERE NOT p.deleted
        ) staged GROUP BY stage
        """,
        *arguments.values,
    )
    counts = {row["stage"]: row["providers"] for row in rows}
    stages = ("inventory", "form", "capability", "group", "cordoned", "capacity", "fit")
    return WhyNot(considered=sum(counts.values()), **{s: counts.get(s, 0) for s in stages})


def _place(seed: int) -> int:
    return random.Random(seed).getrandbits(64) - 2**63


def _conditions(
    arguments: _Arguments,
    amounts: Mapping[ResourceClass, int],
    start: datetime,
    end: datetime | None,
    filter: Filter,
    walked: ResourceClass,
) -> list[str]:
    """Return the conditions on ``i``, an inventory of the class walked.

    Each looks a few rows up by key. They are scalar subqueries, never EXISTS, which Postgres would
    turn into joins over the fleet: the walk is to stop as soon as it has found enough.
    """
    amount = arguments.add(amounts[walked], "bigint")
    found = [
        f"i.class_ = {arguments.add(walked, 'text')}",
        _form("i", amount),
        f"i.capacity - {amount} >= {_peak(arguments, 'i', start, end)}",
    ]
    for class_, number in sorted(amounts.items()):
        if class_ == walked:
            continue
        amount = arguments.add(number, "bigint")
        found.append(
            f"""(
                SELECT j.capacity - {amount} >= {_peak(arguments, "j", start, end)}
                FROM rm_providers.inventory j
                WHERE j.provider = i.provider AND j.class_ = {arguments.add(class_, "text")}
                    AND {_form("j", amount)}
            )"""
        )
    tags = _tags(arguments, "i.provider", filter)
    return found + tags + _groups(arguments, "i.provider", filter)


def _form(inventory: str, amount: str) -> str:
    return (
        f"{amount} BETWEEN {inventory}.min_unit AND {inventory}.max_unit"
        f" AND {amount} % {inventory}.step_size = 0"
    )


def _peak(arguments: _Arguments, inventory: str, start: datetime, end: datetime | None) -> str:
    """Return the expression for the highest use of an inventory at any instant of the window."""
    before_end = "" if end is None else f" AND s.from_ < {arguments.add(end, 'timestamptz')}"
    return f"""coalesce((
        SELECT max(s.used) FROM rm_providers.usage_segment s
        WHERE s.provider = {inventory}.provider AND s.class_ = {inventory}.class_
            AND (s.to_ IS NULL OR s.to_ > {arguments.add(start, "timestamptz")}){before_end}
    ), 0)"""


def _tags(arguments: _Arguments, provider: str, filter: Filter) -> list[str]:
    def has(tags: Sequence[str]) -> str:
        return (
            f"(SELECT true FROM rm_providers.capability c WHERE c.provider = {provider}"
            f" AND c.capability = ANY({arguments.add(list(tags), 'text[]')}) LIMIT 1)"
        )

    found = [has([tag]) for tag in filter.require] + [has(tags) for tags in filter.any_of]
    return found + ([f"{has(filter.forbid)} IS NULL"] if filter.forbid else [])


def _groups(arguments: _Arguments, provider: str, filter: Filter) -> list[str]:
    def member(groups: Sequence[str]) -> str:
        return (
            f"(SELECT true FROM rm_providers.group_member m WHERE m.provider = {provider}"
            f" AND m.group_ = ANY({arguments.add(list(groups), 'text[]')}) LIMIT 1)"
        )

    found = [member(groups) for groups in filter.groups_any_of]
    return found + ([f"{member(filter.groups_forbid)} IS NULL"] if filter.groups_forbid else [])
