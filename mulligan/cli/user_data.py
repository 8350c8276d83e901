"""``mulligan user-data``: what machines are given at their first boot."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mulligan.cli.deleting import delete_each
from mulligan.cli.naming import name_fields
from mulligan.cli.output import Column
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb
from mulligan.errors import InvalidArgument
from mulligan.quantities import format_time

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

MAX_SIZE = 64 * 1024

COLUMNS = (
    Column("NAME", lambda one: one.name),
    Column("SIZE", lambda one: str(one.size)),
    Column("CREATED", lambda one: format_time(one.created_at)),
    Column("SHA256", lambda one: one.sha256, wide=True),
    Column("PROJECT", lambda one: one.project, wide=True),
    Column("UUID", lambda one: one.uuid, wide=True),
)


@verb(app, "create")
async def create_user_data(
    session: Session,
    name: Annotated[str, typer.Argument()],
    file: Annotated[
        str, typer.Option("--file", "-f", help="cloud-config or a script; - reads it.")
    ],
    quiet: QuietOption = False,
) -> None:
    """Keep user data, encrypted; it never changes."""
    from mulligan.proto.v1 import CreateUserDataRequest

    request = CreateUserDataRequest(name=name, content=content_of(file))
    answer = await session.client.control.create_user_data(request)
    await name_fields(session, [answer.user_data], "project")
    session.out.made(answer.user_data, COLUMNS)


@verb(app, "list", reads=True)
async def list_user_data(session: Session) -> None:
    """List user data."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListUserDataRequest

    control = session.client.control
    pages = every(control.list_user_data, ListUserDataRequest(), lambda page: page.user_data)
    found = [one async for one in pages]
    await name_fields(session, found, "project")
    session.out.rows(found, COLUMNS, "no user data")


@verb(app, "show")
async def show_user_data(
    session: Session,
    user_data: Annotated[str, typer.Argument(help="Name or UUID.")],
    content: Annotated[
        bool, typer.Option("--content", help="Print the content as it is, and nothing else.")
    ] = False,
) -> None:
    """Show user data; its content only if asked for."""
    from mulligan.proto.v1 import GetUserDataRequest

    answer = await session.client.control.get_user_data(GetUserDataRequest(user_data=user_data))
    found = answer.user_data
    if found is not None and content:
        session.out.out.flush()
        sys.stdout.buffer.write(found.content)
        return
    if found is not None:
        found.content = b""
    await name_fields(session, [found], "project")
    session.out.one(found, COLUMNS)


@verb(app, "delete")
async def delete_user_data(
    session: Session,
    user_data: Annotated[list[str], typer.Argument(metavar="USER-DATA...", help="Names or UUIDs.")],
    yes: YesOption = False,
) -> None:
    """Destroy user data; machines that booted with it are not touched."""
    from mulligan.proto.v1 import DeleteUserDataRequest

    await delete_each(
        session,
        user_data,
        yes,
        lambda name: session.client.control.delete_user_data(DeleteUserDataRequest(user_data=name)),
    )


def content_of(file: str) -> bytes:
    """Return the content of a file or of standard input; raise InvalidArgument if it cannot be."""
    try:
        if file == "-":
            content = sys.stdin.buffer.read(MAX_SIZE + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(MAX_SIZE + 1)
    except OSError as error:
        raise InvalidArgument(file, f"cannot be read: {error.strerror}") from error
    if not content or len(content) > MAX_SIZE:
        raise InvalidArgument(file, f"must hold 1 to {MAX_SIZE} bytes")
    return content
