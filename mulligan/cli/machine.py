"""``mulligan machine``: from a BMC address to a running machine and back.

The verbs that look are here; those that do something are in the modules added at the end.
"""

from typing import Annotated

import typer

from mulligan.cli import machine_enrol, machine_moves, machine_scan, machine_upkeep
from mulligan.cli.bulk import AT_MOST, complain
from mulligan.cli.machine_description import WHOLE, WHOLE_WIDE
from mulligan.cli.machine_table import print_machines
from mulligan.cli.machine_view import (
    ACTIONS,
    HISTORY,
    HISTORY_WIDE,
    UUIDS,
    why_shown,
)
from mulligan.cli.naming import name_fields
from mulligan.cli.output import Format
from mulligan.cli.progress import Progress
from mulligan.cli.report import Several
from mulligan.cli.selection import Filters, Named, Selection, listed, states_of, targets_of
from mulligan.cli.verbs import Session, verb
from mulligan.cli.wait import wait_for
from mulligan.quantities import parse_span

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

MachineArgument = Annotated[str, typer.Argument(metavar="MACHINE", help="Name or UUID.")]
LimitOption = Annotated[int, typer.Option("--limit", help="At most so many; 0: all.")]


@verb(app, "list", reads=True, across=True)
async def list_machines(session: Session, filters: Filters, limit: LimitOption = 0) -> None:
    """List machines."""
    from mulligan.proto.v1 import MachineView

    brief = session.out.form in (Format.TABLE, Format.NAME)
    request = filters.request()
    request.view = MachineView.BASIC if brief else MachineView.FULL
    found = await listed(session, request, limit)
    await print_machines(session, found, "no machines")


@verb(app, "show", reads=True)
async def show_machine(session: Session, machine: MachineArgument) -> None:
    """Show a machine and its hardware.

    -o wide adds firmware and SSH host keys.
    """
    from mulligan.proto.v1 import GetMachineRequest

    answer = await session.client.control.get_machine(GetMachineRequest(machine=machine))
    columns = WHOLE_WIDE if session.out.form is Format.WIDE else WHOLE
    await name_fields(session, [answer.machine], *UUIDS)
    session.out.one(answer.machine, columns)


@verb(app, "why", reads=True)
async def why(session: Session, machine: MachineArgument) -> None:
    """Show why a machine is as it is, and what it waits for.

    The chain goes from the intent to the last exchange with its BMC.
    """
    from mulligan.proto.v1 import WhyMachineRequest

    answer = await session.client.control.why_machine(WhyMachineRequest(machine=machine))
    chain = ("chain.actor", "chain.what", "chain.detail")
    await name_fields(session, [answer], "summary", "waiting_for", *chain)
    if session.out.for_people:
        session.out.line(why_shown(answer))
    else:
        session.out.one(answer, ())


@verb(app, "history", reads=True)
async def history(session: Session, machine: MachineArgument, limit: LimitOption = 50) -> None:
    """List all that happened to a machine, newest first.

    -o wide has the details in full.
    """
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListMachineHistoryRequest

    request = ListMachineHistoryRequest(machine=machine)
    control = session.client.control
    pages = every(control.list_machine_history, request, lambda page: page.causes, limit=limit)
    columns = HISTORY_WIDE if session.out.form is Format.WIDE else HISTORY
    found = [cause async for cause in pages]
    await name_fields(session, found, "actor", "what", "detail")
    session.out.rows(found, columns, f"{machine} has no history")


@verb(app, "actions", reads=True)
async def actions(session: Session, machine: MachineArgument, limit: LimitOption = 0) -> None:
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
    named: Named,
    state: Annotated[
        list[str] | None, typer.Option("--for", help="State to wait for; default: any rest.")
    ] = None,
    timeout: Annotated[str, typer.Option("--timeout", help="How long: 30m, 2h.")] = AT_MOST,
) -> None:
    """Return when machines have come to rest, or to a state."""
    goals = states_of(state or [], "--for")
    targets = await targets_of(session, Selection(machines=named.machines))
    with Progress(quiet=session.out.quiet) as progress:
        outcomes = await wait_for(
            session.client,
            {target.called: target.ref for target in targets},
            goals,
            timeout=parse_span(timeout, "--timeout").total_seconds(),
            progress=progress,
        )
    errors = [one.error for one in outcomes if one.error is not None]
    if errors and len(outcomes) == 1:
        raise errors[0]
    for called, _, error in outcomes:
        if error is not None:
            complain(called, error)
    if errors:
        raise Several(errors[0], len(errors), len(outcomes))
    await print_machines(session, [one.result for one in outcomes if one.result is not None])


for more in (machine_enrol, machine_scan, machine_moves, machine_upkeep):
    app.add_typer(more.app)
