"""``mulligan machine scan``: look for BMCs at given addresses, and enrol what is not there yet."""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.bmc_names import Found, check_pattern, names_for, order_of
from mulligan.cli.enrol_options import Wishes
from mulligan.cli.many import names_of
from mulligan.cli.output import Column
from mulligan.cli.progress import Progress
from mulligan.cli.selection import listed
from mulligan.cli.verbs import Bundle, Session, YesOption, verb
from mulligan.errors import InvalidArgument

if TYPE_CHECKING:
    from mulligan.cli.enrol_list import Row
    from mulligan.proto.v1 import Machine, ScannedBmc

app = typer.Typer(rich_markup_mode=None)

COLUMNS = (
    Column("ADDRESS", lambda one: one.address),
    Column("VENDOR", lambda one: one.vendor),
    Column("PRODUCT", lambda one: one.product),
    Column("REDFISH", lambda one: one.redfish_version),
    Column("MACHINE", lambda one: one.machine),
    Column("FINGERPRINT", lambda one: one.fingerprint),
    Column("UUID", lambda one: one.service_uuid, wide=True),
)
SILENT = (
    Column("ADDRESS", lambda one: one.address),
    Column("PROBLEM", lambda one: one.problem),
)


@dataclass(frozen=True, kw_only=True)
class Where(Bundle):
    """Which addresses to look at, and how."""

    addresses: Annotated[
        list[str],
        typer.Argument(metavar="ADDRESS|NETWORK", help="HOST[:PORT], URL or 10.0.0.0/24."),
    ]
    port: Annotated[int, typer.Option("--port", help="Where none is given; 0: 443.")] = 0
    http: Annotated[
        bool, typer.Option("--http", help="Speak plain HTTP where no URL says otherwise.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class Template(Bundle):
    """What the machines found have in common."""

    credential: Annotated[str, typer.Option("--credential", help="Login of them all.")] = ""
    name: Annotated[
        str,
        typer.Option("--name", help="Pattern of {host}, {n}, {n:03}, {vendor}, {product}, {uuid}."),
    ] = "node-{host}"
    parent: Annotated[str, typer.Option("--parent", help="Provider that they stand under.")] = ""
    profile: Annotated[str, typer.Option("--profile", help="Hardware profile of them all.")] = ""
    pin: Annotated[bool, typer.Option("--pin", help="Pin the certificate that each has shown.")] = (
        False
    )


@verb(app, "scan")
async def scan(
    session: Session,
    where: Where,
    template: Template,
    wishes: Wishes,
    silent: Annotated[
        bool, typer.Option("--silent", help="Show what did not answer as well, and why.")
    ] = False,
    csv: Annotated[
        str, typer.Option("--csv", help="Write what is new as a list for enrol -f; -: print it.")
    ] = "",
    enrol: Annotated[
        bool, typer.Option("--enrol", help="Enrol what is new, after asking.")
    ] = False,
    yes: YesOption = False,
) -> None:
    """Look for BMCs at addresses, and enrol what is new.

    Only what a BMC tells without a login is read.
    """
    from mulligan.cli.enrol_list import bmc_key
    from mulligan.cli.enrol_many import enrol_all
    from mulligan.proto.v1 import ListMachinesRequest

    check_pattern(template.name, "--name")
    if enrol and not template.credential:
        raise InvalidArgument("--credential", "is missing: the login to enrol them with")
    if enrol and csv == "-":
        raise InvalidArgument("--csv", "cannot be printed and enrolled at once; name a file")
    machines = await listed(session, ListMachinesRequest())
    by_address = {bmc_key(one.bmc.address, ""): one for one in machines if one.bmc}
    answers = [enrolled(one, by_address) for one in await ask(session, where)]
    found = [one for one in answers if one.found]
    new = [one for one in found if not one.machine]
    if csv != "-" and not (enrol and not session.out.for_people):
        session.out.rows(found if session.out.for_people else answers, COLUMNS, "none answered")
        if silent and session.out.for_people and len(found) < len(answers):
            session.out.line("")
            session.out.rows([one for one in answers if not one.found], SILENT)
    session.out.note(
        f"{len(found)} of {len(answers)} answered; {len(found) - len(new)} are enrolled already"
    )
    if not (csv or enrol):
        return
    rows = rows_of(new, template, {one.name for one in machines})
    if csv:
        save(session, rows, csv)
    if enrol and rows:
        if not wishes.dry_run:
            names = ", ".join(row.name for row in rows[:5]) + (", …" if len(rows) > 5 else "")
            session.confirm(f"enrol {len(rows)} machines ({names})?", yes)
        await enrol_all(session, rows, wishes)


async def ask(session: Session, where: Where) -> "list[ScannedBmc]":
    """Return what every address answered, by address, showing how many have."""
    from mulligan.proto.v1 import ScanBmcsRequest

    request = ScanBmcsRequest(
        addresses=names_of(where.addresses), port=where.port, insecure=where.http
    )
    answers: list[ScannedBmc] = []
    there = 0
    with Progress(quiet=not sys.stderr.isatty()) as progress:
        async for one in session.client.executor.scan_bmcs(request):
            answers.append(one)
            there += one.found
            progress.show("scan", f"{len(answers)} looked at, {there} answered")
    return sorted(answers, key=lambda one: order_of(one.address))


def enrolled(answer: "ScannedBmc", machines: "Mapping[str, Machine]") -> "ScannedBmc":
    """Return an answer with the name of a machine that is reached there, by whatever system."""
    from mulligan.cli.enrol_list import bmc_key

    machine = machines.get(bmc_key(answer.address, ""))
    if machine is not None:
        answer.machine = machine.name
    return answer


def rows_of(
    found: "Sequence[ScannedBmc]", template: Template, taken: Collection[str]
) -> "list[Row]":
    """Return what was found as rows to enrol, under names that are not taken.

    A certificate is pinned as the scan saw it; one that it did not see, at first contact.
    """
    from mulligan.cli.enrol_list import Row

    told = [Found(one.address, one.vendor, one.product, one.service_uuid) for one in found]
    names = names_for(told, template.name, taken)
    return [
        Row(
            place=one.address,
            name=name,
            address=one.address,
            credential=template.credential,
            parent=template.parent,
            fingerprint=one.fingerprint if template.pin else "",
            pin=template.pin and not one.fingerprint and one.address.startswith("https://"),
            profile=template.profile,
        )
        for one, name in zip(found, names, strict=True)
    ]


def save(session: Session, rows: "Sequence[Row]", file: str) -> None:
    """Write rows as CSV to a file, or to standard output for ``-``."""
    from mulligan.cli.enrol_list import write_csv

    if file == "-":
        write_csv(rows, session.out.out)
        return
    try:
        with Path(file).open("w", encoding="utf-8", newline="") as opened:
            write_csv(rows, opened)
    except OSError as error:
        raise InvalidArgument("--csv", f"{file} cannot be written: {error.strerror}") from error
    session.out.note(f"wrote {len(rows)} rows to {file}")
