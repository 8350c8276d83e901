"""What users do with machines in the converge benchmark: through the public API, and to the end."""

import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec

from benchmarks._bmc import PASSWORD, USER, SimulatedBmcs, system_id
from benchmarks._region import Region
from mulligan.client import Client
from mulligan.errors import Exhausted, MulliganError
from mulligan.model import new_id
from mulligan.proto import v1

_ENDS = ("machine.operation_completed", "machine.operation_failed")
_PATIENCE_S = 120.0
_POLL_S = 0.3
_CLAIM_TRIES = 50
_IMAGE = b"an image that simulated machines do not read" * 1000


class Ends:
    """Tells when operations end, from the log as it grows."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ended: dict[str, str] = {}
        self._waiting: dict[str, anyio.Event] = {}

    async def run(self) -> None:
        """Follow the log for ever."""
        request = v1.WatchLogRequest(filter=v1.LogFilter(kind="machine"))
        async for record in self._client.log.watch_log(request, timeout=_PATIENCE_S):
            for event in record.events:
                if event.type in _ENDS:
                    operation = json.loads(event.data)["operation"]
                    self._ended[operation] = event.type
                    if operation in self._waiting:
                        self._waiting[operation].set()

    async def of(self, operation: str) -> None:
        """Return when the operation is completed; raise NotConverged when it failed."""
        if operation not in self._ended:
            bell = self._waiting[operation] = anyio.Event()
            await bell.wait()
            del self._waiting[operation]
        if self._ended.pop(operation) != _ENDS[0]:
            raise NotConverged(f"operation {operation} failed")


class NotConverged(Exception):
    """A machine is not where it should be."""


class Report(msgspec.Struct, kw_only=True):
    """What became of the machines: when, in seconds, each was inspected, and what went wrong."""

    inspected_at: list[float] = []
    returned: int = 0
    problems: dict[str, int] = {}


class Flows:
    """Brings machines in and takes some of them through a tenant's use of them."""

    def __init__(
        self, admin: Client, tenant: Client, bmcs: SimulatedBmcs, ends: Ends, shared: int
    ) -> None:
        self._admin = admin
        self._tenant = tenant
        self._bmcs = bmcs
        self._ends = ends
        self._every = max(bmcs.systems // shared, 1) if shared else 0
        self._shared = shared
        self._began = time.monotonic()
        self.report = Report()

    def is_shared(self, number: int) -> bool:
        """Tell whether a tenant uses the n-th machine."""
        return (
            bool(self._every) and number % self._every == 0 and number // self._every < self._shared
        )

    async def run(self, in_flight: int) -> None:
        """Bring every machine to where it should be, so many at once."""
        self._began = time.monotonic()
        slots = anyio.Semaphore(in_flight)
        async with anyio.create_task_group() as tasks:
            for number in range(self._bmcs.systems):
                await slots.acquire()
                tasks.start_soon(self._one, number, slots)

    async def _one(self, number: int, slots: anyio.Semaphore) -> None:
        name = f"m-{number}"
        try:
            try:
                await self._inspected(number, name)
            finally:
                slots.release()
            self.report.inspected_at.append(time.monotonic() - self._began)
            if self.is_shared(number):
                await self._used(name)
                self.report.returned += 1
        except (MulliganError, NotConverged) as error:
            text = f"{type(error).__name__}: {error}"[:200]
            self.report.problems[text] = self.report.problems.get(text, 0) + 1

    async def _inspected(self, number: int, name: str) -> None:
        control, bmcs = self._admin.control, self._bmcs
        bmc = v1.Bmc(address=bmcs.address(number), credential="bmc", system=system_id(number))
        await control.enroll_machine(v1.EnrollMachineRequest(name=name, bmc=bmc))
        await self._ended(control.inspect_machine, v1.MachineRequest(machine=name))

    async def _used(self, name: str) -> None:
        """Provide, claim, deploy, and give back: the machine is cleaned and available again."""
        tenant = self._tenant
        await self._ended(self._admin.control.provide_machine, v1.MachineRequest(machine=name))
        whole = v1.Allocation(provider=name, amounts={"machine": 1})
        await self._claimed(v1.ClaimExactRequest(name=f"{name}-claim", allocations=[whole]))
        deploy = v1.DeployMachineRequest(claim=f"{name}-claim", image="image")
        await self._ended(tenant.control.deploy_machine, deploy)
        await tenant.control.release_machine(v1.MachineRequest(machine=name))
        await self._rests(name, v1.MachineState.AVAILABLE)

    async def _claimed(self, claim: v1.ClaimExactRequest) -> None:
        """Claim what an operator has just seen offered; the tenant may hear of it a bit later."""
        for _ in range(_CLAIM_TRIES):
            try:
                await self._tenant.resource.claim_exact(claim)
                return
            except Exhausted:
                await anyio.sleep(_POLL_S)
        await self._tenant.resource.claim_exact(claim)

    async def _rests(self, name: str, state: v1.MachineState) -> None:
        """Wait for the end of what nobody asked for by an id: the cleaning after a release."""
        while True:
            asked = v1.GetMachineRequest(machine=name)
            found = (await self._admin.control.get_machine(asked)).machine
            assert found is not None
            if found.state == state and found.operation is None:
                return
            if found.state == v1.MachineState.FAILED:
                raise NotConverged(f"{name}: {found.fault.message if found.fault else ''}")
            await anyio.sleep(_POLL_S)

    async def _ended(self, method: Callable[[Any], Awaitable[Any]], request: Any) -> None:
        """Ask for an operation, whose id is the request's, and wait for its end."""
        request.request_id = new_id()
        await method(request)
        await self._ends.of(request.request_id)


@asynccontextmanager
async def users(region: Region, bmcs: SimulatedBmcs, shared: int) -> AsyncIterator[Flows]:
    """Connect an operator and a tenant, with a BMC login, an image and a project."""
    project = await region.project("bench")
    folder = region.config.media.image_dir
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "image.iso").write_bytes(_IMAGE)
    in_project = msgspec.structs.replace(region.context, project=project)
    async with (
        Client(region.context, secret=region.secret, patience=_PATIENCE_S) as admin,
        Client(in_project, secret=region.secret, patience=_PATIENCE_S) as tenant,
    ):
        login = v1.CreateCredentialRequest(name="bmc", username=USER, password=PASSWORD)
        await admin.control.create_credential(login)
        sha256 = hashlib.sha256(_IMAGE).hexdigest()
        image = v1.CreateImageRequest(name="image", url="file:image.iso", sha256=sha256)
        await admin.control.create_image(image)
        ends = Ends(admin)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ends.run)
            yield Flows(admin, tenant, bmcs, ends, shared)
            tasks.cancel_scope.cancel()
