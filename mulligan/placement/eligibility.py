"""What one provider has to have for a request group: the stages that drop those which cannot.

For a group with ``single_provider`` a provider meets every demand by itself. A supplier of a
group without gives only some classes; membership of its root counts for it, and what the
suppliers must have between them is not looked at here.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from mulligan.events.provider import Inventory
from mulligan.events.request import CapabilityDemand, RequestGroup
from mulligan.handlers import usage
from mulligan.handlers.capabilities import has
from mulligan.handlers.claim import after
from mulligan.handlers.provider import Provider, capacity
from mulligan.model import GroupId, ProviderId, ResourceClass
from mulligan.placement.fleet import Node, Space

Stage = Literal["inventory", "form", "capability", "group", "cordoned", "capacity", "fit"]
STAGES: tuple[Stage, ...] = (
    "inventory", "form", "capability", "group", "cordoned", "capacity", "fit",
)  # fmt: skip


def stage(
    space: Space, node: Node, group: RequestGroup, start: datetime, end: datetime | None
) -> Stage:
    """Return the first stage that drops the node for the group over [start, end), or "fit".

    ``in_tree`` drops at "group", and a deleted provider at "inventory", for it offers nothing.
    """
    barrier = standing(space, node, group, group.resources)
    if barrier != "fit":
        return barrier
    for class_, amount in group.resources.items():
        if room(node.provider, class_, start, end) < amount:
            return "capacity"
    return "fit"


def standing(
    space: Space, node: Node, group: RequestGroup, amounts: Mapping[ResourceClass, int]
) -> Stage:
    """Return the first stage that drops the node whatever is in use, or "fit".

    ``amounts`` is what it is to give: for a split group, a part of the resources.
    """
    provider = node.provider
    offered = provider.inventories
    if provider.deleted or not amounts.keys() <= offered.keys():
        return "inventory"
    for class_, amount in amounts.items():
        if not formed(offered[class_], amount):
            return "form"
    demand = group.capabilities
    if split(group):
        if not has(provider.capabilities, CapabilityDemand(forbid=demand.forbid)):
            return "capability"
    elif not has(provider.capabilities, demand):
        return "capability"
    if not (in_groups(memberships(space, node, group), group) and in_tree(space, node, group)):
        return "group"
    return "cordoned" if space.cordoned(node) is not None else "fit"


def split(group: RequestGroup) -> bool:
    """Whether several providers may supply one instance of the group."""
    return not group.single_provider and bool(group.resources)


def room(provider: Provider, class_: ResourceClass, start: datetime, end: datetime | None) -> int:
    """Return what is left of a class at every instant of [start, end) and of the turnaround.

    Negative when more is in use than there is capacity.
    """
    offered = capacity(provider.inventories.get(class_))
    use = provider.use.get(class_)
    return offered - usage.peak(use, start, after(end, provider.turnaround)) if use else offered


def formed(inventory: Inventory, amount: int) -> bool:
    """Whether the inventory gives such an amount: within its least and most, in its steps.

    Never more than it has, if nothing of it is in use.
    """
    if not inventory.min_unit <= amount <= inventory.max_unit or amount % inventory.step_size:
        return False
    return amount <= capacity(inventory)


def memberships(space: Space, node: Node, group: RequestGroup) -> frozenset[GroupId]:
    """Return the groups that count for the node: a supplier of a split group has its root's too."""
    root = space.root_of(node) if split(group) else None
    return node.groups if root is None else node.groups | root.groups


def in_groups(groups: frozenset[GroupId], group: RequestGroup) -> bool:
    """Whether these groups meet the request group's demand."""
    demand = group.groups
    if not (demand.any_of or demand.forbid):
        return True
    return groups.isdisjoint(demand.forbid) and not any(
        groups.isdisjoint(choice) for choice in demand.any_of
    )


def in_tree(space: Space, node: Node, group: RequestGroup) -> bool:
    """Whether the node stands in the tree that the group names, if it names one."""
    return not group.in_tree or node.root == named_tree(space, group)


def named_tree(space: Space, group: RequestGroup) -> ProviderId | None:
    """Return the root of the tree that ``in_tree`` names; None when its member is not here."""
    member = space.live(group.in_tree)
    return None if member is None else member.root
