"""``mulligan role``: what roles there are."""

import typer

from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

COLUMNS = (
    Column("NAME", lambda role: role.name),
    Column("LEVEL", lambda role: role.level),
    Column("GRANTS", lambda role: ", ".join(role.permissions)),
)


@verb(app, "list")
async def list_roles(session: Session) -> None:
    """List the roles and what they grant."""
    answer = await session.client.iam.list_roles()
    session.out.rows(answer.roles, COLUMNS)
