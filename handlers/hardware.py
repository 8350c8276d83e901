"""What the facts of an inspected machine mean for what it offers."""

import msgspec

from mulligan.events.machine import FactChange, Facts
from mulligan.events.provider import Inventory
from mulligan.model import ResourceClass


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A component that can be claimed by itself."""

    key: str
    attributes: dict[str, str] = {}
    inventories: dict[ResourceClass, Inventory] = {}
    capabilities: tuple[str, ...] = ()


def inventories_of(facts: Facts) -> dict[ResourceClass, Inventory]:
    """Return what an inspected machine offers; classes the BMC did not tell of are left out."""
    amounts = {
        "machine": 1,
        "cpu.dedicated": facts.cpu_threads or facts.cpu_cores,
        "memory": facts.memory_bytes,
        "storage.block": sum(d.bytes for d in facts.disks),
    }
    return {ResourceClass(c): Inventory(total=n) for c, n in amounts.items() if n > 0}


def capabilities_of(facts: Facts) -> tuple[str, ...]:
    """Return the standard capabilities that the facts show."""
    media = {d.media.lower() for d in facts.disks}
    return tuple(sorted({f"storage.{m}" for m in media & {"ssd", "hdd"}}))


def children_of(facts: Facts) -> tuple[ChildSpec, ...]:
    """Return the components that can be claimed by themselves."""
    return ()


def difference(before: Facts | None, after: Facts) -> tuple[FactChange, ...]:
    """Return what changed between two inspections."""
    return ()
