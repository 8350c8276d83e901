"""``mulligan profile``: how machines of one make are treated."""

from typing import Annotated

import typer

from mulligan.cli.deleting import delete_each
from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, YesOption, verb
from mulligan.errors import InvalidArgument, NotFound
from mulligan.quantities import format_span, parse_span

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

DEADLINES = ("inspect", "adopt", "clean", "deploy", "rescue", "restore", "power")

COLUMNS = (
    Column("NAME", lambda one: one.name),
    Column("MANUFACTURER", lambda one: one.manufacturer),
    Column("MODEL", lambda one: one.model),
    Column(
        "DEADLINES",
        lambda one: " ".join(
            f"{verb}={format_span(s)}" for verb, s in sorted(one.deadlines.items())
        ),
    ),
    Column("CLEAN", lambda one: " ".join(one.clean)),
    Column("WIPE IMAGE", lambda one: one.wipe_image),
)


@verb(app, "set")
async def set_profile(
    session: Session,
    name: Annotated[str, typer.Argument()],
    manufacturer: Annotated[
        str, typer.Option("--manufacturer", help="Of whom; a pattern with *.")
    ] = "*",
    model: Annotated[str, typer.Option("--model", help="Which model; a pattern with *.")] = "*",
    deadline: Annotated[
        list[str] | None,
        typer.Option("--deadline", help="VERB=SPAN, as deploy=2h. Repeatable."),
    ] = None,
    clean: Annotated[
        list[str] | None,
        typer.Option("--clean", help="wipe or bios-reset, in this order. Repeatable."),
    ] = None,
    wipe_image: Annotated[
        str, typer.Option("--wipe-image", help="Image that wipes, with --clean wipe.")
    ] = "",
) -> None:
    """Define how machines of one make are treated, or replace that as a whole."""
    from mulligan.proto.v1 import HardwareProfile, SetProfileRequest

    profile = HardwareProfile(
        name=name,
        manufacturer=manufacturer,
        model=model,
        deadlines=parse_deadlines(deadline or [], "--deadline"),
        clean=clean or [],
        wipe_image=wipe_image,
    )
    answer = await session.client.control.set_profile(SetProfileRequest(profile=profile))
    session.out.one(answer.profile, COLUMNS)


@verb(app, "list", reads=True)
async def list_profiles(session: Session) -> None:
    """List hardware profiles."""
    from mulligan.proto.v1 import ListProfilesRequest

    answer = await session.client.control.list_profiles(ListProfilesRequest())
    session.out.rows(answer.profiles, COLUMNS, "no hardware profiles")


@verb(app, "show", reads=True)
async def show_profile(session: Session, name: Annotated[str, typer.Argument()]) -> None:
    """Show a hardware profile."""
    from mulligan.proto.v1 import ListProfilesRequest

    answer = await session.client.control.list_profiles(ListProfilesRequest())
    found = next((one for one in answer.profiles if one.name == name), None)
    if found is None:
        raise NotFound("hardware profile", name)
    session.out.one(found, COLUMNS)


@verb(app, "delete")
async def delete_profile(
    session: Session,
    profiles: Annotated[list[str], typer.Argument(metavar="PROFILE...", help="Names.")],
    yes: YesOption = False,
) -> None:
    """Delete hardware profiles; what is under way keeps what it has of them."""
    from mulligan.proto.v1 import DeleteProfileRequest

    await delete_each(
        session,
        profiles,
        yes,
        lambda name: session.client.control.delete_profile(DeleteProfileRequest(name=name)),
    )


def parse_deadlines(pairs: list[str], field: str) -> dict[str, int]:
    """Read ``verb=span`` pairs as seconds; raise InvalidArgument for anything else."""
    found: dict[str, int] = {}
    for pair in pairs:
        name, equals, span = pair.partition("=")
        if not equals or name not in DEADLINES:
            known = ", ".join(DEADLINES)
            raise InvalidArgument(field, f"{pair!r} is not VERB=SPAN, of a verb of {known}")
        if name in found:
            raise InvalidArgument(field, f"{name} is given twice")
        found[name] = int(parse_span(span, f"{field} {name}").total_seconds())
    return found
