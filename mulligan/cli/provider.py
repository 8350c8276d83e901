"""``mulligan provider``: what offers resources."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.many import each, names_of
from mulligan.cli.output import Column
from mulligan.cli.quantities import format_amount, format_time, parse_attributes, parse_time
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb
from mulligan.errors import InvalidArgument

if TYPE_CHECKING:
    from mulligan.proto.v1 import Inventory, UsageSegment

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
INVENTORY_KEYS = ("total", "reserved", "min_unit", "max_unit", "step_size")


def inventories_shown(inventories: "list[Inventory]") -> str:
    """Return inventories in short: class=used/capacity."""
    return " ".join(
        f"{one.resource_class}={format_amount(one.resource_class, one.used)}"
        f"/{format_amount(one.resource_class, one.capacity)}"
        for one in inventories
    )


COLUMNS = (
    Column("NAME", lambda provider: provider.name),
    Column("TYPE", lambda provider: provider.type),
    Column("PARENT", lambda provider: provider.parent),
    Column("INVENTORY", lambda provider: inventories_shown(provider.inventories)),
    Column(
        "CORDONS",
        lambda provider: ",".join(
            f"{cordon.cause}:{cordon.note}" if cordon.note else cordon.cause
            for cordon in provider.cordons
        ),
    ),
    Column("OVER", lambda provider: "over-committed" if provider.over_committed else "", wide=True),
    Column("CAPABILITIES", lambda provider: ",".join(provider.capabilities), wide=True),
    Column("GROUPS", lambda provider: ",".join(provider.groups), wide=True),
    Column(
        "ATTRIBUTES",
        lambda provider: ",".join(f"{k}={v}" for k, v in sorted(provider.attributes.items())),
        wide=True,
    ),
    Column("UUID", lambda provider: provider.uuid, wide=True),
    Column("CREATED", lambda provider: format_time(provider.created_at), wide=True),
)


def parse_inventory(text: str) -> "Inventory":
    """Read ``CLASS=TOTAL[,reserved=…,min_unit=…,…,allocation_ratio=…]``."""
    from mulligan.cli.quantities import parse_amount
    from mulligan.proto.v1 import Inventory

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
    )
    answer = await session.client.resource.create_provider(request)
    session.out.made(answer.provider, COLUMNS)


@verb(app, "list")
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
    session.out.rows([provider async for provider in pages], COLUMNS, "no providers")


@verb(app, "show")
async def show_provider(session: Session, provider: ProviderArgument) -> None:
    """Show a provider."""
    from mulligan.proto.v1 import GetProviderRequest

    answer = await session.client.resource.get_provider(GetProviderRequest(provider=provider))
    session.out.one(answer.provider, COLUMNS)


@verb(app, "update")
async def update_provider(
    session: Session,
    provider: ProviderArgument,
    attribute: AttributeOption = None,
    inventory: InventoryOption = None,
    capability: CapabilityOption = None,
    etag: Annotated[str, typer.Option("--etag", help="Fail if it changed since.")] = "",
) -> None:
    """Replace attributes, inventories or capabilities: those that are given."""
    from mulligan.proto.v1 import UpdateProviderRequest

    mask = [
        field
        for field, given in (
            ("attributes", attribute),
            ("inventories", inventory),
            ("capabilities", capability),
        )
        if given is not None
    ]
    if not mask:
        raise InvalidArgument("options", "give --attribute, --inventory or --capability")
    request = UpdateProviderRequest(
        provider=provider,
        etag=etag,
        update_mask=mask,
        attributes=parse_attributes(attribute or [], "--attribute"),
        inventories=[parse_inventory(text) for text in inventory or []],
        capabilities=capability or [],
    )
    answer = await session.client.resource.update_provider(request)
    session.out.one(answer.provider, COLUMNS)


@verb(app, "delete")
async def delete_provider(
    session: Session, providers: ProvidersArgument, yes: YesOption = False
) -> None:
    """Delete providers that have neither claims nor children."""
    from mulligan.proto.v1 import DeleteProviderRequest

    names = names_of(providers)
    session.confirm_several("delete", names, yes)

    async def delete(name: str) -> None:
        await session.client.resource.delete_provider(DeleteProviderRequest(provider=name))
        session.out.note(f"deleted {name}")

    await each(names, delete)


@verb(app, "cordon")
async def cordon_provider(
    session: Session,
    providers: ProvidersArgument,
    note: Annotated[str, typer.Option("--note", help="Why, for those who ask later.")] = "",
    yes: YesOption = False,
) -> None:
    """Keep new claims away; what is claimed stays."""
    from mulligan.proto.v1 import CordonProviderRequest, Provider

    names = names_of(providers)
    session.confirm_several("cordon", names, yes)

    async def cordon(name: str) -> Provider | None:
        request = CordonProviderRequest(provider=name, note=note)
        return (await session.client.resource.cordon_provider(request)).provider

    session.out.rows(await each(names, cordon), COLUMNS)


@verb(app, "uncordon")
async def uncordon_provider(session: Session, providers: ProvidersArgument) -> None:
    """Offer providers to claims again."""
    from mulligan.proto.v1 import Provider, UncordonProviderRequest

    async def uncordon(name: str) -> Provider | None:
        request = UncordonProviderRequest(provider=name)
        return (await session.client.resource.uncordon_provider(request)).provider

    session.out.rows(await each(names_of(providers), uncordon), COLUMNS)


USAGE = (
    Column("CLASS", lambda segment: segment.resource_class),
    Column("FROM", lambda segment: format_time(segment.window.start if segment.window else None)),
    Column("TO", lambda segment: format_time(segment.window.end if segment.window else None)),
    Column("USED", lambda segment: format_amount(segment.resource_class, segment.used)),
)


@verb(app, "usage")
async def show_usage(
    session: Session,
    provider: ProviderArgument,
    start: Annotated[str, typer.Option("--start", help="From when: now, +2h or ISO.")] = "now",
    end: Annotated[str, typer.Option("--end", help="Until when; none: for ever.")] = "",
) -> None:
    """Show use over time."""
    from mulligan.proto.v1 import ListUsageRequest, Window

    now = datetime.now(UTC)
    window = Window(
        start=parse_time(start, now, "--start"), end=parse_time(end, now, "--end") if end else None
    )
    request = ListUsageRequest(provider=provider, window=window)
    segments: list[UsageSegment] = (await session.client.resource.list_usage(request)).segments
    session.out.rows(segments, USAGE, f"nothing of {provider} is in use then")
