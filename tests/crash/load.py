"""Clients at work: each sends, waits a while for an answer, and writes down what it was told."""

import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

from mulligan.client import Client
from mulligan.errors import MulliganError
from mulligan.model import new_id
from mulligan.proto import v1
from tests.crash.checking import HOT_CLASS
from tests.crash.record import SILENCES, Call, Outcome, Record, outcome_of

COMMANDS = frozenset({"claim.make", "claim.release", "group.create", "group.delete"})
"""What only the load sends, as the log calls it."""
PATIENCE = (1.0, 12.0)
"""Seconds that a client waits before it takes an outcome for unknown."""
PAUSE = (0.05, 0.25)
SETTLES_WITHIN = 120.0


class Told(Exception):
    """A command was refused, or nobody answered in time."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Caller:
    """One client, named for the record; ``stop`` ends its work after the call at hand."""

    def __init__(
        self, client: Client, record: Record, name: str, seed: int, stop: anyio.Event
    ) -> None:
        self.client = client
        self.name = name
        self.rng = random.Random(f"{seed}-{name}")
        self.stop = stop
        self._record = record

    @property
    def seen(self) -> int:
        """The highest position that this client has seen."""
        return max(self.client.positions.values(), default=0)

    async def send(
        self, what: str, request: Any, *, of: str = "", amount: int = 0, patience: float = 0
    ) -> Any:
        """Send a command under its id and return the answer; raise Told where there is none."""
        request.request_id = request.request_id or new_id()
        service, _, name = what.partition(".")
        method = getattr(getattr(self.client, service), name)
        seen = self.seen
        began = self._record.asked(request.request_id, self.name, what)
        outcome, answer, said = Outcome.ACKED, None, ""
        try:
            answer = await method(request, timeout=patience or self.rng.uniform(*PATIENCE))
        except MulliganError as error:
            outcome, said = outcome_of(error), error.message
        self._record.answered(
            Call(
                id=request.request_id,
                client=self.name,
                what=what,
                began=began,
                ended=time.monotonic_ns(),
                outcome=outcome,
                seen=seen,
                seq=answer.position.seq if answer is not None else 0,
                said=said,
                of=of,
                amount=amount,
            )
        )
        if answer is None:
            raise Told(outcome)
        return answer

    async def settle(self, what: str, request: Any, *, of: str = "", amount: int = 0) -> Any:
        """Send a command again and again under one id, until it is done or refused."""
        with anyio.fail_after(SETTLES_WITHIN):
            while True:
                try:
                    return await self.send(what, request, of=of, amount=amount)
                except Told as told:
                    if told.outcome is not Outcome.UNKNOWN:
                        raise

    async def look(self, claim: str) -> None:
        """Read a claim and write down what it was."""
        seen, began = self.seen, time.monotonic_ns()
        try:
            answer = await self.client.resource.get_claim(v1.GetClaimRequest(claim=claim))
        except SILENCES:
            return
        assert answer.claim is not None
        self._record.answered(
            Call(
                id="",
                client=self.name,
                what="resource.get_claim",
                began=began,
                ended=time.monotonic_ns(),
                outcome=Outcome.ACKED,
                seen=seen,
                said=v1.ClaimState(answer.claim.state).name or "",
                about=claim,
            )
        )

    async def until_stopped(self, once: Callable[[], Awaitable[None]]) -> None:
        """Do something again and again, whatever it is told, with short pauses."""
        while not self.stop.is_set():
            with suppress(Told):
                await once()
            await anyio.sleep(self.rng.uniform(*PAUSE))

    def insists(self) -> Callable[..., Awaitable[Any]]:
        """Choose: settle the next command, or leave it where it is when nobody answers."""
        return self.settle if self.rng.random() < 0.6 else self.send


async def take_of_one(caller: Caller, provider: str) -> None:
    """Claim amounts of one provider that has too little for all, read them, give them back."""
    held: list[str] = []
    rng = caller.rng

    async def once() -> None:
        roll = rng.random()
        if held and roll < 0.25:
            await caller.look(rng.choice(held))
        elif held and (roll < 0.45 or len(held) > 3):
            claim = held.pop(rng.randrange(len(held)))
            await caller.insists()("resource.release_claim", v1.ReleaseClaimRequest(claim=claim))
            if rng.random() < 0.3:
                await caller.look(claim)
        else:
            amount = rng.randint(1, 3)
            taken = v1.Allocation(provider=provider, amounts={HOT_CLASS: amount})
            request = v1.ClaimExactRequest(allocations=[taken])
            made = await caller.insists()(
                "resource.claim_exact", request, of=provider, amount=amount
            )
            held.append(made.claim.uuid)

    await caller.until_stopped(once)


async def reserve_anywhere(caller: Caller) -> None:
    """Reserve windows that begin and end by themselves; give some of them back before."""
    rng = caller.rng

    async def once() -> None:
        start = datetime.now(UTC) + timedelta(seconds=rng.uniform(1, 4))
        window = v1.Span(start=start, end=start + timedelta(seconds=rng.randint(2, 8)))
        group = v1.RequestGroup(resources={"cpu.shared": rng.randint(1, 4)})
        request = v1.MakeClaimRequest(request=v1.ResourceRequest(groups=[group], window=window))
        made = await caller.insists()("resource.make_claim", request)
        await anyio.sleep(rng.uniform(0, 1))
        await caller.look(made.claim.uuid)
        if rng.random() < 0.3:
            back = v1.ReleaseClaimRequest(claim=made.claim.uuid)
            await caller.insists()("resource.release_claim", back)

    await caller.until_stopped(once)


async def make_and_unmake(caller: Caller) -> None:
    """Make groups, tag them and drop some; now and then a project and an account with a role."""
    rng = caller.rng

    async def group() -> None:
        name = f"group-{new_id()}"
        made = await caller.settle("resource.create_group", v1.CreateGroupRequest(name=name))
        for tag in ("blue", f"t-{rng.randrange(10**6)}"):
            tagging = v1.UpdateMetadataRequest(kind="group", object=made.group.uuid, add_tags=[tag])
            await caller.insists()("meta.update_metadata", tagging)
        if rng.random() < 0.7:
            gone = v1.DeleteGroupRequest(group=made.group.uuid)
            await caller.insists()("resource.delete_group", gone)

    async def account() -> None:
        name = f"one-{new_id()}"
        project = await caller.settle("iam.create_project", v1.CreateProjectRequest(name=name))
        request = v1.CreateAccountRequest(name=name, secret=f"secret of {name}")
        made = await caller.settle("iam.create_account", request)
        binding = v1.RoleBinding(role="member", project=project.project.uuid)
        bound = v1.BindRoleRequest(account=made.account.uuid, binding=binding)
        await caller.insists()("iam.bind_role", bound)

    async def once() -> None:
        await (account() if rng.random() < 0.05 else group())

    await caller.until_stopped(once)
