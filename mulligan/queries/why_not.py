"""Why a request group finds no provider: how many of the whole fleet each stage drops."""

from collections.abc import Sequence
from datetime import datetime
from difflib import get_close_matches

import msgspec

from mulligan.events.request import CapabilityDemand, RequestGroup
from mulligan.model import ResourceClass
from mulligan.placement.eligibility import STAGES, split
from mulligan.quantities import format_amount
from mulligan.queries.capabilities import in_use
from mulligan.queries.database import Database, Reads, Snapshot
from mulligan.queries.fork import Fork, laid
from mulligan.queries.terms import FLEET, Arguments, Terms, scarcest

_INVENTORY, _FORM, _CAPABILITY, _GROUP, _CORDONED, _CAPACITY, _FIT = range(len(STAGES))


class Unknown(msgspec.Struct, frozen=True):
    """A capability that no provider has, and the one in use that is spelt most like it, if any."""

    capability: str
    nearest: str = ""


class TooMuch(msgspec.Struct, frozen=True, kw_only=True):
    """An amount of a class that no provider gives at once, whoever uses what; ``most`` is given."""

    class_: ResourceClass
    asked: int
    most: int

    def text(self, group: RequestGroup) -> str:
        """Say so, and how to ask for as much of several providers."""
        most, asked = (format_amount(self.class_, one) for one in (self.most, self.asked))
        if not self.most:
            return f"no provider has any {self.class_} to give"
        said = f"no provider gives more than {most} {self.class_} at once"
        if len(group.resources) == 1 and self.asked % self.most == 0:
            count = group.count * (self.asked // self.most)
            each = f"{self.class_}={most}"
            return f"{said}: for {asked} ask for {each} with a count of {count} (--count {count})"
        return f"{said}: to have {asked}, divide it by a count (--count), or over several groups"


_TAGS, _BANNED, _SHORT = "a capability or", "a forbidden one", "not enough left in the window"


class WhyNot(msgspec.Struct, frozen=True, kw_only=True):
    """How many providers each stage dropped, in this order; ``fit`` passed them all.

    Of a group without single_provider, what supplies at least one class fits, and others count
    where their last class was dropped. ``idle`` is how many instances those that suit would have
    room for if nothing were in use, None where nobody counted.
    """

    considered: int
    inventory: int
    form: int
    capability: int
    group: int
    cordoned: int
    capacity: int
    fit: int
    unknown: tuple[Unknown, ...] = ()
    too_much: tuple[TooMuch, ...] = ()
    idle: int | None = None

    def stages(self) -> dict[str, int]:
        """Return the counts by stage, in order."""
        return {stage: getattr(self, stage) for stage in STAGES}

    def of_shape(self) -> "WhyNot":
        """Return what does not depend on who uses what: all that suits counts as not free."""
        suits = self.cordoned + self.capacity + self.fit
        return msgspec.structs.replace(self, cordoned=0, capacity=suits, fit=0)

    def text(self, group: RequestGroup) -> str:
        """Say it in a sentence, of the group that was counted for."""
        reasons = (
            (self.inventory, "does not offer what is asked", "do not offer what is asked"),
            (self.form, "does not give it in such amounts", "do not give it in such amounts"),
            (self.capability, f"lacks {_TAGS} has {_BANNED}", f"lack {_TAGS} have {_BANNED}"),
            (self.group, "is not in the right groups", "are not in the right groups"),
            (self.cordoned, "is cordoned", "are cordoned"),
            (self.capacity, f"has {_SHORT}", f"have {_SHORT}"),
        )
        said = ", ".join(f"{n} {one if n == 1 else many}" for n, one, many in reasons if n)
        whole = "1 provider" if self.considered == 1 else f"{self.considered} providers"
        found = [f"of {whole} {said or 'none is dropped'}"]
        for one in self.unknown:
            hint = f" (did you mean {one.nearest}?)" if one.nearest else ""
            found.append(f"no provider has {one.capability}{hint}")
        found += [one.text(group) for one in self.too_much]
        return "; ".join(found)


async def why_not(
    database: Database | Snapshot,
    group: RequestGroup,
    start: datetime,
    end: datetime | None,
    *,
    fork: Fork | None = None,
) -> WhyNot:
    """Count, over the whole fleet, the providers that each stage drops for one instance."""
    if fork is None:
        return await _count(database, FLEET, group, start, end)
    async with laid(database, fork) as (snapshot, schema):
        return await _count(snapshot, schema, group, start, end)


async def _count(
    reads: Reads, schema: str, group: RequestGroup, start: datetime, end: datetime | None
) -> WhyNot:
    arguments = Arguments()
    terms = Terms(arguments, schema, start, end)
    if not group.resources:
        staged = _standing(terms, group)
    elif split(group):
        staged = _each_class(terms, group)
    else:
        staged = _all_classes(terms, group)
    rows = await reads.fetch(
        f"""
        SELECT s.stage, count(*) AS providers, sum(s.idle)::text AS idle
        FROM ({staged}) s GROUP BY s.stage UNION ALL
        SELECT NULL, count(*), NULL FROM {schema}.provider p WHERE NOT p.deleted
        """,
        *arguments.values,
    )
    counts = {row["stage"]: row["providers"] for row in rows}
    suiting = [row for row in rows if row["stage"] in (_CORDONED, _CAPACITY, _FIT)]
    counted = bool(group.resources) and not split(group)
    considered = counts.pop(None)
    barred = counts.get(_FORM, 0) and not any(n > _FORM for n in counts)
    counts[_INVENTORY] = considered - sum(n for stage, n in counts.items() if stage != _INVENTORY)
    return WhyNot(
        considered=considered,
        **{stage: counts.get(n, 0) for n, stage in enumerate(STAGES)},
        unknown=await _unknown(reads, schema, group.capabilities),
        too_much=await _too_much(reads, schema, group) if barred else (),
        idle=sum(int(row["idle"]) for row in suiting) if counted else None,
    )


def _all_classes(terms: Terms, group: RequestGroup) -> str:
    """Stage each provider that offers every class, by joins over whole inventories."""
    amounts = {class_: f"i{n}" for n, class_ in enumerate(sorted(group.resources))}
    first = amounts[scarcest(group.resources)]
    joined, forms, rooms = [], [], []
    for class_, i in amounts.items():
        amount = terms.arguments.add(group.resources[class_], "bigint")
        forms.append(terms.form(i, amount))
        rooms.append(f"({terms.room(i, amount)})")
        joined.append(
            f"(SELECT * FROM {terms.schema}.inventory x"
            f" WHERE x.class_ = {terms.arguments.add(class_, 'text')}) {i}"
        )
    whole = [
        f"{i}.capacity / {terms.arguments.add(group.resources[class_], 'bigint')}"
        for class_, i in amounts.items()
    ]
    idle = f"LEAST({', '.join(whole)})"
    using = [joined[0], *(f"{one} USING (provider)" for one in joined[1:])]
    return f"""
        SELECT {
        _stage(
            terms,
            group,
            f"{first}.provider",
            group.capabilities,
            (f"{first}.provider",),
            forms=forms,
            rooms=rooms,
            root=f"{first}.root",
            closed=f"NOT {first}.open",
        )
    } AS stage, {idle} AS idle FROM {" JOIN ".join(using)}
    """


def _each_class(terms: Terms, group: RequestGroup) -> str:
    """Stage each provider that offers a class, at the farthest that one of them comes."""
    classes = sorted(group.resources)
    wanted = (
        f"unnest({terms.arguments.add(classes, 'text[]')},"
        f" {terms.arguments.add([group.resources[c] for c in classes], 'bigint[]')})"
        " AS w (class_, amount)"
    )
    forbidden = CapabilityDemand(forbid=group.capabilities.forbid)
    return f"""
        SELECT max({
        _stage(
            terms,
            group,
            "i.provider",
            forbidden,
            ("i.provider", "i.root"),
            forms=[terms.form("i", "w.amount")],
            rooms=[terms.room("i", "w.amount")],
            root="i.root",
            closed="NOT i.open",
        )
    }) AS stage, NULL::bigint AS idle
        FROM {terms.schema}.inventory i JOIN {wanted} ON w.class_ = i.class_ GROUP BY i.provider
    """


def _standing(terms: Terms, group: RequestGroup) -> str:
    """Stage every provider for a group without resources."""
    return f"""
        SELECT {
        _stage(
            terms,
            group,
            "p.key",
            group.capabilities,
            ("p.key",),
            forms=[],
            rooms=[],
            root="p.root",
            closed="p.cordoned",
        )
    } AS stage, NULL::bigint AS idle FROM {terms.schema}.provider p WHERE NOT p.deleted
    """


def _stage(
    terms: Terms,
    group: RequestGroup,
    provider: str,
    capabilities: CapabilityDemand,
    members: Sequence[str],
    *,
    forms: Sequence[str],
    rooms: Sequence[str],
    root: str,
    closed: str,
) -> str:
    """Return the number of the first stage that drops a provider."""
    tags, groups = _tags(terms, provider, capabilities), _groups(terms, members, group)
    groups += terms.in_tree(root, group)
    cases = (
        (_FORM, _failing(forms)),
        (_CAPABILITY, _failing(tags)),
        (_GROUP, _failing(groups)),
        (_CORDONED, f"{closed} OR {provider} IN ({_below_cordoned(terms)})"),
        (_CAPACITY, _failing(rooms)),
    )
    whens = " ".join(f"WHEN {fails} THEN {number}" for number, fails in cases if fails)
    return f"CASE {whens} ELSE {_FIT} END"


def _failing(conditions: Sequence[str]) -> str:
    return f"({' AND '.join(conditions)}) IS NOT TRUE" if conditions else ""


def _tags(terms: Terms, provider: str, demand: CapabilityDemand) -> list[str]:
    """Return what Postgres answers from one hash of all providers that have a capability."""

    def having(capabilities: Sequence[str]) -> str:
        tags = terms.arguments.add(sorted(capabilities), "text[]")
        return (
            f"SELECT c.provider FROM {terms.schema}.capability c WHERE c.capability = ANY({tags})"
        )

    found = [f"{provider} IN ({having([one])})" for one in demand.require]
    found += [f"{provider} IN ({having(choice)})" for choice in demand.any_of]
    return found + ([f"{provider} NOT IN ({having(demand.forbid)})"] if demand.forbid else [])


def _groups(terms: Terms, members: Sequence[str], group: RequestGroup) -> list[str]:
    def within(groups: Sequence[str], *, expected: bool) -> str:
        ids = terms.arguments.add(sorted(groups), "text[]")
        of = f"SELECT m.provider FROM {terms.schema}.group_member m WHERE m.group_ = ANY({ids})"
        either = " OR ".join(f"{member} IN ({of})" for member in members)
        return f"({either})" if expected else f"NOT ({either})"

    found = [within(choice, expected=True) for choice in group.groups.any_of]
    if group.groups.forbid:
        found.append(within(group.groups.forbid, expected=False))
    return found


def _below_cordoned(terms: Terms) -> str:
    return (
        f"SELECT a.provider FROM {terms.schema}.provider k"
        f" JOIN {terms.schema}.ancestor a ON a.ancestor = k.key"
        " WHERE k.cordoned AND k.parental AND NOT k.deleted"
    )


async def _too_much(reads: Reads, schema: str, group: RequestGroup) -> tuple[TooMuch, ...]:
    """Return the amounts that are asked for at once and that no provider gives so."""
    rows = await reads.fetch(
        "SELECT x.class_, max(LEAST(x.max_unit, x.capacity)) AS most"
        f" FROM {schema}.inventory x WHERE x.class_ = ANY($1::text[]) GROUP BY x.class_",
        sorted(group.resources),
    )
    most = {ResourceClass(row["class_"]): row["most"] for row in rows}
    return tuple(
        TooMuch(class_=class_, asked=asked, most=most[class_])
        for class_, asked in sorted(group.resources.items())
        if class_ in most and asked > most[class_]
    )


async def _unknown(reads: Reads, schema: str, demand: CapabilityDemand) -> tuple[Unknown, ...]:
    """Return the capabilities that are asked for in vain: nothing has them."""
    choices = [[one] for one in demand.require] + [list(choice) for choice in demand.any_of]
    asked = sorted({one for choice in choices for one in choice})
    if not asked:
        return ()
    rows = await reads.fetch(
        f"SELECT t.c FROM unnest($1::text[]) AS t (c) WHERE EXISTS ("
        f" SELECT FROM {schema}.capability x WHERE x.capability = t.c)",
        asked,
    )
    known = {row["c"] for row in rows}
    vain = sorted({one for choice in choices if not known & set(choice) for one in choice})
    if not vain:
        return ()
    spelt = await in_use(reads, schema)
    nearest = {one: get_close_matches(one, spelt, n=1, cutoff=0.7) for one in vain}
    return tuple(Unknown(one, *nearest[one]) for one in vain)
