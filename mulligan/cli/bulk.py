"""One verb over machines that were named or selected: asked, bounded, counted, or only tried out.

Of machines that were selected, those that are no longer as they were listed are left alone where
the verb is disruptive.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mulligan.cli.machine_table import print_machines
from mulligan.cli.machine_view import COLUMNS, fault_shown, state_shown
from mulligan.cli.many import Outcome, attempt
from mulligan.cli.naming import name_fields
from mulligan.cli.output import Column
from mulligan.cli.progress import Progress
from mulligan.cli.report import NotSent, Refused, Several, describe
from mulligan.cli.selection import Selection, Target, counted, states_of, targets_of
from mulligan.cli.verbs import Session
from mulligan.cli.wait import wait_for
from mulligan.diagnosis.machines import operation_shown
from mulligan.errors import FailedPrecondition, MulliganError
from mulligan.quantities import parse_span
from mulligan.wording import harmless

if TYPE_CHECKING:
    from mulligan.proto.v1 import Machine

AT_MOST = "1h"

Done = Outcome[Target, "Machine | None"]


@dataclass(frozen=True, kw_only=True)
class Deed:
    """What is done to each machine.

    ``goals`` are the states to wait for: None does not wait, and none of them is any rest.
    ``rule`` is the verb of the state table that it goes by, where it is another than ``verb``.
    """

    verb: str
    send: "Callable[[str], Awaitable[Machine | None]]"
    goals: Sequence[str] | None = None
    timeout: str = AT_MOST
    disruptive: bool = False
    rule: str = ""


@dataclass(frozen=True)
class Preview:
    """What would become of a machine, as it is printed."""

    name: str
    uuid: str
    state: str
    claim: str
    would: str


PREVIEWS = (
    Column("NAME", lambda one: one.name),
    Column("STATE", lambda one: one.state),
    Column("CLAIM", lambda one: one.claim),
    Column("WOULD", lambda one: one.would),
    Column("UUID", lambda one: one.uuid, wide=True),
)


async def carry_out(session: Session, selection: Selection, deed: Deed) -> None:
    """Do a deed to the machines meant, and print them.

    With names, errors are those of ``each``. With a selection, Refused is raised at the end if any
    machine could not be served.
    """
    targets = await targets_of(session, selection)
    if selection.dry_run:
        await preview(session, targets, deed)
        return
    if not targets:
        session.out.rows([], COLUMNS, "no machine is selected; nothing was done")
        return
    agree(session, selection, targets, deed)
    outcomes = await _act(session, selection, targets, deed)
    found = [one.result for one in outcomes if one.error is None and one.result is not None]
    if found or not session.out.for_people:
        await print_machines(session, found)
    _conclude(session, selection, outcomes, deed)


def agree(session: Session, selection: Selection, targets: Sequence[Target], deed: Deed) -> None:
    """Ask before machines are touched that were selected, or several are disrupted."""
    if selection.by_listing:
        names = ", ".join(target.called for target in targets[:5])
        more = ", …" if len(targets) > 5 else ""
        if selection.yes:
            session.out.note(f"{deed.verb}: {counted(targets)}")
        session.confirm(f"{deed.verb} {counted(targets)}: {names}{more}?", selection.yes)
    elif deed.disruptive:
        session.confirm_several(deed.verb, [target.called for target in targets], selection.yes)


async def _act(
    session: Session, selection: Selection, targets: Sequence[Target], deed: Deed
) -> list[Done]:
    alone = len(targets) == 1 and not selection.by_listing
    with Progress(quiet=session.out.quiet or not sys.stderr.isatty()) as progress:
        ended = 0

        async def send(target: Target) -> "Machine | None":
            if deed.disruptive and target.machine is not None:
                await _unchanged(session, target.machine)
            return await deed.send(target.ref)

        def told(outcome: Done) -> None:
            nonlocal ended
            ended += 1
            if len(targets) > 1:
                progress.show(deed.verb, f"{ended}/{len(targets)}", ended, len(targets))
            if outcome.error is not None and not alone:
                complain(outcome.item.called, outcome.error)

        outcomes = await attempt(targets, send, told=told)
    if alone and outcomes[0].error is not None:
        raise outcomes[0].error
    if deed.goals is None:
        return outcomes
    return await _settled(session, outcomes, deed, alone)


async def _settled(
    session: Session, outcomes: Sequence[Done], deed: Deed, alone: bool
) -> list[Done]:
    """Wait for the machines that took the verb."""
    asked = {one.item.called: one.item for one in outcomes if one.error is None}
    with Progress(quiet=session.out.quiet) as progress:
        rested = await wait_for(
            session.client,
            {called: target.ref for called, target in asked.items()},
            states_of(deed.goals or (), "--for"),
            timeout=parse_span(deed.timeout, "--timeout").total_seconds(),
            progress=progress,
        )
    if not deed.goals:
        rested = [_at_fault(one) for one in rested]
    if alone and rested[0].error is not None:
        raise rested[0].error
    for called, _, error in rested:
        if error is not None:
            complain(called, error)
    ends: dict[str, Done] = {
        called: Outcome(asked[called], machine, error) for called, machine, error in rested
    }
    return [ends.get(one.item.called, one) for one in outcomes]


def _at_fault(outcome: "Outcome[str, Machine]") -> "Outcome[str, Machine]":
    """Return the failure of a verb that leaves a machine where it was, and a fault with it."""
    called, machine, error = outcome
    if machine is None or machine.fault is None or error is not None:
        return outcome
    said = f"{called} stays {state_shown(machine)}: {fault_shown(machine)}"
    return Outcome(called, machine, FailedPrecondition(f"{said}; see `mulligan machine why`"))


async def _unchanged(session: Session, listed: "Machine") -> None:
    """Raise FailedPrecondition unless a machine is as it was when it was selected."""
    from mulligan.proto.v1 import GetMachineRequest

    answer = await session.client.control.get_machine(GetMachineRequest(machine=listed.uuid))
    now = answer.machine
    if now is None or (now.state, now.claim) == (listed.state, listed.claim):
        return
    shown = state_shown(now) if now.state != listed.state else "claimed otherwise"
    raise FailedPrecondition(
        f"{listed.name} is {shown} by now, no longer {state_shown(listed)}; select again"
    )


def complain(called: str, error: MulliganError) -> None:
    """Print the error of one of several, with the name of whom it concerns."""
    for line in describe(error):
        if line.startswith("error: "):
            named = line if called in line else line.replace("error: ", f"error: {called}: ", 1)
            sys.stderr.write(f"{harmless(named)}\n")


def _conclude(session: Session, selection: Selection, outcomes: Sequence[Done], deed: Deed) -> None:
    """Tell how many were done; raise when some were not."""
    errors = [one.error for one in outcomes if one.error is not None]
    done = len(outcomes) - len(errors)
    if selection.by_listing:
        if errors:
            raise Refused(f"{deed.verb}: {done} done, {len(errors)} refused or failed, as told")
        session.out.note(f"{deed.verb}: {done} done")
    elif errors:
        raise Several(errors[0], len(errors), len(outcomes))


async def preview(session: Session, targets: Sequence[Target], deed: Deed) -> None:
    """Print what would be done to which machine, as the service decides it; do nothing.

    Where that has no dry run, because it is older, the state table says.
    """
    from mulligan.proto.v1 import GetMachineRequest

    async def look(target: Target) -> "Machine | None":
        if target.machine is not None:
            return target.machine
        answer = await session.client.control.get_machine(GetMachineRequest(machine=target.ref))
        return answer.machine

    looked = await attempt(targets, look)
    await name_fields(session, [one.result for one in looked if one.result is not None], "claim")
    assert session.holds, "a verb with a dry run of its own sends nothing"
    trials = await attempt(targets, lambda target: deed.send(target.ref))
    shown: list[Preview] = []
    refused = 0
    for (target, machine, error), (_, _, tried) in zip(looked, trials, strict=True):
        if error is None and not isinstance(tried, NotSent):
            error = tried
        problem = describe(error)[0].removeprefix("error: ") if error is not None else ""
        if machine is not None and isinstance(tried, NotSent) and not is_decided(tried):
            problem = objection(machine, deed.rule or deed.verb)
        refused += bool(problem)
        would = f"be refused: {problem}" if problem else deed.verb
        machine_is = machine or _unknown(target)
        shown.append(
            Preview(
                target.called, machine_is.uuid, state_shown(machine_is), machine_is.claim, would
            )
        )
    session.out.rows(shown, PREVIEWS, "no machine is selected")
    session.out.note(
        f"{deed.verb} would be asked of {len(shown) - refused} of {len(shown)} machines; "
        "nothing was done"
    )


def is_decided(tried: NotSent) -> bool:
    """Tell whether the service has said what would come of a call."""
    return tried.trial is not None and tried.trial.answer is not None


def _unknown(target: Target) -> "Machine":
    from mulligan.proto.v1 import Machine

    return Machine(name=target.called)


def objection(machine: "Machine", rule: str) -> str:
    """Return why the state table does not allow a verb now; empty when it does."""
    from mulligan.handlers.lifecycle import ALLOWED

    if rule == "abort":
        return "" if machine.operation is not None else "nothing runs"
    if rule not in ALLOWED:
        return ""
    if machine.operation is not None:
        return f"it is busy with {operation_shown(machine)}"
    if machine.cordon is not None and machine.cordon.maintenance:
        return f"it is in maintenance: {machine.cordon.reason}"
    state = state_shown(machine)
    if state in ALLOWED[rule]:
        return ""
    *others, last = ALLOWED[rule]
    return f"it is {state}, and must be {' or '.join(filter(None, (', '.join(others), last)))}"
