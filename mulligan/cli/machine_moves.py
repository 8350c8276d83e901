"""The verbs of ``mulligan machine`` that move machines from state to state."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from mulligan.cli.bulk import AT_MOST, Deed, carry_out
from mulligan.cli.machine_table import print_machines
from mulligan.cli.progress import Progress
from mulligan.cli.selection import Selection, states_of
from mulligan.cli.verbs import Session, verb
from mulligan.cli.wait import wait_for
from mulligan.quantities import parse_span

if TYPE_CHECKING:
    from mulligan.proto.v1 import Machine, MachineRequest, MachineResponse

app = typer.Typer(rich_markup_mode=None)

WaitOption = Annotated[bool, typer.Option("--wait", "-w", help="Return when it is done.")]
TimeoutOption = Annotated[str, typer.Option("--timeout", help="How long to wait: 30m, 2h.")]
ImageOption = Annotated[str, typer.Option("--image", help="Name or UUID of what to boot.")]
UserDataOption = Annotated[
    str, typer.Option("--user-data", help="Name or UUID of what its first boot reads.")
]

GOALS = {
    "inspect": ("manageable",),
    "adopt": ("active",),
    "provide": ("available",),
    "manage": ("manageable",),
    "deploy": ("active",),
    "release": ("available",),
    "rescue": ("rescue",),
    "restore": ("active",),
    "abort": ("failed",),
    "retry": ("manageable", "available", "active", "rescue"),
}
"""Where each verb leads, if all goes well."""


@verb(app, "inspect")
async def inspect(
    session: Session,
    selection: Selection,
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Check the BMC's login and read the hardware."""
    await move(session, selection, "inspect", session.client.control.inspect_machine, wait, timeout)


@verb(app, "adopt")
async def adopt(
    session: Session,
    selection: Selection,
    project: Annotated[str, typer.Option("--project", help="Who holds it from then on.")],
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Take over machines that run already.

    They are verified and claimed for a project; their power is never switched.
    """
    from mulligan.proto.v1 import AdoptMachineRequest

    async def send(ref: str) -> "Machine | None":
        request = AdoptMachineRequest(machine=ref, project=project)
        return (await session.client.control.adopt_machine(request)).machine

    deed = Deed(verb="adopt", send=send, goals=goals("adopt", wait), timeout=timeout)
    await carry_out(session, selection, deed)


@verb(app, "provide")
async def provide(
    session: Session,
    selection: Selection,
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Clean manageable machines and offer them to claims."""
    await move(session, selection, "provide", session.client.control.provide_machine, wait, timeout)


@verb(app, "manage")
async def manage(
    session: Session,
    selection: Selection,
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Take available machines back from the pool."""
    await move(session, selection, "manage", session.client.control.manage_machine, wait, timeout)


@verb(app, "deploy")
async def deploy(
    session: Session,
    claim: Annotated[str, typer.Argument(metavar="CLAIM", help="Name or UUID.")],
    image: ImageOption,
    machine: Annotated[
        str, typer.Option("--machine", help="Which of the claim's machines, if several.")
    ] = "",
    user_data: UserDataOption = "",
    hostname: Annotated[
        str, typer.Option("--hostname", help="Of the system; default: the machine's name.")
    ] = "",
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Boot an image on a claimed machine."""
    from mulligan.proto.v1 import DeployMachineRequest

    request = DeployMachineRequest(
        claim=claim, machine=machine, image=image, user_data=user_data, hostname=hostname
    )
    answer = await session.client.control.deploy_machine(request)
    found = answer.machine
    if wait and found is not None:
        found = await rested(session, found, "deploy", timeout)
    await print_machines(session, [found] if found else [])


@verb(app, "release")
async def release(
    session: Session,
    selection: Selection,
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Give machines and their claims back.

    They are cleaned and offered again.
    """
    call = session.client.control.release_machine
    await move(session, selection, "release", call, wait, timeout, disruptive=True)


@verb(app, "rescue")
async def rescue(
    session: Session,
    selection: Selection,
    image: ImageOption,
    user_data: UserDataOption = "",
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Boot a rescue image; what was deployed stays on the disks."""
    from mulligan.proto.v1 import RescueMachineRequest

    async def send(ref: str) -> "Machine | None":
        request = RescueMachineRequest(machine=ref, image=image, user_data=user_data)
        return (await session.client.control.rescue_machine(request)).machine

    deed = Deed(
        verb="rescue", send=send, goals=goals("rescue", wait), timeout=timeout, disruptive=True
    )
    await carry_out(session, selection, deed)


@verb(app, "restore")
async def restore(
    session: Session,
    selection: Selection,
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Return from a rescue to what was deployed."""
    call = session.client.control.restore_machine
    await move(session, selection, "restore", call, wait, timeout, disruptive=True)


@verb(app, "abort")
async def abort(
    session: Session,
    selection: Selection,
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Stop what is under way between two steps; the machine is failed."""
    call = session.client.control.abort_machine
    await move(session, selection, "abort", call, wait, timeout, disruptive=True)


@verb(app, "retry")
async def retry(
    session: Session,
    selection: Selection,
    wait: WaitOption = False,
    timeout: TimeoutOption = AT_MOST,
) -> None:
    """Run a failed operation again from its beginning."""
    await move(session, selection, "retry", session.client.control.retry_machine, wait, timeout)


async def move(
    session: Session,
    selection: Selection,
    verb: str,
    call: "Callable[[MachineRequest], Awaitable[MachineResponse]]",
    wait: bool,
    timeout: str,
    *,
    disruptive: bool = False,
) -> None:
    """Do a verb that takes nothing but the machine."""
    from mulligan.proto.v1 import MachineRequest

    async def send(ref: str) -> "Machine | None":
        return (await call(MachineRequest(machine=ref))).machine

    deed = Deed(
        verb=verb, send=send, goals=goals(verb, wait), timeout=timeout, disruptive=disruptive
    )
    await carry_out(session, selection, deed)


def goals(verb: str, wait: bool) -> tuple[str, ...] | None:
    """Return the states that a verb is waited for in; None when it is not."""
    return GOALS.get(verb, ()) if wait else None


async def rested(session: Session, machine: "Machine", verb: str, timeout: str) -> "Machine":
    """Return a machine when a verb is through with it; raise what came in the way."""
    called = machine.name or machine.uuid
    with Progress(quiet=session.out.quiet) as progress:
        (outcome,) = await wait_for(
            session.client,
            {called: machine.uuid or called},
            states_of(GOALS[verb], "--for"),
            timeout=parse_span(timeout, "--timeout").total_seconds(),
            progress=progress,
        )
    if outcome.error is not None:
        raise outcome.error
    return outcome.result or machine
