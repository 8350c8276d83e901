"""``mulligan reservation``: claims whose start lies ahead."""

from datetime import UTC, datetime

import typer

from mulligan.cli.claim import ProviderOption, find_claims, send_claim
from mulligan.cli.claim_options import (
    Asked,
    ClassOption,
    ConsumerOption,
    CountOption,
    EndOption,
    FileOption,
    ForbidOption,
    ForOption,
    GroupOption,
    IsolateOption,
    NameOption,
    NotAfterOption,
    NotBeforeOption,
    NoticeOption,
    OnEndOption,
    PolicyOption,
    RequireOption,
    StartOption,
)
from mulligan.cli.claim_view import COLUMNS
from mulligan.cli.quantities import parse_time
from mulligan.cli.span import When
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
    isolate: IsolateOption = False,
    policy: PolicyOption = "",
    name: NameOption = "",
    consumer: ConsumerOption = "",
    start: StartOption = "",
    end: EndOption = "",
    duration: ForOption = "",
    not_before: NotBeforeOption = "",
    not_after: NotAfterOption = "",
    on_end: OnEndOption = "",
    ending_notice: NoticeOption = "",
    file: FileOption = "",
    quiet: QuietOption = False,
) -> None:
    """Reserve resources: a claim with a start ahead of now, and an end."""
    when = When(start, end, duration, not_before, not_after)
    if not file:
        refuse_present(when, datetime.now(UTC))
    asked = Asked(
        classes=classes or [],
        count=count,
        require=require or [],
        forbid=forbid or [],
        groups=group or [],
        isolate=isolate,
        policy=policy,
        name=name,
        consumer=consumer,
        when=when,
        on_end=on_end,
        notice=ending_notice,
        file=file,
    )
    await send_claim(session, asked)


def refuse_present(when: When, now: datetime) -> None:
    """Raise InvalidArgument if a claim over this time would be no reservation."""
    if when.not_before or when.not_after:
        return
    if not when.start or parse_time(when.start, now, "--start") <= now:
        raise InvalidArgument("--start", "a reservation starts later, such as --start +2h")
    if not when.end and not when.duration:
        raise InvalidArgument("--for", "a reservation ends: give --for 4h or --end")


@verb(app, "list")
async def list_reservations(session: Session, provider: ProviderOption = "") -> None:
    """List what is reserved and has not begun."""
    from mulligan.proto.v1 import ClaimState

    found = await find_claims(session, [ClaimState.RESERVED], provider)
    session.out.rows(found, COLUMNS, "no reservations")
