"""How operations end, and what that means for the machine's providers, claim and chassis."""

from datetime import datetime
from typing import ClassVar, cast

from mulligan.errors import Exhausted
from mulligan.events import claim as claim_events
from mulligan.events import machine as ev
from mulligan.events import provider as provider_events
from mulligan.events.claim import Allocation
from mulligan.events.machine import Facts
from mulligan.handlers import components, hardware, provider, quota, serial
from mulligan.handlers.actions import current
from mulligan.handlers.claim import after
from mulligan.handlers.decision import Change, Command, States
from mulligan.handlers.enrolment import NOT_PROVIDED_CORDON
from mulligan.handlers.machine import Machine
from mulligan.handlers.machine_release import CLEANING_CORDON
from mulligan.handlers.operation import Operation
from mulligan.handlers.provider import MACHINE_FAILED_CORDON, Provider
from mulligan.model import CommitId, MachineId, ResourceClass, StreamId, stream_id

NOT_THE_MACHINE = frozenset(
    {
        "aborted", "released", "image-unavailable", "image-missing", "image-too-large",
        "checksum-mismatch", "disk-full", "bad-params", "over-quota", "duplicate-serial",
        "claimed-ahead", "abandoned", "not-offered", "held",
    }
)  # fmt: skip
"""Classes of fault that say nothing about the hardware: its reservations may stay."""


MACHINE = ResourceClass("machine")


class CannotComplete(Exception):
    """The steps went well and the result may not be taken; ``fault`` is its class."""

    def __init__(self, fault: str, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message


class CompleteOperation(Command, frozen=True, kw_only=True):
    """End an operation whose steps are all done, with what that means for the provider."""

    NAME: ClassVar = "machine.complete_operation"
    machine: MachineId
    operation: CommitId

    def reads(self, states: States) -> list[StreamId]:
        """Read the machine, its provider, chassis and components, and what adoption needs."""
        streams = [stream_id("machine", self.machine), stream_id("provider", self.machine)]
        operation = current(states, self.machine, self.operation)
        if operation is None:
            return streams
        state: Machine = states[streams[0]]
        chassis = (serial.serial_stream(operation.facts), serial.serial_stream(state.facts))
        streams += [s for s in chassis if s is not None]
        if operation.facts is not None:
            streams += components.streams(states, state, operation.facts)
        if operation.verb == "adopt":
            streams += [stream_id("claim", operation.claim)]
            streams += quota.streams(states, operation.project)
        return streams

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Complete it, and offer what was inspected or cleaned; or fail it, saying why."""
        operation = current(states, self.machine, self.operation)
        if operation is None or operation.step:
            return []
        state: Machine = states[stream_id("machine", self.machine)]
        try:
            return self._completed(states, state, operation, now)
        except CannotComplete as error:
            event = ev.OperationFailed(
                operation=self.operation,
                step=operation.steps[-1],
                fault=error.fault,
                message=error.message,
                at=now,
            )
            return _failed(states, state, operation, event)

    def _completed(
        self, states: States, state: Machine, operation: Operation, now: datetime
    ) -> list[Change]:
        stream = stream_id("machine", self.machine)
        chassis = serial.serial_stream(operation.facts)
        unwiped = serial.is_abandoned(states, chassis)
        changes: list[Change] = []
        if operation.facts is not None:
            changes += _hardware_changed(state, operation.facts)
            changes += _chassis_held(states, state, chassis)
        completed = ev.OperationCompleted(operation=self.operation, unwiped=unwiped)
        changes.append(Change(stream, completed))
        held: Provider | None = states.get(stream_id("provider", self.machine))
        if held is None or held.deleted:
            return changes
        offered: list[Change] = []
        if operation.facts is not None:
            offered = _offered(held, state.facts, operation.facts)
            offered += components.found(states, state, held, operation.facts)
        if operation.verb == "adopt":
            if unwiped:
                raise CannotComplete(
                    "abandoned",
                    "this chassis was deleted by force with a tenant's data on it; inspect and"
                    " provide it, so that it is cleaned before it is used",
                )
            offered += _adopted(states, _after(held, offered, now), operation, now)
        if operation.verb == "clean":
            offered += _cleaned(states, state, held, operation)
        elif operation.verb not in {"power", "rotate"}:
            offered += provider.uncordoned(held, MACHINE_FAILED_CORDON)
        return changes + offered


def _hardware_changed(state: Machine, facts: Facts) -> list[Change]:
    changes = hardware.difference(state.facts, facts) if state.facts is not None else ()
    if not changes:
        return []
    return [Change(stream_id("machine", state.id), ev.HardwareChanged(changes=changes))]


def _chassis_held(states: States, state: Machine, chassis: StreamId | None) -> list[Change]:
    """Have the machine be the chassis that was found; raise when another machine is."""
    changes: list[Change] = []
    before = serial.serial_stream(state.facts)
    if before is not None and before != chassis:
        changes += serial.freed(states, before, state.id)
    if chassis is None:
        return changes
    other = serial.held_by_other(states, chassis, state.id)
    if other is not None:
        raise CannotComplete(
            "duplicate-serial",
            f"machine {other} has the same serial number: one chassis is enrolled twice, or one"
            " BMC answers for another; delete the one that is wrong",
        )
    return changes + serial.held(states, chassis, state.id)


def _after(held: Provider, changes: list[Change], now: datetime) -> Provider:
    """Return the machine's provider with the changes that concern it."""
    for stream, event in changes:
        if stream == stream_id("provider", held.id):
            held = provider.evolve(held, cast("provider_events.Event", event), now)
    return held


def _offered(held: Provider, before: Facts | None, facts: Facts) -> list[Change]:
    """Offer what was found; what operators added stays, what is no longer found goes."""
    stream = stream_id("provider", held.id)
    inventories = {**held.inventories}
    for class_, found in hardware.inventories_of(facts).items():
        known = inventories.get(class_)
        inventories[class_] = found if known is None else components.with_total(known, found.total)
    former = hardware.capabilities_of(before) if before is not None else ()
    added = {*held.capabilities}.difference(former)
    capabilities = tuple(sorted(added.union(hardware.capabilities_of(facts))))
    changes: list[Change] = []
    if inventories != held.inventories:
        changes.append(Change(stream, provider_events.InventoriesSet(inventories=inventories)))
    if capabilities != held.capabilities:
        changes.append(Change(stream, provider_events.CapabilitiesSet(capabilities=capabilities)))
    return changes


def _adopted(states: States, held: Provider, operation: Operation, now: datetime) -> list[Change]:
    """Have the adopter hold all of the machine from now on; it is open to others after that."""
    amounts = _whole(held)
    if MACHINE not in amounts:
        raise CannotComplete("not-offered", "its inventory offers no machine to be claimed")
    try:
        provider.check_room(held, amounts, now, None)
        counted = quota.taken(states, operation.project, operation.claim, amounts, now, None)
    except provider.DoesNotFit as error:
        raise CannotComplete(
            "claimed-ahead", f"others have claims on it: {error.message}; release those first"
        ) from error
    except Exhausted as error:
        raise CannotComplete("over-quota", error.message) from error
    allocation = Allocation(provider=held.id, amounts=amounts, turnaround=held.turnaround)
    made = claim_events.ClaimMade(
        claim=operation.claim,
        project=operation.project,
        account=operation.account,
        consumer=held.id,
        start=now,
        allocations=(allocation,),
    )
    return [
        Change(stream_id("claim", operation.claim), made),
        *counted,
        provider.taken(held.id, operation.claim, amounts, now, after(None, held.turnaround)),
        *provider.uncordoned(held, NOT_PROVIDED_CORDON),
    ]


def _whole(held: Provider) -> dict[ResourceClass, int]:
    """Return all that a provider offers, of what may be taken in one piece."""
    amounts: dict[ResourceClass, int] = {}
    for class_, inventory in held.inventories.items():
        most = min(provider.capacity(inventory), inventory.max_unit)
        amount = most - most % inventory.step_size
        if amount >= inventory.min_unit:
            amounts[class_] = amount
    return amounts


def _cleaned(states: States, state: Machine, held: Provider, operation: Operation) -> list[Change]:
    """Open the machine to claims, if the proof covers every disk it is known to have."""
    if "wipe_report" in operation.steps:
        _check_proof(state, operation)
    changes: list[Change] = []
    for cause in (CLEANING_CORDON, NOT_PROVIDED_CORDON, MACHINE_FAILED_CORDON):
        changes += provider.uncordoned(held, cause)
    chassis = serial.serial_stream(state.facts)
    return changes + serial.cleaned(states, chassis, state.id)


def _check_proof(state: Machine, operation: Operation) -> None:
    bad = [p for p in operation.proofs if p.error or not p.verified]
    if bad:
        what = bad[0].error or "was not verified"
        raise CannotComplete(
            "not-wiped", f"disk {bad[0].serial}: {what}; {len(bad)} disk(s) are not proven clean"
        )
    disks = state.facts.disks if state.facts is not None else ()
    proven = {p.serial for p in operation.proofs}
    open_ = [d.serial for d in disks if d.serial and d.serial not in proven]
    if open_ or len(operation.proofs) < len(disks):
        which = ", ".join(open_[:5]) or f"{len(disks) - len(operation.proofs)} of {len(disks)}"
        raise CannotComplete("not-wiped", f"the wipe image gave no proof for disk(s) {which}")


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
        """Fail it; a failed machine never returns to the pool by itself.

        Where it is the machine that failed, reservations of it are moved to equals.
        """
        operation = current(states, self.machine, self.operation)
        if operation is None or operation.step != self.step:
            return []
        event = ev.OperationFailed(
            operation=self.operation,
            step=self.step,
            fault=self.fault,
            message=self.message,
            at=now,
        )
        return _failed(states, states[stream_id("machine", self.machine)], operation, event)


def _failed(
    states: States, state: Machine, operation: Operation, event: ev.OperationFailed
) -> list[Change]:
    """Return the failure, with what it means for the machine's provider."""
    changes = [Change(stream_id("machine", state.id), event)]
    held: Provider | None = states.get(stream_id("provider", state.id))
    if held is None or held.deleted or operation.verb in {"power", "rotate", "inspect", "adopt"}:
        return changes
    if operation.verb == "clean":
        changes += provider.cordoned(held, CLEANING_CORDON)
    if event.fault not in NOT_THE_MACHINE:
        note = f"{operation.verb} failed at {event.step}: {event.fault}"
        changes += provider.cordoned(held, MACHINE_FAILED_CORDON, note)
    return changes
