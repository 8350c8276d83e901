"""Every way to meet a request, by trying all combinations: what the solver is held against.

Written from the rules of requests alone; it shares no code with the search.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import combinations, product
from typing import NamedTuple

from mulligan.events.request import CapabilityDemand, ClaimRequest, DistanceRule, RequestGroup
from mulligan.model import GroupId, ProviderId, ResourceClass
from mulligan.placement.fleet import Node, Space


class Option(NamedTuple):
    """One instance somewhere: the tree it was chosen for, and who gives which class."""

    tree: str
    gives: tuple[tuple[ProviderId, ResourceClass], ...]
    on: frozenset[ProviderId]


Key = tuple[frozenset[tuple[str, str, int]], tuple[tuple[str, tuple[str, ...]], ...]]


class Brute:
    def __init__(
        self,
        request: ClaimRequest,
        space: Space,
        start: datetime,
        end: datetime | None,
        rejected: Collection[ProviderId] = (),
    ) -> None:
        self.request = request
        self.start, self.end = start, end
        self.types = space.distance_types
        self.all = dict(space.nodes)
        self.nodes = {n: one for n, one in self.all.items() if not one.provider.deleted}
        self.order = [one for one in space.order if one in self.nodes]
        self.rejected = set(rejected)

    def solutions(self) -> set[Key]:
        groups = self.request.groups
        instances = [group for group in groups for _ in range(group.count)]
        found: set[Key] = set()
        trees: list[str] = sorted({self.root(one) for one in self.order})
        for tree in trees if self.request.same_tree else [""]:
            roots = self.request.root_capabilities
            if tree and not self.meets(self.capabilities(tree), roots):
                continue
            options = {group.name: list(self.options(group, tree)) for group in groups}
            for chosen in product(*(options[group.name] for group in instances)):
                if self.allowed(list(zip(instances, chosen, strict=True))):
                    found.add(self.key(list(zip(instances, chosen, strict=True))))
        return found

    def key(self, chosen: list[tuple[RequestGroup, Option]]) -> Key:
        return (
            frozenset((p, c, n) for (p, c), n in self.taken(chosen).items()),
            tuple(
                (
                    group.name,
                    tuple(sorted(p for g, o in chosen if g.name == group.name for p in o.on)),
                )
                for group in self.request.groups
            ),
        )

    def taken(self, chosen: list[tuple[RequestGroup, Option]]) -> Counter[tuple[str, str]]:
        taken: Counter[tuple[str, str]] = Counter()
        for group, option in chosen:
            for provider, class_ in option.gives:
                taken[provider, class_] += group.resources[class_]
        return taken

    # One instance by itself

    def options(self, group: RequestGroup, tree: str) -> Iterator[Option]:
        if not group.single_provider and group.resources:
            yield from self.split_options(group, tree)
            return
        for one in self.nodes:
            inside = self.in_reach(one, tree) if tree else one in self.order
            if inside and self.single_is_right(group, one, bool(tree)):
                gives = tuple((one, class_) for class_ in group.resources)
                yield Option(self.root(one), gives, frozenset({one}))

    def single_is_right(self, group: RequestGroup, one: ProviderId, in_one_tree: bool) -> bool:
        node = self.nodes[one]
        wanted = group.groups
        if group.in_tree and not self.stands_in(one, group.in_tree):
            return False
        return (
            all(self.can_give(one, class_, group) for class_ in group.resources)
            and self.meets(node.provider.capabilities, group.capabilities)
            and all(node.groups & set(choice) for choice in wanted.any_of)
            and not node.groups & set(wanted.forbid)
            and not self.closed(one)
            and (
                in_one_tree
                or self.meets(self.capabilities(self.root(one)), self.request.root_capabilities)
            )
        )

    def split_options(self, group: RequestGroup, only: str) -> Iterator[Option]:
        trees: Iterable[str] = [only] if only else {self.root(one) for one in self.order}
        for tree in trees:
            if not only and not self.meets(self.capabilities(tree), self.request.root_capabilities):
                continue
            if group.in_tree and not self.stands_in(tree, group.in_tree):
                continue
            reach = [
                one
                for one in self.nodes
                if (self.root(one) == tree if group.in_tree else self.in_reach(one, tree))
            ]
            for suppliers in product(reach, repeat=len(group.resources)):
                gives = tuple(zip(suppliers, group.resources, strict=True))
                if self.split_is_right(group, gives):
                    yield Option(tree, gives, frozenset(suppliers))

    def split_is_right(
        self, group: RequestGroup, gives: tuple[tuple[ProviderId, ResourceClass], ...]
    ) -> bool:
        have: set[str] = set()
        for one, class_ in gives:
            node = self.nodes[one]
            root = self.all.get(ProviderId(self.root(one)))
            groups = node.groups | (root.groups if root else frozenset())
            if (
                not self.can_give(one, class_, group)
                or set(node.provider.capabilities) & set(group.capabilities.forbid)
                or groups & set(group.groups.forbid)
                or not all(groups & set(choice) for choice in group.groups.any_of)
                or self.closed(one)
            ):
                return False
            have |= set(node.provider.capabilities)
        return set(group.capabilities.require) <= have and all(
            have & set(choice) for choice in group.capabilities.any_of
        )

    def can_give(self, one: ProviderId, class_: ResourceClass, group: RequestGroup) -> bool:
        inventory = self.nodes[one].provider.inventories.get(class_)
        amount = group.resources[class_]
        return (
            inventory is not None
            and one not in self.rejected
            and inventory.min_unit <= amount <= inventory.max_unit
            and amount % inventory.step_size == 0
            and amount <= self.left(one, class_)
        )

    def left(self, one: str, class_: str) -> int:
        provider = self.nodes[ProviderId(one)].provider
        inventory = provider.inventories[ResourceClass(class_)]
        ratio = Fraction(str(inventory.allocation_ratio))
        size = int((inventory.total - inventory.reserved) * ratio)
        end = None if self.end is None else self.end + timedelta(seconds=provider.turnaround)
        highest = 0
        for began, ended, used in (
            (s.start, s.end, s.used) for s in provider.use.get(ResourceClass(class_), ())
        ):
            if (ended is None or ended > self.start) and (end is None or began < end):
                highest = max(highest, used)
        return size - highest

    def closed(self, one: ProviderId) -> bool:
        line = (one, *self.nodes[one].provider.ancestors)
        return any(self.all[a].provider.cordons for a in line if a in self.all)

    # Trees, capabilities and distances

    def root(self, one: str) -> str:
        ancestors = self.all[ProviderId(one)].provider.ancestors
        return ancestors[0] if ancestors else one

    def stands_in(self, one: str, member: str) -> bool:
        if ProviderId(member) not in self.nodes:
            return False
        root = self.root(one) if ProviderId(one) in self.all else one
        return root == self.root(member)

    def in_reach(self, one: ProviderId, tree: str) -> bool:
        if self.root(one) == tree:
            return True
        shares = set(self.nodes[one].provider.shares)
        return any(
            shares & node.groups for member, node in self.nodes.items() if self.root(member) == tree
        )

    def capabilities(self, one: str) -> tuple[str, ...]:
        node = self.all.get(ProviderId(one))
        return node.provider.capabilities if node else ()

    def meets(self, has: Iterable[str], demand: CapabilityDemand) -> bool:
        own = set(has)
        return (
            set(demand.require) <= own
            and not own & set(demand.forbid)
            and all(own & set(choice) for choice in demand.any_of)
        )

    def line(self, node: Node) -> list[Node]:
        """The node and what is known of those above, the nearest first."""
        ids = (node.provider.id, *reversed(node.provider.ancestors))
        return [self.all[one] for one in ids if one in self.all]

    def to_group(self, type_: str, one: Node, group: str) -> int | None:
        for level in self.line(one):
            position = level.provider.distances.get(type_, {}).get(GroupId(group))
            if position is not None:
                return list(self.types[type_]).index(position)
        return None

    def apart(self, type_: str, one: Node, other: Node) -> int | None:
        if one.provider.id == other.provider.id:
            return 0
        known = [
            found
            for here, there in ((one, other), (other, one))
            for level in self.line(there)
            for group in level.groups
            if (found := self.to_group(type_, here, group)) is not None
        ]
        return min(known) if known else None

    def within(self, rule: DistanceRule, distance: int | None) -> bool:
        positions = list(self.types[rule.type])
        value = len(positions) if distance is None else distance
        return (not rule.least or value >= positions.index(rule.least)) and (
            not rule.most or value <= positions.index(rule.most)
        )

    # All instances together

    def allowed(self, chosen: list[tuple[RequestGroup, Option]]) -> bool:
        for (one, class_), amount in self.taken(chosen).items():
            node = self.nodes[ProviderId(one)]
            most = node.provider.inventories[ResourceClass(class_)].max_unit
            if amount > most or amount > self.left(one, class_):
                return False
        return (
            all(self.isolated(names, chosen) for names in self.request.isolate)
            and all(self.one_above(names, chosen) for names in self.request.same_subtree)
            and all(self.far_enough(rule, chosen) for rule in self.request.distances)
        )

    def isolated(self, names: tuple[str, ...], chosen: list[tuple[RequestGroup, Option]]) -> bool:
        sets = [option.on for group, option in chosen if group.name in names]
        return not any(a & b for a, b in combinations(sets, 2))

    def one_above(self, names: tuple[str, ...], chosen: list[tuple[RequestGroup, Option]]) -> bool:
        nodes = [
            self.nodes[one] for group, option in chosen if group.name in names for one in option.on
        ]
        return not nodes or any(
            all(top is one or top.provider.id in one.provider.ancestors for one in nodes)
            for top in nodes
        )

    def far_enough(self, rule: DistanceRule, chosen: list[tuple[RequestGroup, Option]]) -> bool:
        for number, (group, option) in enumerate(chosen):
            if group.name != rule.source:
                continue
            for one in (self.nodes[p] for p in option.on):
                if rule.group and not self.within(rule, self.to_group(rule.type, one, rule.group)):
                    return False
                if rule.provider and not self.within(rule, self.to_provider(rule, one)):
                    return False
                others = [
                    self.nodes[p]
                    for n, (to, there) in enumerate(chosen)
                    if n != number and rule.to and to.name == rule.to
                    for p in there.on
                ]
                if not all(self.within(rule, self.apart(rule.type, one, o)) for o in others):
                    return False
        return True

    def to_provider(self, rule: DistanceRule, one: Node) -> int | None:
        other = self.all.get(rule.provider)
        return None if other is None else self.apart(rule.type, one, other)
