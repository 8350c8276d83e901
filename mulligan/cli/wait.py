"""Waiting until a machine has come to rest."""

import time
from collections.abc import Collection
from typing import TYPE_CHECKING

import anyio

from mulligan.cli.output import word
from mulligan.cli.progress import Progress
from mulligan.errors import DeadlineExceeded, FailedPrecondition, NotFound

if TYPE_CHECKING:
    from mulligan.client.client import Client
    from mulligan.proto.v1 import Machine, MachineState

FIRST_LOOK = 0.2
LAST_LOOK = 2.0
"""Seconds between two looks: short at first, as emulated and power verbs are quick."""


async def wait_for(
    client: "Client",
    machine: str,
    goals: "Collection[MachineState]",
    *,
    timeout: float,
    progress: Progress,
) -> "Machine":
    """Return the machine once it rests in one of the goals (any resting state when none is given).

    Raise FailedPrecondition when it fails on the way and that is no goal, DeadlineExceeded after
    ``timeout`` seconds.
    """
    from mulligan.proto.v1 import GetMachineRequest, MachineState

    until = time.monotonic() + timeout
    pause = FIRST_LOOK
    while True:
        answer = await client.control.get_machine(GetMachineRequest(machine=machine))
        found = answer.machine
        if found is None:
            raise NotFound("machine", machine)
        show(found, machine, progress)
        if found.operation is None and found.state in goals:
            return found
        if found.state is MachineState.FAILED:
            raise FailedPrecondition(failure_of(found, machine))
        if found.operation is None and not goals and is_at_rest(found):
            return found
        left = until - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(
                f"{machine} is {word(found.state)} after {timeout:g} s; it goes on by itself: "
                f"see `mulligan machine why {machine}`"
            )
        await anyio.sleep(min(pause, left))
        pause = min(pause * 1.3, LAST_LOOK)


def is_at_rest(machine: "Machine") -> bool:
    """Tell whether nothing is under way on a machine."""
    from mulligan.proto.v1 import MachineState

    return machine.operation is None and machine.state not in (
        MachineState.INSPECTING,
        MachineState.CLEANING,
        MachineState.DEPLOYING,
    )


def show(machine: "Machine", called: str, progress: Progress) -> None:
    """Show how far a machine is."""
    operation = machine.operation
    if operation is None:
        progress.show(called, word(machine.state), 1, 1)
        return
    text = f"{word(machine.state)}: {operation.step} ({operation.step_number}/{operation.steps})"
    if operation.attempt > 1:
        text += f", attempt {operation.attempt}"
    progress.show(called, text, max(0, operation.step_number - 1), operation.steps or None)


def failure_of(machine: "Machine", called: str) -> str:
    """Return what is wrong with a failed machine, and where to read more."""
    fault = machine.fault
    what = f"{fault.message or fault.fault} (step {fault.step})" if fault else "no reason recorded"
    verb = machine.failed_operation or "its operation"
    return (
        f"{called} failed to {verb}: {what}; see `mulligan machine why {called}`, "
        f"then `mulligan machine retry {called}`"
    )
