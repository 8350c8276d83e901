"""A believable past of any length: machines enrolled and inspected, claims made and given back."""

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from mulligan.events.claim import Allocation
from mulligan.events.codec import Codec
from mulligan.events.envelope import Actor, Commit
from mulligan.events.machine import Bmc, Disk, Exchange, Facts, StepObserved
from mulligan.handlers import actions, claim, completion, enrolment, operations
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.credential import CreateCredential
from mulligan.handlers.decision import Command
from mulligan.handlers.kinds import KINDS
from mulligan.handlers.machine import Machine
from mulligan.model import (
    AccountId,
    ActionId,
    ClaimId,
    CommitId,
    CredentialId,
    MachineId,
    ProjectId,
    ProviderId,
    ResourceClass,
    StreamId,
)

_EXCHANGES = tuple(
    Exchange(method=m, path="/redfish/v1/Systems/1", status=200, ms=12, body_sha256="0" * 64)
    for m in ("GET", "POST")
)
_FACTS = Facts(
    manufacturer="Acme", model="R1", serial="S1", cpu_cores=32, cpu_threads=64,
    memory_bytes=2**38, disks=(Disk(id="1", bytes=10**12, media="SSD"),),
)  # fmt: skip


class Traffic:
    """Decides one command after the other on its own states."""

    def __init__(self, machines: int, seed: int = 1) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self._machines = machines
        self._rng = random.Random(seed)
        self._codec = Codec()
        self._states: dict[StreamId, Any] = {}
        self._versions: dict[StreamId, int] = {}

    def commits(self, events: int) -> Iterator[Commit]:
        """Yield commits of about ``events`` events in all."""
        made = 0
        for command in self._commands():
            commit = self._decide(command)
            yield commit
            made += len(commit.events)
            if made >= events:
                return

    def _commands(self) -> Iterator[Command]:
        credential = CredentialId(self._id())
        yield CreateCredential(credential=credential, name="bmc", version="1")
        machines = [MachineId(self._id()) for _ in range(self._machines)]
        for machine in machines:
            bmc = Bmc(address=f"https://{machine}", credential=credential)
            yield enrolment.EnrolMachine(machine=machine, name=f"m-{machine}", bmc=bmc)
            operation = CommitId(self._id())
            yield operations.InspectMachine(machine=machine, operation=operation)
            yield from self._run(machine)
            yield operations.ProvideMachine(machine=machine, operation=CommitId(self._id()))
            yield from self._run(machine)
        projects = [ProjectId(self._id()) for _ in range(50)]
        waiting: list[ClaimId] = []
        for n in itertools.count():
            self.now += timedelta(seconds=1)
            if len(waiting) >= self._machines // 2:
                yield ReleaseClaim(claim=waiting.pop(0))
                continue
            one = ClaimId(self._id())
            amounts = {ResourceClass("machine"): 1, ResourceClass("memory"): 2**38}
            provider = ProviderId(machines[n % len(machines)])
            state = self._states[StreamId(f"provider/{provider}")]
            if state.use:
                continue
            waiting.append(one)
            yield claim.MakeClaim(
                claim=one,
                project=projects[n % 50],
                account=AccountId("tester"),
                allocations=(Allocation(provider=provider, amounts=amounts),),
                end=self.now + timedelta(days=30),
                name=f"c-{one}" if n % 2 else "",
            )

    def _run(self, machine: MachineId) -> Iterator[Command]:
        """Carry an operation out, step by step."""
        while True:
            state: Machine = self._states[StreamId(f"machine/{machine}")]
            operation = state.operation
            assert operation is not None
            if not operation.step:
                yield completion.CompleteOperation(machine=machine, operation=operation.id)
                return
            action = ActionId(self._id())
            yield actions.RequestAction(
                machine=machine, operation=operation.id, action=action, done=operation.done,
                attempt=1,
            )  # fmt: skip
            yield actions.AttemptStep(
                machine=machine, operation=operation.id, action=action, owner="executor-1"
            )
            observed = StepObserved(
                action=action,
                outcome="done",
                at=self.now,
                facts=_FACTS if operation.step == "inventory" else None,
                exchanges=_EXCHANGES,
            )
            yield actions.ObserveStep(machine=machine, operation=operation.id, observed=observed)

    def _decide(self, command: Command) -> Commit:
        states: dict[StreamId, Any] = {}
        while new := [s for s in command.reads(states) if s not in states]:
            states.update({s: self._states.get(s) for s in new})
        records = []
        for stream, event in command.decide(states, self.now):
            version = self._versions.get(stream, 0) + 1
            evolve = KINDS[stream.partition("/")[0]].evolve
            self._states[stream] = evolve(self._states.get(stream), event, self.now)
            self._versions[stream] = version
            records.append(self._codec.record(stream, version, event))
        return Commit(
            id=CommitId(self._id()),
            at=self.now,
            actor=Actor(account="tester", project="p"),
            command=command.NAME,
            digest="0" * 64,
            events=tuple(records),
        )

    def _id(self) -> str:
        text = f"{self._rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-8{text[17:20]}-{text[20:]}"
