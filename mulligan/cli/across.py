"""One verb in several regions at once: ``--regions all``, ``--regions east,west``."""

import io
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from mulligan.cli.output import Column, Format, Output, name_of, plain
from mulligan.cli.report import Several
from mulligan.cli.verbs import Session
from mulligan.errors import DeadlineExceeded, InvalidArgument, MulliganError, Unavailable

if TYPE_CHECKING:
    from mulligan.client.client import Client
    from mulligan.client.regions import Outcome

Value = TypeVar("Value")

ALL = "all"
"""Stands for every region that can be found."""
REGION = Column("REGION", lambda one: one.region)
DEADLINE_S = 5.0
"""Seconds that a region has to answer, before it is said that it does not."""
PAST_DEADLINE_S = 60.0
"""The same for a look into the past, which may have to be folded first."""
_AWAY = (Unavailable, DeadlineExceeded)


@dataclass(frozen=True)
class InRegion:
    """A row with the region that it is of."""

    region: str
    item: Any


class Gathered(Output):
    """What a verb prints in one region, kept until all regions have answered."""

    def __init__(self, session: Session, region: str) -> None:
        self.text = io.StringIO()
        super().__init__(
            session.out.form, quiet=session.out.quiet, out=self.text, err=session.out.err
        )
        self.region = region
        self.lists: list[tuple[Sequence[Any], Sequence[Column], str]] = []

    def rows(self, items: Sequence[Any], columns: Sequence[Column], empty: str = "") -> None:
        """Keep a list."""
        self.lists.append((items, columns, empty))

    def note(self, text: str) -> None:
        """Tell it at once, with the region."""
        super().note(f"{self.region}: {text}")


async def everywhere(
    function: Callable[..., Awaitable[None]], session: Session, given: dict[str, Any], text: str
) -> None:
    """Run a verb in each of the regions and print what came of it as one.

    Raise what kept a region from answering, once the others are printed.
    """
    if session.common.region:
        raise InvalidArgument("--region", "leave it out where --regions says which")
    if session.at.isdecimal():
        raise InvalidArgument(
            "--at", "an entry's number is one region's; give a time, which is the same in all"
        )
    session.haste = True

    async def ask(client: "Client") -> Gathered:
        out = Gathered(session, client.region)
        one = Session(session.common, out)
        one.use(client)
        await function(one, **given)
        return out

    deadline = PAST_DEADLINE_S if session.at else DEADLINE_S
    outcomes = await ask_regions(session, text, ask, deadline)
    print_all(session.out, [(one.region, one.value) for one in outcomes if one.value is not None])
    complain(session, outcomes)


def names_in(text: str, field: str = "--regions") -> list[str]:
    """Return the names of a list with commas, each once; raise InvalidArgument if there is none."""
    names = list(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
    if not names:
        raise InvalidArgument(field, f"name regions, as in {field} east,west, or all")
    return names


async def regions_named(session: Session, text: str, field: str) -> list[str]:
    """Return the regions of a list with commas; ``all`` is all others that can be found."""
    names = names_in(text, field)
    if ALL not in names:
        return names
    found = [region.name for region in await session.client.regions.list() if not region.home]
    return list(dict.fromkeys([*found, *(name for name in names if name != ALL)]))


async def ask_regions(
    session: Session, text: str, ask: "Callable[[Client], Awaitable[Value]]", deadline_s: float
) -> "Sequence[Outcome[Value]]":
    """Ask each region of a list with commas, all at once; return what became of it in each.

    ``all`` is all that can be found from here; while home is away, those of the contexts.
    """
    names, regions = names_in(text), session.client.regions
    if ALL not in names:
        return await regions.each(names, ask, deadline_s)
    try:
        with anyio.fail_after(2 * DEADLINE_S + deadline_s):
            found = await regions.everywhere(ask, deadline_s)
    except (Unavailable, TimeoutError) as error:
        found = await _ask_others(session.client, ask, deadline_s, error)
    asked = {one.region for one in found} | {ALL}
    more = [name for name in names if name not in asked]
    return [*found, *await regions.each(more, ask, deadline_s)]


async def _ask_others(
    home: "Client",
    ask: "Callable[[Client], Awaitable[Value]]",
    deadline_s: float,
    error: Unavailable | TimeoutError,
) -> "list[Outcome[Value]]":
    """Ask the regions of the contexts but home's, which is away; raise why if there is none."""
    from mulligan.client.regions import Outcome

    here, known = home.context.region, regions_of_contexts()
    others = sorted(known - {here})
    if not here or not others:
        raise error
    away = error if isinstance(error, MulliganError) else Unavailable("it took too long")
    return [Outcome(here, None, away), *await home.regions.each(others, ask, deadline_s)]


def regions_of_contexts() -> set[str]:
    """Return the regions that the user's contexts are of."""
    from mulligan.client.context import config_path, load_settings

    contexts = load_settings(config_path()).contexts.values()
    return {context.region for context in contexts if context.region}


def print_all(out: Output, gathered: "Sequence[tuple[str, Gathered]]") -> None:
    """Print what the regions gave: their lists as one, whatever else by region."""
    for region, one in gathered:
        if one.text.getvalue():
            if out.for_people:
                out.line(f"{region}:")
            out.line(one.text.getvalue().rstrip("\n"))
    most = max((len(one.lists) for _, one in gathered), default=0)
    for number in range(most):
        parts = [(region, one.lists[number]) for region, one in gathered if number < len(one.lists)]
        rows = [InRegion(region, item) for region, (items, _, _) in parts for item in items]
        _, columns, empty = parts[0][1]
        _print_rows(out, rows, columns, empty)


def _print_rows(
    out: Output, rows: Sequence[InRegion], columns: Sequence[Column], empty: str
) -> None:
    match out.form:
        case Format.JSON | Format.YAML:
            out.rows([data_of(row) for row in rows], ())
        case Format.NAME:
            out.rows([name_of(row.item) for row in rows], ())
        case _:
            own = [_of_item(one) for one in columns if one.title != REGION.title]
            out.rows(rows, (REGION, *own), empty)


def _of_item(column: Column) -> Column:
    return Column(column.title, lambda row: column.value(row.item), column.wide)


def data_of(row: InRegion) -> dict[str, Any]:
    """Return a row for programs: its own fields, and the region that answered."""
    data = plain(row.item)
    return {**(data if isinstance(data, dict) else {"value": data}), "region": row.region}


def complain(session: Session, outcomes: "Sequence[Outcome[Any]]") -> None:
    """Note every region that did not answer or refused; raise if there is any."""
    failed = [(one.region, one.error) for one in outcomes if one.error is not None]
    if not failed:
        return
    if len(failed) == len(outcomes) and len({str(error) for _, error in failed}) == 1:
        raise failed[0][1]
    for region, error in failed:
        session.out.note(f"note: {fate(region, error)}")
    away = [region for region, error in failed if isinstance(error, _AWAY)]
    if len(away) == len(failed):
        raise Unavailable(
            f"{len(away)} of {len(outcomes)} regions did not answer: {', '.join(away)};"
            " see `mulligan status --regions all`"
        )
    first = next(error for _, error in failed if not isinstance(error, _AWAY))
    raise Several(first, len(failed), len(outcomes))


def fate(region: str, error: MulliganError) -> str:
    """Return in one line what became of a region."""
    if isinstance(error, _AWAY):
        return f"region {region} does not answer: {error.message}"
    return error.message if region in error.message else f"region {region}: {error.message}"
