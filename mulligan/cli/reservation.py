"""``mulligan reservation``: claims whose start lies ahead."""

from datetime import UTC, datetime

import typer

from mulligan.cli.claim import (
    COLUMNS,
    ClassOption,
    CountOption,
    EndOption,
    FileOption,
    ForbidOption,
    ForOption,
    GroupOption,
    NameOption,
    PolicyOption,
    ProviderOption,
    RequireOption,
    StartOption,
    find_claims,
    make_claim,
)
from mulligan.cli.quantities import parse_time
from mulligan.cli.verbs import QuietOption, Session, verb
from mulligan.errors import InvalidArgument

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@verb(app, "make")
async def make_reservation(
    session: Session,
    classes: ClassOption = None,
    count: CountOption = 1,
    require: RequireOption = None,
    forbid: ForbidOption = None,
    group: GroupOption = None,
    policy: PolicyOption = "",
    name: NameOption = "",
    start: StartOption = "",
    end: EndOption = "",
    duration: ForOption = "",
    file: FileOption = "",
    quiet: QuietOption = False,
) -> None:
    """Reserve resources: a claim with a start ahead of now, and an end."""
    now = datetime.now(UTC)
    if not file:
        if not start or parse_time(start, now, "--start") <= now:
            raise InvalidArgument("--start", "a reservation starts later, such as --start +2h")
        if not end and not duration:
            raise InvalidArgument("--for", "a reservation ends: give --for 4h or --end")
    await make_claim(
        session,
        classes=classes,
        count=count,
        require=require,
        forbid=forbid,
        group=group,
        policy=policy,
        name=name,
        start=start,
        end=end,
        duration=duration,
        file=file,
        quiet=quiet,
    )


@verb(app, "list")
async def list_reservations(session: Session, provider: ProviderOption = "") -> None:
    """List what is reserved and has not begun."""
    from mulligan.proto.v1 import ClaimState

    found = await find_claims(session, [ClaimState.RESERVED], provider)
    session.out.rows(found, COLUMNS, "no reservations")
