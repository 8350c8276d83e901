"""``mulligan claim``: take and give back resources."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

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
    parse_notice,
)
from mulligan.cli.claim_view import COLUMNS, WHOLE
from mulligan.cli.many import each, names_of
from mulligan.cli.output import word
from mulligan.cli.quantities import parse_pairs
from mulligan.cli.span import When, make_window
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb
from mulligan.errors import InvalidArgument

if TYPE_CHECKING:
    from mulligan.proto.v1 import Claim, ClaimState

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ClaimArgument = Annotated[str, typer.Argument(metavar="CLAIM", help="Name or UUID.")]
ProviderOption = Annotated[str, typer.Option("--provider", help="Only those at this provider.")]


@verb(app, "make")
async def make_claim(
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
    """Find providers that fit and take them, in one step.

    A start ahead of now makes a reservation.
    """
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
        when=When(start, end, duration, not_before, not_after),
        on_end=on_end,
        notice=ending_notice,
        file=file,
    )
    await send_claim(session, asked)


async def send_claim(session: Session, asked: Asked) -> None:
    """Send a request for a claim and print what was taken."""
    request = asked.request(datetime.now(UTC))
    answer = await session.client.resource.make_claim(request)
    session.out.made(answer.claim, WHOLE)


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
    session.out.made(answer.claim, WHOLE)


@verb(app, "list")
async def list_claims(
    session: Session,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="reserved, active, ended, released, cancelled. Repeatable."),
    ] = None,
    provider: ProviderOption = "",
) -> None:
    """List claims: reserved and active ones, unless states are named."""
    from mulligan.proto.v1 import ClaimState

    known = {word(one): one for one in ClaimState if int(one)}
    unknown = [one for one in state or [] if one not in known]
    if unknown:
        raise InvalidArgument("--state", f"{unknown[0]!r} is none of {', '.join(known)}")
    found = await find_claims(session, [known[one] for one in state or []], provider)
    session.out.rows(found, COLUMNS, "no claims")


async def find_claims(session: Session, states: "list[ClaimState]", provider: str) -> "list[Claim]":
    """Return every claim in one of the states, at the provider if one is named."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListClaimsRequest

    request = ListClaimsRequest(states=states, provider=provider)
    pages = every(session.client.resource.list_claims, request, lambda page: page.claims)
    return [claim async for claim in pages]


@verb(app, "show")
async def show_claim(session: Session, claim: ClaimArgument) -> None:
    """Show a claim."""
    from mulligan.proto.v1 import GetClaimRequest

    answer = await session.client.resource.get_claim(GetClaimRequest(claim=claim))
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

    session.out.rows(await each(names, release), COLUMNS)
