"""What reconcilers and executors append to move an operation: actions requested, tried, observed.

Each of these is decided on the machine's exact state, so of two workers that race one wins and the
other's decision comes out empty. How operations end is in ``completion``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from mulligan.events import machine as ev
from mulligan.handlers import brake, plans
from mulligan.handlers.credential import Credential, logins_of
from mulligan.handlers.decision import Change, Command, States
from mulligan.handlers.image import Image
from mulligan.handlers.machine import Machine
from mulligan.handlers.operation import Operation
from mulligan.handlers.steps import MODES
from mulligan.handlers.userdata import UserData
from mulligan.model import ActionId, CommitId, MachineId, StreamId, stream_id

MAX_SEED_DISKS = 256
_BOOTING = frozenset({"stage_image", "insert_media", "boot_once", "boot_http", "wait_ready"})


def current(states: States, machine: MachineId, operation: CommitId) -> Operation | None:
    """Return the machine's operation while it is this one."""
    state: Machine | None = states.get(stream_id("machine", machine))
    if state is None or state.deleted or state.operation is None:
        return None
    return state.operation if state.operation.id == operation else None


class RequestAction(Command, frozen=True, kw_only=True):
    """Ask the executors for an operation's next step."""

    NAME: ClassVar = "machine.request_action"
    machine: MachineId
    operation: CommitId
    action: ActionId
    done: int
    attempt: int

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine, the brake of its domain if the step acts, and what it is to boot."""
        streams = [stream_id("machine", self.machine)]
        operation = current(states, self.machine, self.operation)
        if operation is None:
            return streams
        if acts(operation):
            streams += brake.streams(states, self.machine)
        if operation.image:
            streams.append(stream_id("image", operation.image))
        if operation.user_data:
            streams.append(stream_id("userdata", operation.user_data))
        if operation.verb == "rotate":
            state: Machine = states[streams[0]]
            streams.append(stream_id("credential", state.bmc.credential))
        return streams

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Request it unless it is in hand or done already, or a brake or maintenance holds it."""
        operation = current(states, self.machine, self.operation)
        if operation is None or operation.action is not None or operation.done != self.done:
            return []
        tried = operation.retry.attempt if operation.retry is not None else 0
        if self.attempt != tried + 1 or operation.step not in MODES:
            return []
        state: Machine = states[stream_id("machine", self.machine)]
        if state.cordon is not None and state.cordon.maintenance:
            return []
        if acts(operation) and brake.applied_to(states, self.machine) is not None:
            return []
        event = ev.ActionRequested(
            operation=self.operation,
            action=self.action,
            step=operation.step,
            mode=MODES[operation.step],
            attempt=self.attempt,
            params=_params(states, state, operation),
        )
        return [Change(stream_id("machine", self.machine), event)]

    @classmethod
    def recalled(
        cls, changes: Sequence[Change], states: States, now: datetime
    ) -> Mapping[str, Any]:
        """Tell how many steps were done by the operation."""
        state: Machine | None = states.get(changes[0].stream) if changes else None
        if state is None or state.operation is None:
            return {}
        return {"done": state.operation.done}


def in_hand(changes: Sequence[Change], states: States) -> Mapping[str, Any]:
    """Tell the operation of the machine that was changed: a step's events do not name it."""
    state: Machine | None = states.get(changes[0].stream) if changes else None
    if state is None or state.operation is None:
        return {}
    return {"operation": state.operation.id}


def acts(operation: Operation) -> bool:
    """Whether the next step changes anything, so that a brake stops it."""
    return MODES.get(operation.step, "observe") != "observe"


def _params(states: States, state: Machine, operation: Operation) -> dict[str, str]:
    step = operation.step
    if operation.verb == "rotate":
        return _passwords(states, state, operation)
    if step == "check":
        return {"pin": "yes"} if state.bmc.pin and not state.bmc.fingerprint else {}
    if step in _BOOTING and operation.image:
        image: Image = states[stream_id("image", operation.image)]  # deleted: still booted once
        return {
            "image_url": image.url,
            "sha256": image.sha256,
            "mode": image.firmware,
            "device": "cd",
            "ready_when": "power-on" if operation.verb == "restore" else image.ready_when,
        }
    if step == "clear_boot" and "wait_ready" in operation.steps:
        return {"after_power_on": "yes"}
    if step == "insert_seed":
        return _seed(states, state, operation)
    if step in {"power_off", "reset"} and operation.verb == "power":
        return {"target": plans.RESET_TYPES[operation.target]}
    return {}


def _passwords(states: States, state: Machine, operation: Operation) -> dict[str, str]:
    """Name the versions that the step is about: never what is in them.

    ``find_password`` tries ``first`` and, when that is refused, ``other``. ``change_password`` goes
    from ``before`` to ``version``; ``tried`` tells that it may have been changed already.
    """
    login: Credential = states[stream_id("credential", state.bmc.credential)]
    goal = operation.target
    if operation.step == "change_password":
        before = state.passwords[0] if state.passwords else login.version
        tried = "yes" if goal in state.passwords else ""
        return {"before": before, "version": goal, "tried": tried}
    first, other = logins_of(login, state.passwords)
    if len(state.passwords) > 1:
        first, other = other, first  # the later one was sent, and its outcome is not known
    return {"first": first, "other": other}


def _seed(states: States, state: Machine, operation: Operation) -> dict[str, str]:
    params = {
        "machine": state.id,
        "operation": operation.id,
        "hostname": operation.hostname or state.name.lower().replace(" ", "-").replace("_", "-"),
        "phone_home": "yes" if "phone_home" in operation.steps else "",
    }
    if operation.user_data:
        data: UserData = states[stream_id("userdata", operation.user_data)]
        params |= {
            "user_data": data.id,
            "user_data_version": data.version,
            "user_data_sha256": data.sha256,
        }
    if operation.verb == "clean":
        disks = state.facts.disks if state.facts is not None else ()
        serials = [d.serial for d in disks if d.serial][:MAX_SEED_DISKS]
        params |= {"wipe": "yes", "disks": ",".join(serials)}
    return params


class AttemptStep(Command, frozen=True, kw_only=True):
    """Claim the requested step for one executor, before the BMC is called.

    ``instead_of`` is a dead executor that had attempted it: the step is then looked for first.
    """

    NAME: ClassVar = "machine.attempt_step"
    machine: MachineId
    operation: CommitId
    action: ActionId
    owner: str
    instead_of: str = ""

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Attempt it unless another executor has it."""
        operation = current(states, self.machine, self.operation)
        action = operation.action if operation is not None else None
        if action is None or action.id != self.action or action.owner != self.instead_of:
            return []
        event = ev.StepAttempted(
            action=self.action, owner=self.owner, resumes=bool(self.instead_of)
        )
        return [Change(stream_id("machine", self.machine), event)]

    @classmethod
    def recalled(
        cls, changes: Sequence[Change], states: States, now: datetime
    ) -> Mapping[str, Any]:
        """Tell the operation, and who had attempted the step."""
        state: Machine | None = states.get(changes[0].stream) if changes else None
        if state is None or state.operation is None or state.operation.action is None:
            return {}
        return {"operation": state.operation.id, "instead_of": state.operation.action.owner}


class StartTask(Command, frozen=True, kw_only=True):
    """Record where a BMC tells of the task that a step became, for whoever resumes it."""

    NAME: ClassVar = "machine.start_task"
    machine: MachineId
    operation: CommitId
    action: ActionId
    monitor: str

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Record it while the action is the one in hand."""
        operation = current(states, self.machine, self.operation)
        action = operation.action if operation is not None else None
        if action is None or action.id != self.action or action.monitor == self.monitor:
            return []
        event = ev.TaskStarted(action=self.action, monitor=self.monitor)
        return [Change(stream_id("machine", self.machine), event)]

    @classmethod
    def recalled(
        cls, changes: Sequence[Change], states: States, now: datetime
    ) -> Mapping[str, Any]:
        """Tell the operation."""
        return in_hand(changes, states)


class ObserveStep(Command, frozen=True, kw_only=True):
    """Record what came of a step; ``password`` is the version of the login seen to work in it."""

    NAME: ClassVar = "machine.observe_step"
    machine: MachineId
    operation: CommitId
    observed: ev.StepObserved
    password: str = ""

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Record it while the action is the one in hand."""
        operation = current(states, self.machine, self.operation)
        action = operation.action if operation is not None else None
        if action is None or action.id != self.observed.action:
            return []
        stream = stream_id("machine", self.machine)
        changes = [Change(stream, self.observed)]
        if self.password:
            state: Machine = states[stream]
            proven = ev.BmcPasswordProven(
                credential=state.bmc.credential, version=self.password, at=self.observed.at
            )
            changes.append(Change(stream, proven))
        return changes

    @classmethod
    def recalled(
        cls, changes: Sequence[Change], states: States, now: datetime
    ) -> Mapping[str, Any]:
        """Tell the operation, what was observed, and the login that was seen to work."""
        told = dict(in_hand(changes, states))
        for _, event in changes:
            if isinstance(event, ev.StepObserved):
                told["observed"] = event
            if isinstance(event, ev.BmcPasswordProven):
                told["password"] = event.version
        return told
