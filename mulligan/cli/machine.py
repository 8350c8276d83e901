"""``mulligan machine``: from a BMC address to a running machine and back."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.machine_view import ACTIONS, COLUMNS, WHOLE, why_shown
from mulligan.cli.many import each, names_of
from mulligan.cli.output import word
from mulligan.cli.progress import Progress
from mulligan.cli.quantities import parse_span
from mulligan.cli.verbs import QuietOption, Session, YesOption, verb
from mulligan.errors import InvalidArgument

if TYPE_CHECKING:
    from mulligan.proto.v1 import Machine, MachineRequest, MachineResponse, MachineState

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

MachineArgument = Annotated[str, typer.Argument(metavar="MACHINE", help="Name or UUID.")]
MachinesArgument = Annotated[
    list[str], typer.Argument(metavar="MACHINE...", help="Names or UUIDs; - reads them.")
]
WaitOption = Annotated[bool, typer.Option("--wait", "-w", help="Return when it is done.")]
TimeoutOption = Annotated[str, typer.Option("--timeout", help="How long to wait: 30m, 2h.")]
AT_MOST = "1h"


@verb(app, "enrol")
async def enrol(
    session: Session,
    name: Annotated[str, typer.Argument()],
    bmc: Annotated[str, typer.Option("--bmc", help="https://HOST[:PORT] of its BMC.")],
    credential: Annotated[str, typer.Option("--credential", help="Name or UUID of the login.")],
    system: Annotated[str, typer.Option("--system", help="Redfish id, if it has several.")] = "",
    parent: Annotated[str, typer.Option("--parent", help="Provider it stands under.")] = "",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Do not check the BMC's certificate.")
    ] = False,
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help="SHA-256 of the BMC's certificate, to pin it.")
    ] = "",
    quiet: QuietOption = False,
) -> None:
    """Take a machine into the inventory; nothing is asked of it yet."""
    from mulligan.proto.v1 import Bmc, EnrollMachineRequest

    request = EnrollMachineRequest(
        name=name,
        parent=parent,
        bmc=Bmc(
            address=bmc,
            credential=credential,
            system=system,
            insecure=insecure,
            fingerprint=fingerprint,
        ),
    )
    answer = await session.client.control.enroll_machine(request)
    session.out.made(answer.machine, COLUMNS)


@verb(app, "list")
async def list_machines(
    session: Session,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="Only in these states. Repeatable.")
    ] = None,
    claim: Annotated[str, typer.Option("--claim", help="Only those of this claim.")] = "",
    limit: Annotated[int, typer.Option("--limit", help="At most so many; 0: all.")] = 0,
) -> None:
    """List machines."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListMachinesRequest

    request = ListMachinesRequest(states=states_of(state or [], "--state"), claim=claim)
    control = session.client.control
    pages = every(control.list_machines, request, lambda page: page.machines, limit=limit)
    session.out.rows([machine async for machine in pages], COLUMNS, "no machines")


@verb(app, "show")
async def show_machine(session: Session, machine: MachineArgument) -> None:
    """Show a machine and its hardware."""
    from mulligan.proto.v1 import GetMachineRequest

    answer = await session.client.control.get_machine(GetMachineRequest(machine=machine))
    session.out.one(answer.machine, WHOLE)


@verb(app, "inspect")
async def inspect(
    session: Session,
    machines: MachinesArgument,
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Check the BMC's login and read the hardware."""
    call = session.client.control.inspect_machine
    await move(session, call, names_of(machines), ["manageable"] if wait else [], timeout)


@verb(app, "provide")
async def provide(
    session: Session,
    machines: MachinesArgument,
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Clean manageable machines and offer them to claims."""
    call = session.client.control.provide_machine
    await move(session, call, names_of(machines), ["available"] if wait else [], timeout)


@verb(app, "manage")
async def manage(
    session: Session,
    machines: MachinesArgument,
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Take available machines back from the pool."""
    call = session.client.control.manage_machine
    await move(session, call, names_of(machines), ["manageable"] if wait else [], timeout)


@verb(app, "deploy")
async def deploy(
    session: Session,
    claim: Annotated[str, typer.Argument(metavar="CLAIM", help="Name or UUID.")],
    image: Annotated[str, typer.Option("--image", help="Name or UUID of what to boot.")],
    machine: Annotated[
        str, typer.Option("--machine", help="Which of the claim's machines, if several.")
    ] = "",
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Boot an image on a claimed machine."""
    from mulligan.proto.v1 import DeployMachineRequest

    request = DeployMachineRequest(claim=claim, machine=machine, image=image)
    answer = await session.client.control.deploy_machine(request)
    await finish(session, [answer], ["active"] if wait else [], timeout)


@verb(app, "release")
async def release(
    session: Session,
    machines: MachinesArgument,
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
    yes: YesOption = False,
) -> None:
    """Give machines and their claims back; they are cleaned and offered again."""
    names = names_of(machines)
    session.confirm_several("release", names, yes)
    call = session.client.control.release_machine
    await move(session, call, names, ["available"] if wait else [], timeout)


@verb(app, "power")
async def power(
    session: Session,
    target: Annotated[str, typer.Argument(metavar="on|off|shutdown|restart")],
    machines: MachinesArgument,
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
    yes: YesOption = False,
) -> None:
    """Switch machines on or off, shut down their system, or restart them."""
    from mulligan.proto.v1 import Machine, PowerMachineRequest, PowerTarget

    known = {word(one): one for one in PowerTarget if int(one)}
    if target not in known:
        raise InvalidArgument("target", f"{target!r} is none of {', '.join(known)}")
    names = names_of(machines)
    if target != "on":
        session.confirm_several(f"power {target}", names, yes)

    async def switch(name: str) -> Machine | None:
        request = PowerMachineRequest(machine=name, target=known[target])
        return (await session.client.control.power_machine(request)).machine

    found: Sequence[Machine | None] = await each(names, switch)
    if wait:
        found = await settle(session, names, (), timeout)
    session.out.rows(found, COLUMNS)


@verb(app, "abort")
async def abort(session: Session, machines: MachinesArgument, yes: YesOption = False) -> None:
    """Stop what is under way between two steps; the machine is failed."""
    names = names_of(machines)
    session.confirm_several("abort", names, yes)
    await move(session, session.client.control.abort_machine, names, [], AT_MOST)


@verb(app, "retry")
async def retry(
    session: Session,
    machines: MachinesArgument,
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Run a failed operation again from its beginning."""
    goals = ["manageable", "available", "active"] if wait else []
    call = session.client.control.retry_machine
    await move(session, call, names_of(machines), goals, timeout)


@verb(app, "delete")
async def delete(
    session: Session,
    machines: MachinesArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Even with a dead BMC, unwiped; needs --reason.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "",
    yes: YesOption = False,
) -> None:
    """Take machines out of the inventory."""
    from mulligan.proto.v1 import DeleteMachineRequest

    names = names_of(machines)
    if force and not reason:
        raise InvalidArgument("--reason", "say why the machine is deleted by force")
    session.confirm_several("delete", names, yes)

    async def remove(name: str) -> None:
        request = DeleteMachineRequest(machine=name, force=force, reason=reason)
        await session.client.control.delete_machine(request)
        session.out.note(f"deleted {name}")

    await each(names, remove)


@verb(app, "why")
async def why(session: Session, machine: MachineArgument) -> None:
    """Show why a machine is as it is: from intent to the last exchange with its BMC."""
    from mulligan.proto.v1 import WhyMachineRequest

    answer = await session.client.control.why_machine(WhyMachineRequest(machine=machine))
    if session.out.for_people:
        session.out.line(why_shown(answer))
    else:
        session.out.one(answer, ())


@verb(app, "actions")
async def actions(
    session: Session,
    machine: MachineArgument,
    limit: Annotated[int, typer.Option("--limit", help="At most so many; 0: all.")] = 0,
) -> None:
    """List what was done to a machine, step by step."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListActionsRequest

    request = ListActionsRequest(machine=machine)
    control = session.client.control
    pages = every(control.list_actions, request, lambda page: page.actions, limit=limit)
    session.out.rows([action async for action in pages], ACTIONS, f"{machine} has no actions")


@verb(app, "wait")
async def wait(
    session: Session,
    machines: MachinesArgument,
    state: Annotated[
        list[str] | None, typer.Option("--for", help="State to wait for; default: any rest.")
    ] = None,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Return when machines have come to rest, or to a state."""
    goals = states_of(state or [], "--for")
    session.out.rows(await settle(session, names_of(machines), goals, timeout), COLUMNS)


async def move(
    session: Session,
    call: "Callable[[MachineRequest], Awaitable[MachineResponse]]",
    names: Sequence[str],
    goals: Sequence[str],
    timeout: str,
) -> None:
    """Send a verb to machines; wait for one of the goals if there are any; print them."""
    from mulligan.proto.v1 import MachineRequest, MachineResponse

    async def send(name: str) -> MachineResponse:
        return await call(MachineRequest(machine=name))

    await finish(session, await each(names, send), goals, timeout)


async def finish(
    session: Session, answers: "Sequence[MachineResponse]", goals: Sequence[str], timeout: str
) -> None:
    """Print the machines of answers, after waiting for one of the goals if there are any."""
    found = [answer.machine for answer in answers if answer.machine is not None]
    if goals:
        names = [machine.name or machine.uuid for machine in found]
        found = await settle(session, names, states_of(goals, "--for"), timeout)
    session.out.rows(found, COLUMNS)


async def settle(
    session: Session, names: Sequence[str], goals: "Sequence[MachineState]", timeout: str
) -> "list[Machine]":
    """Wait until every machine rests in one of the goals, showing how far they are."""
    from mulligan.cli.wait import wait_for

    seconds = parse_span(timeout, "--timeout").total_seconds()
    with Progress(quiet=session.out.quiet) as progress:

        async def one(name: str) -> "Machine":
            return await wait_for(session.client, name, goals, timeout=seconds, progress=progress)

        return await each(names, one, at_once=max(1, len(names)))


def states_of(given: Sequence[str], field: str) -> "list[MachineState]":
    """Return the states of that name; raise InvalidArgument for a name that is none."""
    from mulligan.proto.v1 import MachineState

    known = {word(one): one for one in MachineState if int(one)}
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InvalidArgument(field, f"{unknown[0]!r} is none of {', '.join(known)}")
    return [known[name] for name in given]
