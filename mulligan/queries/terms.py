"""What a provider must have for a request group, in SQL: exactly as ``mulligan.placement`` says it.

Conditions look a few rows up by key. They are scalar subqueries, never EXISTS, which Postgres
would turn into joins over the fleet: a walk is to stop as soon as it has found enough.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from mulligan.events.request import CapabilityDemand, GroupDemand, RequestGroup
from mulligan.model import ResourceClass

FLEET = "rm_providers"
"""The schema that has the fleet as it is; ``mulligan.queries.fork`` makes others like it."""

_COMMON = ("machine", "storage.block", "cpu.dedicated", "cpu.shared", "memory")


def scarcest(classes: Iterable[ResourceClass]) -> ResourceClass:
    """Return the class likely offered by the fewest: a search walks along its inventories."""
    return min(classes, key=lambda c: (_COMMON.index(c) + 1 if c in _COMMON else 0, c))


class Arguments:
    """Numbers the arguments of a statement as they are used, each value once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._known: dict[tuple[str, str], str] = {}

    def add(self, value: Any, type_: str) -> str:
        """Return what stands for the value."""
        known = (repr(value), type_)
        if known not in self._known:
            self.values.append(value)
            self._known[known] = f"${len(self.values)}::{type_}"
        return self._known[known]


class Terms:
    """Conditions over [start, end), or at any time, on a fleet in ``schema``."""

    def __init__(
        self,
        arguments: Arguments,
        schema: str,
        start: datetime,
        end: datetime | None,
        *,
        any_time: bool = False,
    ) -> None:
        self.arguments = arguments
        self.schema = schema
        self._any_time = any_time
        self._window = start, end

    def start(self) -> str:
        """Return the start of the window."""
        return self.arguments.add(self._window[0], "timestamptz")

    def form(self, inventory: str, amount: str) -> str:
        """Whether an inventory gives such an amount, if nothing of it is in use."""
        return (
            f"{amount} BETWEEN {inventory}.min_unit AND {inventory}.max_unit"
            f" AND {amount} % {inventory}.step_size = 0 AND {amount} <= {inventory}.capacity"
        )

    def room(self, inventory: str, amount: str) -> str:
        """Whether so much is left at every instant; the use over time is looked at last."""
        if self._any_time:
            return f"{inventory}.room >= {amount}"
        return (
            f"{inventory}.room >= {amount}"
            f" AND ({inventory}.opens_at IS NULL OR {inventory}.opens_at <= {self.start()})"
            f" AND ({inventory}.sure >= {amount} OR {self._low(inventory, amount)})"
        )

    def _low(self, inventory: str, amount: str) -> str:
        """Whether use is low enough all through the window; it is not if the peak lies within.

        The first segment that is too high ends the look.
        """

        def meets(start: str, end: str) -> str:
            late, until = f"({end} IS NULL OR {end} > {self.start()})", self._window[1]
            if until is None:
                return late
            turnaround = f"make_interval(secs => {inventory}.turnaround)"
            return f"{late} AND {start} < {self.arguments.add(until, 'timestamptz')} + {turnaround}"

        peak = f"{inventory}.peak_from", f"{inventory}.peak_to"
        return f"""(({peak[0]} IS NULL OR NOT ({meets(*peak)})) AND (
            SELECT true FROM {self.schema}.usage_segment s
            WHERE s.provider = {inventory}.provider AND s.class_ = {inventory}.class_
                AND {meets("s.from_", "s.to_")} AND s.used > {inventory}.capacity - {amount} LIMIT 1
        ) IS NULL)"""

    def gives(self, provider: str, class_: ResourceClass, number: int) -> str:
        """Whether a provider offers a class in such an amount, and has room for it."""
        amount = self.arguments.add(number, "bigint")
        return f"""(
            SELECT {self.room("j", amount)} FROM {self.schema}.inventory j
            WHERE j.provider = {provider} AND j.class_ = {self.arguments.add(class_, "text")}
                AND {self.form("j", amount)}
        )"""

    def supplies(self, group: RequestGroup, walked: str, class_: ResourceClass) -> list[str]:
        """Return what ``walked``, an open inventory of ``class_``, has to meet for a group alone.

        Capabilities, groups and cordons above are included, the tree is not.
        """
        amount = self.arguments.add(group.resources[class_], "bigint")
        found = [self.form(walked, amount), self.room(walked, amount)]
        found += [
            self.gives(f"{walked}.provider", other, number)
            for other, number in sorted(group.resources.items())
            if other != class_
        ]
        return found + self.stands(group, f"{walked}.provider")

    def stands(self, group: RequestGroup, provider: str) -> list[str]:
        """Return what a provider has to meet besides resources, its tree and its own cordons."""
        return [
            *self.capable(provider, group.capabilities),
            *self.member((provider,), group.groups),
            self.open_above(provider),
        ]

    def capable(self, provider: str, demand: CapabilityDemand) -> list[str]:
        """Whether a provider's capabilities meet a demand."""
        found = [self.has(provider, [one]) for one in demand.require]
        found += [self.has(provider, choice) for choice in demand.any_of]
        return found + ([f"{self.has(provider, demand.forbid)} IS NULL"] if demand.forbid else [])

    def has(self, provider: str, capabilities: Sequence[str]) -> str:
        """Whether a provider has one of the capabilities; NULL when not."""
        tags = self.arguments.add(sorted(capabilities), "text[]")
        return (
            f"(SELECT true FROM {self.schema}.capability c WHERE c.provider = {provider}"
            f" AND c.capability = ANY({tags}) LIMIT 1)"
        )

    def member(self, providers: Sequence[str], demand: GroupDemand) -> list[str]:
        """Whether providers taken together are members of groups as demanded."""
        one_of = f"ANY(ARRAY[{', '.join(providers)}])" if len(providers) > 1 else providers[0]

        def within(groups: Sequence[str]) -> str:
            ids = self.arguments.add(sorted(groups), "text[]")
            return (
                f"(SELECT true FROM {self.schema}.group_member m WHERE m.provider = {one_of}"
                f" AND m.group_ = ANY({ids}) LIMIT 1)"
            )

        found = [within(choice) for choice in demand.any_of]
        return found + ([f"{within(demand.forbid)} IS NULL"] if demand.forbid else [])

    def in_tree(self, root: str, group: RequestGroup) -> list[str]:
        """Whether a root is that of the tree which the group names, if it names one."""
        if not group.in_tree:
            return []
        member = self.arguments.add(group.in_tree, "text")
        return [
            f"{root} = (SELECT n.root FROM {self.schema}.provider n"
            f" WHERE n.key = {member} AND NOT n.deleted)"
        ]

    def open_above(self, provider: str) -> str:
        """Whether no provider above is cordoned; asked of each only if there is any such."""
        return f"""(
            (SELECT true FROM {self.schema}.provider k
             WHERE k.cordoned AND k.parental LIMIT 1) IS NULL
            OR (SELECT true FROM {self.schema}.ancestor a
                JOIN {self.schema}.provider k ON k.key = a.ancestor
                WHERE a.provider = {provider} AND k.cordoned AND NOT k.deleted LIMIT 1) IS NULL
        )"""
