"""``mulligan image push`` and ``metadef push``: have other regions know what this one has."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.across import DEADLINE_S, REGION, regions_named
from mulligan.cli.many import names_of
from mulligan.cli.output import Column
from mulligan.cli.report import Several
from mulligan.cli.verbs import Session, verb
from mulligan.errors import Conflict, InvalidArgument

if TYPE_CHECKING:
    from mulligan.client.sharing import Pushed, Shared

images = typer.Typer(rich_markup_mode=None)
metadefs = typer.Typer(rich_markup_mode=None)

ToOption = Annotated[
    str, typer.Option("--to", metavar="REGIONS", help="Regions, as east,west; or all others.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All that there are here.")]

COLUMNS = (
    REGION,
    Column("NAME", lambda one: one.name),
    Column("RESULT", lambda one: result_of(one)),
    Column("WHY", lambda one: why_of(one)),
)
_SHOWN = {"same": "there already"}


@verb(images, "push")
async def push_images(
    session: Session,
    to: ToOption,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE...", help="Names or UUIDs; - reads them.")
    ] = None,
    all_: AllOption = False,
) -> None:
    """Have other regions know images of this one, under the same UUID.

    An image that is there already is compared and left alone, so repeating it is harmless. Files
    of `file:` images are not copied: put them into each region's image folder.
    """
    from mulligan.client.sharing import images as found

    session.haste = True
    wanted = _wanted(names, all_, "IMAGE")
    await _push(session, await found(session.client, wanted), to, replace=False)


@verb(metadefs, "push")
async def push_metadefs(
    session: Session,
    to: ToOption,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="METADEF...", help="Names or UUIDs; - reads them."),
    ] = None,
    all_: AllOption = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Make those that differ be as they are here.")
    ] = False,
) -> None:
    """Have other regions know metadefs of this one, under the same UUID.

    One that is there already is compared and left alone, unless --replace says otherwise.
    """
    from mulligan.client.sharing import metadefs as found

    session.haste = True
    wanted = _wanted(names, all_, "METADEF")
    await _push(session, await found(session.client, wanted), to, replace=replace)


def _wanted(names: list[str] | None, all_: bool, field: str) -> list[str]:
    if bool(names) == all_:
        raise InvalidArgument(field, "name some, or give --all")
    return names_of(names or []) if names else []


async def _push(session: Session, objects: "Sequence[Shared]", to: str, *, replace: bool) -> None:
    from mulligan.client.sharing import push

    targets = await regions_named(session, to, "--to")
    regions = session.client.regions
    report = await push(regions, objects, targets, replace=replace, deadline_s=2 * DEADLINE_S)
    if session.out.for_people:
        session.out.rows(report, COLUMNS, "nothing to push")
    else:
        session.out.rows([data_of(one) for one in report], ())
    _raise_for(report)


def result_of(one: "Pushed") -> str:
    """Return what became of an object, in words."""
    return _SHOWN.get(one.verdict.value, one.verdict.value)


def why_of(one: "Pushed") -> str:
    """Return why it failed, or in what it differs; empty for neither."""
    if one.error is not None:
        return one.error.message
    return f"in {', '.join(one.differences)}" if one.differences else ""


def data_of(one: "Pushed") -> dict[str, object]:
    """Return a line of the report for programs."""
    return {
        "region": one.region,
        "kind": one.kind,
        "name": one.name,
        "result": one.verdict.value,
        "differences": list(one.differences),
        "error": one.error.message if one.error is not None else "",
    }


def _raise_for(report: "Sequence[Pushed]") -> None:
    """Raise if anything failed, or is there and differs; all of it has been printed."""
    errors = [one.error for one in report if one.error is not None]
    if errors:
        raise Several(errors[0], len(errors), len(report))
    differing = [one for one in report if one.verdict.value == "differs"]
    if differing:
        raise Conflict(
            f"{len(differing)} of {len(report)} are there and differ; they were left alone"
        )
