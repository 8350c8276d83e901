"""Stream ``machine/<uuid>``: a machine's life, its operations, and every step tried on its BMC."""

from datetime import datetime
from typing import ClassVar, Literal

import msgspec

from mulligan.model import ActionId, ClaimId, CommitId, CredentialId, ImageId, MachineId, ProjectId

Verb = Literal["inspect", "clean", "deploy", "power"]
Power = Literal["on", "off", "powering_on", "powering_off", "unknown"]
Mode = Literal["observe", "idempotent", "once"]
Outcome = Literal["done", "retry", "fatal"]


class Bmc(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach one system's BMC.

    ``address`` is a base URL (``https://host:port``); ``system`` the Redfish system's id, empty
    when the BMC has exactly one. ``fingerprint`` pins the TLS certificate (sha256, hex); with
    ``verify`` false the certificate is not checked, which is recorded here on purpose.
    """

    address: str
    credential: CredentialId
    system: str = ""
    verify: bool = True
    fingerprint: str = ""


class Exchange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A digest of one Redfish request: bodies stay out of the log."""

    method: str
    path: str
    status: int
    ms: int
    body_sha256: str = ""
    excerpt: str = ""


class Nic(msgspec.Struct, frozen=True, kw_only=True):
    """A network interface as the BMC describes it; speed in Mbit/s, 0 when unknown."""

    id: str
    mac: str = ""
    speed_mbps: int = 0
    link: str = ""


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """A drive or volume; size in bytes, 0 when unknown."""

    id: str
    bytes: int = 0
    media: str = ""
    model: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What an out-of-band inspection found; memory in bytes. Empty fields were not offered."""

    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    sku: str = ""
    bios_version: str = ""
    bmc_firmware: str = ""
    cpu_model: str = ""
    cpu_sockets: int = 0
    cpu_cores: int = 0
    cpu_threads: int = 0
    memory_bytes: int = 0
    nics: tuple[Nic, ...] = ()
    disks: tuple[Disk, ...] = ()
    system_path: str = ""
    manager_path: str = ""
    missing: tuple[str, ...] = ()


class MachineEnrolled(msgspec.Struct, frozen=True, kw_only=True):
    """Mulligan knows of the machine and how to reach its BMC; nothing was asked of it yet."""

    TYPE: ClassVar = "machine.enrolled"
    machine: MachineId
    name: str
    bmc: Bmc


class OperationStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The machine left its resting state for an operation of ``steps``, to end by ``deadline``.

    ``operation`` is the id of the command that asked for it. ``claim``, ``project`` and ``image``
    are set for a deploy; ``target`` is the wanted reset for a power operation; ``then`` is the
    state that the machine rests in on success.
    """

    TYPE: ClassVar = "machine.operation_started"
    operation: CommitId
    verb: Verb
    steps: tuple[str, ...]
    deadline: datetime
    then: str
    claim: ClaimId = ClaimId("")
    project: ProjectId = ProjectId("")
    image: ImageId = ImageId("")
    target: str = ""


class ActionRequested(msgspec.Struct, frozen=True, kw_only=True):
    """An executor is asked to run ``step``; ``params`` never holds a secret."""

    TYPE: ClassVar = "machine.action_requested"
    operation: CommitId
    action: ActionId
    step: str
    mode: Mode
    attempt: int
    params: dict[str, str] = {}


class StepAttempted(msgspec.Struct, frozen=True, kw_only=True):
    """``owner`` (an executor instance) is about to call the BMC; written before the call.

    ``resumes`` after another executor died with the step attempted: a ``once`` step is then looked
    for, and not sent.
    """

    TYPE: ClassVar = "machine.step_attempted"
    action: ActionId
    owner: str
    resumes: bool = False


class StepObserved(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an action. ``retry`` was proven not applied, ``fatal`` will not heal.

    ``fault`` classifies what went wrong; ``recovered`` tells that the outcome was found by looking
    after a crash or a timeout rather than from the call's own answer.
    """

    TYPE: ClassVar = "machine.step_observed"
    action: ActionId
    outcome: Outcome
    at: datetime
    message: str = ""
    fault: str = ""
    recovered: bool = False
    power: Power | None = None
    facts: Facts | None = None
    notes: tuple[str, ...] = ()
    exchanges: tuple[Exchange, ...] = ()


class OperationCompleted(msgspec.Struct, frozen=True, kw_only=True):
    """Every step is done; the machine rests in the state the operation promised."""

    TYPE: ClassVar = "machine.operation_completed"
    operation: CommitId


class OperationFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The operation stopped at ``step``; the machine waits for a person or ``retry``."""

    TYPE: ClassVar = "machine.operation_failed"
    operation: CommitId
    step: str
    fault: str
    message: str
    at: datetime


class ClaimDetached(msgspec.Struct, frozen=True, kw_only=True):
    """The machine is no longer held; the claim's own event is in the same commit."""

    TYPE: ClassVar = "machine.claim_detached"
    claim: ClaimId


class PowerObserved(msgspec.Struct, frozen=True, kw_only=True):
    """The BMC reported a power state outside of any operation."""

    TYPE: ClassVar = "machine.power_observed"
    power: Power
    at: datetime


class MachineWithdrawn(msgspec.Struct, frozen=True, kw_only=True):
    """An available machine went back to manageable: no longer offered to claims."""

    TYPE: ClassVar = "machine.withdrawn"


class MachineDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """Mulligan forgets the machine in an orderly way."""

    TYPE: ClassVar = "machine.deleted"


class MachineAbandoned(msgspec.Struct, frozen=True, kw_only=True):
    """The machine was deleted by force; ``unwiped`` tells that a tenant's data may be on it."""

    TYPE: ClassVar = "machine.abandoned"
    reason: str
    unwiped: bool
    serial: str = ""


Event = (
    MachineEnrolled
    | OperationStarted
    | ActionRequested
    | StepAttempted
    | StepObserved
    | OperationCompleted
    | OperationFailed
    | ClaimDetached
    | PowerObserved
    | MachineWithdrawn
    | MachineDeleted
    | MachineAbandoned
)
