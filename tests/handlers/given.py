"""Given a history, when a command is decided, then these are the changes: no log, no clock."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mulligan.errors import InvalidArgument
from mulligan.events import machine as machine_events
from mulligan.events.claim import Allocation, ClaimMade
from mulligan.events.codec import Event
from mulligan.events.provider import Inventory
from mulligan.handlers import (
    actions,
    completion,
    deployment,
    enrolment,
    image,
    operations,
    plans,
    provider_commands,
    reports,
    usage,
)
from mulligan.handlers import project as project_commands
from mulligan.handlers.claim import Claim, MakeClaim
from mulligan.handlers.credential import CreateCredential
from mulligan.handlers.decision import Change, Command
from mulligan.handlers.kinds import KINDS
from mulligan.handlers.machine import Machine, Operation
from mulligan.handlers.provider import Provider
from mulligan.handlers.quota import Quota, SetQuota, TrackQuota
from mulligan.model import (
    AccountId,
    ActionId,
    ClaimId,
    CommitId,
    CredentialId,
    ImageId,
    MachineId,
    ProjectId,
    ProviderId,
    ResourceClass,
    StreamId,
    stream_id,
    stream_kind,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
MEMORY = ResourceClass("memory")
MACHINE = ResourceClass("machine")
M1 = MachineId("m1")
C1 = ClaimId("c1")
OS = ImageId("os")
WEB = ProjectId("web")


_POWERS: Mapping[str, machine_events.Power] = {
    "power_off": "off",
    "power_on": "on",
    "reset": "on",
}


Level = tuple[float, float | None, int]
"""So much in use between two hours from noon; the second None is open."""


class Given:
    """States folded from what happened so far, and the time."""

    def __init__(self) -> None:
        self.now = NOON
        self.states: dict[StreamId, Any] = {}
        self.hardware: dict[str, machine_events.Facts] = {}
        self._ids = 0

    def fresh(self, prefix: str) -> str:
        """An id not used before."""
        self._ids += 1
        return f"{prefix}-{self._ids}"

    def happened(self, kind: str, key: str, *events: Event) -> None:
        """Fold events that no command here made."""
        for event in events:
            self._fold(Change(stream_id(kind, key), event))

    def decide(self, command: Command) -> list[Change]:
        """Return the changes and do not apply them; all that is written must have been read."""
        states: dict[StreamId, Any] = {}
        while new := [s for s in command.reads(states) if s not in states]:
            states.update({s: self.states.get(s) for s in new})
        changes = command.decide(states, self.now)
        assert {c.stream for c in changes} <= states.keys(), "written without being read"
        return changes

    def do(self, command: Command) -> list[Event]:
        """Decide, apply, and return the events."""
        changes = self.decide(command)
        self.apply(changes)
        return [change.event for change in changes]

    def apply(self, changes: Iterable[Change]) -> None:
        """Fold changes that were decided."""
        for change in changes:
            self._fold(change)

    def _fold(self, change: Change) -> None:
        kind = KINDS[stream_kind(change.stream)]
        state = kind.evolve(self.states.get(change.stream), change.event, self.now)
        self.states[change.stream] = state

    def provider(self, key: str) -> Provider:
        """The provider as it is now."""
        state: Provider = self.states[stream_id("provider", key)]
        return state

    def claim(self, key: str) -> Claim:
        """The claim as it is now."""
        state: Claim = self.states[stream_id("claim", key)]
        return state

    def machine(self, key: str = M1) -> Machine:
        """The machine as it is now."""
        state: Machine = self.states[stream_id("machine", key)]
        return state

    def operation(self, key: str = M1) -> Operation:
        """The machine's operation."""
        operation = self.machine(key).operation
        assert operation is not None
        return operation

    def quota(self, key: str = "web") -> Quota:
        """The project's quota as it is now."""
        state: Quota = self.states[stream_id("quota", key)]
        return state

    def used(self, key: str, class_: ResourceClass = MEMORY) -> list[Level]:
        """What is in use of a provider, over which hours from noon."""
        return levels(self.provider(key).use.get(class_, ()))

    def used_by(self, project: str = "web", class_: ResourceClass = MEMORY) -> list[Level]:
        """What a project's tree uses, over which hours from noon."""
        return levels(self.quota(project).use.get(class_, ()))

    def project(self, key: str = "web", parent: str = "") -> ProjectId:
        """Make a project."""
        project = ProjectId(key)
        self.do(project_commands.CreateProject(project=project, name=key, parent=ProjectId(parent)))
        return project

    def limited(
        self, key: str, limits: Mapping[ResourceClass, int], max_lease: int | None = None
    ) -> None:
        """Set a project's quota; nothing was claimed before it was tracked."""
        project = ProjectId(key)
        self.do(TrackQuota(project=project))
        known = self.quota(key).baselined
        command = SetQuota(
            project=project,
            limits=dict(limits),
            max_lease=max_lease,
            baseline=None if known else {},
        )
        self.do(command)

    def offers(
        self,
        key: str,
        amounts: Mapping[str, int | Inventory],
        parent: str = "",
        turnaround: timedelta = timedelta(0),
    ) -> ProviderId:
        """Make a provider with inventories."""
        inventories = {
            ResourceClass(c): n if isinstance(n, Inventory) else Inventory(total=n)
            for c, n in amounts.items()
        }
        self.do(
            provider_commands.CreateProvider(
                provider=ProviderId(key),
                name=key,
                type="compute",
                inventories=inventories,
                parent=ProviderId(parent),
                turnaround=int(turnaround.total_seconds()),
            )
        )
        return ProviderId(key)

    def with_catalogue(self) -> None:
        """Have a credential, ``root``, and an image, ``OS``."""
        if stream_id("credential", "root") not in self.states:
            root = CredentialId("root")
            self.do(CreateCredential(credential=root, name="root", version="1"))
            self.do(image.CreateImage(image=OS, name="os", url="file:os.iso", sha256="0" * 64))

    def action(self) -> ActionId:
        """An action's id, not used before."""
        return ActionId(self.fresh("action"))

    def enrolled(self, key: str = M1) -> MachineId:
        """Enrol a machine, with its credential and an image in the catalogue."""
        self.with_catalogue()
        bmc = machine_events.Bmc(address=f"https://{key}", credential=CredentialId("root"))
        self.do(enrolment.EnrolMachine(machine=MachineId(key), name=key, bmc=bmc))
        return MachineId(key)

    def step(self, key: str = M1, outcome: machine_events.Outcome = "done", fault: str = "") -> str:
        """Request, attempt and observe the machine's present step; return its name."""
        operation = self.operation(key)
        self.request(key)
        action = self.attempt(key)
        observed = machine_events.StepObserved(
            action=action,
            outcome=outcome,
            at=self.now,
            fault=fault,
            message=fault,
            facts=self.facts(key) if operation.step == "inventory" else None,
            power=_POWERS.get(operation.step),
        )
        self.do(
            actions.ObserveStep(machine=MachineId(key), operation=operation.id, observed=observed)
        )
        return operation.step

    def request(self, key: str = M1) -> list[Event]:
        """Ask the executors for the machine's present step."""
        operation = self.operation(key)
        command = actions.RequestAction(
            machine=MachineId(key),
            operation=operation.id,
            action=self.action(),
            done=operation.done,
            attempt=operation.retry.attempt + 1 if operation.retry else 1,
        )
        return self.do(command)

    def attempt(self, key: str = M1) -> ActionId:
        """Have an executor attempt the requested step; return the action."""
        operation = self.operation(key)
        assert operation.action is not None, "nothing was requested"
        action = operation.action.id
        self.do(
            actions.AttemptStep(
                machine=MachineId(key), operation=operation.id, action=action, owner="executor"
            )
        )
        return action

    def facts(self, key: str = M1) -> machine_events.Facts:
        """What an inspection of the machine finds."""
        disk = machine_events.Disk(id="0", bytes=10**9, media="SSD", serial=f"D-{key}")
        usual = machine_events.Facts(
            serial=f"S-{key}", cpu_threads=8, memory_bytes=2**30, disks=(disk,)
        )
        return self.hardware.get(key, usual)

    def finish(self, key: str = M1) -> list[str]:
        """Do every step of the operation and complete it; return the steps."""
        steps = []
        while step := self.operation(key).step:
            if step in plans.WAITED:
                self.report(key)
            else:
                self.step(key)
            steps.append(step)
        self.complete(key)
        return steps

    def report(self, key: str = M1) -> list[Event]:
        """Have the machine report what its operation waits for."""
        machine, operation = MachineId(key), self.operation(key)
        if operation.step == "phone_home":
            return self.do(reports.PhoneHome(machine=machine, operation=operation.id))
        proofs = tuple(
            machine_events.DiskProof(serial=d.serial, method="overwrite", verified=True)
            for d in self.facts(key).disks
        )
        return self.do(reports.ReportWipe(machine=machine, operation=operation.id, proofs=proofs))

    def complete(self, key: str = M1) -> list[Event]:
        """End an operation whose steps are all done."""
        operation = self.operation(key).id
        return self.do(completion.CompleteOperation(machine=MachineId(key), operation=operation))

    def fail(self, key: str = M1, fault: str = "bmc-away") -> list[Event]:
        """Fail the operation at its present step."""
        operation = self.operation(key)
        return self.do(
            completion.FailOperation(
                machine=MachineId(key),
                operation=operation.id,
                step=operation.step,
                fault=fault,
                message=fault,
            )
        )

    def available(self, key: str = M1) -> MachineId:
        """A machine that was enrolled, inspected and provided."""
        machine = self.enrolled(key)
        for command in (operations.InspectMachine, operations.ProvideMachine):
            self.do(command(machine=machine, operation=CommitId(self.fresh("op"))))
            self.finish(key)
        return machine

    def claimed(
        self,
        *keys: str,
        claim: str = C1,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> ClaimId:
        """Claim whole machines."""
        self.do(claim_of({k: {MACHINE: 1} for k in keys}, claim=claim, start=start, end=end))
        return ClaimId(claim)

    def hold(self, key: str) -> None:
        """Let C1 hold a machine, whether or not its provider takes claims now."""
        if stream_id("claim", C1) in self.states:
            return
        made = ClaimMade(
            claim=C1,
            project=WEB,
            account=AccountId("ann"),
            consumer=C1,
            start=self.now,
            allocations=(Allocation(provider=ProviderId(key), amounts={MACHINE: 1}),),
        )
        self.happened("claim", C1, made)

    def deploying(self, key: str = M1, claim: str = C1) -> MachineId:
        """A machine of a claim that is being deployed."""
        self.available(key)
        self.claimed(key, claim=claim)
        self.do(
            deployment.DeployMachine(
                claim=ClaimId(claim), image=OS, operation=CommitId(self.fresh("op"))
            )
        )
        return MachineId(key)

    def active(self, key: str = M1, claim: str = C1) -> MachineId:
        """A machine that runs an image for a claim."""
        machine = self.deploying(key, claim)
        self.finish(key)
        return machine


def claim_of(
    amounts: Mapping[str, Mapping[ResourceClass, int]],
    *,
    claim: str = C1,
    start: datetime | None = None,
    end: datetime | None = None,
    name: str = "",
    project: str = "web",
    on_end: str = "release",
    ending_notice: int = 3600,
) -> MakeClaim:
    """A claim on providers by their keys."""
    return MakeClaim(
        claim=ClaimId(claim),
        project=ProjectId(project),
        account=AccountId("ann"),
        allocations=tuple(
            Allocation(provider=ProviderId(p), amounts=dict(a)) for p, a in amounts.items()
        ),
        start=start,
        end=end,
        name=name,
        on_end=on_end,
        ending_notice=ending_notice,
    )


def levels(use: usage.Use) -> list[Level]:
    """Say a use in hours from noon."""
    return [
        ((s.start - NOON) / HOUR, None if s.end is None else (s.end - NOON) / HOUR, s.used)
        for s in use
    ]


def field(refused: pytest.ExceptionInfo[InvalidArgument]) -> str:
    """The field that a refusal names."""
    return refused.value.violations[0].field


def types(events: Iterable[Event]) -> list[str]:
    """Their types."""
    return [event.TYPE for event in events]
