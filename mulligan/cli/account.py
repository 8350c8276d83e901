"""``mulligan account``: people and services, their secrets and roles."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.deleting import delete_each
from mulligan.cli.login import new_secret
from mulligan.cli.naming import name_fields
from mulligan.cli.output import Column
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb
from mulligan.errors import InvalidArgument
from mulligan.quantities import format_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import Account

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
    Column("ROLES", lambda account: roles_of(account)),
    Column("OWNER", lambda account: account.owner, wide=True),
    Column("EXPIRES", lambda account: format_time(account.expires_at), wide=True),
    Column("CERTIFICATES", lambda account: certificates_of(account), wide=True),
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
    await name_fields(session, [answer.account], "roles.project")
    session.out.made(answer.account, COLUMNS)


@verb(app, "list", reads=True, across=True)
async def list_accounts(session: Session) -> None:
    """List accounts."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListAccountsRequest

    iam = session.client.iam
    pages = every(iam.list_accounts, ListAccountsRequest(), lambda page: page.accounts)
    found = [account async for account in pages]
    await name_fields(session, found, "roles.project")
    session.out.rows(found, COLUMNS, "no accounts")


@verb(app, "show", reads=True)
async def show_account(session: Session, account: NameArgument) -> None:
    """Show an account."""
    from mulligan.proto.v1 import GetAccountRequest

    answer = await session.client.iam.get_account(GetAccountRequest(account=account))
    await name_fields(session, [answer.account], "roles.project")
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
    await name_fields(session, [answer.account], "roles.project")
    session.out.one(answer.account, COLUMNS)


@verb(app, "enable")
async def enable_account(session: Session, account: NameArgument) -> None:
    """Allow logins of an account again."""
    from mulligan.proto.v1 import EnableAccountRequest

    answer = await session.client.iam.enable_account(EnableAccountRequest(account=account))
    await name_fields(session, [answer.account], "roles.project")
    session.out.one(answer.account, COLUMNS)


@verb(app, "bind")
async def bind_role(
    session: Session, account: NameArgument, role: RoleArgument, on: OnOption = ""
) -> None:
    """Give an account a role, on a project or in the system."""
    from mulligan.proto.v1 import BindRoleRequest, RoleBinding

    binding = RoleBinding(role=role, project=on)
    answer = await session.client.iam.bind_role(BindRoleRequest(account=account, binding=binding))
    await name_fields(session, [answer.account], "roles.project")
    session.out.one(answer.account, COLUMNS)


@verb(app, "unbind")
async def unbind_role(
    session: Session, account: NameArgument, role: RoleArgument, on: OnOption = ""
) -> None:
    """Take a role from an account."""
    from mulligan.proto.v1 import RoleBinding, UnbindRoleRequest

    request = UnbindRoleRequest(account=account, binding=RoleBinding(role=role, project=on))
    answer = await session.client.iam.unbind_role(request)
    await name_fields(session, [answer.account], "roles.project")
    session.out.one(answer.account, COLUMNS)


@verb(app, "revoke")
async def revoke_tokens(session: Session, account: NameArgument) -> None:
    """End every session of an account, and those of its application credentials."""
    from mulligan.proto.v1 import RevokeTokensRequest

    await session.client.iam.revoke_tokens(RevokeTokensRequest(account=account))
    session.out.note(f"every session of {account} has ended")


@verb(app, "add-certificate")
async def add_certificate(
    session: Session,
    account: NameArgument,
    file: Annotated[str, typer.Option("--file", "-f", help="Certificate (PEM), without its key.")],
) -> None:
    """Let an account log in with a client certificate."""
    from mulligan.proto.v1 import AddCertificateRequest

    request = AddCertificateRequest(account=account, pem=text_of(file))
    answer = await session.client.iam.add_certificate(request)
    await name_fields(session, [answer.account], "roles.project")
    session.out.one(answer.account, COLUMNS)


@verb(app, "remove-certificate")
async def remove_certificate(
    session: Session,
    account: NameArgument,
    fingerprint: Annotated[str, typer.Argument(help="Its sha256, which `account show` prints.")],
) -> None:
    """Let an account log in with a client certificate no more; what it began ends."""
    from mulligan.proto.v1 import RemoveCertificateRequest

    request = RemoveCertificateRequest(account=account, fingerprint=fingerprint)
    answer = await session.client.iam.remove_certificate(request)
    await name_fields(session, [answer.account], "roles.project")
    session.out.one(answer.account, COLUMNS)


@verb(app, "delete")
async def delete_account(
    session: Session,
    accounts: Annotated[list[str], typer.Argument(metavar="ACCOUNT...", help="Names or UUIDs.")],
    yes: YesOption = False,
) -> None:
    """Delete accounts with their secrets and application credentials."""
    from mulligan.proto.v1 import DeleteAccountRequest

    await delete_each(
        session,
        accounts,
        yes,
        lambda name: session.client.iam.delete_account(DeleteAccountRequest(account=name)),
    )


def roles_of(account: "Account") -> str:
    """Return an account's roles, each with the project that it is over."""
    return ",".join(f"{r.role}@{r.project}" if r.project else r.role for r in account.roles)


def certificates_of(account: "Account") -> str:
    """Return the certificates of an account, one a line."""
    return "\n".join(
        f"{one.fingerprint} {one.subject}, until {format_time(one.expires_at)}"
        for one in account.certificates
    )


def text_of(file: str) -> str:
    """Return what a file holds; raise InvalidArgument where it is no text."""
    try:
        return Path(file).expanduser().read_text()
    except OSError as error:
        raise InvalidArgument(file, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgument(file, "is not in PEM form") from error
