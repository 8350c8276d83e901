"""``mulligan brake``: where actions are stopped because too much failed at once."""

from typing import Annotated

import typer

from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb
from mulligan.quantities import format_span, format_time

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

COLUMNS = (
    Column("DOMAIN", lambda one: one.domain_name or one.domain),
    Column("FAILED", lambda one: f"{one.failed} of {one.total}"),
    Column("WITHIN", lambda one: format_span(one.window)),
    Column("SINCE", lambda one: format_time(one.applied_at)),
    Column("UUID", lambda one: one.domain, wide=True),
)


@verb(app, "list", reads=True)
async def list_brakes(session: Session) -> None:
    """List the failure domains where actions are stopped."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListBrakesRequest

    control = session.client.control
    pages = every(control.list_brakes, ListBrakesRequest(), lambda page: page.brakes)
    session.out.rows([one async for one in pages], COLUMNS, "no brake is on")


@verb(app, "release")
async def release_brake(
    session: Session,
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="Provider, or region.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it is safe, for the record.")],
) -> None:
    """Let actions go on in a failure domain."""
    from mulligan.proto.v1 import ReleaseBrakeRequest

    request = ReleaseBrakeRequest(domain=domain, reason=reason)
    await session.client.control.release_brake(request)
    session.out.note(f"released {domain}")
