"""``mulligan region``: what this region is like, and which others it knows."""

from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.many import each, names_of
from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, YesOption, verb
from mulligan.errors import InvalidArgument, MulliganError, NotFound
from mulligan.quantities import format_time, parse_attributes

if TYPE_CHECKING:
    from mulligan.client.client import Client
    from mulligan.client.context import Chosen
    from mulligan.proto.v1 import Region

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ParentOption = Annotated[str | None, typer.Option("--parent", help="The region above it.")]
VisibilityOption = Annotated[
    str | None,
    typer.Option("--visibility", help="public, or internal: shown to who is logged in."),
]
AttributeOption = Annotated[
    list[str] | None,
    typer.Option("--attribute", "-a", metavar="KEY=VALUE", help="Such as power=wind. Repeatable."),
]
NameArgument = Annotated[str, typer.Argument(metavar="REGION")]

COLUMNS = (
    Column("NAME", lambda one: f"{'  ' * one[1]}{one[0].name}"),
    Column("HERE", lambda one: "*" if one[0].home else ""),
    Column("PARENT", lambda one: one[0].parent),
    Column("VISIBILITY", lambda one: one[0].visibility),
    Column("ATTRIBUTES", lambda one: pairs_of(one[0].attributes)),
    Column("ADDRESSES", lambda one: few(one[0].addresses)),
)
WHOLE = (
    Column("NAME", lambda one: one.name),
    Column("HERE", lambda one: "yes" if one.home else "no"),
    Column("PARENT", lambda one: one.parent),
    Column("VISIBILITY", lambda one: one.visibility),
    Column("ATTRIBUTES", lambda one: "\n".join(f"{k}={v}" for k, v in one.attributes.items())),
    Column("ADDRESSES", lambda one: "\n".join(one.addresses)),
    Column("CA", lambda one: vouched_by(one.ca)),
    Column("CREATED", lambda one: format_time(one.created_at) if one.created_at else ""),
    Column("UPDATED", lambda one: format_time(one.updated_at) if one.updated_at else ""),
    Column("ETAG", lambda one: one.etag),
)


@verb(app, "list", reads=True, across=True)
async def list_regions(
    session: Session,
    under: Annotated[str, typer.Option("--under", help="Those below it, at any depth.")] = "",
    visibility: VisibilityOption = None,
    attribute: AttributeOption = None,
) -> None:
    """List this region and those that it knows, as a tree."""
    from mulligan.proto.v1 import ListRegionsRequest

    request = ListRegionsRequest(
        under=under,
        visibility=visibility or "",
        attributes=parse_attributes(attribute or [], "--attribute"),
    )
    answer = await session.client.meta.list_regions(request)
    if session.out.for_people:
        session.out.rows(tree_of(answer.regions), COLUMNS, "no such regions")
    else:
        session.out.rows(answer.regions, COLUMNS)


@verb(app, "show", reads=True)
async def show_region(
    session: Session,
    region: Annotated[str, typer.Argument(metavar="REGION", help="Default: this one.")] = "",
) -> None:
    """Show what is known of a region."""
    from mulligan.proto.v1 import ListRegionsRequest

    answer = await session.client.meta.list_regions(ListRegionsRequest())
    for one in answer.regions:
        if one.name == region or (not region and one.home):
            session.out.one(one, WHOLE)
            return
    raise NotFound("region", region)


@verb(app, "update")
async def update_region(
    session: Session,
    parent: ParentOption = None,
    visibility: VisibilityOption = None,
    attribute: AttributeOption = None,
    reached_at: Annotated[
        list[str] | None,
        typer.Option(
            "--reached-at", metavar="HOST:PORT", help="Where clients find it. Repeatable."
        ),
    ] = None,
    etag: Annotated[str, typer.Option("--etag", help="Only if it is still as read then.")] = "",
) -> None:
    """Say of this region where it belongs, who may see it, and what it is like.

    What is given is replaced as a whole; '' clears it. Other regions learn of it when they are told
    again: `mulligan region connect`.
    """
    from mulligan.proto.v1 import UpdateRegionRequest

    request = UpdateRegionRequest(etag=etag)
    if parent is not None:
        request.update_mask.append("parent")
        request.parent = parent
    if visibility is not None:
        request.update_mask.append("visibility")
        request.visibility = visibility
    if attribute is not None:
        request.update_mask.append("attributes")
        request.attributes = parse_attributes(filter(None, attribute), "--attribute")
    if reached_at is not None:
        request.update_mask.append("addresses")
        request.addresses = [one for one in reached_at if one]
    if not request.update_mask:
        raise InvalidArgument(
            "update", "say what changes: --parent, --visibility, --attribute or --reached-at"
        )
    answer = await session.client.meta.update_region(request)
    session.out.one(answer.region, WHOLE)


@verb(app, "connect")
async def connect_region(
    session: Session,
    region: NameArgument,
    from_context: Annotated[
        str, typer.Option("--from-context", metavar="CONTEXT", help="Take all from this context.")
    ] = "",
    address: Annotated[
        list[str] | None,
        typer.Option("--address", metavar="HOST:PORT", help="Any service there. Repeatable."),
    ] = None,
    ca_file: Annotated[str, typer.Option("--ca-file", help="PEM of who vouches for it.")] = "",
    parent: ParentOption = None,
    visibility: VisibilityOption = None,
    attribute: AttributeOption = None,
    both_ways: Annotated[
        bool, typer.Option("--both-ways", help="Tell that region of this one, too.")
    ] = False,
) -> None:
    """Tell this region of another one, or anew what is known of it.

    With --from-context the other region is asked what it is; with --address what was known of it
    stays. What is given beside that goes first. Repeating it changes nothing.
    """
    from mulligan.client.introductions import ca_of, described, described_by, known_here, tell
    from mulligan.proto.v1 import Region

    if bool(from_context) == bool(address):
        raise InvalidArgument("REGION", "say where it is: --from-context, or --address")
    if both_ways and not from_context:
        raise InvalidArgument("--both-ways", "needs --from-context, to log in there")
    if not from_context:
        from mulligan.client.context import Context

        other = (await known_here(session.client)).get(region) or Region(name=region)
        other.addresses = list(address or [])
        if ca_file or not other.ca:
            other.ca = ca_of(Context(ca=ca_file))
        _describe(other, parent, visibility, attribute)
        answer = await tell(session.client, other)
        session.out.one(answer.region, WHOLE)
        return
    chosen = _other_context(from_context)
    async with _client_of(chosen) as there:
        try:
            other = await described(there)
        except MulliganError as error:
            other = described_by(chosen.context)
            other.name = other.name or region
            session.out.note(f"note: {region} does not say what it is: {error.message}")
        if other.name != region:
            raise InvalidArgument(
                "--from-context", f"{from_context!r} leads to region {other.name}, not {region}"
            )
        _describe(other, parent, visibility, attribute)
        answer = await tell(session.client, other)
        if both_ways:
            await tell(there, await described(session.client))
    session.out.one(answer.region, WHOLE)


@verb(app, "disconnect")
async def disconnect_region(
    session: Session,
    regions: Annotated[list[str], typer.Argument(metavar="REGION...", help="Names; - reads them.")],
    yes: YesOption = False,
) -> None:
    """Have this region forget others; nothing happens to these."""
    from mulligan.proto.v1 import DisconnectRegionRequest

    async def disconnect(name: str) -> str:
        await session.client.meta.disconnect_region(DisconnectRegionRequest(name=name))
        session.out.note(f"disconnected {name}")
        return name

    names = names_of(regions)
    session.confirm_several("disconnect", names, yes)
    await each(names, disconnect)


def tree_of(regions: "list[Region]") -> "list[tuple[Region, int]]":
    """Return the regions each below its parent, with their depth; unknown parents make roots."""
    known = {one.name for one in regions}
    below: dict[str, list[Region]] = {}
    for one in sorted(regions, key=lambda one: one.name):
        below.setdefault(one.parent if one.parent in known else "", []).append(one)
    found: list[tuple[Region, int]] = []

    def add(parent: str, depth: int) -> None:
        for one in below.pop(parent, []):
            found.append((one, depth))
            add(one.name, depth + 1)

    add("", 0)
    for parent in sorted(below):  # a circle that no single region can see
        add(parent, 0)
    return found


def pairs_of(attributes: dict[str, str]) -> str:
    """Return attributes in one line."""
    return ",".join(f"{key}={value}" for key, value in attributes.items())


def few(addresses: list[str]) -> str:
    """Return the first addresses, and how many more there are."""
    more = len(addresses) - 2
    return ",".join(addresses[:2]) + (f" +{more}" if more > 0 else "")


def vouched_by(pem: str) -> str:
    """Return the name and fingerprint of a CA; empty for none."""
    if not pem:
        return ""
    from mulligan.tls import common_name, fingerprint

    try:
        return f"{common_name(pem.encode())}  sha256 {fingerprint(pem.encode())}"
    except ValueError:
        return "no certificate that can be read"


def _describe(
    region: "Region",
    parent: str | None,
    visibility: str | None,
    attribute: list[str] | None,
) -> None:
    if parent is not None:
        region.parent = parent
    if visibility is not None:
        region.visibility = visibility
    if attribute is not None:
        region.attributes = parse_attributes(filter(None, attribute), "--attribute")


def _other_context(name: str) -> "Chosen":
    from mulligan.client.context import choose_context, config_path

    return choose_context(config_path(), name, environ={})


def _client_of(chosen: "Chosen") -> "Client":
    from mulligan.client.client import Client
    from mulligan.client.tokens import TokenCache

    return Client(chosen.context, secret=chosen.secret, cache=TokenCache.at(chosen.name))
