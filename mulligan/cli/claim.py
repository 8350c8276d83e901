"""``mulligan claim``: take and give back resources."""

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli import candidates, explain, plan, reshape
from mulligan.cli.claim_options import (
    Asked,
    ConsumerOption,
    EndOption,
    ForOption,
    NameOption,
    NoticeOption,
    OnEndOption,
    StartOption,
    parse_notice,
)
from mulligan.cli.claim_regions import Anywhere, place_claim
from mulligan.cli.claim_view import COLUMNS, STRANDED, WHOLE, held
from mulligan.cli.gantt import Rows, Shape, Signs, by_claim, by_provider, draw, signs_for
from mulligan.cli.grammar import none_of
from mulligan.cli.many import each, names_of
from mulligan.cli.naming import name_fields
from mulligan.cli.span import When, make_window
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb
from mulligan.errors import InvalidArgument
from mulligan.quantities import parse_pairs, parse_time
from mulligan.wording import word

if TYPE_CHECKING:
    from mulligan.proto.v1 import Claim, ListClaimsRequest, Window

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ClaimArgument = Annotated[str, typer.Argument(metavar="CLAIM", help="Name or UUID.")]
ProviderOption = Annotated[str, typer.Option("--provider", help="Only those at this provider.")]

DAY = timedelta(days=1)


@verb(app, "make")
async def make_claim(
    session: Session,
    asked: Asked,
    anywhere: Anywhere,
    quiet: QuietOption = False,
) -> None:
    """Find providers that fit and take them, in one step.

    A start ahead of now makes a reservation. With --regions it is made in the first region, in the
    order of --prefer, that has room, and in one only, even if answers are lost.
    """
    if anywhere.wanted:
        await place_claim(session, asked.request(datetime.now(UTC)), anywhere)
        return
    await send_claim(session, asked)


async def send_claim(session: Session, asked: Asked) -> None:
    """Send a request for a claim and print what was taken."""
    request = asked.request(datetime.now(UTC))
    answer = await session.client.resource.make_claim(request)
    await name_fields(session, [answer.claim], "project", "account")
    session.out.made(answer.claim, WHOLE)
    tell_next(session, answer.claim)


def tell_next(session: Session, claim: "Claim | None") -> None:
    """Tell people how what they have just claimed is put to use."""
    from mulligan.proto.v1 import ClaimState

    if claim is None or not session.out.for_people or claim.state is not ClaimState.ACTIVE:
        return
    machines = [one.provider_name for one in held(claim) if "machine" in one.amounts]
    if machines:
        which = f" --machine {machines[0]}" if len(machines) > 1 else ""
        called = claim.name or claim.uuid
        session.out.note(f"next: mulligan machine deploy {called}{which} --image IMAGE --wait")


@verb(app, "exact")
async def claim_exact(
    session: Session,
    allocations: Annotated[
        list[str],
        typer.Argument(metavar="PROVIDER:CLASS=AMOUNT[,...]...", help="rack-1:memory=64GiB"),
    ],
    name: NameOption = "",
    consumer: ConsumerOption = "",
    start: StartOption = "",
    end: EndOption = "",
    duration: ForOption = "",
    on_end: OnEndOption = "",
    ending_notice: NoticeOption = "",
    quiet: QuietOption = False,
) -> None:
    """Take exactly these amounts at these providers, all or nothing."""
    from mulligan.proto.v1 import Allocation, ClaimExactRequest

    wanted = []
    for text in allocations:
        provider, colon, amounts = text.partition(":")
        if not colon or not provider:
            raise InvalidArgument("allocations", f"{text!r} is not PROVIDER:CLASS=AMOUNT")
        wanted.append(Allocation(provider=provider, amounts=parse_pairs(amounts.split(","), text)))
    request = ClaimExactRequest(
        name=name,
        consumer=consumer,
        allocations=wanted,
        window=make_window(When(start, end, duration), datetime.now(UTC)),
        on_end=on_end,
        ending_notice=parse_notice(ending_notice),
    )
    answer = await session.client.resource.claim_exact(request)
    await name_fields(session, [answer.claim], "project", "account")
    session.out.made(answer.claim, WHOLE)
    tell_next(session, answer.claim)


@verb(app, "list", reads=True, across=True)
async def list_claims(
    session: Session,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="reserved, active, ended, released, cancelled. Repeatable."),
    ] = None,
    provider: ProviderOption = "",
    stranded: Annotated[
        bool, typer.Option("--stranded", help="Only those whose provider failed for good.")
    ] = False,
    begin: Annotated[
        str, typer.Option("--from", help="Only those over a time: its start, -6h or ISO.")
    ] = "",
    end: Annotated[str, typer.Option("--to", help="Its end: +2d or ISO.")] = "",
    gantt: Annotated[
        bool, typer.Option("--gantt", help="Draw time lines: from 6 hours ago on for a day.")
    ] = False,
    by: Annotated[str, typer.Option("--by", help="Rows of the drawing: claim or provider.")] = "",
    width: Annotated[int, typer.Option("--width", min=0, help="Its width; 0: the terminal's.")] = 0,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw in plain ASCII.")] = False,
) -> None:
    """List claims: reserved and active ones, unless states are named."""
    from mulligan.proto.v1 import ClaimState, ListClaimsRequest

    known = {word(one): one for one in ClaimState if int(one)}
    unknown = [one for one in state or [] if one not in known]
    if unknown:
        raise InvalidArgument("--state", none_of(unknown[0], list(known)))
    now, cancelled = datetime.now(UTC), ClaimState.CANCELLED
    states = [known[one] for one in state or []]
    request = ListClaimsRequest(states=states, provider=provider, stranded=stranded)
    if gantt:
        request.window = window_between(begin or "-6h", end, now, open_end=False)
        request.states = states or [one for one in known.values() if one is not cancelled]
    else:
        request.window = window_between(begin, end, now)
    found = await find_claims(session, request)
    if gantt and session.out.for_people:
        rows, signs = rows_by(by), signs_for(session.out.out, ascii_only=ascii_only)
        shape = shape_of(request.window, width, signs)
        for line in draw(rows(found, signs), shape, now) if found else ["no claims"]:
            session.out.line(line)
    else:
        await name_fields(session, found, "project", "account")
        session.out.rows(found, STRANDED if stranded else COLUMNS, "no claims")


def shape_of(window: "Window | None", width: int, signs: Signs) -> Shape:
    """Return how to draw a window that has both ends; a width of 0 is the terminal's."""
    assert window is not None and window.start is not None and window.end is not None
    return Shape(window.start, window.end, width or shutil.get_terminal_size().columns, signs)


def rows_by(by: str) -> "Callable[[Sequence[Claim], Signs], Rows]":
    """Return what makes the rows of a drawing; raise InvalidArgument for an unknown word."""
    makers = {"": by_claim, "claim": by_claim, "provider": by_provider}
    if by not in makers:
        raise InvalidArgument("--by", f"{by!r} is neither claim nor provider")
    return makers[by]


def window_between(
    begin: str, end: str, now: datetime, *, open_end: bool = True
) -> "Window | None":
    """Return the window that ``--from`` and ``--to`` name, or None.

    Without ``open_end``, one that has a start and no end is of a day.
    """
    from mulligan.proto.v1 import Window

    if not begin and not end:
        return None
    first = parse_time(begin, now, "--from") if begin else None
    last = parse_time(end, now, "--to") if end else None
    if first and not last and not open_end:
        last = first + DAY
    if first and last and last <= first:
        raise InvalidArgument("--to", "is not after --from")
    return Window(start=first, end=last)


async def find_claims(session: Session, request: "ListClaimsRequest") -> "list[Claim]":
    """Return every claim that a request is about."""
    from mulligan.client.paging import every

    pages = every(session.client.resource.list_claims, request, lambda page: page.claims)
    return [claim async for claim in pages]


@verb(app, "show", reads=True)
async def show_claim(session: Session, claim: ClaimArgument) -> None:
    """Show a claim."""
    from mulligan.proto.v1 import GetClaimRequest

    answer = await session.client.resource.get_claim(GetClaimRequest(claim=claim))
    await name_fields(session, [answer.claim], "project", "account")
    session.out.one(answer.claim, WHOLE)


@verb(app, "release")
async def release_claim(
    session: Session,
    claims: Annotated[list[str], typer.Argument(metavar="CLAIM...", help="Names or UUIDs.")],
    yes: YesOption = False,
) -> None:
    """Give claims back now, or cancel reservations."""
    from mulligan.proto.v1 import Claim, ReleaseClaimRequest

    names = names_of(claims)
    session.confirm_several("release", names, yes)

    async def release(name: str) -> Claim | None:
        request = ReleaseClaimRequest(claim=name)
        return (await session.client.resource.release_claim(request)).claim

    found = await each(names, release)
    await name_fields(session, found, "project", "account")
    session.out.rows(found, COLUMNS)


@verb(app, "move")
async def move_claim(
    session: Session,
    claim: ClaimArgument,
    source: Annotated[
        str, typer.Option("--from", help="Provider to leave, if it holds several.")
    ] = "",
    target: Annotated[str, typer.Option("--to", help="Provider to go to; none: an equal.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why, for those who ask later.")] = "",
) -> None:
    """Release what a claim holds at one provider and take as much at another, at once."""
    from mulligan.proto.v1 import MoveClaimRequest

    request = MoveClaimRequest(claim=claim, source=source, target=target, reason=reason)
    answer = await session.client.resource.move_claim(request)
    await name_fields(session, [answer.claim], "project", "account")
    session.out.one(answer.claim, WHOLE)


for placing in (candidates, plan, explain, reshape):
    app.add_typer(placing.app)
