"""``mulligan usage``: how much was, is and will be used, by whom or where."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.grammar import none_of
from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb
from mulligan.errors import InvalidArgument
from mulligan.quantities import format_amount, format_bytes, format_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import UsageRow

app = typer.Typer(rich_markup_mode=None)

BY = ("project", "account", "provider", "group", "class")


def hours_shown(row: "UsageRow") -> str:
    """Return amount times hours, rounded for reading."""
    if row.resource_class.startswith(("memory", "storage")):
        return f"{format_bytes(round(row.unit_hours))} h"
    return f"{row.unit_hours:.2f}".rstrip("0").rstrip(".") + " h"


COLUMNS = (
    Column("NAME", lambda row: row.name or row.key),
    Column("CLASS", lambda row: row.resource_class),
    Column("USED", hours_shown),
    Column("PEAK", lambda row: format_amount(row.resource_class, row.peak)),
    Column("CLAIMS", lambda row: str(row.claims)),
    Column("UUID", lambda row: row.key, wide=True),
)


@verb(app, "usage", reads=True)
async def summarize_usage(
    session: Session,
    begin: Annotated[str, typer.Option("--from", help="From when: -7d or ISO; 30 days.")] = "",
    end: Annotated[str, typer.Option("--to", help="Until when: +7d or ISO; now.")] = "",
    by: Annotated[
        str, typer.Option("--by", help="project, account, provider, group or class.")
    ] = "project",
    project: Annotated[str, typer.Option("--project", help="Only of this project.")] = "",
    account: Annotated[str, typer.Option("--account", help="Only of this account.")] = "",
    provider: Annotated[str, typer.Option("--provider", help="Only of this provider.")] = "",
    group: Annotated[str, typer.Option("--group", help="Only of members of this group.")] = "",
    resource_class: Annotated[str, typer.Option("--class", help="Only of this class.")] = "",
) -> None:
    """Sum up use over time: the last 30 days by project, unless told otherwise."""
    from mulligan.cli.claim import window_between
    from mulligan.proto.v1 import SummarizeUsageRequest

    if by not in BY:
        raise InvalidArgument("--by", none_of(by, BY))
    request = SummarizeUsageRequest(
        window=window_between(begin, end, datetime.now(UTC)),
        by=by,
        project=project,
        account=account,
        provider=provider,
        group=group,
        resource_class=resource_class,
    )
    answer = await session.client.resource.summarize_usage(request)
    session.out.rows(answer.rows, COLUMNS, "nothing was used then")
    if answer.window is not None and session.out.for_people:
        span = f"{format_time(answer.window.start)} to {format_time(answer.window.end)}"
        session.out.note(f"from {span}")
    if answer.truncated:
        session.out.note(f"warning: there are more than these {len(answer.rows)} rows")
