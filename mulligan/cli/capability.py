"""``mulligan capability``: what providers can be said to have."""

from typing import Annotated

import typer

from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

COLUMNS = (
    Column("NAME", lambda capability: capability.name),
    Column("PROVIDERS", lambda capability: str(capability.providers)),
    Column("DESCRIPTION", lambda capability: capability.description),
    Column("STANDARD", lambda capability: "yes" if capability.standard else "no", wide=True),
)


@verb(app, "list", reads=True)
async def list_capabilities(
    session: Session,
    prefix: Annotated[
        str, typer.Argument(metavar="PREFIX", help="How they begin, such as hw.cpu; none: all.")
    ] = "",
    used: Annotated[bool, typer.Option("--used", help="Only those some provider has.")] = False,
) -> None:
    """List the standard capabilities, and those that providers have."""
    from mulligan.proto.v1 import ListCapabilitiesRequest

    request = ListCapabilitiesRequest(prefix=prefix, used=used)
    answer = await session.client.resource.list_capabilities(request)
    session.out.rows(answer.capabilities, COLUMNS, "no capabilities")
