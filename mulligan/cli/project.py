"""``mulligan project``: who things belong to."""

from typing import Annotated

import typer

from mulligan.cli.deleting import delete_each
from mulligan.cli.naming import name_fields
from mulligan.cli.output import Column
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb
from mulligan.quantities import format_time

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

NameArgument = Annotated[str, typer.Argument(metavar="PROJECT", help="Name or UUID.")]

COLUMNS = (
    Column("NAME", lambda project: project.name),
    Column("UUID", lambda project: project.uuid),
    Column("PARENT", lambda project: project.parent),
    Column("STATE", lambda project: "disabled" if project.disabled else "enabled"),
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
    await name_fields(session, [answer.project], "parent")
    session.out.made(answer.project, COLUMNS)


@verb(app, "list", reads=True, across=True)
async def list_projects(session: Session) -> None:
    """List projects."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListProjectsRequest

    iam = session.client.iam
    pages = every(iam.list_projects, ListProjectsRequest(), lambda page: page.projects)
    found = [project async for project in pages]
    await name_fields(session, found, "parent")
    session.out.rows(found, COLUMNS, "no projects")


@verb(app, "show", reads=True)
async def show_project(session: Session, name: NameArgument) -> None:
    """Show a project."""
    from mulligan.proto.v1 import GetProjectRequest

    answer = await session.client.iam.get_project(GetProjectRequest(project=name))
    await name_fields(session, [answer.project], "parent")
    session.out.one(answer.project, COLUMNS)


@verb(app, "disable")
async def disable_project(session: Session, name: NameArgument) -> None:
    """Let nobody use a project, nor those under it, from now on."""
    from mulligan.proto.v1 import DisableProjectRequest

    answer = await session.client.iam.disable_project(DisableProjectRequest(project=name))
    await name_fields(session, [answer.project], "parent")
    session.out.one(answer.project, COLUMNS)


@verb(app, "enable")
async def enable_project(session: Session, name: NameArgument) -> None:
    """Let a project be used again."""
    from mulligan.proto.v1 import EnableProjectRequest

    answer = await session.client.iam.enable_project(EnableProjectRequest(project=name))
    await name_fields(session, [answer.project], "parent")
    session.out.one(answer.project, COLUMNS)


@verb(app, "delete")
async def delete_project(
    session: Session,
    projects: Annotated[list[str], typer.Argument(metavar="PROJECT...", help="Names or UUIDs.")],
    yes: YesOption = False,
) -> None:
    """Delete disabled projects that hold nothing any more."""
    from mulligan.proto.v1 import DeleteProjectRequest

    await delete_each(
        session,
        projects,
        yes,
        lambda name: session.client.iam.delete_project(DeleteProjectRequest(project=name)),
    )
