"""A whole region under load that parts of are killed, and the proof after each round."""

import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

from mulligan.client import Client
from mulligan.client.paging import every
from mulligan.proto import v1
from tests.crash import load, machines
from tests.crash.checking import HOT_CLASS, wrongs
from tests.crash.load import Caller
from tests.crash.model import Model, live_claims
from tests.crash.reading import Logged, facts_of, read_commits
from tests.crash.record import Outcome, Record
from tests.e2e.fleet import Fleet
from tests.e2e.history import attempted_twice, may_have_sent, read_models_differ, was_sent
from tests.e2e.region import RunningRegion, until

TAKERS, RESERVERS, MAKERS = 4, 2, 2
HOT_TOTAL = 12
WELL_WITHIN = 60.0
"""Seconds after the last blow within which `mulligan status` says that all is well."""
SETTLED_WITHIN = 60.0
PATIENCE = 60.0


class Arena:
    """A region with a fleet, its clients and their record; each round adds to all of them."""

    def __init__(self, region: RunningRegion, folder: Path, seed: int, machines: int) -> None:
        self.region = region
        self.seed = seed
        self.rng = random.Random(seed)
        self.record = Record(folder / "record.jsonl")
        self.well_after: list[float] = []
        self.commits = 0
        self._machines = machines
        self._folder = folder
        self._stack = AsyncExitStack()
        self._rounds = 0
        self._fleet: Fleet | None = None
        self._admin: Client | None = None

    @property
    def admin(self) -> Client:
        """The administrator, patient."""
        assert self._admin is not None
        return self._admin

    async def __aenter__(self) -> Self:
        self._stack.enter_context(self.record)
        self._admin = self.region.client(patience=PATIENCE)
        if self._machines:
            self._fleet = Fleet(self.region, self._folder / "fleet", self._machines)
            await self._stack.enter_async_context(self._fleet.emulator)
            await self._fleet.prepare(self.admin)
        for n in range(4):
            stock = [v1.Inventory(resource_class="cpu.shared", total=8)]
            await self.admin.resource.create_provider(
                v1.CreateProviderRequest(name=f"cool-{n}", type="compute", inventories=stock)
            )
        await self.region.tenant("red", "rita")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def round(self, blows: Callable[[Callable[[], int]], Awaitable[None]]) -> None:
        """Run the load while ``blows`` falls; then wait until all is well, and prove it."""
        self._rounds += 1
        stock = [v1.Inventory(resource_class=HOT_CLASS, total=HOT_TOTAL)]
        hot = (
            await self.admin.resource.create_provider(
                v1.CreateProviderRequest(
                    name=f"hot-{self._rounds}", type="compute", inventories=stock
                )
            )
        ).provider
        assert hot is not None
        stop, clients = anyio.Event(), list[Client]()

        def caller(name: str, *, tenant: bool = True) -> Caller:
            who = ("rita", "rita-red-secret", "red") if tenant else ()
            clients.append(self.region.client(*who, patience=PATIENCE))
            return Caller(clients[-1], self.record, f"{name}-{self._rounds}", self.seed, stop)

        async with anyio.create_task_group() as tasks:
            for n in range(TAKERS):
                tasks.start_soon(load.take_of_one, caller(f"taker-{n}"), hot.uuid)
            for n in range(RESERVERS):
                tasks.start_soon(load.reserve_anywhere, caller(f"reserver-{n}"))
            for n in range(MAKERS):
                tasks.start_soon(load.make_and_unmake, caller(f"maker-{n}", tenant=False))
            self._work_machines(tasks, caller)
            await blows(lambda: self.record.acked)
            stop.set()
        for client in clients:
            client.close()
        await self.is_well()
        await self.prove()

    async def is_well(self) -> None:
        """Return when `mulligan status` finds nothing wrong, which must be soon."""
        began, said = time.monotonic(), ""

        async def well() -> bool:
            nonlocal said
            shown = await self.region.cli("status")
            said = shown.stdout + shown.stderr
            return said.splitlines()[-1:] == ["all is well"]

        try:
            await until(well, "all is well", WELL_WITHIN)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{said}") from error
        self.well_after.append(time.monotonic() - began)

    async def prove(self) -> None:
        """Fail unless the log, the read models, the machines and what clients know agree."""
        commits = await self._settled()
        self.commits = len(commits)
        require_none(wrongs(self.record, commits, load.COMMANDS))
        facts = facts_of(commits)
        require_none(attempted_twice(facts))
        if self._fleet is not None:
            allowed = may_have_sent(facts)
            for system, counts in was_sent(self._fleet.writes()).items():
                assert counts <= allowed[system], (
                    f"{system} was sent more than the log accounts for"
                )
        require_none([f"{n}: {why}" for n, why in (await read_models_differ(self.admin)).items()])

    def counts(self) -> dict[str, int]:
        """Return how many calls were acknowledged, refused and left open, and how many read."""
        outcomes = [call.outcome for call in self.record.commands()]
        return {
            **{str(one): outcomes.count(one) for one in Outcome},
            "read": sum(1 for _ in self.record.reads()),
            "commits": self.commits,
        }

    def _work_machines(self, tasks: anyio.abc.TaskGroup, caller: Callable[..., Caller]) -> None:
        if self._fleet is None:
            return
        for name in self._fleet.names:
            operator, tenant = caller(f"op-{name}", tenant=False), caller(f"use-{name}")
            if self._rounds == 1:
                tasks.start_soon(machines.live, operator, tenant, self._fleet, name)
            else:
                tasks.start_soon(machines.work, operator, tenant, name)

    async def _settled(self) -> list[Logged]:
        """Return the log once the API shows the state that a plain replay of it comes to."""
        deadline = time.monotonic() + SETTLED_WITHIN
        while True:
            before = await self._shown()
            commits = await read_commits(self.admin)
            expected = plain_state(Model.of(commits))
            if before == expected:
                return commits
            different = {
                kind: set(before[kind].items()) ^ set(expected[kind].items()) for kind in expected
            }
            assert time.monotonic() < deadline, f"the API and the log differ: {different}"
            await anyio.sleep(0.5)

    async def _shown(self) -> dict[str, dict[str, str]]:
        """Return live claims, names and tagged groups as the API lists them."""
        admin = self.admin
        claims = every(admin.resource.list_claims, v1.ListClaimsRequest(), lambda p: p.claims)
        shown = {
            "claims": {c.uuid: v1.ClaimState(c.state).name or "" async for c in claims},
            "blue": {},
        }
        for kind in ("group", "provider", "project", "account"):
            names = every(
                admin.meta.list_names, v1.ListNamesRequest(kind=kind), lambda page: page.names
            )
            shown[kind] = {one.uuid: one.name async for one in names}
        request = v1.FindObjectsRequest(kind="group", tags=["blue"])
        found = every(admin.meta.find_objects, request, lambda page: page.objects)
        shown["blue"] = {one.uuid: "" async for one in found}
        return shown


def require_none(problems: list[str]) -> None:
    """Fail with the first of the problems, if there are any."""
    assert not problems, "\n".join([f"{len(problems)} problems:", *problems[:20]])


def plain_state(model: Model) -> dict[str, dict[str, str]]:
    """Return what the API must list, by the plain model."""
    tagged = {one: "" for one, tags in model.tags.items() if "blue" in tags}
    groups = model.names["group"]
    return {
        "claims": live_claims(model),
        "blue": {one: "" for one in tagged if one in groups},
        **{kind: model.names[kind] for kind in ("group", "provider", "project", "account")},
    }
