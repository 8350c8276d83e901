"""Small fleets, written down in a few words, and what a search finds in them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from mulligan.events.provider import Inventory
from mulligan.events.request import CapabilityDemand, ClaimRequest, DistanceRule, RequestGroup
from mulligan.handlers import usage
from mulligan.handlers.provider import Provider
from mulligan.model import GroupId, ProviderId, ResourceClass
from mulligan.placement.fleet import Node, Space
from mulligan.placement.solver import Found, solve

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LATER = NOON + HOUR
MEMORY = ResourceClass("memory")
CPU = ResourceClass("cpu.shared")
TYPES = {"failure": ("local", "rack", "row")}

Busy = tuple[float, float | None, int]
"""So much memory used from one hour to another after noon; None is for ever."""


class Fleet:
    """Providers in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def add(
        self,
        name: str,
        memory: int | Inventory = 0,
        *,
        cpu: int = 0,
        under: str = "",
        groups: Iterable[str] = (),
        capabilities: tuple[str, ...] = (),
        shares: Iterable[str] = (),
        distances: Mapping[str, str] | None = None,
        cordoned: str = "",
        turnaround: int = 0,
        busy: Iterable[Busy] = (),
        deleted: bool = False,
    ) -> "Fleet":
        """Add a provider; ``distances`` are failure distances by group."""
        if isinstance(memory, int):
            memory = Inventory(total=memory)
        inventories = {MEMORY: memory, CPU: Inventory(total=cpu)}
        above = self.nodes[under].provider if under else None
        use: usage.Use = ()
        for start, end, used in busy:
            ends = None if end is None else NOON + HOUR * end
            use = usage.add(use, NOON + HOUR * start, ends, used)
        provider = Provider(
            id=ProviderId(name),
            type="compute",
            name=name,
            parent=ProviderId(under),
            ancestors=(*above.ancestors, above.id) if above else (),
            inventories={c: one for c, one in inventories.items() if one.total},
            capabilities=capabilities,
            shares=tuple(GroupId(one) for one in shares),
            distances={"failure": {GroupId(g): p for g, p in (distances or {}).items()}},
            turnaround=turnaround,
            cordons={cordoned: ""} if cordoned else {},
            use={MEMORY: use} if use else {},
            deleted=deleted,
        )
        self.nodes[name] = Node(provider=provider, groups=frozenset(GroupId(g) for g in groups))
        return self

    def space(self, *order: str) -> Space:
        """Return the space; without an order all are tried, as they were added."""
        return Space(self.nodes.values(), [ProviderId(name) for name in order or self.nodes], TYPES)

    def solve(
        self,
        *groups: RequestGroup,
        limit: int = 1000,
        end: datetime | None = LATER,
        rejected: Iterable[str] = (),
        **rules: object,
    ) -> Found:
        """Search from noon, for an hour."""
        return solve(
            request(*groups, **rules),
            self.space(),
            NOON,
            end,
            rejected=[ProviderId(name) for name in rejected],
            limit=limit,
        )

    def ways(self, *groups: RequestGroup, **rules: object) -> list[str]:
        """Return each candidate as ``group: providers``, in the order of being found."""
        found = self.solve(*groups, **rules)  # type: ignore[arg-type]
        assert found.complete
        return [
            "; ".join(f"{name}: {' '.join(on)}" for name, on in candidate.groups.items())
            for candidate in found.candidates
        ]


def request(*groups: RequestGroup, **rules: object) -> ClaimRequest:
    return ClaimRequest(groups=groups, **rules)  # type: ignore[arg-type]


def group(name: str = "vm", memory: int = 0, *, cpu: int = 0, **more: object) -> RequestGroup:
    amounts = {MEMORY: memory, CPU: cpu}
    resources = {class_: amount for class_, amount in amounts.items() if amount}
    return RequestGroup(name=name, resources=resources, **more)  # type: ignore[arg-type]


def split(name: str = "vm", memory: int = 0, *, cpu: int = 0, **more: object) -> RequestGroup:
    return group(name, memory, cpu=cpu, single_provider=False, **more)


def needs(*require: str, forbid: tuple[str, ...] = ()) -> CapabilityDemand:
    return CapabilityDemand(require=require, forbid=forbid)


def apart(source: str, to: str = "", **more: str) -> DistanceRule:
    return DistanceRule(source=source, to=to, type="failure", **more)  # type: ignore[arg-type]
