"""The verbs of ``mulligan machine`` that leave its state: power, cordons, retirement, settings."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.bulk import AT_MOST, Deed, carry_out
from mulligan.cli.grammar import none_of
from mulligan.cli.machine_moves import TimeoutOption, WaitOption, move
from mulligan.cli.selection import Selection
from mulligan.cli.verbs import Session, verb
from mulligan.errors import InvalidArgument
from mulligan.quantities import parse_span, parse_time
from mulligan.wording import word

if TYPE_CHECKING:
    from mulligan.proto.v1 import Bmc, Machine

app = typer.Typer(rich_markup_mode=None)

ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the record.")]
TargetArgument = Annotated[str, typer.Argument(metavar="on|off|shutdown|restart|cycle|nmi")]


@verb(app, "power")
async def power(
    session: Session,
    target: TargetArgument,
    selection: Selection,
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Switch machines on or off, or restart them.

    shutdown asks the system, cycle is off and on, nmi interrupts the system for a crash dump.
    """
    from mulligan.proto.v1 import PowerMachineRequest, PowerTarget

    known = {word(one): one for one in PowerTarget if int(one)}
    if target not in known:
        raise InvalidArgument("target", none_of(target, list(known)))

    async def send(ref: str) -> "Machine | None":
        request = PowerMachineRequest(machine=ref, target=known[target])
        return (await session.client.control.power_machine(request)).machine

    deed = Deed(
        verb=f"power {target}",
        send=send,
        goals=() if wait else None,
        timeout=timeout,
        disruptive=target != "on",
        rule="nmi" if target == "nmi" else "power",
    )
    await carry_out(session, selection, deed)


@verb(app, "keep-power")
async def keep_power(
    session: Session,
    target: Annotated[str, typer.Argument(metavar="on|off|none")],
    selection: Selection,
) -> None:
    """Have machines kept on or off while they rest; none leaves them as they are."""
    from mulligan.proto.v1 import KeepPowerRequest

    if target not in ("on", "off", "none"):
        raise InvalidArgument("target", f"{target!r} is none of on, off, none")
    wanted = "" if target == "none" else target

    async def send(ref: str) -> "Machine | None":
        request = KeepPowerRequest(machine=ref, power=wanted)
        return (await session.client.control.keep_power(request)).machine

    deed = Deed(verb=f"keep-power {target}", send=send, disruptive=bool(wanted))
    await carry_out(session, selection, deed)


@verb(app, "cordon")
async def cordon(
    session: Session,
    selection: Selection,
    reason: ReasonOption,
    until: Annotated[
        str, typer.Option("--until", help="When it ends by itself: 2h, or a time.")
    ] = "",
    maintenance: Annotated[
        bool, typer.Option("--maintenance", help="Ask nothing of the BMC meanwhile.")
    ] = False,
) -> None:
    """Keep new claims away; what is claimed stays.

    A cordon that is there is changed.
    """
    from mulligan.proto.v1 import CordonMachineRequest

    ends = moment(until, datetime.now(UTC), "--until") if until else None

    async def send(ref: str) -> "Machine | None":
        request = CordonMachineRequest(
            machine=ref, reason=reason, until=ends, maintenance=maintenance
        )
        return (await session.client.control.cordon_machine(request)).machine

    await carry_out(session, selection, Deed(verb="cordon", send=send, disruptive=maintenance))


@verb(app, "uncordon")
async def uncordon(session: Session, selection: Selection) -> None:
    """Lift cordons and end maintenance."""
    call = session.client.control.uncordon_machine
    await move(session, selection, "uncordon", call, False, AT_MOST)


@verb(app, "retire")
async def retire(session: Session, selection: Selection, reason: ReasonOption = "") -> None:
    """Take machines out of service that nobody claims."""
    from mulligan.proto.v1 import RetireMachineRequest

    async def send(ref: str) -> "Machine | None":
        request = RetireMachineRequest(machine=ref, reason=reason)
        return (await session.client.control.retire_machine(request)).machine

    await carry_out(session, selection, Deed(verb="retire", send=send, disruptive=True))


@verb(app, "reinstate")
async def reinstate(session: Session, selection: Selection) -> None:
    """Bring retired machines back; they are manageable then."""
    call = session.client.control.reinstate_machine
    await move(session, selection, "reinstate", call, False, AT_MOST)


@verb(app, "allow-logins")
async def allow_logins(session: Session, selection: Selection) -> None:
    """Let logins be tried again after refusals."""
    call = session.client.control.allow_logins
    await move(session, selection, "allow-logins", call, False, AT_MOST)


@verb(app, "update")
async def update(
    session: Session,
    selection: Selection,
    bmc: Annotated[str, typer.Option("--bmc", help="Other address; of one machine.")] = "",
    credential: Annotated[str, typer.Option("--credential", help="Other login.")] = "",
    system: Annotated[
        str | None, typer.Option("--system", help="Other Redfish id; of one machine.")
    ] = None,
    fingerprint: Annotated[
        str | None, typer.Option("--fingerprint", help="Pin this certificate; '': none.")
    ] = None,
    pin: Annotated[
        bool, typer.Option("--pin", help="Pin the certificate that the BMC shows next.")
    ] = False,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure/--secure", help="Whether to leave its certificate unchecked."),
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Hardware profile; '': by what it matches.")
    ] = None,
) -> None:
    """Change how BMCs are reached, or the hardware profile."""
    from mulligan.cli.enrol_list import plain_fingerprint
    from mulligan.proto.v1 import GetMachineRequest, UpdateMachineRequest

    trust = (fingerprint is not None, pin, insecure is not None)
    changes_bmc = any((bmc, credential, system is not None, *trust))
    if not changes_bmc and profile is None:
        raise InvalidArgument("options", "say what to change, such as --credential or --profile")
    if sum((bool(fingerprint), pin, bool(insecure))) > 1:
        raise InvalidArgument("options", "give one of --fingerprint, --pin and --insecure")
    one_only = bmc or system is not None
    if one_only and (selection.by_listing or len(selection.machines or []) > 1):
        raise InvalidArgument("--bmc" if bmc else "--system", "is one machine's; name only that")

    def changed(found: "Bmc") -> "Bmc":
        found.address = bmc or found.address
        found.credential = credential or found.credential
        found.system = found.system if system is None else system
        found.insecure = found.insecure if insecure is None else insecure
        if fingerprint is not None:
            found.fingerprint, found.pin = plain_fingerprint(fingerprint), False
            found.insecure = found.insecure and not fingerprint
        if pin:
            found.fingerprint, found.pin, found.insecure = "", True, False
        if found.insecure:
            found.fingerprint, found.pin = "", False
        return found

    async def send(ref: str) -> "Machine | None":
        control = session.client.control
        found = (await control.get_machine(GetMachineRequest(machine=ref))).machine
        if changes_bmc and found is not None and found.bmc is not None:
            request = UpdateMachineRequest(machine=ref, bmc=changed(found.bmc), etag=found.etag)
            found = (await control.update_machine(request)).machine
        if profile is not None:
            request = UpdateMachineRequest(machine=ref, profile=profile)
            found = (await control.update_machine(request)).machine
        return found

    await carry_out(session, selection, Deed(verb="update", send=send))


@verb(app, "delete")
async def delete(
    session: Session,
    selection: Selection,
    force: Annotated[
        bool, typer.Option("--force", help="Even with a dead BMC, unwiped; needs --reason.")
    ] = False,
    reason: ReasonOption = "",
) -> None:
    """Take machines out of the inventory."""
    from mulligan.proto.v1 import DeleteMachineRequest

    if force and not reason:
        raise InvalidArgument("--reason", "say why the machine is deleted by force")

    async def send(ref: str) -> None:
        request = DeleteMachineRequest(machine=ref, force=force, reason=reason)
        await session.client.control.delete_machine(request)
        if not selection.by_listing:
            session.out.note(f"deleted {ref}")

    rule = "any" if force else "delete"
    deed = Deed(verb="delete", send=send, disruptive=True, rule=rule)
    await carry_out(session, selection, deed)


def moment(text: str, now: datetime, field: str) -> datetime:
    """Read a time, or how long from now; raise InvalidArgument otherwise."""
    if text[:1].isdigit() and text[-1:] in "wdhms":
        return now + parse_span(text, field)
    return parse_time(text, now, field)
