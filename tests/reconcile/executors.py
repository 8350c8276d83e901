"""An executor that talks to no BMC: every step goes as the script says."""

from collections.abc import Callable

import anyio

from mulligan.commands.runner import Commands, Request
from mulligan.commands.workqueue import WorkQueue
from mulligan.errors import Conflict, Unavailable
from mulligan.events.envelope import Actor
from mulligan.events.machine import Disk, Facts, StepObserved
from mulligan.handlers.actions import AttemptStep, ObserveStep
from mulligan.handlers.machine import Action, Machine, Operation
from mulligan.log.protocol import Fence, Stored
from mulligan.model import CommitId, new_id, stream_id, stream_key

FACTS = Facts(
    serial="S1", cpu_threads=8, memory_bytes=2**30, disks=(Disk(id="0", bytes=10**9, media="SSD"),)
)

Script = Callable[[Machine, Action], StepObserved | None]
"""What comes of a step; None when the executor dies between the attempt and the outcome."""


def well(machine: Machine, action: Action) -> StepObserved:
    """Every step is done."""
    return StepObserved(
        action=action.id,
        outcome="done",
        at=action.requested_at,
        facts=FACTS if action.step == "inventory" else None,
        power={"power_on": "on", "power_off": "off"}.get(action.step),  # type: ignore[arg-type]
    )


class ScriptedExecutor:
    """Attempts what is requested and observes what its script tells."""

    def __init__(
        self,
        commands: Commands,
        script: Script = well,
        *,
        name: str = "executor-1",
        dead: Callable[[str], bool] = lambda owner: False,
        fence: Fence | None = None,
    ) -> None:
        self.steps: list[str] = []
        self.name = name
        self._commands = commands
        self._script = script
        self._dead = dead
        self._fence = fence
        self._queue = WorkQueue(name, self._look, 16)

    async def run(self) -> None:
        """Execute for ever."""
        stop = self._commands.log.listen(self._on_entry)
        try:
            await self._queue.run()
        finally:
            stop()

    def add(self, machine: str) -> None:
        """Look at a machine."""
        self._queue.add(machine)

    def _on_entry(self, stored: Stored) -> None:
        for commit in stored.entry.commits:
            for record in commit.events:
                if record.type == "machine.action_requested":
                    self._queue.add(stream_key(record.stream))

    async def _look(self, key: str) -> float | None:
        machine: Machine | None = (await self._commands.state(stream_id("machine", key))).state
        operation = machine.operation if machine else None
        action = operation.action if operation else None
        if machine is None or operation is None or action is None:
            return None
        if action.owner and not self._dead(action.owner):
            return None
        attempted = await self._commands.execute(
            AttemptStep(
                machine=machine.id,
                operation=operation.id,
                action=action.id,
                owner=self.name,
                instead_of=action.owner,
            ),
            _request(operation),
            fence=self._fence,
        )
        if attempted.commit is None:
            return 0.0
        await self._observe(machine, operation, action)
        return None

    async def _observe(self, machine: Machine, operation: Operation, action: Action) -> None:
        self.steps.append(action.step)
        observed = self._script(machine, action)
        if observed is None:
            return
        command = ObserveStep(machine=machine.id, operation=operation.id, observed=observed)
        asked = _request(operation)
        while True:  # nobody else knows the outcome
            try:
                await self._commands.execute(command, asked, fence=self._fence)
                return
            except (Unavailable, Conflict):
                await anyio.sleep(0.1)


def _request(operation: Operation) -> Request:
    actor = Actor(account="service:executor")
    return Request(id=CommitId(new_id()), actor=actor, correlation=operation.id)
