"""``mulligan claim plan``: what requests would get, if some things were otherwise."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mulligan.cli.candidate_view import (
    candidate_form,
    names_of_allocations,
    providers_shown,
    why_not_form,
    why_not_lines,
)
from mulligan.cli.claim_view import resources_shown
from mulligan.cli.output import Format
from mulligan.cli.quota import parse_quotas
from mulligan.cli.request import read_requests
from mulligan.cli.verbs import Session, verb
from mulligan.quantities import format_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import Plan, PlannedClaim

app = typer.Typer(rich_markup_mode=None)


@verb(app, "plan", reads=True)
async def plan_claims(
    session: Session,
    files: Annotated[
        list[str],
        typer.Option("--file", "-f", help="Requests in YAML, in order; - reads stdin. Repeatable."),
    ],
    cordon: Annotated[
        list[str] | None, typer.Option("--cordon", help="As if it were away. Repeatable.")
    ] = None,
    cordon_group: Annotated[
        list[str] | None,
        typer.Option("--cordon-group", help="As if all its members were away. Repeatable."),
    ] = None,
    uncordon: Annotated[
        list[str] | None, typer.Option("--uncordon", help="As if it were there. Repeatable.")
    ] = None,
    release: Annotated[
        list[str] | None, typer.Option("--release", help="As if this claim were not. Repeatable.")
    ] = None,
    quota: Annotated[
        list[str] | None,
        typer.Option(
            "--quota",
            metavar="PROJECT:CLASS=AMOUNT[,...][,max_lease=SPAN]",
            help="As if its quota were this. Repeatable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Where a random search starts.")] = 0,
) -> None:
    """Show what requests would get, one on top of the other; take nothing."""
    from mulligan.proto.v1 import PlanClaimsRequest, Supposition

    now = datetime.now(UTC)
    suppose = Supposition(
        cordon=cordon or [],
        cordon_groups=cordon_group or [],
        uncordon=uncordon or [],
        release=release or [],
        quotas=parse_quotas(quota or [], "--quota"),
    )
    claims = [claim for file in files for claim in planned(file, now)]
    request = PlanClaimsRequest(claims=claims, suppose=suppose, seed=seed)
    plans = (await session.client.resource.plan_claims(request)).plans
    if session.out.for_people:
        for plan in plans:
            session.out.line("\n".join(plan_lines(plan)))
    elif session.out.form is Format.NAME:
        for plan in plans:
            session.out.line(plan.name)
    else:
        session.out.one({"plans": [plan_form(plan) for plan in plans]}, ())


def planned(file: str, now: datetime) -> "list[PlannedClaim]":
    """Return the requests of a file; those without a name get the file's, and a number."""
    from mulligan.proto.v1 import PlannedClaim

    found = [PlannedClaim(name=one.name, request=one.request) for one in read_requests(file, now)]
    stem = "request" if file == "-" else Path(file).stem
    return [
        one if one.name else replace(one, name=stem if len(found) == 1 else f"{stem}-{number}")
        for number, one in enumerate(found, start=1)
    ]


def plan_form(plan: "Plan") -> dict[str, Any]:
    """Return what one request would get, as it is printed for programs."""
    candidate = plan.candidate
    names = names_of_allocations(candidate) if candidate else {}
    return {
        "name": plan.name,
        "candidate": candidate_form(candidate, names, window=True) if candidate else None,
        "why_not": why_not_form(plan.why_not) if plan.why_not else None,
        "refusal": plan.refusal,
    }


def plan_lines(plan: "Plan") -> list[str]:
    """Return what one request would get, for reading."""
    candidate = plan.candidate
    if candidate is not None:
        taken = providers_shown(candidate, names_of_allocations(candidate))
        parts = [taken, resources_shown(candidate.allocations)]
        if candidate.window is not None and candidate.window.start is not None:
            parts.append(f"from {format_time(candidate.window.start)}")
        return [f"+ {plan.name}  {'  '.join(parts)}"]
    if plan.why_not is None or plan.refusal:
        return [f"- {plan.name}  {plan.refusal or 'refused'}"]
    first, *more = why_not_lines(plan.why_not)
    return [f"- {plan.name}  {first}", *more]
