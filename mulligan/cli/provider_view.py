"""How providers are printed."""

from typing import TYPE_CHECKING

from mulligan.cli.output import Column
from mulligan.quantities import format_amount, format_span, format_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import Inventory


def inventories_shown(inventories: "list[Inventory]") -> str:
    """Return inventories in short: class=used/capacity."""
    return " ".join(
        f"{one.resource_class}={format_amount(one.resource_class, one.used)}"
        f"/{format_amount(one.resource_class, one.capacity)}"
        for one in inventories
    )


UUIDS = ("parent", "groups", "shares", "distances.group")
"""Where a provider has UUIDs of others."""

COLUMNS = (
    Column("NAME", lambda provider: provider.name),
    Column("TYPE", lambda provider: provider.type),
    Column("PARENT", lambda provider: provider.parent),
    Column("INVENTORY", lambda provider: inventories_shown(provider.inventories)),
    Column(
        "CORDONS",
        lambda provider: ",".join(
            f"{cordon.cause}:{cordon.note}" if cordon.note else cordon.cause
            for cordon in provider.cordons
        ),
    ),
    Column("OVER", lambda provider: "over-committed" if provider.over_committed else "", wide=True),
    Column("CAPABILITIES", lambda provider: ",".join(provider.capabilities), wide=True),
    Column("GROUPS", lambda provider: ",".join(provider.groups), wide=True),
    Column(
        "ATTRIBUTES",
        lambda provider: ",".join(f"{k}={v}" for k, v in sorted(provider.attributes.items())),
        wide=True,
    ),
    Column("SHARES", lambda provider: ",".join(provider.shares), wide=True),
    Column(
        "DISTANCES",
        lambda provider: ",".join(
            f"{one.type}:{one.group}={one.position}" for one in provider.distances
        ),
        wide=True,
    ),
    Column(
        "TURNAROUND",
        lambda provider: (
            format_span(provider.turnaround.total_seconds()) if provider.turnaround else ""
        ),
        wide=True,
    ),
    Column("UUID", lambda provider: provider.uuid, wide=True),
    Column("CREATED", lambda provider: format_time(provider.created_at), wide=True),
)
