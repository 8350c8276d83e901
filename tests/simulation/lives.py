"""What the clients of a region want: lives of machines, claims on a hot provider, sessions."""

from datetime import timedelta
from functools import partial
from typing import Any

import anyio
from msgspec.structs import replace

from mulligan.events.claim import Allocation
from mulligan.events.machine import Bmc
from mulligan.handlers import deployment
from mulligan.handlers import operations as ops
from mulligan.handlers.claim import MakeClaim
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.enrolment import EnrolMachine
from mulligan.handlers.machine import Machine
from mulligan.handlers.project import SetProjectDisabled
from mulligan.handlers.rotation import StartRotation
from mulligan.handlers.sessions import EndSession, OpenSession, RevokeTokens
from mulligan.handlers.upkeep import AllowLogins
from mulligan.model import (
    AccountId,
    ClaimId,
    CommitId,
    CredentialId,
    ImageId,
    MachineId,
    ProjectId,
    ProviderId,
    ResourceClass,
    stream_id,
)

from .clients import INSISTS, Client
from .virtual import clock

GPU = ResourceClass("gpu")
MACHINE = ResourceClass("machine")
_OS = ImageId("os")
_ROOT = CredentialId("root")


async def crowd(world: Any, client: Client) -> None:
    """Claim what everybody wants, now or later, and give it back now and then."""
    rng, horizon = client.rng, world.plan.horizon
    for _ in range(rng.randint(2, 4)):
        later = rng.random() < 0.4
        start = clock() + timedelta(seconds=rng.uniform(0.0, horizon / 2)) if later else None
        ends = rng.random() < 0.7
        length = timedelta(seconds=rng.uniform(0.5, horizon / 2))
        end = (start or clock()) + length if ends else None
        amount, notice = rng.randint(1, min(3, world.plan.capacity)), rng.choice((0, 2))

        wish = MakeClaim(
            claim=ClaimId(""),
            project=ProjectId(client.actor.project),
            account=AccountId(client.actor.account),
            allocations=(Allocation(provider=ProviderId("hot"), amounts={GPU: amount}),),
            start=start,
            end=end,
            ending_notice=notice,
        )
        made = await client.ask(partial(_named, wish))
        await anyio.sleep(rng.uniform(0.0, 4.0))
        if made.result == "acked":
            await client.look(stream_id("claim", made.id))
            if rng.random() < 0.6:
                await client.ask(ReleaseClaim(claim=ClaimId(made.id)))


def _named(wish: MakeClaim, key: str) -> MakeClaim:
    return replace(wish, claim=ClaimId(key))


async def tenant(world: Any, client: Client, project: str) -> None:
    """Log in and out; one of the tenants is shut out for a while."""
    account = AccountId(client.actor.account)
    until = clock() + timedelta(hours=1)
    for _ in range(2):
        session = client.new_id()
        await client.ask(OpenSession(account=account, session=session, credential="", until=until))
        await anyio.sleep(client.rng.uniform(0.0, 5.0))
        if client.rng.random() < 0.5:
            await client.ask(EndSession(account=account, session=session, until=until))
        elif client.rng.random() < 0.3:
            await client.ask(RevokeTokens(account=account))
        await client.look(stream_id("account", account))
    if project == "red":
        key = ProjectId(project)
        await client.ask(SetProjectDisabled(project=key, disabled=True))
        await anyio.sleep(client.rng.uniform(0.0, 10.0))
        await client.ask(SetProjectDisabled(project=key, disabled=False))


async def rotation(world: Any, client: Client) -> None:
    """Give the machines' login another password, while everything goes on."""
    await anyio.sleep(client.rng.uniform(0.0, 20.0))
    world.secrets.kept["2"] = "second-password"
    asked = await client.ask(StartRotation(credential=_ROOT, version="2"))
    assert asked.result in {"acked", "unknown"}, asked


async def machine_life(world: Any, client: Client, number: int) -> None:
    """Take a machine through a life: switched again and again, or serving a claim."""
    key = MachineId(f"m{number}")
    bmc = Bmc(address=f"https://bmc-{number}", credential=_ROOT)
    await client.ask(EnrolMachine(machine=key, name=key, bmc=bmc), tries=INSISTS)
    await _do(client, key, lambda op: ops.InspectMachine(machine=key, operation=op))
    if world.plan.lives == "cycle":
        for _ in range(client.rng.randint(2, 4)):
            target = client.rng.choice(("on", "off", "restart", "cycle"))
            await _do(
                client,
                key,
                lambda op, t=target: ops.PowerMachine(machine=key, target=t, operation=op),
            )
        return
    await _do(client, key, lambda op: ops.ProvideMachine(machine=key, operation=op))
    allocation = Allocation(provider=ProviderId(key), amounts={MACHINE: 1})
    made = await client.ask(
        lambda own: MakeClaim(
            claim=ClaimId(own),
            project=ProjectId("web"),
            account=AccountId("ann"),
            allocations=(allocation,),
        ),
        tries=INSISTS,
    )
    claim = ClaimId(made.id)
    await _do(
        client, key, lambda op: deployment.DeployMachine(claim=claim, image=_OS, operation=op)
    )
    await client.ask(ReleaseClaim(claim=claim))
    await _rests(client, key)


async def _do(client: Client, key: MachineId, wish: Any) -> None:
    """Ask for an operation, once nothing else runs, and see it through."""
    for _ in range(40):
        asked = await client.ask(lambda own: wish(CommitId(own)))
        await _rests(client, key)
        if asked.result == "acked":
            return
        await anyio.sleep(1.0)


async def _rests(client: Client, key: MachineId) -> None:
    """Wait for the end of what runs; what failed is tried again."""
    for _ in range(400):
        state: Machine | None = await client.look(stream_id("machine", key))
        if state is not None and state.operation is None:
            if state.state != "failed":
                return
            if state.fault is not None and state.fault.fault == "bad-credentials":
                await client.ask(AllowLogins(machine=key))
            await client.ask(lambda own: ops.RetryMachine(machine=key, operation=CommitId(own)))
        await anyio.sleep(2.0)
