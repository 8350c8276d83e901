"""``mulligan group``: sets of providers."""

from typing import Annotated

import typer

from mulligan.cli.deleting import delete_each
from mulligan.cli.many import names_of
from mulligan.cli.naming import name_fields
from mulligan.cli.output import Column
from mulligan.cli.provider import AttributeOption, ProvidersArgument
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb
from mulligan.quantities import format_time, parse_attributes

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="Name or UUID.")]

COLUMNS = (
    Column("NAME", lambda group: group.name),
    Column("MEMBERS", lambda group: str(len(group.members))),
    Column(
        "ATTRIBUTES",
        lambda group: ",".join(f"{k}={v}" for k, v in sorted(group.attributes.items())),
    ),
    Column("UUID", lambda group: group.uuid, wide=True),
    Column("CREATED", lambda group: format_time(group.created_at), wide=True),
)
WHOLE = (*COLUMNS, Column("WHICH", lambda group: "\n".join(group.members)))


@verb(app, "create")
async def create_group(
    session: Session,
    name: Annotated[str, typer.Argument()],
    attribute: AttributeOption = None,
    quiet: QuietOption = False,
) -> None:
    """Create a group."""
    from mulligan.proto.v1 import CreateGroupRequest

    attributes = parse_attributes(attribute or [], "--attribute")
    request = CreateGroupRequest(name=name, attributes=attributes)
    answer = await session.client.resource.create_group(request)
    session.out.made(answer.group, COLUMNS)


@verb(app, "list", reads=True)
async def list_groups(session: Session) -> None:
    """List groups."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListGroupsRequest

    resource = session.client.resource
    pages = every(resource.list_groups, ListGroupsRequest(), lambda page: page.groups)
    session.out.rows([group async for group in pages], COLUMNS, "no groups")


@verb(app, "show", reads=True)
async def show_group(session: Session, group: GroupArgument) -> None:
    """Show a group and its members."""
    from mulligan.proto.v1 import GetGroupRequest

    answer = await session.client.resource.get_group(GetGroupRequest(group=group))
    await name_fields(session, [answer.group], "members")
    session.out.one(answer.group, WHOLE)


@verb(app, "add")
async def add_members(session: Session, group: GroupArgument, providers: ProvidersArgument) -> None:
    """Add providers to a group."""
    from mulligan.proto.v1 import UpdateGroupMembersRequest

    request = UpdateGroupMembersRequest(group=group, add=names_of(providers))
    answer = await session.client.resource.update_group_members(request)
    session.out.one(answer.group, COLUMNS)


@verb(app, "remove")
async def remove_members(
    session: Session, group: GroupArgument, providers: ProvidersArgument
) -> None:
    """Remove providers from a group."""
    from mulligan.proto.v1 import UpdateGroupMembersRequest

    request = UpdateGroupMembersRequest(group=group, remove=names_of(providers))
    answer = await session.client.resource.update_group_members(request)
    session.out.one(answer.group, COLUMNS)


@verb(app, "delete")
async def delete_group(
    session: Session,
    groups: Annotated[list[str], typer.Argument(metavar="GROUP...", help="Names or UUIDs.")],
    yes: YesOption = False,
) -> None:
    """Delete groups; their members stay."""
    from mulligan.proto.v1 import DeleteGroupRequest

    await delete_each(
        session,
        groups,
        yes,
        lambda name: session.client.resource.delete_group(DeleteGroupRequest(group=name)),
    )
