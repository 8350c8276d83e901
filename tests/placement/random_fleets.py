"""Tiny fleets and requests drawn from a seed, with a bit of everything."""

import random
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from msgspec.structs import replace

from mulligan.events.provider import Inventory
from mulligan.events.request import (
    CapabilityDemand,
    ClaimRequest,
    DistanceRule,
    GroupDemand,
    RequestGroup,
)
from mulligan.handlers import usage
from mulligan.handlers.provider import Provider
from mulligan.model import GroupId, ProviderId, ResourceClass
from mulligan.placement.fleet import Node, Space

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CLASSES = tuple(ResourceClass(c) for c in ("memory", "cpu.shared", "gpu"))
TAGS = ("custom.a", "custom.b", "storage.ssd")
GROUPS = tuple(GroupId(g) for g in ("g1", "g2", "g3"))
T = TypeVar("T")
TYPES = {"failure": ("local", "rack", "row"), "network": ("local", "remote")}


class Draw:
    """A fleet, a request and a window, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.plain = seed % 3 == 0  # trees do not matter, and many providers are alike
        self.space = self._space(self.rng.randint(2, 7))
        self.request = self._request()
        self.start = START + HOUR * self.rng.randint(0, 6)
        self.end = self.start + HOUR * self.rng.randint(1, 5) if self._maybe(0.7) else None
        self.rejected = [one for one in self.space.nodes if self._maybe(0.05)]

    def _maybe(self, share: float) -> bool:
        return self.rng.random() < share

    def _some(self, items: tuple[T, ...], share: float = 0.3) -> tuple[T, ...]:
        return tuple(item for item in items if self._maybe(share))

    # The fleet

    def _space(self, size: int) -> Space:
        providers: list[Provider] = []
        groups: list[frozenset[GroupId]] = []
        for number in range(size):
            if providers and self._maybe(0.5 if self.plain else 0.1):
                twin = self.rng.randrange(number)
                name = f"p{number}"
                providers.append(replace(providers[twin], id=ProviderId(name), name=name))
                groups.append(groups[twin])
            else:
                providers.append(self._provider(number, providers))
                groups.append(frozenset(self._some(GROUPS, 0.4)))
        parents = {one.parent for one in providers}
        nodes = [
            Node(
                provider=replace(one, deleted=one.id not in parents and self._maybe(0.05)),
                groups=own,
            )
            for one, own in zip(providers, groups, strict=True)
        ]
        if self._maybe(0.1):  # an ancestor that was not fetched
            nodes = [node for node in nodes if node.provider.id not in parents or self._maybe(0.5)]
        order = [node.provider.id for node in nodes if self._maybe(0.9)]
        self.rng.shuffle(order)
        return Space(nodes, order, TYPES)

    def _provider(self, number: int, others: list[Provider]) -> Provider:
        above = [one for one in others if len(one.ancestors) < 2]
        parent = self.rng.choice(above) if above and self._maybe(0.6) else None
        use = {class_: self._use() for class_ in CLASSES if self._maybe(0.3)}
        return Provider(
            id=ProviderId(f"p{number}"),
            type="compute",
            name=f"p{number}",
            parent=parent.id if parent else ProviderId(""),
            ancestors=(*parent.ancestors, parent.id) if parent else (),
            inventories={class_: self._inventory() for class_ in CLASSES if self._maybe(0.8)},
            capabilities=self._some(TAGS, 0.5),
            shares=self._some(GROUPS, 0.2) if self._maybe(0.5) else (),
            distances={
                type_: {g: self.rng.choice(places) for g in self._some(GROUPS, 0.5)}
                for type_, places in TYPES.items()
                if self._maybe(0.6)
            },
            turnaround=self.rng.choice((0, 0, 3600)),
            cordons={"operator": ""} if self._maybe(0.08) else {},
            use=use,
        )

    def _inventory(self) -> Inventory:
        return Inventory(
            total=self.rng.choice((2, 4, 8, 8)),
            reserved=self.rng.choice((0, 0, 1)),
            min_unit=self.rng.choice((1, 1, 1, 1, 1, 2)),
            max_unit=self.rng.choice((2, 8, 8)),
            step_size=self.rng.choice((1, 1, 1, 1, 2)),
            allocation_ratio=self.rng.choice((1.0, 1.0, 1.5)),
        )

    def _use(self) -> usage.Use:
        use: usage.Use = ()
        for _ in range(self.rng.randint(1, 2)):
            start = START + HOUR * self.rng.randint(0, 8)
            end = start + HOUR * self.rng.randint(1, 5) if self._maybe(0.8) else None
            use = usage.add(use, start, end, self.rng.randint(1, 3))
        return use

    # The request

    def _request(self) -> ClaimRequest:
        groups: list[RequestGroup] = []
        instances = self.rng.choice((2, 3, 4) if self.plain else (1, 2, 2, 3, 3))
        while instances:
            count = self.rng.randint(1, instances)
            groups.append(self._group(f"r{len(groups)}", count))
            instances -= count
        names = tuple(group.name for group in groups)
        return ClaimRequest(
            groups=tuple(groups),
            isolate=self._sets(names, 0.3),
            same_subtree=() if self.plain else self._sets(names, 0.3),
            distances=tuple(
                self._rule(names)
                for _ in range(self.rng.choice((1, 2) if self.plain else (0, 0, 0, 1, 2)))
            ),
            policy=self.rng.choice(("random", "pack", "spread")),
            same_tree=not self.plain and self._maybe(0.25),
            root_capabilities=CapabilityDemand(
                require=self._some(TAGS, 0.2), forbid=self._some(TAGS, 0.1)
            )
            if self._maybe(0.2)
            else CapabilityDemand(),
        )

    def _sets(self, names: tuple[str, ...], share: float) -> tuple[tuple[str, ...], ...]:
        count = self.rng.choice((1, 1, 2)) if self._maybe(share) else 0
        return tuple(self._some(names, 0.7) for _ in range(count))

    def _group(self, name: str, count: int) -> RequestGroup:
        resources = {class_: self.rng.randint(1, 2) for class_ in self._some(CLASSES, 0.4)}
        return RequestGroup(
            name=name,
            count=count,
            resources=resources,
            capabilities=CapabilityDemand(
                require=self._some(TAGS, 0.08),
                forbid=self._some(TAGS, 0.06),
                any_of=(tuple(self.rng.sample(TAGS, 2)),) if self._maybe(0.12) else (),
            ),
            groups=GroupDemand(
                any_of=(tuple(self.rng.sample(GROUPS, 2)),) if self._maybe(0.12) else (),
                forbid=self._some(GROUPS, 0.07),
            ),
            in_tree=self._member() if self._maybe(0.1) else ProviderId(""),
            single_provider=self.plain or self._maybe(0.5),
        )

    def _member(self) -> ProviderId:
        return self.rng.choice([*self.space.nodes, ProviderId("unknown")])

    def _rule(self, names: tuple[str, ...]) -> DistanceRule:
        type_ = self.rng.choice(list(TYPES))
        places = ("", *TYPES[type_])
        source = self.rng.choice(names)
        least = self.rng.choice(places) if self._maybe(0.6) else ""
        most = self.rng.choice(places) if self._maybe(0.5) else ""
        match self.rng.randint(0, 3):
            case 0:
                return DistanceRule(
                    source=source, type=type_, provider=self._member(), least=least, most=most
                )
            case 1:
                group = self.rng.choice(GROUPS)
                return DistanceRule(source=source, type=type_, group=group, least=least, most=most)
            case _:
                to = self.rng.choice(names)
                return DistanceRule(source=source, type=type_, to=to, least=least, most=most)
