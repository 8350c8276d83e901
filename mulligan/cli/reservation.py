"""``mulligan reservation``: claims whose start lies ahead."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.claim import ClaimArgument, ProviderOption, find_claims, send_claim
from mulligan.cli.claim_options import Asked
from mulligan.cli.claim_view import COLUMNS, WHOLE
from mulligan.cli.many import each, names_of
from mulligan.cli.naming import name_fields
from mulligan.cli.span import When
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb
from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound
from mulligan.quantities import format_time, parse_span, parse_time
from mulligan.wording import word

if TYPE_CHECKING:
    from mulligan.proto.v1 import Claim, RescheduleClaimRequest

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@verb(app, "make")
async def make_reservation(session: Session, asked: Asked, quiet: QuietOption = False) -> None:
    """Reserve resources: a claim with a start ahead of now, and an end."""
    if not asked.file:
        refuse_present(asked.when, datetime.now(UTC))
    await send_claim(session, asked)


def refuse_present(when: When, now: datetime) -> None:
    """Raise InvalidArgument if a claim over this time would be no reservation."""
    if when.not_before or when.not_after:
        return
    if not when.start or parse_time(when.start, now, "--start") <= now:
        raise InvalidArgument("--start", "a reservation starts later, such as --start +2h")
    if not when.end and not when.duration:
        raise InvalidArgument("--for", "a reservation ends: give --for 4h or --end")


@verb(app, "list", reads=True, across=True)
async def list_reservations(session: Session, provider: ProviderOption = "") -> None:
    """List what is reserved and has not begun."""
    from mulligan.proto.v1 import ClaimState, ListClaimsRequest

    request = ListClaimsRequest(states=[ClaimState.RESERVED], provider=provider)
    found = await find_claims(session, request)
    await name_fields(session, found, "project", "account")
    session.out.rows(found, COLUMNS, "no reservations")


@verb(app, "show", reads=True)
async def show_reservation(session: Session, claim: ClaimArgument) -> None:
    """Show a reservation."""
    session.out.one(await find_claim(session, claim), WHOLE)


@verb(app, "extend")
async def extend_reservation(
    session: Session,
    claim: ClaimArgument,
    to: Annotated[str, typer.Option("--to", help="New end: +6h or ISO; open: none.")] = "",
    by: Annotated[str, typer.Option("--by", help="By how much: 90m, 4h, 2d.")] = "",
) -> None:
    """Let a claim or reservation end later, if the added time fits."""
    from mulligan.proto.v1 import RescheduleClaimRequest

    if bool(to) == bool(by):
        raise InvalidArgument("--to", "give the new end, or --by how much later it is")
    found = await find_claim(session, claim)
    old = found.window.end if found.window else None
    if old is None:
        raise FailedPrecondition(f"{claim} has no end that could be later")
    request = RescheduleClaimRequest(claim=found.uuid, etag=found.etag, open_end=to == "open")
    if not request.open_end:
        now = datetime.now(UTC)
        request.end = old + parse_span(by, "--by") if by else parse_time(to, now, "--to")
        if request.end <= old:
            raise InvalidArgument("--to", f"{claim} ends at {format_time(old)}; see `shorten`")
    await reschedule(session, request)


@verb(app, "shorten")
async def shorten_reservation(
    session: Session,
    claim: ClaimArgument,
    to: Annotated[str, typer.Option("--to", help="New end: now, +1h or ISO.")],
) -> None:
    """Let a claim or reservation end earlier."""
    from mulligan.proto.v1 import RescheduleClaimRequest

    found = await find_claim(session, claim)
    old = found.window.end if found.window else None
    end = parse_time(to, datetime.now(UTC), "--to")
    if old is not None and end >= old:
        raise InvalidArgument("--to", f"{claim} ends at {format_time(old)}; see `extend`")
    await reschedule(session, RescheduleClaimRequest(claim=found.uuid, etag=found.etag, end=end))


@verb(app, "move-start")
async def move_start(
    session: Session,
    claim: ClaimArgument,
    to: Annotated[str, typer.Option("--to", help="New start, ahead of now: +2h or ISO.")],
) -> None:
    """Let a reservation that has not begun start earlier or later; its end stays."""
    from mulligan.proto.v1 import RescheduleClaimRequest

    start = parse_time(to, datetime.now(UTC), "--to")
    await reschedule(session, RescheduleClaimRequest(claim=claim, start=start))


@verb(app, "cancel")
async def cancel_reservations(
    session: Session,
    claims: Annotated[list[str], typer.Argument(metavar="CLAIM...", help="Names or UUIDs.")],
    yes: YesOption = False,
) -> None:
    """Give reservations back that have not begun."""
    from mulligan.proto.v1 import Claim, ClaimState, ReleaseClaimRequest

    names = names_of(claims)
    session.confirm_several("cancel", names, yes)

    async def cancel(name: str) -> Claim | None:
        found = await find_claim(session, name)
        if found.state is not ClaimState.RESERVED:
            raise FailedPrecondition(
                f"{name} is {word(found.state)}, not reserved; see `mulligan claim release`"
            )
        request = ReleaseClaimRequest(claim=found.uuid)
        return (await session.client.resource.release_claim(request)).claim

    found = await each(names, cancel)
    await name_fields(session, found, "project", "account")
    session.out.rows(found, COLUMNS)


async def find_claim(session: Session, claim: str) -> "Claim":
    """Return a claim by name or UUID; raise NotFound if there is none."""
    from mulligan.proto.v1 import GetClaimRequest

    found = (await session.client.resource.get_claim(GetClaimRequest(claim=claim))).claim
    if found is None:
        raise NotFound("claim", claim)
    return found


async def reschedule(session: Session, request: "RescheduleClaimRequest") -> None:
    """Give a claim another window and print it."""
    answer = await session.client.resource.reschedule_claim(request)
    await name_fields(session, [answer.claim], "project", "account")
    session.out.one(answer.claim, WHOLE)
