"""``mulligan application-credential``: what acts for you with some of your roles."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from mulligan.cli.account import COLUMNS as ACCOUNT_COLUMNS
from mulligan.cli.deleting import delete_each
from mulligan.cli.login import given_secret
from mulligan.cli.naming import name_fields
from mulligan.cli.output import Column
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb
from mulligan.quantities import format_time, parse_time

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

COLUMNS = (
    Column("NAME", lambda one: one.name),
    Column("UUID", lambda one: one.uuid),
    *(column for column in ACCOUNT_COLUMNS if column.title in {"STATE", "ROLES"}),
    Column("EXPIRES", lambda one: format_time(one.expires_at)),
    Column("CREATED", lambda one: format_time(one.created_at), wide=True),
)


@verb(app, "create")
async def create_credential(
    session: Session,
    name: Annotated[str, typer.Argument()],
    role: Annotated[
        list[str] | None,
        typer.Option("--role", help="A role of yours, or a lesser one; default: all."),
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", help="When it ends, such as +30d; default: when deleted.")
    ] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the secret from standard input.")
    ] = False,
    secret_file: Annotated[str, typer.Option("--secret-file", help="File of the secret.")] = "",
    quiet: QuietOption = False,
) -> None:
    """Make one for the project you are logged in to; its secret is printed once, to stderr.

    A secret that is given is not printed.
    """
    import secrets

    from mulligan.proto.v1 import CreateApplicationCredentialRequest

    given = given_secret(password_stdin, secret_file)
    secret = given or secrets.token_urlsafe(32)
    request = CreateApplicationCredentialRequest(
        name=name,
        secret=secret,
        roles=role or [],
        expires_at=parse_time(expires, datetime.now(UTC), "--expires") if expires else None,
    )
    answer = await session.client.iam.create_application_credential(request)
    await name_fields(session, [answer.account], "roles.project")
    session.out.made(answer.account, COLUMNS)
    if not given:
        print(f"secret: {secret}", file=session.out.err)  # even with -q: nobody sees it again


@verb(app, "list", reads=True)
async def list_credentials(session: Session) -> None:
    """List those of your account."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListApplicationCredentialsRequest

    pages = every(
        session.client.iam.list_application_credentials,
        ListApplicationCredentialsRequest(),
        lambda page: page.accounts,
    )
    found = [one async for one in pages]
    await name_fields(session, found, "roles.project")
    session.out.rows(found, COLUMNS, "no application credentials")


@verb(app, "delete")
async def delete_credential(
    session: Session,
    credentials: Annotated[
        list[str], typer.Argument(metavar="CREDENTIAL...", help="Names or UUIDs.")
    ],
    yes: YesOption = False,
) -> None:
    """Delete some of yours; what is logged in with them is out at once."""
    from mulligan.proto.v1 import DeleteApplicationCredentialRequest

    await delete_each(
        session,
        credentials,
        yes,
        lambda name: session.client.iam.delete_application_credential(
            DeleteApplicationCredentialRequest(credential=name)
        ),
    )
