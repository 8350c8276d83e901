"""The providers that fail a request group by least, and what each of them lacks."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from heapq import nsmallest
from typing import NamedTuple

import msgspec

from mulligan.events.provider import Inventory
from mulligan.events.request import RequestGroup
from mulligan.handlers.provider import capacity
from mulligan.model import GroupId, ProviderId, ResourceClass
from mulligan.placement.eligibility import (
    Stage,
    formed,
    in_tree,
    memberships,
    room,
    split,
)
from mulligan.placement.fleet import Node, Space
from mulligan.quantities import format_amount


class Miss(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that does not fit: the first ``stage`` that drops it, and ``detail`` in words."""

    provider: ProviderId
    name: str
    stage: Stage
    detail: str


class _Failing(NamedTuple):
    """One stage that drops a node, by which share of what was asked (1 is all), and why."""

    stage: Stage
    share: float
    detail: str


def nearest_misses(
    group: RequestGroup,
    space: Space,
    start: datetime,
    end: datetime | None,
    limit: int = 3,
    names: Mapping[GroupId, str] | None = None,
) -> tuple[Miss, ...]:
    """Return up to ``limit`` providers that fail the group over [start, end) by least.

    Those that one stage drops come first, then those that lack the smallest share of what was
    asked. A supplier of a split group is looked at for what it offers of the classes. ``names``
    are those of provider groups; one without is given by its id.
    """
    known = names or {}
    misses: list[tuple[int, float, int, Miss]] = []
    for rank, node in enumerate(_looked_at(group, space)):
        failing = [_Failing(*one) for one in _failings(group, space, node, start, end, known)]
        if failing:
            miss = Miss(
                provider=node.id,
                name=node.provider.name,
                stage=failing[0].stage,
                detail="; ".join(one.detail for one in failing),
            )
            stages = len({one.stage for one in failing})
            misses.append((stages, sum(one.share for one in failing), rank, miss))
    return tuple(miss for *_, miss in nsmallest(limit, misses, key=lambda one: one[:3]))


def _looked_at(group: RequestGroup, space: Space) -> Iterator[Node]:
    for one in space.rank:
        node = space.nodes[one]
        if not group.resources or node.provider.inventories.keys() & group.resources.keys():
            yield node


def _failings(
    group: RequestGroup,
    space: Space,
    node: Node,
    start: datetime,
    end: datetime | None,
    names: Mapping[GroupId, str],
) -> Iterator[tuple[Stage, float, str]]:
    """Yield what drops the node, in the order of the stages."""
    offered = node.provider.inventories
    parts = max(len(group.resources), 1)
    asked = {c: amount for c, amount in group.resources.items() if c in offered}
    if not split(group):
        for class_ in group.resources:
            if class_ not in offered:
                yield "inventory", 1 / parts, f"offers no {class_}"
    for class_, amount in asked.items():
        if not formed(offered[class_], amount):
            yield "form", _off_form(offered[class_], amount), _form(offered[class_], class_, amount)
    yield from _capabilities(group, node)
    yield from _groups(group, space, node, names)
    cordoned = space.cordoned(node)
    if cordoned is not None:
        causes = ", ".join(cordoned.provider.cordons)
        under = "" if cordoned is node else f"stands under {cordoned.provider.name}, which "
        yield "cordoned", 0.5, f"{under}is cordoned: {causes}"
    for class_, amount in asked.items():
        left = max(room(node.provider, class_, start, end), 0)
        if left < amount <= capacity(offered[class_]):
            short = (amount - left) / amount / parts
            free, wanted = (format_amount(class_, one) for one in (left, amount))
            yield "capacity", short, f"has {free} {class_} left, {wanted} asked"


def _off_form(inventory: Inventory, amount: int) -> float:
    most = min(inventory.max_unit, capacity(inventory))
    if amount > most:
        return (amount - most) / amount
    if amount < inventory.min_unit:
        return (inventory.min_unit - amount) / inventory.min_unit
    return amount % inventory.step_size / max(amount, 1)


def _form(inventory: Inventory, class_: ResourceClass, amount: int) -> str:
    said = partial(format_amount, class_)
    offered = capacity(inventory)
    if amount > inventory.max_unit:
        return f"gives at most {said(inventory.max_unit)} {class_} at once, {said(amount)} asked"
    if amount > offered:
        return f"has {said(offered)} {class_} in all, {said(amount)} asked"
    if amount < inventory.min_unit:
        return f"gives at least {said(inventory.min_unit)} {class_}, {said(amount)} asked"
    return f"gives {class_} in steps of {said(inventory.step_size)}, {said(amount)} asked"


def _capabilities(group: RequestGroup, node: Node) -> Iterator[tuple[Stage, float, str]]:
    demand = group.capabilities
    own = set(node.provider.capabilities)
    parts = max(len(demand.require) + len(demand.forbid) + len(demand.any_of), 1)
    forbidden = sorted(own.intersection(demand.forbid))
    if not split(group):
        lacking = [one for one in demand.require if one not in own]
        if lacking:
            yield "capability", len(lacking) / parts, f"lacks {', '.join(lacking)}"
        for choice in demand.any_of:
            if own.isdisjoint(choice):
                yield "capability", 1 / parts, f"has none of {', '.join(choice)}"
    if forbidden:
        yield "capability", len(forbidden) / parts, f"has forbidden {', '.join(forbidden)}"


def _groups(
    group: RequestGroup, space: Space, node: Node, names: Mapping[GroupId, str]
) -> Iterator[tuple[Stage, float, str]]:
    demand = group.groups
    own = memberships(space, node, group)
    parts = len(demand.any_of) + len(demand.forbid) + bool(group.in_tree)

    def called(groups: Iterable[GroupId]) -> str:
        return ", ".join(names.get(one, one) for one in groups)

    for choice in demand.any_of:
        if own.isdisjoint(choice):
            yield "group", 1 / parts, f"is not in any of {called(choice)}"
    forbidden = [one for one in demand.forbid if one in own]
    if forbidden:
        yield "group", len(forbidden) / parts, f"is in forbidden {called(forbidden)}"
    if not in_tree(space, node, group):
        member = space.live(group.in_tree)
        tree = group.in_tree if member is None else member.provider.name
        yield "group", 1 / parts, f"is not in the tree of {tree}"
