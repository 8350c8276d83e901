"""Another provider that could hold what a claim holds at one: by what was asked, or by likeness."""

import zlib
from collections.abc import Collection
from datetime import datetime

import msgspec

from mulligan.events.request import CapabilityDemand, ClaimRequest, RequestGroup, Span
from mulligan.handlers.claim import Claim, amounts_of
from mulligan.handlers.provider import Provider
from mulligan.model import ProviderId
from mulligan.queries.database import Database
from mulligan.queries.search import find, reasons


class Equal(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that could take over; None, with the reason, when there is none."""

    target: ProviderId | None
    reason: str = ""


async def find_equal(
    database: Database,
    claim: Claim,
    source: Provider | None,
    now: datetime,
    *,
    rejected: Collection[ProviderId] = (),
) -> Equal:
    """Return a provider with room for all that the claim holds at ``source``, over its window.

    It meets the request group that the hold was made for. A claim that named its providers itself
    goes to one of the same capabilities. What was asked to be on different providers stays so.
    """
    if source is None:
        return Equal(target=None, reason="the provider is gone")
    held = [hold for hold in claim.held if hold.provider == source.id]
    asked = claim.search.request if claim.search is not None else None
    bound = _bound(asked, {hold.group for hold in held})
    if bound:
        return Equal(target=None, reason=f"the request binds it by {bound}; claim anew")
    group = RequestGroup(
        resources=amounts_of(held), capabilities=CapabilityDemand(require=source.capabilities)
    )
    if asked is not None:
        group = _merged(asked, {hold.group for hold in held}, group)
    request = ClaimRequest(
        groups=(group,),
        span=Span(start=max(claim.start, now), end=claim.end),
        root_capabilities=CapabilityDemand() if asked is None else asked.root_capabilities,
    )
    taken = {*rejected, *(hold.provider for hold in claim.held)}
    found = await find(database, request, now, seed=_seed(claim), rejected=taken)
    if found.candidates:
        return Equal(target=found.candidates[0].allocations[0].provider)
    why = await reasons(database, request, found.start, found.end)
    return Equal(target=None, reason=f"no equal provider has room: {why.text}")


def _bound(asked: ClaimRequest | None, names: Collection[str]) -> str:
    """Return what ties the groups to other providers, which a move of one would break."""
    if asked is None:
        return ""
    if any(not g.single_provider for g in asked.groups if g.name in names):
        return "a split over one tree"
    if asked.same_tree and len(asked.groups) > 1:
        return "same_tree"
    if any({*names} & {*some} for some in asked.same_subtree):
        return "same_subtree"
    if any(rule.source in names or rule.to in names for rule in asked.distances):
        return "distances"
    return ""


def _merged(asked: ClaimRequest, names: Collection[str], bare: RequestGroup) -> RequestGroup:
    """Return one group that asks for all that the named ones ask of their provider."""
    groups = [g for g in asked.groups if g.name in names]
    if not groups:
        return bare
    tags = [g.capabilities for g in groups]
    sets = [g.groups for g in groups]
    first = groups[0]
    return msgspec.structs.replace(
        first,
        count=1,
        resources=bare.resources,
        in_tree=next((g.in_tree for g in groups if g.in_tree), first.in_tree),
        capabilities=CapabilityDemand(
            require=tuple(sorted({c for t in tags for c in t.require})),
            forbid=tuple(sorted({c for t in tags for c in t.forbid})),
            any_of=tuple(choice for t in tags for choice in t.any_of),
        ),
        groups=msgspec.structs.replace(
            first.groups,
            any_of=tuple(choice for s in sets for choice in s.any_of),
            forbid=tuple(sorted({g for s in sets for g in s.forbid})),
        ),
    )


def _seed(claim: Claim) -> int:
    """Start at the claim's own place, so that many that move do not all go to one provider."""
    return zlib.crc32(claim.id.encode())
