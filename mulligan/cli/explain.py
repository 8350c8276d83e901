"""``mulligan claim explain``: how the providers of a claim were found."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.candidate_view import names_of_allocations, providers_shown, stage_lines
from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb
from mulligan.quantities import format_amount, format_span, format_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import ExplainClaimResponse, RequestGroup, ResourceRequest, Span

app = typer.Typer(rich_markup_mode=None)


def asked_shown(request: "ResourceRequest") -> str:
    """Return a request for reading, a line for each group and rule."""
    lines = [group_shown(group) for group in request.groups]
    lines += [f"apart: {', '.join(one.values)}" for one in request.isolate]
    lines += [f"in one subtree: {', '.join(one.values)}" for one in request.same_subtree]
    for rule in request.distances:
        to = rule.to or rule.provider or rule.group
        bounds = " to ".join(bound for bound in (rule.min, rule.max) if bound)
        lines.append(f"{rule.type} distance of {rule.from_} and {to}: {bounds}")
    if request.same_tree:
        lines.append("all in one tree")
    return "\n".join(lines)


def group_shown(group: "RequestGroup") -> str:
    """Return one group of a request on a line."""
    amounts = [f"{name}={format_amount(name, n)}" for name, n in sorted(group.resources.items())]
    words = [f"{group.name}:" if group.name else "", f"{group.count or 1} x", *amounts]
    if group.capabilities:
        words += [f"+{name}" for name in group.capabilities.require]
        words += [f"-{name}" for name in group.capabilities.forbid]
        words += [f"+{'|'.join(names.values)}" for names in group.capabilities.any_of]
    return " ".join(word for word in words if word)


def span_shown(span: "Span | None") -> str:
    """Return when a claim was wanted."""
    if span is None:
        return ""
    if span.duration is None:
        return f"{format_time(span.start) or 'now'} to {format_time(span.end) or 'open'}"
    bounds = [
        f"{word} {format_time(moment)}"
        for word, moment in (("not before", span.not_before), ("not after", span.not_after))
        if moment
    ]
    return ", ".join([f"the first {length_shown(span.duration)} that fits", *bounds])


def length_shown(length: timedelta) -> str:
    """Return a length of time for reading."""
    return format_span(length.total_seconds())


def proposal_shown(answer: "ExplainClaimResponse") -> str:
    """Return what the search proposes when it is run again."""
    if answer.candidate is None:
        return ""
    names = names_of_allocations(answer.candidate)
    return providers_shown(answer.candidate, names)


COLUMNS = (
    Column("CLAIM", lambda one: (one.claim.name or one.claim.uuid) if one.claim else ""),
    Column("ASKED", lambda one: asked_shown(one.request) if one.request else ""),
    Column("WHEN", lambda one: span_shown(one.request.window if one.request else None)),
    Column(
        "SEARCHED",
        lambda one: (
            f"at {one.searched_at.region}:{one.searched_at.seq}, policy {one.policy}, "
            f"seed {one.seed}, {one.considered} considered, {one.conflicts} conflicts"
            if one.searched_at
            else ""
        ),
    ),
    Column("STAGES", lambda one: "\n".join(stage_lines(one.stages))),
    Column("TAKEN BY OTHERS", lambda one: "\n".join(one.rejected)),
    Column("PROPOSES", proposal_shown),
    Column("SAME", lambda one: "yes, as taken" if one.same else "no"),
    Column("TEXT", lambda one: one.text),
)


@verb(app, "explain", reads=True)
async def explain_claim(
    session: Session,
    claim: Annotated[str, typer.Argument(metavar="CLAIM", help="Name or UUID.")],
) -> None:
    """Run the search of a claim again, as the region was then."""
    from mulligan.proto.v1 import ExplainClaimRequest

    answer = await session.client.resource.explain_claim(ExplainClaimRequest(claim=claim))
    session.out.one(answer, COLUMNS)
