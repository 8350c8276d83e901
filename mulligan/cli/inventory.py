"""``mulligan inventory``: what a provider offers of each class."""

from typing import Annotated

import typer

from mulligan.cli.output import Column
from mulligan.cli.provider import ProviderArgument, parse_inventory
from mulligan.cli.verbs import Session, verb
from mulligan.errors import NotFound
from mulligan.quantities import format_amount

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def amount_column(title: str, wide: bool = False) -> Column:
    """Return the column of an inventory's amount."""
    field = title.lower()
    return Column(
        title, lambda one: format_amount(one.resource_class, getattr(one, field)), wide=wide
    )


COLUMNS = (
    Column("CLASS", lambda one: one.resource_class),
    amount_column("TOTAL"),
    amount_column("RESERVED"),
    amount_column("CAPACITY"),
    amount_column("USED"),
    amount_column("MIN_UNIT", wide=True),
    amount_column("MAX_UNIT", wide=True),
    amount_column("STEP_SIZE", wide=True),
    Column("RATIO", lambda one: f"{one.allocation_ratio or 1:g}", wide=True),
)


@verb(app, "list", reads=True)
async def list_inventories(session: Session, provider: ProviderArgument) -> None:
    """List what a provider offers."""
    from mulligan.proto.v1 import GetProviderRequest

    answer = await session.client.resource.get_provider(GetProviderRequest(provider=provider))
    if answer.provider is None:
        raise NotFound("provider", provider)
    session.out.rows(answer.provider.inventories, COLUMNS, f"{provider} offers nothing")


@verb(app, "set")
async def set_inventories(
    session: Session,
    provider: ProviderArgument,
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="CLASS=TOTAL[,KEY=VALUE]...",
            help="Such as memory=64GiB,reserved=2GiB; a total of 0 removes the class.",
        ),
    ],
) -> None:
    """Set the inventory of classes; those not named stay as they are."""
    from mulligan.proto.v1 import GetProviderRequest, UpdateProviderRequest

    wanted = {one.resource_class: one for one in map(parse_inventory, given)}
    resource = session.client.resource
    found = (await resource.get_provider(GetProviderRequest(provider=provider))).provider
    if found is None:
        raise NotFound("provider", provider)
    merged = {one.resource_class: one for one in found.inventories} | wanted
    request = UpdateProviderRequest(
        provider=found.uuid,
        etag=found.etag,
        update_mask=["inventories"],
        inventories=[one for one in merged.values() if one.total],
    )
    answer = await resource.update_provider(request)
    session.out.rows(answer.provider.inventories if answer.provider else [], COLUMNS)
