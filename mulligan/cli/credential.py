"""``mulligan credential``: BMC logins, whose passwords nobody reads again."""

from typing import Annotated

import typer

from mulligan.cli.login import new_secret
from mulligan.cli.many import each, names_of
from mulligan.cli.output import Column
from mulligan.cli.quantities import format_time
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

COLUMNS = (
    Column("NAME", lambda credential: credential.name),
    Column("UUID", lambda credential: credential.uuid),
    Column("CREATED", lambda credential: format_time(credential.created_at)),
)


@verb(app, "create")
async def create_credential(
    session: Session,
    name: Annotated[str, typer.Argument()],
    username: Annotated[str, typer.Option("--username", "-u", help="Login name at the BMC.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    password_file: Annotated[
        str, typer.Option("--password-file", help="File of the password.")
    ] = "",
    quiet: QuietOption = False,
) -> None:
    """Store a BMC login; the password is asked for, or read from standard input or a file."""
    from mulligan.proto.v1 import CreateCredentialRequest

    password = new_secret(password_stdin, password_file, f"Password of {username}")
    request = CreateCredentialRequest(name=name, username=username, password=password)
    answer = await session.client.control.create_credential(request)
    session.out.made(answer.credential, COLUMNS)


@verb(app, "list")
async def list_credentials(session: Session) -> None:
    """List BMC logins."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListCredentialsRequest

    pages = every(
        session.client.control.list_credentials,
        ListCredentialsRequest(),
        lambda page: page.credentials,
    )
    session.out.rows([credential async for credential in pages], COLUMNS, "no credentials")


@verb(app, "delete")
async def delete_credential(
    session: Session,
    credentials: Annotated[
        list[str], typer.Argument(metavar="CREDENTIAL...", help="Names or UUIDs.")
    ],
    yes: YesOption = False,
) -> None:
    """Delete BMC logins; machines that use them can be reached no more."""
    from mulligan.proto.v1 import DeleteCredentialRequest

    names = names_of(credentials)
    session.confirm_several("delete", names, yes)

    async def delete(name: str) -> None:
        await session.client.control.delete_credential(DeleteCredentialRequest(credential=name))
        session.out.note(f"deleted {name}")

    await each(names, delete)
