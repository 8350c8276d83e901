"""What a search found, or why it found nothing, as messages."""

from collections.abc import Iterable
from datetime import datetime

from mulligan.handlers import usage
from mulligan.handlers.claim import after
from mulligan.handlers.provider import Provider, capacity
from mulligan.placement.solver import Candidate
from mulligan.proto import v1
from mulligan.queries.search import Proposal, Reasons
from mulligan.queries.why_not import WhyNot


def candidate_shown(candidate: Candidate, start: datetime, end: datetime | None) -> v1.Candidate:
    """Render a candidate; providers are UUIDs."""
    return v1.Candidate(
        allocations=[
            v1.Allocation(
                provider=a.provider,
                amounts={str(c): n for c, n in a.amounts.items()},
                group=a.group,
            )
            for a in candidate.allocations
        ],
        groups={
            name: v1.GroupProviders(providers=[str(p) for p in providers])
            for name, providers in candidate.groups.items()
        },
        window=v1.Window(start=start, end=end),
    )


def summaries(found: Proposal, *, openly: bool) -> list[v1.ProviderSummary]:
    """Describe the providers of all candidates, each once; ``openly``, with what is left there."""
    ids = {p: None for c in found.candidates for some in c.groups.values() for p in some}
    ids |= {p: None for c in found.candidates for p in c.totals}
    nodes = found.loaded.space.nodes
    chosen = [nodes[p] for p in list(ids)]
    shown = [_summary(node.provider) for node in chosen]
    if openly:
        for one, node in zip(shown, chosen, strict=True):
            _fill(one, node.provider, found.start, found.end)
    return shown


def _fill(
    summary: v1.ProviderSummary, provider: Provider, start: datetime, end: datetime | None
) -> None:
    until = after(end, provider.turnaround)
    for class_, inventory in sorted(provider.inventories.items()):
        offered = capacity(inventory)
        summary.capacity[class_] = offered
        summary.free[class_] = offered - usage.peak(provider.use.get(class_, ()), start, until)


def _summary(provider: Provider) -> v1.ProviderSummary:
    return v1.ProviderSummary(
        uuid=provider.id,
        name=provider.name,
        type=provider.type,
        parent=provider.parent,
        root=provider.root,
        capabilities=list(provider.capabilities),
    )


def why_not_shown(why: Reasons) -> v1.WhyNot:
    """Render why a request cannot be met."""
    return v1.WhyNot(
        group=why.group,
        text=why.text,
        considered=why.counts.considered,
        stages=stages_shown(why.counts),
        nearest=[
            v1.NearestMiss(provider=m.provider, name=m.name, stage=m.stage, detail=m.detail)
            for m in why.nearest
        ],
        earliest=why.when.start if why.when is not None else None,
        earliest_exact=why.when is not None and why.when.exact,
    )


def stages_shown(counts: WhyNot) -> list[v1.StageCount]:
    """Render how many providers each stage dropped."""
    return [v1.StageCount(stage=s, providers=n) for s, n in counts.stages().items()]


def allocations_named(allocations: Iterable[v1.Allocation], names: dict[str, str]) -> None:
    """Put the names of the providers into allocations."""
    for allocation in allocations:
        allocation.provider_name = names.get(allocation.provider, "")
