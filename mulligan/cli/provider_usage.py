"""``mulligan provider usage``: the use of one provider over time."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb
from mulligan.quantities import format_amount, format_time, parse_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import UsageSegment

app = typer.Typer(rich_markup_mode=None)

USAGE = (
    Column("CLASS", lambda segment: segment.resource_class),
    Column("FROM", lambda segment: format_time(segment.window.start if segment.window else None)),
    Column("TO", lambda segment: format_time(segment.window.end if segment.window else None)),
    Column("USED", lambda segment: format_amount(segment.resource_class, segment.used)),
)


@verb(app, "usage", reads=True)
async def show_usage(
    session: Session,
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="Name or UUID.")],
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
