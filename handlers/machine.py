"""Stream ``machine/…``: the state of a machine and how its events change it.

The commands are beside it: ``enrolment`` (enrol, delete), ``operations`` and ``upkeep`` (what
people ask for), ``actions``, ``completion``, ``reports`` and ``observations`` (what reconcilers,
executors and machines tell), ``machine_release`` (giving back).
"""

from datetime import datetime
from typing import Literal, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.events import machine as ev
from mulligan.events.machine import Bmc, Condition, DiskProof, Facts, Power
from mulligan.handlers import operation as operations
from mulligan.handlers.operation import DURING, Action, Operation, Retry, State
from mulligan.model import AccountId, ClaimId, ImageId, MachineId, ProjectId, UserDataId

__all__ = [
    "Action",
    "Cleaned",
    "Cordon",
    "Fault",
    "Machine",
    "Operation",
    "Retry",
    "Unrotated",
    "evolve",
]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why the last operation failed: ``fault`` is its class."""

    fault: str
    message: str
    step: str
    since: datetime


class Cordon(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's cordon; in ``maintenance`` nothing is asked of the BMC either."""

    by: AccountId
    reason: str
    since: datetime
    until: datetime | None
    maintenance: bool


class Unrotated(msgspec.Struct, frozen=True, kw_only=True):
    """Why the BMC could not be given the password of ``version``, ``failures`` times in a row."""

    version: str
    fault: str
    message: str
    at: datetime
    failures: int


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """The proof record of the last cleaning: its steps, and what was done to every disk."""

    at: datetime
    profile: str
    steps: tuple[str, ...]
    proofs: tuple[DiskProof, ...]


class Machine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A machine. ``failed`` is the verb whose failure holds it, while ``state`` is failed.

    ``unwiped`` from the first deploy until cleaning is done: a tenant's data may be on it.
    ``profile`` is a hardware profile given by hand. ``desired`` is the power it is to be kept in,
    ``enforced_at`` when that was last seen to. ``power_lost`` is when it was seen to have gone off
    by itself. ``rescue`` is the image of its rescue. ``adopt_for`` and ``adopter`` are who an
    adoption, also one that failed, is for. ``logins`` counts how often logins to its BMC were
    allowed again. ``passwords`` are the versions of its login that its BMC may have, the proven one
    first; none before a rotation. ``proven_at`` is when, and ``unrotated`` what keeps a new one
    from it.
    """

    id: MachineId
    name: str
    bmc: Bmc
    state: State
    failed: str = ""
    power: Power = "unknown"
    power_at: datetime | None = None
    power_lost: datetime | None = None
    desired: Literal["on", "off", ""] = ""
    enforced_at: datetime | None = None
    health: str = ""
    health_at: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    claim: ClaimId = ClaimId("")
    project: ProjectId = ProjectId("")
    image: ImageId = ImageId("")
    user_data: UserDataId = UserDataId("")
    rescue: ImageId = ImageId("")
    rescue_data: UserDataId = UserDataId("")
    adopter: AccountId = AccountId("")
    adopt_for: ProjectId = ProjectId("")
    hostname: str = ""
    host_keys: dict[str, str] = {}
    phoned_at: datetime | None = None
    profile: str = ""
    facts: Facts | None = None
    operation: Operation | None = None
    fault: Fault | None = None
    cordon: Cordon | None = None
    cleaned: Cleaned | None = None
    unwiped: bool = False
    logins: int = 0
    passwords: tuple[str, ...] = ()
    proven_at: datetime | None = None
    unrotated: Unrotated | None = None
    deleted: bool = False


def evolve(state: Machine | None, event: ev.Event, at: datetime) -> Machine:
    """Return the machine as it is after the event."""
    if isinstance(event, ev.MachineEnrolled):
        return Machine(
            id=event.machine,
            name=event.name,
            bmc=event.bmc,
            state="enrolled",
            profile=event.profile,
        )
    assert state is not None, "the first event of a machine enrols it"
    match event:
        case ev.OperationStarted():
            return _started(state, event, at)
        case (
            ev.ActionRequested()
            | ev.StepAttempted()
            | ev.TaskStarted()
            | ev.StepObserved()
            | ev.PhonedHome()
            | ev.DisksWiped()
        ):
            return _went_on(state, event, at)
        case ev.OperationCompleted():
            return _completed(state, event, at)
        case ev.OperationFailed():
            return _failed(state, event)
        case ev.ClaimDetached():
            return _detached(state)
        case ev.MachineWithdrawn():
            return replace(state, state="manageable", failed="", fault=None)
        case ev.MachineRetired():
            return replace(state, state="retired", failed="", fault=None, desired="")
        case ev.MachineReinstated():
            return replace(state, state="manageable")
        case ev.MachineDeleted() | ev.MachineAbandoned():
            return replace(state, deleted=True, operation=None)
        case _:
            return _set(state, event, at)


_Axis = (
    ev.PowerObserved
    | ev.HealthObserved
    | ev.HardwareEventSeen
    | ev.HardwareChanged
    | ev.DesiredPowerSet
    | ev.MachineCordoned
    | ev.MachineUncordoned
    | ev.LoginsAllowed
    | ev.BmcPasswordProven
    | ev.BmcSet
    | ev.ProfileAssigned
)


def _set(state: Machine, event: _Axis, at: datetime) -> Machine:
    """Fold what concerns one axis only, whatever state the machine is in."""
    match event:
        case ev.PowerObserved():
            return replace(
                state, power=event.power, power_at=event.at, power_lost=_lost(state, event)
            )
        case ev.HealthObserved():
            return replace(
                state, health=event.health, health_at=event.at, conditions=event.conditions
            )
        case ev.DesiredPowerSet():
            return replace(state, desired=event.power, enforced_at=None)
        case ev.MachineCordoned():
            cordon = Cordon(
                by=event.by,
                reason=event.reason,
                since=at,
                until=event.until,
                maintenance=event.maintenance,
            )
            return replace(state, cordon=cordon)
        case ev.MachineUncordoned():
            return replace(state, cordon=None)
        case ev.LoginsAllowed():
            return replace(state, logins=state.logins + 1, unrotated=None)
        case ev.BmcPasswordProven():
            return _proven(state, event)
        case ev.BmcSet():
            return _reached(state, event.bmc)
        case ev.ProfileAssigned():
            return replace(state, profile=event.profile)
        case ev.HardwareEventSeen() | ev.HardwareChanged():
            return state  # kept in the log and its read models
        case _:
            assert_never(event)


def _proven(state: Machine, event: ev.BmcPasswordProven) -> Machine:
    if event.credential != state.bmc.credential:
        return state
    trouble = state.unrotated
    if trouble is not None and (event.by or trouble.version == event.version):
        trouble = None
    return replace(state, passwords=(event.version,), proven_at=event.at, unrotated=trouble)


def _reached(state: Machine, bmc: Bmc) -> Machine:
    """Reach the BMC in another way; what is known of a password is so of one login at one BMC."""
    alike = (bmc.credential, bmc.address) == (state.bmc.credential, state.bmc.address)
    if alike:
        return replace(state, bmc=bmc, unrotated=None)
    return replace(state, bmc=bmc, passwords=(), proven_at=None, unrotated=None)


def _lost(state: Machine, event: ev.PowerObserved) -> datetime | None:
    """Return when the power was lost, if it is; a BMC that does not say for a while is no proof."""
    if (state.power, event.power) == ("on", "off"):
        return event.at
    return state.power_lost if event.power in {"off", "unknown"} else None


def _started(state: Machine, event: ev.OperationStarted, at: datetime) -> Machine:
    state = replace(state, operation=operations.begun(event, state.state, at))
    if event.cause == "desired-power":
        state = replace(state, enforced_at=at)
    if event.verb == "rotate" or (event.verb == "power" and state.state == "failed"):
        return state  # what failed is still what is wrong with it
    state = replace(state, fault=None, failed="")
    if event.verb == "adopt":
        state = replace(state, adopt_for=event.project, adopter=event.account)
    if event.verb == "rescue":
        state = replace(state, rescue=event.image, rescue_data=event.user_data)
    if event.verb == "deploy":
        state = replace(
            state,
            claim=event.claim,
            project=event.project,
            image=event.image,
            user_data=event.user_data,
            hostname=event.hostname,
            host_keys={},
            phoned_at=None,
            unwiped=True,
        )
    return replace(state, state=DURING.get(event.verb, state.state))


_Progress = (
    ev.ActionRequested
    | ev.StepAttempted
    | ev.TaskStarted
    | ev.StepObserved
    | ev.PhonedHome
    | ev.DisksWiped
)


def _went_on(state: Machine, event: _Progress, at: datetime) -> Machine:
    """Fold what moves the running operation; what belongs to another is too late for it."""
    if isinstance(event, ev.StepObserved):
        state = _learnt(state, event)
    operation = state.operation
    if operation is None:
        return state
    match event:
        case ev.ActionRequested():
            operation = operations.requested(operation, event, at)
            if event.step == "change_password" and operation.id == event.operation:
                versions = (event.params["before"], event.params["version"])
                state = replace(state, passwords=tuple(dict.fromkeys(versions)))
        case ev.StepAttempted():
            operation = operations.attempted(operation, event, at)
        case ev.TaskStarted():
            operation = operations.became_task(operation, event)
        case ev.StepObserved():
            operation = operations.observed(operation, event)
        case ev.PhonedHome():
            if operation.id != event.operation:
                return state
            operation = operations.signalled(operation, "phone_home")
            state = replace(state, host_keys=event.host_keys, phoned_at=event.at)
        case ev.DisksWiped():
            if operation.id != event.operation:
                return state
            operation = replace(operation, proofs=event.proofs)
            operation = operations.signalled(operation, "wipe_report")
        case _:
            assert_never(event)
    return replace(state, operation=operation)


def _learnt(state: Machine, event: ev.StepObserved) -> Machine:
    """Keep what a step found beside its outcome; it is true even when it comes too late."""
    if event.power is not None:
        state = replace(state, power=event.power, power_at=event.at, power_lost=None)
    if event.fingerprint and state.bmc.pin and not state.bmc.fingerprint:
        state = replace(state, bmc=replace(state.bmc, fingerprint=event.fingerprint))
    return state


def _completed(state: Machine, event: ev.OperationCompleted, at: datetime) -> Machine:
    operation = state.operation
    if operation is None or operation.id != event.operation:
        return state
    if operation.verb == "rotate":
        return replace(state, operation=None, unrotated=None)
    if operation.then == "failed":
        return replace(state, operation=None)
    state = replace(
        state,
        state=operation.then,
        facts=operation.facts or state.facts,
        unwiped=state.unwiped or event.unwiped,
        operation=None,
        fault=None,
        failed="",
    )
    if operation.verb == "clean":
        cleaned = Cleaned(
            at=at, profile=operation.profile, steps=operation.steps, proofs=operation.proofs
        )
        state = replace(state, unwiped=False, cleaned=cleaned)
    if operation.verb == "adopt":
        state = replace(state, claim=operation.claim, project=operation.project, unwiped=True)
    if operation.verb in {"restore", "deploy"}:
        state = replace(state, rescue=ImageId(""), rescue_data=UserDataId(""))
    return state


def _failed(state: Machine, event: ev.OperationFailed) -> Machine:
    operation = state.operation
    if operation is None or operation.id != event.operation:
        return state
    fault = Fault(fault=event.fault, message=event.message, step=event.step, since=event.at)
    if operation.verb == "rotate":
        return replace(state, operation=None, unrotated=_unrotated(state, operation, event))
    if operation.verb == "power" and state.state == "failed":
        return replace(state, operation=None)
    if operation.verb == "power":
        return replace(state, operation=None, fault=fault)
    return replace(state, state="failed", failed=operation.verb, operation=None, fault=fault)


def _unrotated(state: Machine, operation: Operation, event: ev.OperationFailed) -> Unrotated:
    before = state.unrotated
    again = before is not None and before.version == operation.target
    return Unrotated(
        version=operation.target,
        fault=event.fault,
        message=event.message,
        at=event.at,
        failures=before.failures + 1 if again and before is not None else 1,
    )


def _detached(state: Machine) -> Machine:
    return replace(
        state,
        claim=ClaimId(""),
        project=ProjectId(""),
        image=ImageId(""),
        user_data=UserDataId(""),
        rescue=ImageId(""),
        rescue_data=UserDataId(""),
        hostname="",
        host_keys={},
        phoned_at=None,
        desired="",
    )
