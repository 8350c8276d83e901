"""``mulligan claim candidates``: what a request could get, without taking it."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mulligan.cli.candidate_view import (
    candidate_form,
    columns_of,
    names_in,
    why_not_form,
    why_not_lines,
)
from mulligan.cli.claim_options import Wanted
from mulligan.cli.output import Format, Output
from mulligan.cli.verbs import Session, verb

if TYPE_CHECKING:
    from mulligan.proto.v1 import ListCandidatesResponse

app = typer.Typer(rich_markup_mode=None)

MOST = 10_000
"""Candidates in one answer, at most."""


@verb(app, "candidates", reads=True)
async def list_candidates(
    session: Session,
    asked: Wanted,
    limit: Annotated[int, typer.Option("--limit", help="At most so many; none: 10.", min=0)] = 0,
    every: Annotated[
        bool, typer.Option("--all", help=f"Up to {MOST:,}, in an order that never changes.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Where a random search starts.")] = 0,
) -> None:
    """List ways to meet a request, the best first, or say why there is none.

    It is given as for `claim make`, by options or in a file. Nothing is taken.
    """
    from mulligan.proto.v1 import ListCandidatesRequest

    wanted = asked.request(datetime.now(UTC)).request
    most = limit or (MOST if every else 0)
    request = ListCandidatesRequest(request=wanted, limit=most, seed=seed)
    answer = await session.client.resource.list_candidates(request)
    searched = wanted is not None and wanted.window is not None and bool(wanted.window.duration)
    show_candidates(session.out, answer, window=searched, ordered=every)
    if every and answer.truncated:
        session.out.note(f"warning: there are more than these {len(answer.candidates)} candidates")


def show_candidates(
    out: Output, answer: "ListCandidatesResponse", *, window: bool, ordered: bool
) -> None:
    """Print candidates, by rank or ``ordered`` by their own text, and why there is none."""
    names = names_in(answer)
    forms = [(candidate_form(one, names, window=window), one) for one in answer.candidates]
    if ordered:
        forms.sort(key=lambda pair: json.dumps(pair[0], sort_keys=True))
    why = answer.why_not if not answer.candidates else None
    if out.form is Format.NAME:
        for form, _ in forms:
            out.line(",".join(sorted(form["allocations"])))
    elif not out.for_people:
        shown: dict[str, Any] = {
            "candidates": [form for form, _ in forms],
            "why_not": why_not_form(why) if why else None,
        }
        out.one(shown, ())
    elif why is None:
        columns = columns_of(names, window=window)
        out.rows([candidate for _, candidate in forms], columns, "no candidates")
    else:
        for line in ["no candidates", *why_not_lines(why)]:
            out.line(line)
