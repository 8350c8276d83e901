"""Why a claim is refused, as its holder needs to know: the quota first, and its own claims."""

from datetime import datetime, timedelta
from typing import Any

from mulligan.commands.runner import Commands
from mulligan.errors import MulliganError
from mulligan.events.request import ClaimRequest
from mulligan.handlers import quota
from mulligan.handlers.claim import LIVE, Claim
from mulligan.handlers.provider import DoesNotFit, NoRoom, Provider
from mulligan.handlers.quota import OverQuota
from mulligan.model import ClaimId, ProjectId, ResourceClass, StreamId, stream_id
from mulligan.quantities import format_amount, format_time
from mulligan.queries.claims import list_claims
from mulligan.queries.freshness import wait_until
from mulligan.queries.paging import PageRequest
from mulligan.services.gate import visibility
from mulligan.services.runtime import Runtime

NAMED = 3
"""So many claims that are in the way are named, at most."""


async def over_quota(
    commands: Commands,
    project: ProjectId,
    wanted: ClaimRequest,
    start: datetime,
    end: datetime | None,
) -> OverQuota | None:
    """Return the refusal of a quota that would not allow what is wanted over [start, end)."""
    states: dict[StreamId, Any] = {}
    while more := [one for one in quota.streams(states, project) if one not in states]:
        states |= {one: known.state for one, known in (await commands.states(more)).items()}
    amounts: dict[ResourceClass, int] = {}
    for group in wanted.groups:
        for class_, amount in group.resources.items():
            amounts[class_] = amounts.get(class_, 0) + group.count * amount
    try:
        quota.taken(states, project, ClaimId(""), amounts, start, end)
    except OverQuota as error:
        return error
    return None


async def with_claims_in_the_way(
    runtime: Runtime,
    error: DoesNotFit,
    start: datetime,
    end: datetime | None,
    *,
    but: str = "",
) -> DoesNotFit:
    """Return the refusal with the claims that hold something there, of those the caller may see.

    ``but`` is the claim that was to be changed. Where they are not to be had soon, and where it is
    not for want of room, it is returned as it is. What a tenant reads says nothing of others: its
    own claims are named whatever it is that keeps the provider from being free.
    """
    if not (isinstance(error, NoRoom) if visibility.sees_all() else error.outside):
        return error
    try:
        found = await _holding(runtime, error, start, end)
    except MulliganError:
        return error
    told = "; ".join(_said(one, error) for one in found if one.id != but)
    if not told:
        return error
    step = "give that back, or choose a window without it"
    fuller = DoesNotFit(error.provider, f"{error.message}: {told}; {step}")
    fuller.outside = f"{error.outside}: {told}; {step}"
    return fuller


async def _holding(
    runtime: Runtime, error: DoesNotFit, start: datetime, end: datetime | None
) -> list[Claim]:
    parts = runtime.parts
    await wait_until(parts.database, ("claims",), parts.commands.position().seq)
    known = await parts.commands.state(stream_id("provider", error.provider))
    provider: Provider = known.state
    around = timedelta(seconds=provider.turnaround)
    page = await list_claims(
        parts.database,
        PageRequest(size=NAMED + 1),
        project=visibility.holder(),
        states=sorted(LIVE),
        provider=error.provider,
        start=start - around,
        end=None if end is None else end + around,
    )
    return [row.state for row in page.items]


def _said(claim: Claim, error: DoesNotFit) -> str:
    held = " ".join(
        f"{class_}={format_amount(class_, amount)}"
        for hold in claim.held
        if hold.provider == error.provider
        for class_, amount in sorted(hold.amounts.items())
    )
    whose = "" if visibility.sees_all() else " of your project"
    until = f"until {format_time(claim.end)}" if claim.end is not None else "with an open end"
    return (
        f"claim {claim.name or claim.id}{whose} holds {held} there from"
        f" {format_time(claim.start)} {until}"
    )
