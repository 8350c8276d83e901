"""``mulligan iam import keystone``: take over projects, users and roles from OpenStack Keystone."""

import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mulligan.cli.many import each
from mulligan.cli.output import Output
from mulligan.cli.verbs import Session, YesOption, verb
from mulligan.errors import InvalidArgument

if TYPE_CHECKING:
    from mulligan.cli.keystone_plan import Existing, NewAccount, NewBinding, NewProject, Plan
    from mulligan.client.client import Client

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Take over what others keep.")

AT_ONCE = 24
SHOWN = 500
"""Lines of a plan that are shown before it is carried out."""
SECRET_BYTES = 24


@verb(app, "keystone")
async def import_keystone(
    session: Session,
    files: Annotated[
        list[str],
        typer.Option(
            "--file", "-f", help="An answer of /v3/users, /v3/projects, …; repeatable; - is stdin."
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan only.")] = False,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="THEIRS=OURS", help="What a role becomes, or none."),
    ] = None,
    tidy_names: Annotated[
        bool, typer.Option("--tidy-names", help="Change names that do not fit or that two have.")
    ] = False,
    flat: Annotated[
        bool, typer.Option("--flat", help="Make no tree: roles then reach no project below.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take who has a name here for the one of that name.")
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="NAME", help="A user or project to leave out."),
    ] = None,
    secrets_to: Annotated[
        str,
        typer.Option("--secrets-to", metavar="FILE", help="Give new accounts secrets, kept there."),
    ] = "",
    yes: YesOption = False,
) -> None:
    """Make accounts, projects and roles of what Keystone's API lists, saved in files.

    The plan is shown first, and asked about. Nothing is changed that exists, and nothing deleted.
    New accounts cannot log in until they are given a secret.
    """
    from mulligan.cli.keystone_files import read_listings
    from mulligan.cli.keystone_plan import Options, plan

    options = Options(
        roles=dict(map(_pair, role or [])),
        tidy=tidy_names,
        flat=flat,
        adopt=adopt,
        without=frozenset(without or ()),
    )
    planned = plan(read_listings(files), options, await _look(session.client))
    parts = (planned.projects, planned.accounts, planned.bindings)
    todo = sum(map(len, (*parts, planned.disable_accounts, planned.disable_projects)))
    _show(session.out, planned, most=SHOWN if not dry_run else todo)
    if dry_run or not todo:
        return
    session.confirm(f"Make these {todo} changes?", yes)
    await _carry_out(session.client, planned, _Secrets(secrets_to))
    session.out.note(
        f"made {len(planned.projects)} projects, {len(planned.accounts)} accounts,"
        f" {len(planned.bindings)} roles"
    )


class _Secrets:
    """Secrets of new accounts, written to a new file of mode 0600 before they are used."""

    def __init__(self, path: str) -> None:
        self._path = path

    def make(self, accounts: "Sequence[NewAccount]") -> dict[str, str]:
        """Return a secret for each account by UUID; none when no file was named for them."""
        if not self._path or not accounts:
            return {}
        made = {account.uuid: secrets.token_urlsafe(SECRET_BYTES) for account in accounts}
        lines = [f"{account.name}\t{made[account.uuid]}\n" for account in accounts]
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            opened = os.open(Path(self._path).expanduser(), flags, 0o600)
        except OSError as error:
            raise InvalidArgument("--secrets-to", f"{self._path}: {error.strerror}") from error
        with os.fdopen(opened, "w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(opened)
        return made


def _pair(text: str) -> tuple[str, str]:
    theirs, equals, ours = text.partition("=")
    if not (theirs and equals and ours):
        raise InvalidArgument("--role", f"{text!r}: write THEIRS=OURS, such as observer=reader")
    return theirs, ours


async def _look(client: "Client") -> "Existing":
    """Return the accounts, projects and roles that there are."""
    from mulligan.cli.keystone_plan import Existing
    from mulligan.client.paging import every
    from mulligan.proto import v1

    iam = client.iam
    accounts = every(iam.list_accounts, v1.ListAccountsRequest(), lambda page: page.accounts)
    projects = every(iam.list_projects, v1.ListProjectsRequest(), lambda page: page.projects)
    found = [account async for account in accounts if account.kind != "application"]
    known = [project async for project in projects]
    return Existing(
        projects={project.uuid: project.name for project in known},
        accounts={account.uuid: account.name for account in found},
        bindings=frozenset(
            (account.uuid, held.role, held.project) for account in found for held in account.roles
        ),
        disabled=frozenset(one.uuid for one in (*found, *known) if one.disabled),
    )


def _show(out: Output, planned: "Plan", most: int) -> None:
    """Tell what will be made, at most so many of it, what is there already, and what is left."""
    named = planned.names
    lines = []
    for project in planned.projects:
        under = f" under {named[project.parent]}" if project.parent else ""
        lines.append(f"+ project {project.name}{under}")
    lines += [f"+ account {one.name}" for one in planned.accounts]
    for binding in planned.bindings:
        where = f"on {named[binding.project]}" if binding.project else "on the system"
        lines.append(f"+ role {binding.role} {where} for {named[binding.account]}")
    lines += [f"~ account {named[one]} disabled" for one in planned.disable_accounts]
    lines += [f"~ project {named[one]} disabled" for one in planned.disable_projects]
    for line in lines[:most]:
        out.tell(line)
    if len(lines) > most:
        out.tell(f"… and {len(lines) - most} more; --dry-run shows them all")
    if planned.unchanged:
        out.tell(f"  {planned.unchanged} there already")
    for note in planned.notes:
        out.note(f"note: {note}")


async def _carry_out(client: "Client", planned: "Plan", kept: _Secrets) -> None:
    """Make everything, parents first. What fails stops the rest; run it again to go on."""
    from mulligan.proto import v1

    iam = client.iam
    given = kept.make(planned.accounts)

    async def project(one: "NewProject") -> None:
        await iam.create_project(
            v1.CreateProjectRequest(request_id=one.uuid, name=one.name, parent=one.parent)
        )

    async def account(one: "NewAccount") -> None:
        secret = given.get(one.uuid, "")
        await iam.create_account(
            v1.CreateAccountRequest(request_id=one.uuid, name=one.name, kind="user", secret=secret)
        )

    async def binding(one: "NewBinding") -> None:
        held = v1.RoleBinding(role=one.role, project=one.project)
        await iam.bind_role(v1.BindRoleRequest(account=one.account, binding=held))

    async def disable_project(uuid: str) -> None:
        await iam.disable_project(v1.DisableProjectRequest(project=uuid))

    async def disable_account(uuid: str) -> None:
        await iam.disable_account(v1.DisableAccountRequest(account=uuid))

    for depth in sorted({one.depth for one in planned.projects}):
        await _all([one for one in planned.projects if one.depth == depth], project)
    await _all(planned.accounts, account)
    await _all(planned.bindings, binding)
    await _all(planned.disable_accounts, disable_account)
    await _all(planned.disable_projects, disable_project)


async def _all(items: Sequence[Any], act: Callable[[Any], Awaitable[None]]) -> None:
    if items:
        await each(items, act, at_once=AT_ONCE)
