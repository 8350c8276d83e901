"""``mulligan distance``: kinds of distance, as positions from near to far."""

from typing import Annotated

import typer

from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Such as network or failure.")]
PositionsArgument = Annotated[
    list[str], typer.Argument(metavar="POSITION", help="The nearest first: local site remote.")
]
COLUMNS = (
    Column("NAME", lambda kind: kind.name),
    Column("POSITIONS", lambda kind: " < ".join(kind.positions)),
)


@verb(app, "create")
async def create_distance_type(
    session: Session, name: NameArgument, positions: PositionsArgument
) -> None:
    """Create a type of distance."""
    from mulligan.proto.v1 import CreateDistanceTypeRequest

    request = CreateDistanceTypeRequest(name=name, positions=positions)
    answer = await session.client.resource.create_distance_type(request)
    session.out.one(answer.distance_type, COLUMNS)


@verb(app, "extend")
async def extend_distance_type(
    session: Session, name: NameArgument, positions: PositionsArgument
) -> None:
    """Add positions: name all, those there are in their order."""
    from mulligan.proto.v1 import ExtendDistanceTypeRequest

    request = ExtendDistanceTypeRequest(name=name, positions=positions)
    answer = await session.client.resource.extend_distance_type(request)
    session.out.one(answer.distance_type, COLUMNS)


@verb(app, "list", reads=True)
async def list_distance_types(session: Session) -> None:
    """List types of distance."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListDistanceTypesRequest

    resource = session.client.resource
    pages = every(
        resource.list_distance_types, ListDistanceTypesRequest(), lambda page: page.distance_types
    )
    session.out.rows([one async for one in pages], COLUMNS, "no types of distance")
