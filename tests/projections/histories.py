"""Logs of random but true history: every event is what a command decided on the states before."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from mulligan.errors import MulliganError
from mulligan.events import machine as machine_events
from mulligan.events.claim import Allocation
from mulligan.events.codec import GENESIS_HASH, Codec, encode_commit, encode_entry
from mulligan.events.envelope import Actor, Commit
from mulligan.events.provider import Inventory
from mulligan.handlers import (
    account,
    actions,
    claim,
    completion,
    deployment,
    enrolment,
    group,
    image,
    operations,
    plans,
    provider_commands,
)
from mulligan.handlers import project as project_commands
from mulligan.handlers import provider as providers
from mulligan.handlers.arguments import arguments
from mulligan.handlers.claim_ends import EndClaim, ReleaseClaim, StartClaim
from mulligan.handlers.credential import CreateCredential
from mulligan.handlers.decision import Command
from mulligan.handlers.kinds import KINDS
from mulligan.handlers.machine import Machine
from mulligan.handlers.region import CreateRegion
from mulligan.handlers.signing import RotateKey
from mulligan.log.memory import MemoryDisk
from mulligan.log.protocol import Stored
from mulligan.log.store import HeadRecord, Raw
from mulligan.log.view import link
from mulligan.model import (
    AccountId,
    ActionId,
    ClaimId,
    CommitId,
    CredentialId,
    GroupId,
    ImageId,
    MachineId,
    ProjectId,
    ProviderId,
    RegionName,
    ResourceClass,
    Seq,
    StreamId,
)

from .machine_steps import MachineSteps

START = datetime(2026, 1, 1, tzinfo=UTC)
_codec = Codec()


class World:
    """States folded so far, the entries that led to them, and a clock of its own."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.now = START
        self.states: dict[StreamId, Any] = {}
        self.versions: dict[StreamId, int] = {}
        self.entries: list[Stored] = []
        self.pending: list[Commit] = []

    def id(self) -> str:
        """Draw a UUID."""
        text = f"{self.rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-8{text[17:20]}-{text[20:]}"

    def pass_time(self, seconds: float) -> None:
        """Move the clock on."""
        self.now += timedelta(seconds=seconds)

    def do(self, command: Command, *, correlation: str = "", project: str = "") -> Commit | None:
        """Decide a command and commit what it changes; None when that is nothing."""
        states = self._read(command)
        changes = command.decide(states, self.now)
        if not changes:
            return None
        args = arguments(command, changes, states, self.now)
        records = []
        for stream, event in changes:
            version = self.versions.get(stream, 0) + 1
            kind = KINDS[stream.partition("/")[0]]
            self.states[stream] = kind.evolve(self.states.get(stream), event, self.now)
            self.versions[stream] = version
            records.append(_codec.record(stream, version, event))
        commit = Commit(
            id=CommitId(self.id()),
            at=self.now,
            actor=Actor(account="tester", project=project),
            command=command.NAME,
            digest="d",
            correlation=correlation,
            events=tuple(records),
            args=args,
        )
        self.pending.append(commit)
        return commit

    def attempt(self, command: Command) -> bool:
        """Do it unless it is refused."""
        try:
            return self.do(command) is not None
        except MulliganError:
            return False

    def flush(self) -> None:
        """Put the waiting commits into one entry."""
        if self.pending:
            commits, self.pending = [encode_commit(c) for c in self.pending], []
            self.append_entry(commits)

    def append_entry(self, commits: list[bytes]) -> Stored:
        """Put commits, encoded already, into an entry."""
        seq = Seq(len(self.entries) + 1)
        prev = self.entries[-1].hash if self.entries else GENESIS_HASH
        at = self.now.isoformat().replace("+00:00", "Z")
        stored = link(seq, prev, encode_entry(seq, prev, at, commits))
        self.entries.append(stored)
        return stored

    def _read(self, command: Command) -> dict[StreamId, Any]:
        states: dict[StreamId, Any] = {}
        while new := [s for s in command.reads(states) if s not in states]:
            states.update({s: self.states.get(s) for s in new})
        return states


def write(disk: MemoryDisk, entries: Sequence[Stored]) -> None:
    """Put entries onto a disk, after what it has, for logs to be opened on."""
    for stored in entries:
        disk.revision += 1
        disk.token = disk.revision
        raw = Raw(stored.seq, stored.value, disk.token)
        disk.entries[stored.seq] = raw
        disk.record = HeadRecord(
            seq=stored.seq, hash=stored.hash, log_id=disk.log_id, writer="w", batch_id="b"
        )
        disk._ring(raw)


def history(seed: int, steps: int = 300, per_entry: int = 3) -> World:
    """Make a region with machines, groups, projects and claims, and live in it for a while."""
    world = World(seed)
    rng = world.rng
    world.do(CreateRegion(region=RegionName("r1")))
    projects = [ProjectId(world.id()) for _ in range(3)]
    for n, project in enumerate(projects):
        world.do(project_commands.CreateProject(project=project, name=f"p{n}"))
        holder = AccountId(world.id())
        binding = account.Binding("member", project)
        world.do(
            account.CreateAccount(
                account=holder, name=f"a{n}", kind="user", secret_version="1", bindings=(binding,)
            )
        )
    world.do(RotateKey(kid="1", version="1", x="abc"))
    credential = CredentialId(world.id())
    world.do(CreateCredential(credential=credential, name="bmc", version="1"))
    picture = ImageId(world.id())
    world.do(image.CreateImage(image=picture, name="os", url="file:os.iso", sha256="0" * 64))
    groups = [GroupId(world.id()) for _ in range(3)]
    for n, one in enumerate(groups):
        world.do(group.CreateGroup(group=one, name=f"g{n}"))
    rack = ProviderId(world.id())
    world.do(provider_commands.CreateProvider(provider=rack, name="rack", type="component"))
    world.flush()
    step = _Steps(world, projects, groups, credential, picture, rack)
    for _ in range(steps):
        world.pass_time(rng.choice((0, 1, 60, 3600)))
        rng.choice(step.all)()
        if rng.random() < 1 / per_entry:
            world.flush()
    world.flush()
    return world


class _Steps:
    def __init__(
        self,
        world: World,
        projects: list[ProjectId],
        groups: list[GroupId],
        credential: CredentialId,
        picture: ImageId,
        rack: ProviderId,
    ) -> None:
        self.world, self.rng = world, world.rng
        self.projects, self.groups = projects, groups
        self.credential, self.picture, self.rack = credential, picture, rack
        self.machines: list[MachineId] = []
        self.providers: list[ProviderId] = []
        self.claims: list[ClaimId] = []
        self.more = MachineSteps(world, self.machines, projects, credential, rack)
        self.all: list[Callable[[], Any]] = [
            self.enrol, self.create_provider, self.make_claim, self.make_claim, self.make_claim,
            self.make_claim, self.end_claims, self.release, self.work, self.work, self.work,
            self.work, self.work, self.work, self.work, self.work, self.ask, self.ask, self.ask,
            self.change_group, self.cordon, self.delete, self.more.mind, self.more.see,
            self.more.rule,
        ]  # fmt: skip

    def enrol(self) -> None:
        machine = MachineId(self.world.id())
        bmc = machine_events.Bmc(address=f"https://b{machine}", credential=self.credential)
        command = enrolment.EnrolMachine(
            machine=machine, name=f"m-{machine[:8]}", bmc=bmc, parent=self.rack
        )
        if self.world.attempt(command):
            self.machines.append(machine)
            self.providers.append(ProviderId(machine))

    def create_provider(self) -> None:
        provider = ProviderId(self.world.id())
        inventories = {
            ResourceClass("machine"): Inventory(total=1),
            ResourceClass("memory"): Inventory(
                total=1000, reserved=self.rng.choice((0, 100)), step_size=10, allocation_ratio=1.5
            ),
        }
        command = provider_commands.CreateProvider(
            provider=provider,
            name=f"p-{provider[:8]}",
            type="compute",
            inventories=inventories,
            capabilities=tuple(sorted(self.rng.sample(("custom.a", "custom.b", "storage.ssd"), 2))),
        )
        if self.world.attempt(command):
            self.providers.append(provider)

    def make_claim(self) -> None:
        if not self.providers:
            return
        rng, world = self.rng, self.world
        amounts: dict[ResourceClass, int] = {ResourceClass("machine"): 1}
        if rng.random() < 0.5:
            amounts = {ResourceClass("memory"): rng.randrange(10, 500, 10)}
        open_ones = [p for p in self.providers if self._offers(p, amounts)]
        chosen = rng.sample(open_ones, min(len(open_ones), rng.randint(1, 2)))
        start = world.now + timedelta(hours=rng.choice((0, 0, 1, 5)))
        end = start + timedelta(hours=rng.randint(1, 9)) if rng.random() < 0.7 else None
        claim_id = ClaimId(world.id())
        command = claim.MakeClaim(
            claim=claim_id,
            project=rng.choice(self.projects),
            account=AccountId("a"),
            allocations=tuple(Allocation(provider=p, amounts=amounts) for p in chosen),
            start=start,
            end=end,
            name=rng.choice(("", f"c-{claim_id[:8]}")),
        )
        if world.attempt(command):
            self.claims.append(claim_id)

    def _offers(self, provider: ProviderId, amounts: dict[ResourceClass, int]) -> bool:
        state: providers.Provider = self.world.states[StreamId(f"provider/{provider}")]
        return not state.cordons and amounts.keys() <= state.inventories.keys()

    def end_claims(self) -> None:
        for one in self.claims:
            self.world.attempt(StartClaim(claim=one))
            self.world.attempt(EndClaim(claim=one))

    def release(self) -> None:
        if self.claims:
            self.world.attempt(ReleaseClaim(claim=self.rng.choice(self.claims)))

    def ask(self) -> None:
        if not self.machines:
            return
        machine, operation = self.rng.choice(self.machines), CommitId(self.world.id())
        state: Machine = self.world.states[StreamId(f"machine/{machine}")]
        wishes: list[Command] = [
            operations.InspectMachine(machine=machine, operation=operation),
            operations.ProvideMachine(machine=machine, operation=operation),
            operations.ProvideMachine(machine=machine, operation=operation),
            operations.RetryMachine(machine=machine, operation=operation),
            operations.PowerMachine(machine=machine, target="off", operation=operation),
            operations.AbortMachine(machine=machine, by="tester"),
            deployment.ReleaseMachine(machine=machine),
        ]
        wishes += self.more.wishes(machine, operation)
        wishes += [self._deploy(one, machine, operation) for one in self.claims[-20:]]
        if state.state == "enrolled" and self.rng.random() < 0.8:
            wishes = wishes[:1]
        self.rng.shuffle(wishes)
        for wish in wishes:
            if self.world.attempt(wish):
                return

    def _deploy(self, one: ClaimId, machine: MachineId, operation: CommitId) -> Command:
        state: claim.Claim = self.world.states[StreamId(f"claim/{one}")]
        return deployment.DeployMachine(
            claim=one,
            image=self.rng.choice((self.picture, self.more.phones)),
            operation=operation,
            machine=machine,
            user_data=self.more.given(state.project),
            hostname=self.rng.choice(("", "web-1")),
        )

    def work(self) -> None:
        """Bring every running operation one event further, as executors do."""
        for machine in self.machines:
            state: Machine = self.world.states[StreamId(f"machine/{machine}")]
            if state.operation is not None and not state.deleted:
                self._advance(machine, state)

    def _advance(self, machine: MachineId, state: Machine) -> None:
        operation = state.operation
        assert operation is not None
        if not operation.step:
            self.world.do(
                completion.CompleteOperation(machine=machine, operation=operation.id),
                correlation=operation.id,
            )
        elif operation.step in plans.WAITED:
            self.more.report(machine, state)
        elif operation.action is None:
            retry = operation.retry
            self.world.do(
                actions.RequestAction(
                    machine=machine,
                    operation=operation.id,
                    action=ActionId(self.world.id()),
                    done=operation.done,
                    attempt=retry.attempt + 1 if retry is not None else 1,
                ),
                correlation=operation.id,
            )
        elif not operation.action.owner:
            self.world.do(
                actions.AttemptStep(
                    machine=machine,
                    operation=operation.id,
                    action=operation.action.id,
                    owner="executor",
                )
            )
        else:
            self.more.task(machine, state)
            self._observe(machine, operation.id, operation.action.id, operation.step)

    def _observe(
        self, machine: MachineId, operation: CommitId, action: ActionId, step: str
    ) -> None:
        exchange = machine_events.Exchange(method="GET", path="/redfish/v1", status=200, ms=3)
        observed = machine_events.StepObserved(
            action=action,
            outcome=self.rng.choice(("done", "done", "done", "retry")),
            at=self.world.now,
            message='say "x\\y"\n',
            facts=self.more.facts(machine) if step == "inventory" else None,
            power="off",
            exchanges=(exchange, exchange),
        )
        self.world.do(actions.ObserveStep(machine=machine, operation=operation, observed=observed))

    def change_group(self) -> None:
        if self.providers:
            chosen = self.rng.choice(self.groups)
            add = (self.rng.choice(self.providers),)
            remove: tuple[ProviderId, ...] = (self.rng.choice(self.providers),)
            if self.rng.random() < 0.7:
                remove = ()
            self.world.attempt(group.UpdateMembers(group=chosen, add=add, remove=remove))

    def cordon(self) -> None:
        if self.providers:
            one = self.rng.choice(self.providers)
            command: Command = provider_commands.CordonProvider(provider=one, note='a"b')
            if self.rng.random() < 0.6:
                command = provider_commands.UncordonProvider(provider=one)
            self.world.attempt(command)

    def delete(self) -> None:
        if self.rng.random() < 0.2 and self.machines:
            machine = self.rng.choice(self.machines)
            force = self.rng.random() < 0.6
            self.world.attempt(
                enrolment.DeleteMachine(machine=machine, force=force, reason="broken")
            )
        elif self.rng.random() < 0.2 and self.providers:
            self.world.attempt(
                provider_commands.DeleteProvider(provider=self.rng.choice(self.providers))
            )


def poison(world: World, stream: str) -> Stored:
    """Append an entry whose one event no release can read."""
    world.versions[StreamId(stream)] = world.versions.get(StreamId(stream), 0) + 1
    kind = stream.partition("/")[0]
    commit = {
        "id": world.id(),
        "at": world.now,
        "actor": {"account": "tester"},
        "command": "test.poison",
        "events": [
            {
                "stream": stream,
                "version": world.versions[StreamId(stream)],
                "type": f"{kind}.exploded",
                "v": 1,
                "data": {},
            }
        ],
    }
    return world.append_entry([msgspec.json.encode(commit)])
