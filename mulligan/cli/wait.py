"""Waiting until machines have come to rest."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import anyio

from mulligan.cli.many import Outcome, attempt
from mulligan.cli.progress import Progress
from mulligan.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    MulliganError,
    NotFound,
    PermissionDenied,
)
from mulligan.wording import failure_shown, word

if TYPE_CHECKING:
    from mulligan.client.client import Client
    from mulligan.proto.v1 import Machine, MachineState

FIRST_LOOK = 0.2
LAST_LOOK = 2.0
"""Seconds between two looks: short at first, as emulated and power verbs are quick."""
FEW = 16
"""Machines that are asked for one by one; more are listed together, and shown as a number."""


async def wait_for(
    client: "Client",
    machines: Mapping[str, str],
    goals: "Collection[MachineState]",
    *,
    timeout: float,
    progress: Progress,
) -> "list[Outcome[str, Machine]]":
    """Return each machine once it rests in one of the goals (any resting state if there are none).

    ``machines`` are the UUIDs or names to ask for, by what they are called. The error of a machine
    is FailedPrecondition when it failed on the way and that is no goal, NotFound when it is gone,
    DeadlineExceeded when it was not there after ``timeout`` seconds.
    """
    until = time.monotonic() + timeout
    pause = FIRST_LOOK
    left = dict(machines)
    ended: dict[str, Outcome[str, Machine]] = {}
    while True:
        looks = await _look(client, left)
        for outcome in looks:
            verdict = _verdict(outcome, goals)
            if verdict is not None:
                ended[outcome.item] = verdict
                del left[outcome.item]
        _show_all(looks, ended, len(machines), progress)
        if not left or time.monotonic() >= until:
            break
        await anyio.sleep(min(pause, max(0.0, until - time.monotonic())))
        pause = min(pause * 1.3, LAST_LOOK)
    for called in left:
        ended[called] = Outcome(called, None, _late(called, timeout))
    return [ended[called] for called in machines]


async def _look(client: "Client", machines: Mapping[str, str]) -> "list[Outcome[str, Machine]]":
    """Return how machines are now; many are listed, as asking for each would be a burden."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import GetMachineRequest, ListMachinesRequest

    known: dict[str, Machine] = {}
    if len(machines) > FEW:
        control = client.control
        pages = every(control.list_machines, ListMachinesRequest(), lambda page: page.machines)
        async for one in pages:
            known[one.uuid] = known[one.name] = one

    async def get(called: str) -> "Machine":
        ref = machines[called]
        if ref in known:
            return known[ref]
        answer = await client.control.get_machine(GetMachineRequest(machine=ref))
        if answer.machine is None:
            raise NotFound("machine", called)
        return answer.machine

    outcomes = await attempt(list(machines), get, at_once=FEW)
    for outcome in outcomes:
        if not isinstance(outcome.error, NotFound | PermissionDenied | None):
            raise outcome.error
    return outcomes


def _verdict(
    outcome: "Outcome[str, Machine]", goals: "Collection[MachineState]"
) -> "Outcome[str, Machine] | None":
    """Return how waiting for a machine ended; None while it is on its way."""
    from mulligan.proto.v1 import MachineState

    called, machine, _ = outcome
    if machine is None or is_there(machine, goals):
        return outcome
    if machine.state is MachineState.FAILED and machine.operation is None:
        return Outcome(called, machine, FailedPrecondition(failure_of(machine, called)))
    return None


def _show_all(
    looks: "Sequence[Outcome[str, Machine]]",
    ended: "Mapping[str, Outcome[str, Machine]]",
    total: int,
    progress: Progress,
) -> None:
    """Show how far each of a few machines is, and of many how many are there."""
    if total <= FEW:
        for called, machine, _ in looks:
            if machine is not None:
                show(machine, called, progress)
        return
    failed = sum(one.error is not None for one in ended.values())
    text = f"{len(ended) - failed}/{total} there" + (f", {failed} failed" if failed else "")
    progress.show("machines", text, len(ended), total)


def is_there(machine: "Machine", goals: "Collection[MachineState]") -> bool:
    """Tell whether a machine rests in one of the goals, or rests well if there are none."""
    from mulligan.proto.v1 import MachineState

    if machine.operation is not None:
        return False
    if goals:
        return machine.state in goals
    return is_at_rest(machine) and machine.state is not MachineState.FAILED


def is_at_rest(machine: "Machine") -> bool:
    """Tell whether nothing is under way on a machine."""
    from mulligan.proto.v1 import MachineState

    return machine.operation is None and machine.state not in (
        MachineState.INSPECTING,
        MachineState.CLEANING,
        MachineState.DEPLOYING,
        MachineState.RESCUING,
        MachineState.RESTORING,
    )


def show(machine: "Machine", called: str, progress: Progress) -> None:
    """Show how far a machine is."""
    operation = machine.operation
    if operation is None:
        progress.show(called, word(machine.state), 1, 1)
        return
    step = f"{operation.step} ({operation.step_number}/{operation.steps})"
    text = f"{word(machine.state)}: {step}" if operation.step else word(machine.state)
    if operation.attempt > 1:
        text += f", attempt {operation.attempt}"
    progress.show(called, text, max(0, operation.step_number - 1), operation.steps or None)


def _late(called: str, timeout: float) -> MulliganError:
    return DeadlineExceeded(
        f"{called} is not there after {timeout:g} s; it goes on by itself: "
        f"see `mulligan machine why {called}`"
    )


def failure_of(machine: "Machine", called: str) -> str:
    """Return what is wrong with a failed machine, and where to read more."""
    return (
        f"{failure_shown(machine, called)}; see `mulligan machine why {called}`, "
        f"then `mulligan machine retry {called}`"
    )
