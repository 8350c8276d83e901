"""``mulligan project``: who things belong to."""

from typing import Annotated

import typer

from mulligan.cli.output import Column
from mulligan.cli.quantities import format_time
from mulligan.cli.verbs import QuietOption, Session, verb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

COLUMNS = (
    Column("NAME", lambda project: project.name),
    Column("UUID", lambda project: project.uuid),
    Column("PARENT", lambda project: project.parent),
    Column("CREATED", lambda project: format_time(project.created_at), wide=True),
)


@verb(app, "create")
async def create_project(
    session: Session,
    name: Annotated[str, typer.Argument()],
    parent: Annotated[str, typer.Option("--parent", help="Project above it.")] = "",
    quiet: QuietOption = False,
) -> None:
    """Create a project."""
    from mulligan.proto.v1 import CreateProjectRequest

    request = CreateProjectRequest(name=name, parent=parent)
    answer = await session.client.iam.create_project(request)
    session.out.made(answer.project, COLUMNS)


@verb(app, "list")
async def list_projects(session: Session) -> None:
    """List projects."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListProjectsRequest

    iam = session.client.iam
    pages = every(iam.list_projects, ListProjectsRequest(), lambda page: page.projects)
    session.out.rows([project async for project in pages], COLUMNS, "no projects")


@verb(app, "show")
async def show_project(
    session: Session, name: Annotated[str, typer.Argument(metavar="PROJECT", help="Name or UUID.")]
) -> None:
    """Show a project."""
    from mulligan.proto.v1 import GetProjectRequest

    answer = await session.client.iam.get_project(GetProjectRequest(project=name))
    session.out.one(answer.project, COLUMNS)
