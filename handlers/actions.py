"""What reconcilers and executors append: actions requested, tried and observed, and their ends.

Each of these is decided on the machine's exact state, so of two workers that race one wins and the
other's decision comes out empty.
"""

from datetime import datetime
from typing import ClassVar

from mulligan.events import machine as ev
from mulligan.events import provider as provider_events
from mulligan.events.machine import Facts
from mulligan.events.provider import Inventory
from mulligan.handlers import plans, provider
from mulligan.handlers.decision import Change, Command, States, existing
from mulligan.handlers.enrolment import NOT_PROVIDED_CORDON
from mulligan.handlers.image import Image
from mulligan.handlers.machine import Machine, Operation
from mulligan.handlers.machine_release import CLEANING_CORDON
from mulligan.handlers.provider import Provider
from mulligan.handlers.steps import MODES
from mulligan.model import ActionId, CommitId, MachineId, ResourceClass, StreamId, stream_id


def _current(states: States, machine: MachineId, operation: CommitId) -> Operation | None:
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
        """Read the machine, then the image to deploy."""
        streams = [stream_id("machine", self.machine)]
        operation = _current(states, self.machine, self.operation)
        if operation is not None and operation.image:
            streams.append(stream_id("image", operation.image))
        return streams

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Request it unless it is in hand or done already."""
        operation = _current(states, self.machine, self.operation)
        if operation is None or operation.action is not None or operation.done != self.done:
            return []
        event = ev.ActionRequested(
            operation=self.operation,
            action=self.action,
            step=operation.step,
            mode=MODES[operation.step],
            attempt=self.attempt,
            params=_params(states, operation),
        )
        return [Change(stream_id("machine", self.machine), event)]


def _params(states: States, operation: Operation) -> dict[str, str]:
    step = operation.step
    if step in {"stage_image", "insert_media", "boot_once", "wait_ready"}:
        image: Image = states[stream_id("image", operation.image)]  # deleted: still booted once
        return {
            "image_url": image.url,
            "sha256": image.sha256,
            "mode": image.firmware,
            "device": "cd",
            "ready_when": image.ready_when,
        }
    if step in {"power_off", "reset"} and operation.verb == "power":
        return {"target": plans.RESET_TYPES[operation.target]}
    return {}


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
        operation = _current(states, self.machine, self.operation)
        action = operation.action if operation is not None else None
        if action is None or action.id != self.action or action.owner != self.instead_of:
            return []
        event = ev.StepAttempted(
            action=self.action, owner=self.owner, resumes=bool(self.instead_of)
        )
        return [Change(stream_id("machine", self.machine), event)]


class ObserveStep(Command, frozen=True, kw_only=True):
    """Record what came of a step."""

    NAME: ClassVar = "machine.observe_step"
    machine: MachineId
    operation: CommitId
    observed: ev.StepObserved

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Record it while the action is the one in hand."""
        operation = _current(states, self.machine, self.operation)
        action = operation.action if operation is not None else None
        if action is None or action.id != self.observed.action:
            return []
        return [Change(stream_id("machine", self.machine), self.observed)]


class CompleteOperation(Command, frozen=True, kw_only=True):
    """End an operation whose steps are all done, with what that means for the provider."""

    NAME: ClassVar = "machine.complete_operation"
    machine: MachineId
    operation: CommitId

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine and its provider."""
        return [stream_id("machine", self.machine), stream_id("provider", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Complete it, and offer what was inspected or cleaned."""
        operation = _current(states, self.machine, self.operation)
        if operation is None or operation.step:
            return []
        event = ev.OperationCompleted(operation=self.operation)
        changes = [Change(stream_id("machine", self.machine), event)]
        held: Provider | None = states.get(stream_id("provider", self.machine))
        if held is None or held.deleted:
            return changes
        if operation.verb == "inspect" and operation.facts is not None:
            changes += _offered(held, operation.facts)
        if operation.verb == "clean":
            changes += provider.uncordoned(held, CLEANING_CORDON)
            changes += provider.uncordoned(held, NOT_PROVIDED_CORDON)
        return changes


def inventories_of(facts: Facts) -> dict[ResourceClass, Inventory]:
    """Return what an inspected machine offers; classes the BMC did not tell of are left out."""
    amounts = {
        "machine": 1,
        "cpu.dedicated": facts.cpu_threads or facts.cpu_cores,
        "memory": facts.memory_bytes,
        "storage.block": sum(d.bytes for d in facts.disks),
    }
    return {ResourceClass(c): Inventory(total=n) for c, n in amounts.items() if n > 0}


def capabilities_of(facts: Facts) -> tuple[str, ...]:
    """Return the standard capabilities that the facts show."""
    media = {d.media.lower() for d in facts.disks}
    return tuple(sorted({f"storage.{m}" for m in media & {"ssd", "hdd"}}))


def _offered(held: Provider, facts: Facts) -> list[Change]:
    stream = stream_id("provider", held.id)
    inventories = {**held.inventories}
    for class_, found in inventories_of(facts).items():
        known = inventories.get(class_)
        inventories[class_] = found if known is None else _with_total(known, found.total)
    capabilities = tuple(sorted({*held.capabilities, *capabilities_of(facts)}))
    changes: list[Change] = []
    if inventories != held.inventories:
        changes.append(Change(stream, provider_events.InventoriesSet(inventories=inventories)))
    if capabilities != held.capabilities:
        changes.append(Change(stream, provider_events.CapabilitiesSet(capabilities=capabilities)))
    return changes


def _with_total(known: Inventory, total: int) -> Inventory:
    return Inventory(
        total=total,
        reserved=min(known.reserved, total),
        min_unit=known.min_unit,
        max_unit=known.max_unit,
        step_size=known.step_size,
        allocation_ratio=known.allocation_ratio,
    )


class FailOperation(Command, frozen=True, kw_only=True):
    """End an operation that cannot go on."""

    NAME: ClassVar = "machine.fail_operation"
    machine: MachineId
    operation: CommitId
    step: str
    fault: str
    message: str

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine and its provider."""
        return [stream_id("machine", self.machine), stream_id("provider", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Fail it; a machine that could not be cleaned never returns to the pool by itself."""
        operation = _current(states, self.machine, self.operation)
        if operation is None or operation.step != self.step:
            return []
        event = ev.OperationFailed(
            operation=self.operation,
            step=self.step,
            fault=self.fault,
            message=self.message,
            at=now,
        )
        changes = [Change(stream_id("machine", self.machine), event)]
        held: Provider | None = states.get(stream_id("provider", self.machine))
        if operation.verb == "clean" and held is not None and not held.deleted:
            changes += provider.cordoned(held, CLEANING_CORDON)
        return changes


class ObservePower(Command, frozen=True, kw_only=True):
    """Record a power state that was seen outside of any operation."""

    NAME: ClassVar = "machine.observe_power"
    machine: MachineId
    power: ev.Power

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine."""
        return [stream_id("machine", self.machine)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Record only a change."""
        state = existing(states, "machine", self.machine, Machine)
        if state.operation is not None or state.power == self.power:
            return []
        return [
            Change(stream_id("machine", self.machine), ev.PowerObserved(power=self.power, at=now))
        ]
