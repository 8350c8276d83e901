"""Two machines in one rack, and everything that can be done to them, in any order."""

from collections.abc import Callable
from datetime import timedelta

from mulligan.errors import MulliganError
from mulligan.events.codec import Event
from mulligan.events.machine import Bmc, Facts, Power, StepObserved
from mulligan.handlers import actions, brake, completion, deployment, observations, upkeep
from mulligan.handlers import operations as ops
from mulligan.handlers.claim import Claim
from mulligan.handlers.claim_changes import MoveClaim, RescheduleClaim
from mulligan.handlers.claim_ends import EndClaim, ReleaseClaim, StartClaim
from mulligan.handlers.decision import Change, Command
from mulligan.handlers.enrolment import DeleteMachine, EnrolMachine
from mulligan.handlers.machine import Machine
from mulligan.handlers.plans import WAITED
from mulligan.handlers.profile import DeleteProfile, SetProfile
from mulligan.model import (
    AccountId,
    ClaimId,
    CommitId,
    CredentialId,
    MachineId,
    ProviderId,
    stream_id,
)

from .given import HOUR, MACHINE, MINUTE, OS, WEB, Given, claim_of

ANN = AccountId("ann")
RACK = ProviderId("rack")
SLOTS = ("left", "right")
FAULTS = ("bmc-away", "aborted", "deadline")


class Commit:
    """What one command did: the machines before it, its changes, and the machines after."""

    def __init__(
        self, command: Command, before: dict[str, Machine], changes: list[Change], life: "Life"
    ) -> None:
        self.command = command
        self.before = before
        self.changes = changes
        self.after = life.machines()


class Life:
    """A world of two slots in a rack; whatever stands in a slot has the slot's serial number."""

    def __init__(self, watch: Callable[["Life", Commit], None] | None = None) -> None:
        """``watch`` is called after every commit."""
        self._watch = watch
        self.given = Given()
        self.given.project()
        self.given.offers(RACK, {})
        self.commits: list[Commit] = []
        self._in_slot: dict[str, MachineId] = {}
        self._claims: list[ClaimId] = []
        for slot in SLOTS:
            self.enrol(slot, 0)

    def machines(self) -> dict[str, Machine]:
        """Every machine that is not deleted, by id."""
        return {
            state.id: state
            for state in self.given.states.values()
            if isinstance(state, Machine) and not state.deleted
        }

    def attempt(self, command: Command) -> list[Event] | None:
        """Do it, and note the commit; None when it is refused."""
        before = self.machines()
        try:
            changes = self.given.decide(command)
        except MulliganError:
            return None
        self.given.apply(changes)
        self.commits.append(Commit(command, before, changes, self))
        if self._watch is not None:
            self._watch(self, self.commits[-1])
        return [c.event for c in changes]

    def machine(self, slot: str) -> MachineId:
        """The machine that was put into the slot last."""
        return self._in_slot[slot]

    def _operation(self) -> CommitId:
        return CommitId(self.given.fresh("op"))

    def enrol(self, slot: str, n: int) -> None:
        """Put a machine into the slot, if none is enrolled there."""
        key = self.given.fresh(slot)
        self.given.hardware[key] = Facts(serial=f"S-{slot}", memory_bytes=2**30)
        self.given.with_catalogue()
        bmc = Bmc(address=f"https://{slot}", credential=CredentialId("root"))
        command = EnrolMachine(machine=MachineId(key), name=key, bmc=bmc, parent=RACK)
        if self.attempt(command) is not None:
            self._in_slot[slot] = MachineId(key)

    def ask(self, slot: str, n: int) -> None:
        """Ask for an operation, or another change of state."""
        machine, operation = self.machine(slot), self._operation()
        wishes: tuple[Command, ...] = (
            ops.InspectMachine(machine=machine, operation=operation),
            ops.ProvideMachine(machine=machine, operation=operation),
            ops.AdoptMachine(machine=machine, operation=operation, project=WEB, account=ANN),
            ops.ManageMachine(machine=machine),
            ops.RetryMachine(machine=machine, operation=operation),
            upkeep.RetireMachine(machine=machine),
            upkeep.ReinstateMachine(machine=machine),
            ops.AbortMachine(machine=machine, by="ann"),
        )
        self.attempt(wishes[n % len(wishes)])

    def hold(self, slot: str, n: int) -> None:
        """Ask for what the holder of a claim may."""
        machine, operation = self.machine(slot), self._operation()
        wishes: tuple[Command, ...] = (
            deployment.RescueMachine(machine=machine, image=OS, operation=operation),
            deployment.RestoreMachine(machine=machine, operation=operation),
            deployment.ReleaseMachine(machine=machine),
        )
        self.attempt(wishes[n % len(wishes)])

    def deploy(self, slot: str, n: int) -> None:
        """Deploy for one of the latest claims."""
        if self._claims:
            claim = self._claims[-1 - n % min(len(self._claims), 3)]
            command = deployment.DeployMachine(
                claim=claim, image=OS, operation=self._operation(), machine=self.machine(slot)
            )
            self.attempt(command)

    def switch(self, slot: str, n: int) -> None:
        """Switch the machine, see its power, or have it kept."""
        machine, operation = self.machine(slot), self._operation()
        wishes: tuple[Command, ...] = (
            ops.PowerMachine(machine=machine, target="off", operation=operation),
            ops.PowerMachine(machine=machine, target="on", operation=operation),
            upkeep.KeepPower(machine=machine, power="on"),
            upkeep.KeepPower(machine=machine, power=""),
            observations.ObservePower(machine=machine, power="off"),
            observations.ObservePower(machine=machine, power="unknown"),
            observations.ObservePower(machine=machine, power="on"),
            upkeep.EnforcePower(machine=machine, operation=operation),
        )
        self.attempt(wishes[n % len(wishes)])

    def stray(self, slot: str, n: int) -> None:
        """Have the machine kept on, see it off or nothing of it, and see to it."""
        machine = self.machine(slot)
        self.attempt(upkeep.KeepPower(machine=machine, power="on"))
        seen: Power = "unknown" if n % 2 else "off"
        self.attempt(observations.ObservePower(machine=machine, power=seen))
        self.attempt(upkeep.EnforcePower(machine=machine, operation=self._operation()))

    def cordon(self, slot: str, n: int) -> None:
        """Cordon the machine, lift that when it is time, or apply the rack's brake."""
        machine, given = self.machine(slot), self.given
        wishes: tuple[Command, ...] = (
            upkeep.CordonMachine(machine=machine, by=ANN, reason="fan"),
            upkeep.CordonMachine(machine=machine, by=ANN, reason="fan", maintenance=True),
            upkeep.CordonMachine(machine=machine, by=ANN, reason="fan", until=given.now + MINUTE),
            upkeep.UncordonMachine(machine=machine),
            brake.ApplyBrake(domain=RACK, failed=2, total=2, window=600),
        )
        self.attempt(wishes[n % len(wishes)])

    def uncordon(self, slot: str, n: int) -> None:
        """Lift the machine's cordon and the rack's brake."""
        self.attempt(upkeep.UncordonMachine(machine=self.machine(slot), by=ANN))
        self.attempt(brake.ReleaseBrake(domain=RACK, by=ANN, reason="seen to"))

    def delete(self, slot: str, n: int) -> None:
        """Delete the machine, sometimes by force, and put another into its slot."""
        force = n % 2 == 0
        self.attempt(DeleteMachine(machine=self.machine(slot), force=force, reason="burnt"))
        self.enrol(slot, n)

    def claim(self, slot: str, n: int) -> None:
        """Claim the machine, now or ahead, for good or for a while."""
        start = self.given.now + (HOUR if n % 4 == 3 else timedelta(0))
        claim = ClaimId(self.given.fresh("claim"))
        command = claim_of(
            {self.machine(slot): {MACHINE: 1}},
            claim=claim,
            start=start,
            end=None if n % 4 == 1 else start + HOUR,
            on_end="release" if n % 4 == 3 else "keep_power_off",
        )
        if self.attempt(command) is not None:
            self._claims.append(claim)

    def claims(self, slot: str, n: int) -> None:
        """Release or shorten a claim."""
        if not self._claims:
            return
        claim = self._claims[-1 - n // 2 % min(len(self._claims), 2)]
        wishes: tuple[Command, ...] = (
            ReleaseClaim(claim=claim),
            RescheduleClaim(claim=claim, end=self.given.now + MINUTE),
        )
        self.attempt(wishes[n % 2])

    def move(self, slot: str, n: int) -> None:
        """Move a claim on the machine to the other one."""
        other = SLOTS[1 - SLOTS.index(slot)]
        source, target = (ProviderId(self.machine(s)) for s in (slot, other))
        for claim in self._claims:
            if source in {h.provider for h in self.given.claim(claim).held}:
                self.attempt(MoveClaim(claim=claim, source=source, target=target))

    def profile(self, slot: str, n: int) -> None:
        """Have cleaning wipe disks, or not."""
        wipe = SetProfile(name="all", clean=("wipe",), wipe_image=OS, deadlines={"deploy": 600})
        self.attempt(wipe if n % 2 else DeleteProfile(name="all"))

    def work(self, slot: str, n: int) -> None:
        """Bring the operation forward by one step, or have the step fail."""
        key = self.machine(slot)
        operation = self.given.machine(key).operation
        if operation is None:
            return
        if not operation.step:
            self.attempt(completion.CompleteOperation(machine=key, operation=operation.id))
        elif operation.step in WAITED:
            self.given.report(key)
        elif operation.action is None:
            self._request(key)
        else:
            self.given.attempt(key)
            if n % 4 != 3:
                self._observe(key, failed=n % 8 == 6)

    def _request(self, key: MachineId) -> None:
        operation = self.given.operation(key)
        command = actions.RequestAction(
            machine=key,
            operation=operation.id,
            action=self.given.action(),
            done=operation.done,
            attempt=operation.retry.attempt + 1 if operation.retry else 1,
        )
        self.attempt(command)

    def _observe(self, key: MachineId, *, failed: bool) -> None:
        operation = self.given.operation(key)
        assert operation.action is not None
        seen = StepObserved(
            action=operation.action.id,
            outcome="retry" if failed else "done",
            at=self.given.now,
            facts=self.given.facts(key) if operation.step == "inventory" else None,
        )
        command = actions.ObserveStep(machine=key, operation=operation.id, observed=seen)
        self.attempt(command)

    def finish(self, slot: str, n: int) -> None:
        """Go on until the operation ends, or something holds it."""
        key = self.machine(slot)
        for _ in range(60):
            before = self.given.machine(key).operation
            if before is None:
                return
            self.work(slot, 0)
            if self.given.machine(key).operation == before:
                return

    def fail(self, slot: str, n: int) -> None:
        """Have the operation fail at its present step."""
        key = self.machine(slot)
        operation = self.given.machine(key).operation
        if operation is not None:
            command = completion.FailOperation(
                machine=key,
                operation=operation.id,
                step=operation.step,
                fault=FAULTS[n % len(FAULTS)],
                message="why",
            )
            self.attempt(command)

    def wait(self, slot: str, n: int) -> None:
        """Let time pass, and claims start and end in it."""
        self.given.now += (MINUTE, 11 * MINUTE, HOUR, 2 * HOUR)[n % 4]
        for claim in self._claims:
            self.attempt(StartClaim(claim=claim))
            self.attempt(EndClaim(claim=claim))

    def prepare(self, slot: str, upto: int) -> None:
        """Bring a slot's machine to manageable, available, claimed, active or rescue."""
        verbs: tuple[Callable[[str, int], None], ...] = (
            self.ask, self.ask, self.claim, self.deploy, self.hold,
        )  # fmt: skip
        for verb, n in list(zip(verbs, (0, 1, 1, 0, 0), strict=True))[:upto]:
            verb(slot, n)
            self.finish(slot, 0)

    def claim_of(self, machine: Machine) -> Claim:
        """The claim that a machine names as its holder."""
        state = self.given.states[stream_id("claim", machine.claim)]
        assert isinstance(state, Claim)
        return state


MOVES: dict[str, Callable[[Life, str, int], None]] = {
    "enrol": Life.enrol,
    "ask": Life.ask,
    "hold": Life.hold,
    "deploy": Life.deploy,
    "switch": Life.switch,
    "stray": Life.stray,
    "cordon": Life.cordon,
    "uncordon": Life.uncordon,
    "delete": Life.delete,
    "claim": Life.claim,
    "claims": Life.claims,
    "move": Life.move,
    "profile": Life.profile,
    "work": Life.work,
    "finish": Life.finish,
    "fail": Life.fail,
    "wait": Life.wait,
}
