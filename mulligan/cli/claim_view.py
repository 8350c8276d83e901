"""How claims and what they hold are printed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mulligan.cli.output import Column
from mulligan.quantities import format_amount, format_span, format_time
from mulligan.wording import word

if TYPE_CHECKING:
    from mulligan.proto.v1 import Allocation, Claim


def resources_shown(allocations: "Sequence[Allocation]") -> str:
    """Return what allocations hold altogether, by class."""
    total: dict[str, int] = {}
    for allocation in allocations:
        for name, amount in allocation.amounts.items():
            total[name] = total.get(name, 0) + amount
    return " ".join(f"{name}={format_amount(name, n)}" for name, n in sorted(total.items()))


def held(claim: "Claim") -> "list[Allocation]":
    """Return what a claim holds, or held at its end: not what it gave back earlier, or left."""
    kept = [one for one in claim.allocations if one.until is None]
    return kept or claim.allocations


def allocation_shown(allocation: "Allocation") -> str:
    """Return one allocation on a line."""
    parts = [allocation.provider_name or allocation.provider, resources_shown([allocation])]
    if allocation.group:
        parts.append(f"for {allocation.group}")
    if allocation.since:
        parts.append(f"since {format_time(allocation.since)}")
    if allocation.until:
        parts.append(f"until {format_time(allocation.until)}")
    return "  ".join(parts)


def stranding_shown(claim: "Claim") -> str:
    """Return which failed providers a reservation still counts on, a line each."""
    names = {one.provider: one.provider_name or one.provider for one in claim.allocations}
    return "\n".join(f"{names.get(s.provider, s.provider)}: {s.reason}" for s in claim.stranded)


def notice_shown(claim: "Claim") -> str:
    """Return how long ahead of its end a claim is announced."""
    if claim.ending_notice is None:
        return ""
    seconds = claim.ending_notice.total_seconds()
    return format_span(seconds) if seconds else "never"


COLUMNS = (
    Column("CLAIM", lambda claim: claim.name or claim.uuid),
    Column("STATE", lambda claim: word(claim.state)),
    Column("START", lambda claim: format_time(claim.window.start if claim.window else None)),
    Column("END", lambda claim: format_time(claim.window.end if claim.window else None)),
    Column("RESOURCES", lambda claim: resources_shown(held(claim))),
    Column(
        "PROVIDERS",
        lambda claim: ",".join(one.provider_name or one.provider for one in held(claim)),
        wide=True,
    ),
    Column("PROJECT", lambda claim: claim.project, wide=True),
    Column("UUID", lambda claim: claim.uuid, wide=True),
)
WHOLE = (
    Column("NAME", lambda claim: claim.name),
    Column("UUID", lambda claim: claim.uuid),
    *COLUMNS[1:4],
    Column("ALLOCATIONS", lambda claim: "\n".join(map(allocation_shown, claim.allocations))),
    Column("STRANDED", stranding_shown),
    Column("ON END", lambda claim: claim.on_end),
    Column("NOTICE", notice_shown),
    Column("CONSUMER", lambda claim: claim.consumer),
    Column("PROJECT", lambda claim: claim.project),
    Column("ACCOUNT", lambda claim: claim.account),
    Column("CREATED", lambda claim: format_time(claim.created_at)),
)
STRANDED = (
    Column("CLAIM", lambda claim: claim.name or claim.uuid),
    Column("START", lambda claim: format_time(claim.window.start if claim.window else None)),
    Column("END", lambda claim: format_time(claim.window.end if claim.window else None)),
    Column("STRANDED", lambda claim: stranding_shown(claim).replace("\n", "; ")),
    Column("PROJECT", lambda claim: claim.project, wide=True),
    Column("UUID", lambda claim: claim.uuid, wide=True),
)
