"""``mulligan account``: people and services, their secrets and roles."""

from typing import Annotated

import typer

from mulligan.cli.login import new_secret
from mulligan.cli.output import Column
from mulligan.cli.quantities import format_time
from mulligan.cli.verbs import QuietOption, Session, verb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

NameArgument = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Name or UUID.")]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the secret from standard input.")
]
FileOption = Annotated[str, typer.Option("--secret-file", help="File of the secret.")]
RoleArgument = Annotated[
    str,
    typer.Argument(
        metavar="ROLE", help="admin, operator, auditor (system); owner, member, reader (project)."
    ),
]
OnOption = Annotated[
    str, typer.Option("--on", metavar="PROJECT", help="Project of the role; none: a system role.")
]

COLUMNS = (
    Column("NAME", lambda account: account.name),
    Column("KIND", lambda account: account.kind),
    Column("STATE", lambda account: "disabled" if account.disabled else "enabled"),
    Column(
        "ROLES",
        lambda account: ",".join(
            f"{role.role}@{role.project}" if role.project else role.role for role in account.roles
        ),
    ),
    Column("UUID", lambda account: account.uuid, wide=True),
    Column("CREATED", lambda account: format_time(account.created_at), wide=True),
)


@verb(app, "create")
async def create_account(
    session: Session,
    name: Annotated[str, typer.Argument()],
    kind: Annotated[str, typer.Option("--kind", help="user or service.")] = "user",
    password_stdin: StdinOption = False,
    secret_file: FileOption = "",
    quiet: QuietOption = False,
) -> None:
    """Create an account; its secret is asked for, or read from standard input or a file."""
    from mulligan.proto.v1 import CreateAccountRequest

    secret = new_secret(password_stdin, secret_file, f"Secret of {name}")
    request = CreateAccountRequest(name=name, kind=kind, secret=secret)
    answer = await session.client.iam.create_account(request)
    session.out.made(answer.account, COLUMNS)


@verb(app, "list")
async def list_accounts(session: Session) -> None:
    """List accounts."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListAccountsRequest

    iam = session.client.iam
    pages = every(iam.list_accounts, ListAccountsRequest(), lambda page: page.accounts)
    session.out.rows([account async for account in pages], COLUMNS, "no accounts")


@verb(app, "show")
async def show_account(session: Session, account: NameArgument) -> None:
    """Show an account."""
    from mulligan.proto.v1 import GetAccountRequest

    answer = await session.client.iam.get_account(GetAccountRequest(account=account))
    session.out.one(answer.account, COLUMNS)


@verb(app, "secret")
async def set_secret(
    session: Session,
    account: NameArgument,
    password_stdin: StdinOption = False,
    secret_file: FileOption = "",
) -> None:
    """Give an account another secret."""
    from mulligan.proto.v1 import SetSecretRequest

    secret = new_secret(password_stdin, secret_file, f"New secret of {account}")
    await session.client.iam.set_secret(SetSecretRequest(account=account, secret=secret))
    session.out.note(f"the secret of {account} is set")


@verb(app, "disable")
async def disable_account(session: Session, account: NameArgument) -> None:
    """Refuse logins of an account from now on."""
    from mulligan.proto.v1 import DisableAccountRequest

    answer = await session.client.iam.disable_account(DisableAccountRequest(account=account))
    session.out.one(answer.account, COLUMNS)


@verb(app, "enable")
async def enable_account(session: Session, account: NameArgument) -> None:
    """Allow logins of an account again."""
    from mulligan.proto.v1 import EnableAccountRequest

    answer = await session.client.iam.enable_account(EnableAccountRequest(account=account))
    session.out.one(answer.account, COLUMNS)


@verb(app, "bind")
async def bind_role(
    session: Session, account: NameArgument, role: RoleArgument, on: OnOption = ""
) -> None:
    """Give an account a role, on a project or in the system."""
    from mulligan.proto.v1 import BindRoleRequest, RoleBinding

    binding = RoleBinding(role=role, project=on)
    answer = await session.client.iam.bind_role(BindRoleRequest(account=account, binding=binding))
    session.out.one(answer.account, COLUMNS)


@verb(app, "unbind")
async def unbind_role(
    session: Session, account: NameArgument, role: RoleArgument, on: OnOption = ""
) -> None:
    """Take a role from an account."""
    from mulligan.proto.v1 import RoleBinding, UnbindRoleRequest

    request = UnbindRoleRequest(account=account, binding=RoleBinding(role=role, project=on))
    answer = await session.client.iam.unbind_role(request)
    session.out.one(answer.account, COLUMNS)
