"""``mulligan claim``: take and give back resources."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.many import each, names_of
from mulligan.cli.output import Column, word
from mulligan.cli.quantities import format_amount, format_time, parse_pairs
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb
from mulligan.errors import InvalidArgument

if TYPE_CHECKING:
    from mulligan.proto.v1 import Allocation, Claim, ClaimState, MakeClaimRequest

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ClassOption = Annotated[
    list[str] | None,
    typer.Option("--class", metavar="CLASS=AMOUNT", help="Such as memory=64GiB. Repeatable."),
]
CountOption = Annotated[int, typer.Option("--count", "-n", help="Providers, all or none.")]
RequireOption = Annotated[
    list[str] | None, typer.Option("--require", help="Capability each must have. Repeatable.")
]
ForbidOption = Annotated[
    list[str] | None, typer.Option("--forbid", help="Capability none may have. Repeatable.")
]
GroupOption = Annotated[
    list[str] | None, typer.Option("--group", help="In one of these groups. Repeatable.")
]
PolicyOption = Annotated[str, typer.Option("--policy", help="random, pack or spread.")]
NameOption = Annotated[str, typer.Option("--name", help="Name, unique in the project.")]
ConsumerOption = Annotated[str, typer.Option("--consumer", help="UUID of what will use it.")]
StartOption = Annotated[str, typer.Option("--start", help="When: +2h or ISO; default: now.")]
EndOption = Annotated[str, typer.Option("--end", help="Until when: +6h or ISO.")]
ForOption = Annotated[str, typer.Option("--for", help="For how long: 90m, 4h, 2d.")]
FileOption = Annotated[str, typer.Option("--file", "-f", help="Request in YAML; - reads stdin.")]
ProviderOption = Annotated[str, typer.Option("--provider", help="Only those at this provider.")]


def resources_shown(allocations: "Sequence[Allocation]") -> str:
    """Return what a claim holds altogether, by class."""
    total: dict[str, int] = {}
    for allocation in allocations:
        for name, amount in allocation.amounts.items():
            total[name] = total.get(name, 0) + amount
    return " ".join(f"{name}={format_amount(name, n)}" for name, n in sorted(total.items()))


def allocation_shown(allocation: "Allocation") -> str:
    """Return one allocation on a line."""
    where = allocation.provider_name or allocation.provider
    return f"{where}  {resources_shown([allocation])}"


COLUMNS = (
    Column("CLAIM", lambda claim: claim.name or claim.uuid),
    Column("STATE", lambda claim: word(claim.state)),
    Column("START", lambda claim: format_time(claim.window.start if claim.window else None)),
    Column("END", lambda claim: format_time(claim.window.end if claim.window else None)),
    Column("RESOURCES", lambda claim: resources_shown(claim.allocations)),
    Column(
        "PROVIDERS",
        lambda claim: ",".join(one.provider_name or one.provider for one in claim.allocations),
        wide=True,
    ),
    Column("PROJECT", lambda claim: claim.project, wide=True),
    Column("UUID", lambda claim: claim.uuid, wide=True),
)
WHOLE = (
    Column("NAME", lambda claim: claim.name),
    Column("UUID", lambda claim: claim.uuid),
    *COLUMNS[1:4],
    Column("ALLOCATIONS", lambda claim: "\n".join(map(allocation_shown, claim.allocations))),
    Column("CONSUMER", lambda claim: claim.consumer),
    Column("PROJECT", lambda claim: claim.project),
    Column("ACCOUNT", lambda claim: claim.account),
    Column("CREATED", lambda claim: format_time(claim.created_at)),
)


@verb(app, "make")
async def make_claim(
    session: Session,
    classes: ClassOption = None,
    count: CountOption = 1,
    require: RequireOption = None,
    forbid: ForbidOption = None,
    group: GroupOption = None,
    policy: PolicyOption = "",
    name: NameOption = "",
    consumer: ConsumerOption = "",
    start: StartOption = "",
    end: EndOption = "",
    duration: ForOption = "",
    file: FileOption = "",
    quiet: QuietOption = False,
) -> None:
    """Find providers that fit and take them, in one step.

    A start ahead of now makes a reservation.
    """
    from mulligan.cli.request import make_window, read_request
    from mulligan.proto.v1 import (
        CapabilityFilter,
        GroupFilter,
        MakeClaimRequest,
        RequestGroup,
        StringList,
    )

    now = datetime.now(UTC)
    if file:
        if classes or require or forbid or group or count != 1:
            raise InvalidArgument("--file", "the file says what to claim; leave such options out")
        request = read_request(file, now)
        if start or end or duration:
            request = replace(request, window=make_window(start, end, duration, now))
        request = replace(request, name=name or request.name, policy=policy or request.policy)
    else:
        if not classes:
            raise InvalidArgument("--class", "say what to claim, such as --class machine=1, or -f")
        wanted = RequestGroup(
            count=count,
            resources=parse_pairs(classes, "--class"),
            capabilities=CapabilityFilter(require=require or [], forbid=forbid or []),
            groups=GroupFilter(any_of=[StringList(values=group)] if group else []),
        )
        request = MakeClaimRequest(
            name=name,
            consumer=consumer,
            policy=policy,
            groups=[wanted],
            window=make_window(start, end, duration, now),
        )
    await send_claim(session, request)


async def send_claim(session: Session, request: "MakeClaimRequest") -> None:
    """Send a request for a claim and print what was taken."""
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
    quiet: QuietOption = False,
) -> None:
    """Take exactly these amounts at these providers, all or nothing."""
    from mulligan.cli.request import make_window
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
        window=make_window(start, end, duration, datetime.now(UTC)),
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
async def show_claim(
    session: Session, claim: Annotated[str, typer.Argument(help="Name or UUID.")]
) -> None:
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
