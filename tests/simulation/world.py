"""A small region with all that lives in it, and what befalls it."""

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup

from mulligan.commands.runner import Commands
from mulligan.events.codec import decode_entry
from mulligan.events.provider import Inventory
from mulligan.handlers import image
from mulligan.handlers.account import CreateAccount
from mulligan.handlers.credential import CreateCredential
from mulligan.handlers.project import CreateProject
from mulligan.handlers.provider_commands import CreateProvider
from mulligan.log.memory import Faults, MemoryLog
from mulligan.log.protocol import Stored
from mulligan.model import AccountId, CredentialId, ImageId, ProjectId, ProviderId, Seq
from mulligan.projections.models import READ_MODELS
from mulligan.redfish.executor import Executor

from .bmcs import SimulatedBmc, SimulatedExecutor
from .clients import Asked, Client, Looked
from .disk import WatchedDisk
from .lives import GPU, crowd, machine_life, rotation, tenant
from .plan import Plan
from .presence import LeaseKeys
from .process import Process, Secrets
from .tables import Tables
from .trace import Trace

PATIENCE = 3600.0
"""Virtual seconds after which a region that does not come to rest has failed."""

HOT = ProviderId("hot")
OS = ImageId("os")
ROOT = CredentialId("root")


class Make(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that a world is made of; tests of the simulation give it broken ones."""

    log: Callable[..., AbstractAsyncContextManager[MemoryLog]] = MemoryLog.open
    commands: Callable[..., Commands] = Commands
    executor: Callable[..., Executor] = SimulatedExecutor
    fenced: bool = True


class World:
    """Everything that there is in one seed."""

    tasks: TaskGroup

    def __init__(self, plan: Plan, make: Make) -> None:
        self.plan = plan
        self.make = make
        self.trace = Trace()
        self.rng = random.Random(f"{plan.seed}/world")
        self.disk = WatchedDisk(self.trace, plan.faults)
        self.leases = LeaseKeys(self.disk)
        self.tables = Tables(READ_MODELS)
        self.history: list[Asked] = []
        self.looks: list[Looked] = []
        self.tenants: dict[str, Client] = {}
        self.seen_by: dict[str, list[bytes]] = {}
        self.bmcs: dict[str, SimulatedBmc] = {}
        self.secrets = Secrets(lambda pw: any(b.password == pw for b in self.bmcs.values()))
        self.processes = [Process(self, n) for n in range(plan.processes)]

    def bmc_at(self, origin: str) -> SimulatedBmc:
        """Return the BMC of an origin."""
        return self.bmcs[origin.removeprefix("https://")]

    def entries(self) -> list[Stored]:
        """Return everything that was ever written, decoded."""
        return [
            Stored(entry=decode_entry(raw.value), value=raw.value, hash=slot.stored.hash)
            for raw, slot in zip(self.disk.all, self.disk.slots, strict=True)
        ]

    async def set_up(self) -> None:
        """Make what every life in it needs, before anything goes wrong."""
        plan, operator = self.plan, Client(self, "operator")
        self.secrets.kept["1"] = "first-password"
        turnaround = self.rng.choice((0, 0, 3))
        await operator.ask(
            CreateProvider(
                provider=HOT,
                name="hot",
                type="compute",
                inventories={GPU: Inventory(total=plan.capacity)},
                turnaround=turnaround,
            )
        )
        if plan.machines:
            await operator.ask(CreateCredential(credential=ROOT, name="root", version="1"))
            create = image.CreateImage(image=OS, name="os", url="file:os.iso", sha256="0" * 64)
            await operator.ask(create)
        for name in ("red", "blue") if plan.tenants else ():
            await operator.ask(CreateProject(project=ProjectId(name), name=name))
            await operator.ask(
                CreateAccount(account=AccountId(f"of-{name}"), name=f"of-{name}", kind="user")
            )
            self.tenants[name] = Client(self, f"tenant-{name}", name, f"of-{name}")

    def start_lives(self, tasks: TaskGroup) -> None:
        """Have everybody begin with what they want."""
        names = [*self.tenants] or ["web"]
        for n in range(self.plan.crowd):
            project = names[n % len(names)]
            client = Client(self, f"crowd-{n}", project, f"of-{project}")
            tasks.start_soon(crowd, self, client, name=client.name)
        for n in range(self.plan.machines):
            host = f"bmc-{n}"
            rng = random.Random(f"{self.plan.seed}/{host}")
            self.bmcs[host] = SimulatedBmc(f"S{n}", rng, self.plan.bmc_trouble, "first-password")
            self.bmcs[host].pace = self.plan.bmc_pace
            self.bmcs[host].deadly = self.plan.deadly
            client = Client(self, f"machine-{n}")
            tasks.start_soon(machine_life, self, client, n, name=client.name)
        for name, client in self.tenants.items():
            tasks.start_soon(tenant, self, client, name, name=client.name)
        if self.plan.rotates:
            tasks.start_soon(rotation, self, Client(self, "rotator"), name="rotator")

    def start_trouble(self, tasks: TaskGroup) -> None:
        """Have things go wrong from now on."""
        self.disk.faults = self.plan.faults
        for name, mean in self.plan.befalls.items():
            tasks.start_soon(self._befall, name, mean, name=f"befalls: {name}")

    async def _befall(self, name: str, mean: float) -> None:
        rng = random.Random(f"{self.plan.seed}/{name}")
        while True:
            await anyio.sleep(rng.expovariate(1 / mean))
            process = rng.choice(self.processes)
            seconds = rng.choice((0.5, 3.0, 15.0))
            self.trace.tell("FATE", f"{name} ({process.name}, {seconds} s)")
            match name:
                case "crash":
                    process.kill()
                case "cut" | "deaf_watch":
                    which, road = {"cut": "cut", "deaf_watch": "deaf"}[name], process.road
                    setattr(road, which, True)
                    await anyio.sleep(seconds)
                    setattr(road, which, False)
                case "jump":
                    process.clock.jump()
                case "full" | "postgres_away":
                    subject: Any = self.disk if name == "full" else self.tables
                    which = "full" if name == "full" else "away"
                    setattr(subject, which, True)
                    await anyio.sleep(seconds)
                    setattr(subject, which, False)
                case "compact":
                    self.disk.compact()
                    self.disk.break_watches()
                case "seal":
                    self.disk.seal(Seq(max(0, len(self.disk.all) - rng.randint(0, 20))))
                case "break_watches":
                    self.disk.break_watches()
                case "late":
                    self.disk.deliver_late()

    def calm(self) -> None:
        """End all trouble; what it has done stays done."""
        self.trace.tell("FATE", "calm from now on")
        self.disk.faults = Faults(seed=self.plan.seed)
        self.disk.deliver_late()
        self.disk.full = self.tables.away = False
        for process in self.processes:
            process.road.cut = process.road.deaf = False
        for bmc in self.bmcs.values():
            bmc.trouble = bmc.deadly = 0.0

    def restless(self) -> str:
        """Say what has not come to rest yet; empty when everything has."""
        head = len(self.disk.all)
        for process in self.processes:
            if process.log is None or process.log.head.seq < head:
                return f"{process.name} is not at the head"
        for schema, place in self.tables.places.items():
            if place.seq < head:
                return f"{schema} is at {place.seq} of {head}"
        for row in self.tables.table("rm_claims.claim"):
            if row["due_at"] is not None:
                return f"claim {row['key']} has something due at {row['due_at']}"
        for row in self.tables.table("rm_machines.machine"):
            if row["verb"]:
                return f"machine {row['key']} is at {row['verb']} {row['step']}"
        for row in self.tables.table("rm_images.credential"):
            if row["rotating"]:
                return f"credential {row['key']} is being rotated"
        return ""
