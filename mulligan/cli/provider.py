"""``mulligan provider``: what offers resources."""

from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli import provider_tree, provider_usage
from mulligan.cli.deleting import delete_each
from mulligan.cli.many import each, names_of
from mulligan.cli.naming import name_fields
from mulligan.cli.provider_view import COLUMNS, UUIDS
from mulligan.cli.span import parse_span_or_none
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb
from mulligan.errors import InvalidArgument
from mulligan.quantities import parse_attributes

if TYPE_CHECKING:
    from mulligan.proto.v1 import Distance, Inventory

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ProviderArgument = Annotated[str, typer.Argument(metavar="PROVIDER", help="Name or UUID.")]
ProvidersArgument = Annotated[
    list[str], typer.Argument(metavar="PROVIDER...", help="Names or UUIDs; - reads them.")
]
AttributeOption = Annotated[
    list[str] | None, typer.Option("--attribute", "-a", metavar="KEY=VALUE", help="Repeatable.")
]
InventoryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--inventory",
        "-i",
        metavar="CLASS=TOTAL[,KEY=VALUE]",
        help="What it offers, such as memory=64GiB,reserved=2GiB. Repeatable.",
    ),
]
CapabilityOption = Annotated[
    list[str] | None, typer.Option("--capability", "-c", help="Such as hw.nic.sriov. Repeatable.")
]
SharesOption = Annotated[
    list[str] | None,
    typer.Option("--shares", metavar="GROUP", help="Its members may use what it has. Repeatable."),
]
DistanceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--distance",
        metavar="TYPE:GROUP=POSITION",
        help="How far it is, such as network:row-1=site. Repeatable.",
    ),
]
TurnaroundOption = Annotated[
    str, typer.Option("--turnaround", help="Counts as used after each end: 30m; 0: none.")
]
INVENTORY_KEYS = ("total", "reserved", "min_unit", "max_unit", "step_size")


def parse_inventory(text: str) -> "Inventory":
    """Read ``CLASS=TOTAL[,reserved=…,min_unit=…,…,allocation_ratio=…]``."""
    from mulligan.proto.v1 import Inventory
    from mulligan.quantities import parse_amount

    first, *more = text.split(",")
    name, equals, total = first.partition("=")
    if not equals or not name:
        raise InvalidArgument("--inventory", f"{text!r} is not CLASS=TOTAL, such as memory=64GiB")
    inventory = Inventory(resource_class=name, total=parse_amount(total, f"--inventory {name}"))
    for pair in more:
        key, _, value = pair.partition("=")
        if key == "allocation_ratio":
            try:
                inventory.allocation_ratio = float(value)
            except ValueError:
                raise InvalidArgument(f"--inventory {name}", f"{value!r} is no ratio") from None
        elif key in INVENTORY_KEYS:
            setattr(inventory, key, parse_amount(value, f"--inventory {name},{key}"))
        else:
            known = ", ".join((*INVENTORY_KEYS, "allocation_ratio"))
            raise InvalidArgument(f"--inventory {name}", f"unknown {key!r}; known: {known}")
    return inventory


def parse_distance(text: str) -> "Distance":
    """Read ``TYPE:GROUP=POSITION``; raise InvalidArgument for anything else."""
    from mulligan.proto.v1 import Distance

    kind, colon, rest = text.partition(":")
    group, equals, position = rest.partition("=")
    if not (kind and colon and group and equals and position):
        raise InvalidArgument("--distance", f"{text!r} is not TYPE:GROUP=POSITION")
    return Distance(type=kind, group=group, position=position)


def given_of(values: list[str] | None) -> list[str]:
    """Return the values of a repeatable option; a single empty one clears the list."""
    return [value for value in values or [] if value]


@verb(app, "create")
async def create_provider(
    session: Session,
    name: Annotated[str, typer.Argument()],
    kind: Annotated[
        str, typer.Option("--type", help="machine, compute, storage, network or component.")
    ] = "compute",
    parent: Annotated[str, typer.Option("--parent", help="Provider above it.")] = "",
    attribute: AttributeOption = None,
    inventory: InventoryOption = None,
    capability: CapabilityOption = None,
    shares: SharesOption = None,
    distance: DistanceOption = None,
    turnaround: TurnaroundOption = "",
    quiet: QuietOption = False,
) -> None:
    """Create a provider."""
    from mulligan.proto.v1 import CreateProviderRequest

    request = CreateProviderRequest(
        name=name,
        type=kind,
        parent=parent,
        attributes=parse_attributes(attribute or [], "--attribute"),
        inventories=[parse_inventory(text) for text in inventory or []],
        capabilities=capability or [],
        shares=given_of(shares),
        distances=[parse_distance(text) for text in given_of(distance)],
        turnaround=parse_span_or_none(turnaround, "--turnaround") if turnaround else None,
    )
    answer = await session.client.resource.create_provider(request)
    await name_fields(session, [answer.provider], *UUIDS)
    session.out.made(answer.provider, COLUMNS)


@verb(app, "list", reads=True, across=True)
async def list_providers(
    session: Session,
    kind: Annotated[str, typer.Option("--type", help="Only of this type.")] = "",
    parent: Annotated[str, typer.Option("--parent", help="Only right below this one.")] = "",
    group: Annotated[str, typer.Option("--group", help="Only members of this group.")] = "",
    limit: Annotated[int, typer.Option("--limit", help="At most so many; 0: all.")] = 0,
) -> None:
    """List providers."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListProvidersRequest

    request = ListProvidersRequest(type=kind, parent=parent, group=group)
    resource = session.client.resource
    pages = every(resource.list_providers, request, lambda page: page.providers, limit=limit)
    found = [provider async for provider in pages]
    await name_fields(session, found, *UUIDS)
    session.out.rows(found, COLUMNS, "no providers")


@verb(app, "show", reads=True)
async def show_provider(session: Session, provider: ProviderArgument) -> None:
    """Show a provider."""
    from mulligan.proto.v1 import GetProviderRequest

    answer = await session.client.resource.get_provider(GetProviderRequest(provider=provider))
    await name_fields(session, [answer.provider], *UUIDS)
    session.out.one(answer.provider, COLUMNS)


@verb(app, "update")
async def update_provider(
    session: Session,
    provider: ProviderArgument,
    attribute: AttributeOption = None,
    inventory: InventoryOption = None,
    capability: CapabilityOption = None,
    shares: SharesOption = None,
    distance: DistanceOption = None,
    turnaround: TurnaroundOption = "",
    parent: Annotated[
        str | None, typer.Option("--parent", help="Move it below this one; '': to the top.")
    ] = None,
    etag: Annotated[str, typer.Option("--etag", help="Fail if it changed since.")] = "",
) -> None:
    """Replace what is given, as a whole, or move it; '' clears a list."""
    from mulligan.proto.v1 import UpdateProviderRequest

    given = {
        "attributes": attribute is not None,
        "inventories": inventory is not None,
        "capabilities": capability is not None,
        "shares": shares is not None,
        "distances": distance is not None,
        "turnaround": bool(turnaround),
        "parent": parent is not None,
    }
    if not any(given.values()):
        raise InvalidArgument("options", "say what to change, such as --capability or --parent")
    request = UpdateProviderRequest(
        provider=provider,
        etag=etag,
        update_mask=[field for field, wanted in given.items() if wanted],
        attributes=parse_attributes(given_of(attribute), "--attribute"),
        inventories=[parse_inventory(text) for text in given_of(inventory)],
        capabilities=given_of(capability),
        shares=given_of(shares),
        distances=[parse_distance(text) for text in given_of(distance)],
        turnaround=parse_span_or_none(turnaround, "--turnaround") if turnaround else None,
        parent=parent or "",
    )
    answer = await session.client.resource.update_provider(request)
    await name_fields(session, [answer.provider], *UUIDS)
    session.out.one(answer.provider, COLUMNS)


@verb(app, "delete")
async def delete_provider(
    session: Session, providers: ProvidersArgument, yes: YesOption = False
) -> None:
    """Delete providers that have neither claims nor children."""
    from mulligan.proto.v1 import DeleteProviderRequest

    await delete_each(
        session,
        providers,
        yes,
        lambda name: session.client.resource.delete_provider(DeleteProviderRequest(provider=name)),
    )


@verb(app, "cordon")
async def cordon_provider(
    session: Session,
    providers: ProvidersArgument,
    note: Annotated[str, typer.Option("--note", help="Why, for those who ask later.")] = "",
    failed: Annotated[
        bool, typer.Option("--failed", help="It is broken: move what is reserved to equals.")
    ] = False,
    yes: YesOption = False,
) -> None:
    """Keep new claims away; what is claimed stays."""
    from mulligan.proto.v1 import CordonProviderRequest, Provider

    names = names_of(providers)
    session.confirm_several("cordon", names, yes)

    async def cordon(name: str) -> Provider | None:
        request = CordonProviderRequest(provider=name, note=note, failed=failed)
        return (await session.client.resource.cordon_provider(request)).provider

    found = await each(names, cordon)
    await name_fields(session, found, *UUIDS)
    session.out.rows(found, COLUMNS)


@verb(app, "uncordon")
async def uncordon_provider(session: Session, providers: ProvidersArgument) -> None:
    """Offer providers to claims again."""
    from mulligan.proto.v1 import Provider, UncordonProviderRequest

    async def uncordon(name: str) -> Provider | None:
        request = UncordonProviderRequest(provider=name)
        return (await session.client.resource.uncordon_provider(request)).provider

    found = await each(names_of(providers), uncordon)
    await name_fields(session, found, *UUIDS)
    session.out.rows(found, COLUMNS)


for more in (provider_tree, provider_usage):
    app.add_typer(more.app)
