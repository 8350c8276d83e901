"""``mulligan quota``: what a project may use at any instant."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb
from mulligan.errors import InvalidArgument
from mulligan.quantities import format_amount, format_span, parse_amount, parse_span

if TYPE_CHECKING:
    from datetime import timedelta

    from mulligan.proto.v1 import Quota, QuotaUse

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ProjectArgument = Annotated[str, typer.Argument(metavar="PROJECT", help="Name or UUID.")]


def limits_shown(quota: "Quota") -> str:
    """Return the limits in short."""
    limits = sorted(quota.limits.items())
    return " ".join(f"{name}={format_amount(name, amount)}" for name, amount in limits)


def lease_shown(length: "timedelta | None") -> str:
    """Return the longest lease."""
    return "any" if length is None else format_span(length.total_seconds())


def use_shown(use: "QuotaUse") -> str:
    """Return the use of one class on a line."""
    name = use.resource_class
    limit = "no limit" if use.limit < 0 else f"limit {format_amount(name, use.limit)}"
    used, peak = format_amount(name, use.used), format_amount(name, use.peak)
    return f"{name}  {used} now, {peak} at most, {limit}"


COLUMNS = (
    Column("PROJECT", lambda quota: quota.project_name or quota.project),
    Column("LIMITS", limits_shown),
    Column("MAX LEASE", lambda quota: lease_shown(quota.max_lease)),
    Column("UUID", lambda quota: quota.project, wide=True),
)
WHOLE = (*COLUMNS, Column("USE", lambda quota: "\n".join(map(use_shown, quota.use))))


@verb(app, "set")
async def set_quota(
    session: Session,
    project: ProjectArgument,
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLASS=AMOUNT", help="Such as memory=1TiB; none takes a limit away."
        ),
    ] = None,
    max_lease: Annotated[
        str, typer.Option("--max-lease", help="No claim may be longer: 12h, 30d.")
    ] = "",
    no_max_lease: Annotated[
        bool, typer.Option("--no-max-lease", help="Claims may be of any length.")
    ] = False,
) -> None:
    """Set limits of a project and those under it; those not named stay as they are."""
    from mulligan.proto.v1 import GetQuotaRequest, Quota, SetQuotaRequest

    if not given and not max_lease and not no_max_lease:
        raise InvalidArgument("CLASS=AMOUNT", "say what to limit, such as machine=4")
    if max_lease and no_max_lease:
        raise InvalidArgument("--no-max-lease", "give either this or --max-lease")
    changes = parse_limits(given or [], "limits")
    lease = parse_span(max_lease, "--max-lease") if max_lease else None
    resource = session.client.resource
    found = (await resource.get_quota(GetQuotaRequest(project=project))).quota or Quota()
    request = SetQuotaRequest(
        project=project,
        limits={
            name: amount
            for name, amount in {**found.limits, **changes}.items()
            if amount is not None
        },
        max_lease=None if no_max_lease else lease or found.max_lease,
        etag=found.etag,
    )
    answer = await resource.set_quota(request)
    session.out.one(answer.quota, WHOLE)


@verb(app, "show", reads=True)
async def show_quota(
    session: Session,
    project: Annotated[
        str, typer.Argument(metavar="PROJECT", help="Name or UUID; default: your own.")
    ] = "",
) -> None:
    """Show the limits of a project, and its use now and at its highest."""
    from mulligan.proto.v1 import GetQuotaRequest

    answer = await session.client.resource.get_quota(GetQuotaRequest(project=project))
    session.out.one(answer.quota, WHOLE)


@verb(app, "list", reads=True)
async def list_quotas(session: Session) -> None:
    """List the projects that have limits of their own."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListQuotasRequest

    resource = session.client.resource
    pages = every(resource.list_quotas, ListQuotasRequest(), lambda page: page.quotas)
    session.out.rows([quota async for quota in pages], COLUMNS, "no quotas")


def parse_limits(pairs: Iterable[str], field: str) -> dict[str, int | None]:
    """Read ``class=amount`` pairs, where ``none`` stands for no limit.

    Raise InvalidArgument for anything else, and for repeats.
    """
    found: dict[str, int | None] = {}
    for pair in pairs:
        name, equals, amount = pair.partition("=")
        if not equals or not name:
            raise InvalidArgument(field, f"{pair!r} is not CLASS=AMOUNT, such as machine=4")
        if name in found:
            raise InvalidArgument(field, f"{name} is given twice")
        found[name] = None if amount == "none" else parse_amount(amount, f"{field} {name}")
    return found


def parse_quotas(texts: Iterable[str], field: str) -> "list[Quota]":
    """Read ``PROJECT:CLASS=AMOUNT[,…][,max_lease=SPAN]``; raise InvalidArgument otherwise."""
    from mulligan.proto.v1 import Quota

    quotas: dict[str, Quota] = {}
    for text in texts:
        project, colon, rest = text.partition(":")
        if not colon or not project or not rest:
            raise InvalidArgument(field, f"{text!r} is not PROJECT:CLASS=AMOUNT")
        if project in quotas:
            raise InvalidArgument(field, f"{project} is given twice; put commas between its limits")
        pairs = rest.split(",")
        leases = [pair.partition("=")[2] for pair in pairs if pair.startswith("max_lease=")]
        limits = parse_limits((p for p in pairs if not p.startswith("max_lease=")), field)
        quotas[project] = Quota(
            project=project,
            limits={name: amount for name, amount in limits.items() if amount is not None},
            max_lease=parse_span(leases[-1], f"{field} max_lease") if leases else None,
        )
    return list(quotas.values())
