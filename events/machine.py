"""Stream ``machine/<uuid>``: a machine's life, its operations, and every step tried on its BMC."""

from datetime import datetime
from typing import ClassVar, Literal

import msgspec

from mulligan.model import (
    AccountId,
    ActionId,
    ClaimId,
    CommitId,
    CredentialId,
    ImageId,
    MachineId,
    ProjectId,
    UserDataId,
)

Verb = Literal["inspect", "adopt", "clean", "deploy", "rescue", "restore", "power", "rotate"]
Power = Literal["on", "off", "powering_on", "powering_off", "unknown"]
Mode = Literal["observe", "idempotent", "once"]
Outcome = Literal["done", "retry", "fatal"]
Health = Literal["ok", "warning", "critical", "unknown"]


class Bmc(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach one system's BMC.

    ``address`` is a base URL (``https://host:port``); ``system`` the Redfish system's id, empty
    when the BMC has exactly one. ``fingerprint`` pins the TLS certificate (sha256, hex); with
    ``pin`` it is taken from the first certificate that the BMC shows. With ``verify`` false the
    certificate is not checked, which is recorded here on purpose.
    """

    address: str
    credential: CredentialId
    system: str = ""
    verify: bool = True
    fingerprint: str = ""
    pin: bool = False


class Exchange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A digest of one Redfish request: bodies stay out of the log."""

    method: str
    path: str
    status: int
    ms: int
    body_sha256: str = ""
    excerpt: str = ""


class Nic(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network interface as the BMC describes it; speed in Mbit/s, 0 when unknown."""

    id: str
    mac: str = ""
    speed_mbps: int = 0
    link: str = ""


class Disk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A drive or volume; size in bytes, 0 when unknown. ``protocol`` is NVMe, SAS, SATA …"""

    id: str
    bytes: int = 0
    media: str = ""
    model: str = ""
    serial: str = ""
    protocol: str = ""
    encrypts: bool = False


class Accelerator(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A GPU, FPGA or the like; ``kind`` is the Redfish ProcessorType, memory in bytes."""

    id: str
    kind: str
    vendor: str = ""
    model: str = ""
    memory_bytes: int = 0


class Firmware(msgspec.Struct, frozen=True, kw_only=True):
    """A component's firmware, by the BMC's name of it."""

    name: str
    version: str


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an out-of-band inspection found; memory in bytes. Empty fields were not offered.

    ``arch`` is ``x86_64``, ``aarch64`` …; ``boot_targets`` are the boot override targets offered;
    ``cd_drives`` how many virtual drives take a CD image; ``tpm`` the TPM's version.
    """

    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    sku: str = ""
    uuid: str = ""
    bios_version: str = ""
    bmc_firmware: str = ""
    arch: str = ""
    cpu_vendor: str = ""
    cpu_model: str = ""
    cpu_sockets: int = 0
    cpu_cores: int = 0
    cpu_threads: int = 0
    memory_bytes: int = 0
    memory_modules: int = 0
    memory_ecc: bool = False
    nics: tuple[Nic, ...] = ()
    disks: tuple[Disk, ...] = ()
    accelerators: tuple[Accelerator, ...] = ()
    firmware: tuple[Firmware, ...] = ()
    boot_targets: tuple[str, ...] = ()
    boot_modes: tuple[str, ...] = ()
    http_boot: bool = False
    cd_drives: int = 0
    secure_boot: bool = False
    tpm: str = ""
    raid: bool = False
    power_supplies: int = 0
    health: str = ""
    system_path: str = ""
    manager_path: str = ""
    missing: tuple[str, ...] = ()


class FactChange(msgspec.Struct, frozen=True, kw_only=True):
    """One difference between two inspections, as text; empty where there was or is nothing."""

    what: str
    before: str = ""
    after: str = ""


class DiskProof(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a wipe image says of one disk: how it was wiped, and whether that was verified."""

    serial: str
    method: str
    bytes: int = 0
    verified: bool = False
    error: str = ""


class Condition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something a BMC reports to be wrong: one component's state, not a log line."""

    component: str
    severity: Health
    message: str = ""
    message_id: str = ""


class MachineEnrolled(msgspec.Struct, frozen=True, kw_only=True):
    """Mulligan knows of the machine and how to reach its BMC; nothing was asked of it yet."""

    TYPE: ClassVar = "machine.enrolled"
    machine: MachineId
    name: str
    bmc: Bmc
    profile: str = ""


class OperationStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The machine left its resting state for an operation of ``steps``, to end by ``deadline``.

    ``operation`` is the id of the command that asked for it. ``claim``, ``project`` and ``image``
    are set for a deploy, ``project`` and ``account`` of the holder-to-be for an adoption.
    ``target`` is the wanted reset of a power operation, or the version of the login that a rotation
    brings to the BMC; ``then`` is the state that the machine rests in on success. ``user_data`` and
    ``hostname`` go onto the seed medium. ``profile`` is the hardware profile that gave the deadline
    and the cleaning steps. ``cause`` tells an operation that nobody asked for: ``desired-power``.
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
    account: AccountId = AccountId("")
    user_data: UserDataId = UserDataId("")
    hostname: str = ""
    profile: str = ""
    cause: str = ""


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


class TaskStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The BMC answered an action with a task; whoever resumes it follows ``monitor`` (a path)."""

    TYPE: ClassVar = "machine.task_started"
    action: ActionId
    monitor: str


class StepObserved(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an action. ``retry`` was proven not applied, ``fatal`` will not heal.

    ``fault`` classifies what went wrong; ``recovered`` tells that the outcome was found by looking
    after a crash or a timeout rather than from the call's own answer. ``fingerprint`` is that of
    the certificate to pin, on first contact.
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
    fingerprint: str = ""


class PhonedHome(msgspec.Struct, frozen=True, kw_only=True):
    """The deployed system reported that it is up, with the one-time token of its operation.

    ``host_keys`` are fingerprints (``SHA256:…``) of the SSH host keys it told, by key type.
    """

    TYPE: ClassVar = "machine.phoned_home"
    operation: CommitId
    at: datetime
    address: str = ""
    hostname: str = ""
    host_keys: dict[str, str] = {}


class DisksWiped(msgspec.Struct, frozen=True, kw_only=True):
    """The wipe image reported what it did to every disk: the proof record of a cleaning."""

    TYPE: ClassVar = "machine.disks_wiped"
    operation: CommitId
    at: datetime
    proofs: tuple[DiskProof, ...]


class HardwareChanged(msgspec.Struct, frozen=True, kw_only=True):
    """An inspection found other hardware than the one before."""

    TYPE: ClassVar = "machine.hardware_changed"
    changes: tuple[FactChange, ...]


class OperationCompleted(msgspec.Struct, frozen=True, kw_only=True):
    """Every step is done; the machine rests in the state the operation promised.

    ``unwiped``: the chassis that was found had been abandoned with a tenant's data on it.
    """

    TYPE: ClassVar = "machine.operation_completed"
    operation: CommitId
    unwiped: bool = False


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


class HealthObserved(msgspec.Struct, frozen=True, kw_only=True):
    """The machine's health changed; ``conditions`` are what is wrong, the worst first."""

    TYPE: ClassVar = "machine.health_observed"
    health: Health
    at: datetime
    conditions: tuple[Condition, ...] = ()


class HardwareEventSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A BMC's event in normal form; ``kind`` is a word such as ``power-supply`` or ``memory``.

    ``more`` counts those like it that were not kept since the last one.
    """

    TYPE: ClassVar = "machine.hardware_event_seen"
    kind: str
    condition: Condition
    at: datetime
    more: int = 0


class DesiredPowerSet(msgspec.Struct, frozen=True, kw_only=True):
    """Mulligan is to keep the machine ``on`` or ``off`` while it rests; empty ends that."""

    TYPE: ClassVar = "machine.desired_power_set"
    power: Literal["on", "off", ""]


class MachineCordoned(msgspec.Struct, frozen=True, kw_only=True):
    """An operator keeps the machine from new claims, until ``until`` if given.

    In ``maintenance`` nothing is asked of its BMC either.
    """

    TYPE: ClassVar = "machine.cordoned"
    by: AccountId
    reason: str
    until: datetime | None = None
    maintenance: bool = False


class MachineUncordoned(msgspec.Struct, frozen=True, kw_only=True):
    """The cordon is lifted, by an account or, ``by`` empty, because its time was over."""

    TYPE: ClassVar = "machine.uncordoned"
    by: AccountId = AccountId("")


class LoginsAllowed(msgspec.Struct, frozen=True, kw_only=True):
    """An operator allows logins to the BMC again after they were stopped to avoid a lock-out."""

    TYPE: ClassVar = "machine.logins_allowed"


class BmcPasswordProven(msgspec.Struct, frozen=True, kw_only=True):
    """The BMC took the login of this credential in this version, or one beside it on the same BMC.

    ``by`` is that other machine.
    """

    TYPE: ClassVar = "machine.bmc_password_proven"
    credential: CredentialId
    version: str
    at: datetime
    by: MachineId = MachineId("")


class BmcSet(msgspec.Struct, frozen=True, kw_only=True):
    """The BMC is reached in another way from now on."""

    TYPE: ClassVar = "machine.bmc_set"
    bmc: Bmc


class ProfileAssigned(msgspec.Struct, frozen=True, kw_only=True):
    """The machine goes by this hardware profile; empty: by what its hardware matches."""

    TYPE: ClassVar = "machine.profile_assigned"
    profile: str


class MachineRetired(msgspec.Struct, frozen=True, kw_only=True):
    """The machine is out of service for good, or until it is reinstated."""

    TYPE: ClassVar = "machine.retired"
    reason: str = ""


class MachineReinstated(msgspec.Struct, frozen=True, kw_only=True):
    """A retired machine is manageable again."""

    TYPE: ClassVar = "machine.reinstated"


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
    | TaskStarted
    | StepObserved
    | PhonedHome
    | DisksWiped
    | HardwareChanged
    | OperationCompleted
    | OperationFailed
    | ClaimDetached
    | PowerObserved
    | HealthObserved
    | HardwareEventSeen
    | DesiredPowerSet
    | MachineCordoned
    | MachineUncordoned
    | LoginsAllowed
    | BmcPasswordProven
    | BmcSet
    | ProfileAssigned
    | MachineRetired
    | MachineReinstated
    | MachineWithdrawn
    | MachineDeleted
    | MachineAbandoned
)
