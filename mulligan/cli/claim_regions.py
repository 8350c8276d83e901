"""``mulligan claim make --regions``: in whichever region it fits."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.across import ALL, DEADLINE_S, names_in
from mulligan.cli.claim_view import WHOLE
from mulligan.cli.naming import name_fields
from mulligan.cli.output import Column
from mulligan.cli.verbs import Bundle, Session
from mulligan.errors import InvalidArgument
from mulligan.quantities import parse_attributes

if TYPE_CHECKING:
    from mulligan.client.placing import Placement
    from mulligan.proto.v1 import MakeClaimRequest

PLACED = (Column("REGION", lambda claim: claim.region), *WHOLE)


@dataclass(frozen=True, kw_only=True)
class Anywhere(Bundle):
    """In which regions a claim may be made, and where rather."""

    regions: Annotated[
        str,
        typer.Option("--regions", metavar="NAMES", help="In one of these, as east,west; or all."),
    ] = ""
    in_region: Annotated[
        list[str] | None,
        typer.Option(
            "--in-region", metavar="KEY=VALUE", help="In regions with this attribute. Repeatable."
        ),
    ] = None
    not_in_region: Annotated[
        list[str] | None,
        typer.Option("--not-in-region", metavar="KEY=VALUE", help="In none with it. Repeatable."),
    ] = None
    prefer: Annotated[
        str,
        typer.Option(
            "--prefer", help="Of regions: given (as listed), most-free, or least:ATTRIBUTE."
        ),
    ] = ""
    request_id: Annotated[
        str,
        typer.Option("--request-id", help="That of an attempt whose outcome is not known."),
    ] = ""

    @property
    def wanted(self) -> bool:
        """Tell whether regions are chosen from; raise InvalidArgument if only how is said."""
        if not self.regions:
            for name in ("in_region", "not_in_region", "prefer", "request_id"):
                if getattr(self, name):
                    option = "--" + name.replace("_", "-")
                    raise InvalidArgument(option, "goes with --regions, such as --regions all")
        return bool(self.regions)


async def place_claim(session: Session, request: "MakeClaimRequest", anywhere: Anywhere) -> None:
    """Make a claim in the best region that takes it, and print it; say why others did not."""
    from mulligan.client.placing import place, settle
    from mulligan.client.preferring import GIVEN, Preference

    named = names_in(anywhere.regions)
    preference = Preference(
        regions=() if ALL in named else tuple(named),
        want=parse_attributes(anywhere.in_region or [], "--in-region"),
        avoid=parse_attributes(anywhere.not_in_region or [], "--not-in-region"),
        order=anywhere.prefer or GIVEN,
    )
    session.haste = True
    regions = session.client.regions
    asked = replace(request, request_id=anywhere.request_id)
    placed = await place(regions, asked, preference, deadline_s=2 * DEADLINE_S)
    if placed.in_doubt:
        placed = await settle(regions, placed, asked, deadline_s=2 * DEADLINE_S)
    there = Session(session.common, session.out)
    there.use(await regions.client(placed.region))
    await name_fields(there, [placed.claim], "project", "account")
    _tell(session, placed)
    session.out.made(placed.claim, PLACED)


def _tell(session: Session, placed: "Placement") -> None:
    for refusal in placed.refused:
        session.out.note(f"note: not in {refusal.region}: {refusal.reason}")
    if placed.in_doubt:
        session.out.note(
            f"note: {', '.join(placed.in_doubt)} did not answer and may hold another claim;"
            f" the same command with --request-id {placed.request_id} releases it"
        )
