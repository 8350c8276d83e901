"""``mulligan machine enrol``: one machine, or a list of them."""

from typing import Annotated

import typer

from mulligan.cli.enrol_options import Wishes
from mulligan.cli.machine_moves import rested
from mulligan.cli.machine_view import COLUMNS
from mulligan.cli.verbs import QuietOption, Session, verb
from mulligan.errors import InvalidArgument

app = typer.Typer(rich_markup_mode=None)


@verb(app, "enrol")
async def enrol(
    session: Session,
    wishes: Wishes,
    name: Annotated[str, typer.Argument()] = "",
    bmc: Annotated[str, typer.Option("--bmc", help="https://HOST[:PORT] of its BMC.")] = "",
    credential: Annotated[
        str, typer.Option("--credential", help="Name or UUID of the login.")
    ] = "",
    system: Annotated[str, typer.Option("--system", help="Redfish id, if it has several.")] = "",
    parent: Annotated[str, typer.Option("--parent", help="Provider it stands under.")] = "",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Do not check the BMC's certificate.")
    ] = False,
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help="SHA-256 of the BMC's certificate, to pin it.")
    ] = "",
    pin: Annotated[
        bool, typer.Option("--pin", help="Pin the certificate that it shows at first contact.")
    ] = False,
    profile: Annotated[
        str, typer.Option("--profile", help="Hardware profile; default: by what it matches.")
    ] = "",
    file: Annotated[
        str, typer.Option("--file", "-f", help="List in CSV or YAML instead; - reads it.")
    ] = "",
    quiet: QuietOption = False,
) -> None:
    """Take machines into the inventory: one, or a list.

    Nothing is asked of their BMCs, unless with --inspect. A list has a row a machine, with the
    columns name, address, credential, system, parent, insecure, fingerprint, pin and profile. What
    is there already is left alone, so it may be repeated.
    """
    from mulligan.cli.enrol_list import plain_fingerprint, read_rows
    from mulligan.cli.enrol_many import enrol_all
    from mulligan.proto.v1 import Bmc, EnrollMachineRequest, MachineRequest

    if file:
        given = (name, bmc, credential, system, parent, insecure, fingerprint, pin, profile)
        if any(given):
            raise InvalidArgument("--file", "has it all; leave out the name and its options")
        await enrol_all(session, read_rows(file), wishes)
        return
    for value, field in ((name, "NAME"), (bmc, "--bmc"), (credential, "--credential")):
        if not value:
            raise InvalidArgument(field, "is missing; or give a list with --file")
    if wishes.dry_run:
        raise InvalidArgument("--dry-run", "is for lists; give one with --file")
    request = EnrollMachineRequest(
        name=name,
        parent=parent,
        bmc=Bmc(
            address=bmc,
            credential=credential,
            system=system,
            insecure=insecure,
            fingerprint=plain_fingerprint(fingerprint),
            pin=pin,
        ),
        profile=profile,
    )
    control = session.client.control
    machine = (await control.enroll_machine(request)).machine
    if wishes.inspect and machine is not None:
        machine = (await control.inspect_machine(MachineRequest(machine=machine.uuid))).machine
        if wishes.wait and machine is not None:
            machine = await rested(session, machine, "inspect", wishes.timeout)
    session.out.made(machine, COLUMNS)
