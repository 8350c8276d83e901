"""``mulligan rebuild``: read models anew from the log."""

from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.output import Column
from mulligan.cli.progress import Progress
from mulligan.cli.verbs import Session, verb
from mulligan.errors import Corrupt, MulliganError
from mulligan.quantities import format_span

if TYPE_CHECKING:
    from mulligan.proto.v1 import RebuildProgress

app = typer.Typer(rich_markup_mode=None)


def rate(progress: "RebuildProgress") -> str:
    """Return how many events a second were folded."""
    return f"{progress.events / progress.seconds:,.0f}/s" if progress.seconds else ""


COLUMNS = (
    Column("PROJECTION", lambda one: one.name),
    Column("RESULT", lambda one: one.phase),
    Column("SEQ", lambda one: str(one.seq)),
    Column("EVENTS", lambda one: str(one.events)),
    Column("TOOK", lambda one: format_span(one.seconds)),
    Column("RATE", rate),
    Column("DETAIL", lambda one: one.detail),
)


@verb(app, "rebuild")
async def rebuild(
    session: Session,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Projections; none: all.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only compare with the live ones; swap nothing.")
    ] = False,
) -> None:
    """Build read models anew beside the live ones, compare, and swap them in."""
    from mulligan.proto.v1 import RebuildProjectionsRequest

    request = RebuildProjectionsRequest(names=names or [], verify=verify)
    finished: dict[str, RebuildProgress] = {}
    begun: set[str] = set()
    with Progress(quiet=session.out.quiet) as progress:
        async for one in session.client.projector.rebuild_projections(request):
            begun.add(one.name)
            progress.show(one.name, one.phase, one.seq, one.target or None)
            if one.finished:
                finished[one.name] = one
    session.out.rows([finished[name] for name in sorted(finished)], COLUMNS, "no projections")
    if begun - finished.keys():
        raise MulliganError(f"not finished: {', '.join(sorted(begun - finished.keys()))}")
    different = [name for name, one in sorted(finished.items()) if one.phase == "different"]
    if different and verify:
        raise Corrupt(
            f"{', '.join(different)} differ from the log; `mulligan rebuild {' '.join(different)}` "
            "puts that right"
        )
