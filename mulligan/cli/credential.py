"""``mulligan credential``: BMC logins, whose passwords nobody reads again."""

import time
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from mulligan.cli.bulk import AT_MOST
from mulligan.cli.deleting import delete_each
from mulligan.cli.login import new_secret, secret_in
from mulligan.cli.output import Column
from mulligan.cli.progress import Progress
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb
from mulligan.errors import DeadlineExceeded, FailedPrecondition
from mulligan.quantities import format_time, parse_span

if TYPE_CHECKING:
    from mulligan.proto.v1 import Credential, Rotation

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

COLUMNS = (
    Column("NAME", lambda credential: credential.name),
    Column("UUID", lambda credential: credential.uuid),
    Column("CREATED", lambda credential: format_time(credential.created_at)),
)
DETAILS = (
    *COLUMNS,
    Column("ROTATING SINCE", lambda one: format_time(_of(one).started_at)),
    Column("ROTATED", lambda one: _so_far(one.rotation) if one.rotation else ""),
    Column("WAITING FOR", lambda one: "\n".join(_of(one).waiting)),
    Column("PROBLEM", lambda one: _of(one).problem),
)
LOOK_S = 1.0


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


@verb(app, "list", reads=True)
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


@verb(app, "show", reads=True)
async def show_credential(
    session: Session,
    credential: Annotated[str, typer.Argument(metavar="CREDENTIAL", help="Name or UUID.")],
) -> None:
    """Show a BMC login, and how far a new password of it has come."""
    session.out.one(await _get(session, credential), DETAILS)


@verb(app, "rotate")
async def rotate_credential(
    session: Session,
    credential: Annotated[str, typer.Argument(metavar="CREDENTIAL", help="Name or UUID.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    password_file: Annotated[
        str, typer.Option("--password-file", "--secret-file", help="File of the password.")
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Return when it is done.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", help="How long to wait: 30m, 2h.")] = AT_MOST,
) -> None:
    """Give the BMCs of a login another password, made for it unless one is given."""
    from mulligan.proto.v1 import RotateCredentialRequest

    given = ""
    if password_stdin:
        given = new_secret(True, "", "")
    elif password_file:
        given = secret_in(password_file)
    span = parse_span(timeout, "--timeout").total_seconds()
    request = RotateCredentialRequest(credential=credential, password=given)
    await session.client.control.rotate_credential(request)
    shown = _rotated(session, credential, span) if wait else _get(session, credential)
    session.out.one(await shown, DETAILS)


async def _rotated(session: Session, name: str, timeout: float) -> "Credential":
    """Return the login once no BMC waits for its new password; raise when one waits for us."""
    from mulligan.handlers.rotation import ASK_SOMEBODY

    until = time.monotonic() + timeout
    with Progress(quiet=session.out.quiet) as progress:
        while True:
            found = await _get(session, name)
            rotation = found.rotation
            if rotation is None:
                return found
            progress.show(name, _so_far(rotation), rotation.rotated, rotation.machines)
            if any(fault in rotation.problem for fault in ASK_SOMEBODY):
                raise FailedPrecondition(
                    f"{name}: {_so_far(rotation)}; {rotation.problem}; the rotation stays open, see"
                    f" mulligan credential show {name}"
                )
            if time.monotonic() >= until:
                raise DeadlineExceeded(f"{name}: {_so_far(rotation)} after {timeout:.0f} s")
            await anyio.sleep(LOOK_S)


async def _get(session: Session, name: str) -> "Credential":
    from mulligan.proto.v1 import Credential, GetCredentialRequest

    answer = await session.client.control.get_credential(GetCredentialRequest(credential=name))
    return answer.credential or Credential()


def _of(credential: "Credential") -> "Rotation":
    from mulligan.proto.v1 import Rotation

    return credential.rotation or Rotation()


def _so_far(rotation: "Rotation") -> str:
    return f"{rotation.rotated} of {rotation.machines} machines"


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

    await delete_each(
        session,
        credentials,
        yes,
        lambda name: session.client.control.delete_credential(
            DeleteCredentialRequest(credential=name)
        ),
    )
