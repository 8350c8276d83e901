"""``mulligan projection``: how the read models fare, and a halted one tried again."""

from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb
from mulligan.errors import FailedPrecondition, NotFound
from mulligan.quantities import format_span

if TYPE_CHECKING:
    from mulligan.proto.v1 import Projection

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def lag(one: "Projection") -> str:
    """Return how far it is behind, and for how long."""
    return f"{one.lag} ({format_span(one.lag_seconds)})" if one.lag else "0"


def building(one: "Projection") -> str:
    """Return which version is being built and how far that is; empty for none."""
    if not one.building_version:
        return ""
    share = 100 * one.building_seq // one.building_target if one.building_target else 100
    return f"v{one.building_version} {share}%"


def batch(one: "Projection") -> str:
    """Return what the newest batch took."""
    if not one.batch_events:
        return ""
    return f"{one.batch_events} events, fold {one.fold_ms:.1f} ms, flush {one.flush_ms:.1f} ms"


COLUMNS = (
    Column("PROJECTION", lambda one: one.name),
    Column("VERSION", lambda one: str(one.version)),
    Column("STATUS", lambda one: one.status),
    Column("SEQ", lambda one: str(one.seq)),
    Column("LAG", lag),
    Column("P99", lambda one: f"{one.lag_p99_ms:.0f} ms" if one.lag_p99_ms else ""),
    Column("BUILDING", building),
    Column("PROBLEM", lambda one: one.problem),
    Column("BATCH", batch, wide=True),
)


def advice(one: "Projection") -> str:
    """Return what is to be done about a read model; empty when nothing is."""
    if one.status == "halted":
        return (
            f"nothing is skipped, and its reads are of {one.seq}: if a newer release can fold the"
            f" event, upgrade the projector; if its cause is mended, `mulligan projection retry"
            f" {one.name}`; if rows were damaged, `mulligan rebuild {one.name}`"
        )
    if one.status == "building":
        return f"version {one.building_version} is being built; the one that serves stands still"
    return ""


@verb(app, "list")
async def list_projections(session: Session) -> None:
    """List the read models: how far each is, and what is wrong with it."""
    from mulligan.proto.v1 import ListProjectionsRequest

    answer = await session.client.projector.list_projections(ListProjectionsRequest())
    session.out.rows(answer.projections, COLUMNS, "no projections: has the projector begun?")


@verb(app, "show")
async def show(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Projection, such as claims.")],
) -> None:
    """Show one read model, and what to do about it."""
    from mulligan.proto.v1 import ListProjectionsRequest

    answer = await session.client.projector.list_projections(ListProjectionsRequest())
    for one in answer.projections:
        if one.name == name:
            session.out.one(one, COLUMNS)
            if advice(one):
                session.out.note(advice(one))
            return
    raise NotFound("projection", name)


@verb(app, "retry")
async def retry(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Projection that is halted.")],
) -> None:
    """Try a halted read model again, from where it stands."""
    from mulligan.proto.v1 import RetryProjectionRequest

    answer = await session.client.projector.retry_projection(RetryProjectionRequest(name=name))
    one = answer.projection
    assert one is not None, "the answer has it"
    session.out.one(one, COLUMNS)
    if one.status == "halted":
        raise FailedPrecondition(f"projection {name} halted again: {one.problem}")
