"""Mixed work at a steady pace: what tenants, operators and machines do in a busy region."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

from mulligan.client import Client
from mulligan.errors import Exhausted, MulliganError
from mulligan.model import new_id
from mulligan.proto import v1
from tests.e2e.fleet import IMAGE, rests

PAUSE = 0.1
"""Seconds a client rests between two calls, on average."""

Work = Callable[[], Awaitable[Any]]


class Load:
    """Clients that go on until they are cancelled; ``done`` and ``failed`` count calls by kind."""

    def __init__(self, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._rng = random.Random(seed)

    async def go_on(self, name: str, work: Work) -> None:
        """Repeat a piece of work; what fails is counted, by its error, and tried again."""
        while True:
            try:
                await work()
                self.done[name] += 1
            except Exhausted:
                self.done[f"{name}: full"] += 1
            except MulliganError as error:
                self.failed[f"{name}: {type(error).__name__}: {error.message[:200]}"] += 1
            await anyio.sleep(self._rng.expovariate(1 / PAUSE))

    def of_tenant(self, client: Client) -> dict[str, Work]:
        """What a tenant does."""
        held: list[str] = []

        async def claim() -> None:
            if len(held) > 6:
                await client.resource.release_claim(v1.ReleaseClaimRequest(claim=held.pop(0)))
            group = v1.RequestGroup(resources={"memory": self._rng.randint(1, 4)})
            request = v1.MakeClaimRequest(request=v1.ResourceRequest(groups=[group]))
            made = (await client.resource.make_claim(request)).claim
            assert made is not None
            held.append(made.uuid)

        async def reserve() -> None:
            start = datetime.now(UTC) + timedelta(hours=self._rng.randint(1, 500))
            group = v1.RequestGroup(resources={"memory": self._rng.randint(1, 8)})
            when = v1.Span(start=start, end=start + timedelta(hours=self._rng.randint(1, 48)))
            request = v1.ResourceRequest(groups=[group], window=when)
            asked = v1.MakeClaimRequest(request=request)
            made = (await client.resource.make_claim(asked)).claim
            assert made is not None
            await client.resource.release_claim(v1.ReleaseClaimRequest(claim=made.uuid))

        async def look() -> None:
            await client.resource.list_claims(v1.ListClaimsRequest(page=v1.Page(size=50)))
            await client.resource.list_providers(v1.ListProvidersRequest())

        return {"claim": claim, "reserve": reserve, "tenant reads": look}

    def of_operator(self, client: Client) -> dict[str, Work]:
        """What an operator does."""

        async def keep() -> None:
            name = f"g-{new_id()[-12:]}"
            made = (await client.resource.create_group(v1.CreateGroupRequest(name=name))).group
            assert made is not None
            tag = v1.UpdateMetadataRequest(kind="group", object=made.uuid, add_tags=["soak"])
            await client.meta.update_metadata(tag)
            await client.resource.delete_group(v1.DeleteGroupRequest(group=made.uuid))

        async def look() -> None:
            await client.control.list_machines(v1.ListMachinesRequest())
            await client.log.list_audit(v1.ListAuditRequest(page=v1.Page(size=50)))
            head = (await client.log.get_log_status(v1.GetLogStatusRequest())).head
            assert head is not None
            first = max(1, head.seq - 50)
            async for _ in client.log.read_log(v1.ReadLogRequest(first=first, last=head.seq)):
                pass

        async def log_in() -> None:
            await anyio.sleep(20)
            await client.log_in()

        return {"groups and tags": keep, "operator reads": look, "logins": log_in}

    def of_machine(self, client: Client, machine: str, operator: Client) -> dict[str, Work]:
        """A machine's life: claimed, deployed, given back, cleaned, which an operator sees."""

        async def live() -> None:
            name = f"{machine}-{new_id()[-12:]}"
            held = v1.Allocation(provider=machine, amounts={"machine": 1})
            await client.resource.claim_exact(v1.ClaimExactRequest(name=name, allocations=[held]))
            await client.control.deploy_machine(v1.DeployMachineRequest(claim=name, image=IMAGE))
            await rests(client, machine, v1.MachineState.ACTIVE, 120)
            await client.resource.release_claim(v1.ReleaseClaimRequest(claim=name))
            await rests(operator, machine, v1.MachineState.AVAILABLE, 120)

        return {"machine lives": live}
