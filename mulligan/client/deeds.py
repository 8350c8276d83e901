"""What most programs want of a control plane, in one call each: claim, deploy, wait, give back."""

import time
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime, timedelta

import anyio

from mulligan.client.paging import every
from mulligan.client.stubs import Control, Resource
from mulligan.errors import DeadlineExceeded, FailedPrecondition, NotFound
from mulligan.proto.v1 import (
    CapabilityFilter,
    Claim,
    ClaimState,
    DeployMachineRequest,
    GetMachineRequest,
    ListClaimsRequest,
    ListMachinesRequest,
    Machine,
    MachineRequest,
    MachineState,
    MakeClaimRequest,
    RequestGroup,
    ResourceRequest,
    Span,
)
from mulligan.wording import failure_shown

MOVING_S = 1800.0
"""Seconds that a machine may take on its way, unless the caller says otherwise."""
FIRST_LOOK = 0.2
LAST_LOOK = 2.0
"""Seconds between two looks at a machine that is on its way."""


class Deeds:
    """The errands of a client. Objects are named by name or UUID."""

    control: Control
    resource: Resource

    def machines(
        self,
        *,
        states: Collection[MachineState] = (),
        claim: str = "",
        under: str = "",
        name: str = "",
        limit: int = 0,
    ) -> AsyncIterator[Machine]:
        """Yield the machines that suit, page by page; ``limit`` 0 means all of them.

        ``under`` is a provider that they stand under at any depth, ``name`` a pattern with ``*``.
        """
        request = ListMachinesRequest(states=list(states), claim=claim, under=under, name=name)
        return every(self.control.list_machines, request, lambda page: page.machines, limit=limit)

    def claims(
        self, *, states: Collection[ClaimState] = (), provider: str = "", limit: int = 0
    ) -> AsyncIterator[Claim]:
        """Yield claims, by default those that are reserved or active; ``limit`` 0 means all."""
        request = ListClaimsRequest(states=list(states), provider=provider)
        return every(self.resource.list_claims, request, lambda page: page.claims, limit=limit)

    async def claim(
        self,
        resources: Mapping[str, int],
        *,
        lasting: timedelta | None = None,
        start: datetime | None = None,
        count: int = 1,
        require: Collection[str] = (),
        name: str = "",
        request_id: str = "",
    ) -> Claim:
        """Claim ``count`` times these amounts, such as ``{"machine": 1}``, each of one provider.

        It begins at ``start`` (default: now; ahead of that it is a reservation) and ends after
        ``lasting`` (default: when it is released). ``require`` names capabilities. Raise Exhausted
        when nothing fits.
        """
        end = (start or datetime.now(UTC)) + lasting if lasting is not None else None
        group = RequestGroup(
            count=count,
            resources=dict(resources),
            capabilities=CapabilityFilter(require=list(require)) if require else None,
        )
        wish = ResourceRequest(groups=[group], window=Span(start=start, end=end))
        asked = MakeClaimRequest(request_id=request_id, name=name, request=wish)
        claim = (await self.resource.make_claim(asked)).claim
        assert claim is not None, "a claim that was made is in the answer"
        return claim

    async def deploy(
        self,
        claim: Claim | str,
        image: str,
        *,
        machine: str = "",
        user_data: str = "",
        hostname: str = "",
        timeout: float = MOVING_S,
    ) -> Machine:
        """Boot an image on a claim's machine, and return it once it is active.

        ``machine`` says which one, if there are several. Raise FailedPrecondition when the
        deployment fails, and DeadlineExceeded when it is not done within ``timeout`` seconds: it
        goes on then.
        """
        asked = DeployMachineRequest(
            claim=claim if isinstance(claim, str) else claim.uuid,
            machine=machine,
            image=image,
            user_data=user_data,
            hostname=hostname,
        )
        begun = (await self.control.deploy_machine(asked)).machine
        assert begun is not None, "the machine is in the answer"
        return await self.wait_for(begun.uuid, MachineState.ACTIVE, timeout=timeout)

    async def release(self, machine: str) -> Machine:
        """Give a machine and its claim back; it is cleaned and offered again, without us."""
        released = (await self.control.release_machine(MachineRequest(machine=machine))).machine
        assert released is not None, "the machine is in the answer"
        return released

    async def wait_for(
        self, machine: str, *states: MachineState, timeout: float = MOVING_S
    ) -> Machine:
        """Return a machine once it rests in one of these states, or at all if none is named.

        Raise FailedPrecondition when it has failed and that is none of them, NotFound when it is
        gone, DeadlineExceeded after ``timeout`` seconds.
        """
        until = time.monotonic() + timeout
        pause = FIRST_LOOK
        while True:
            found = (await self.control.get_machine(GetMachineRequest(machine=machine))).machine
            if found is None:
                raise NotFound("machine", machine)
            if found.operation is None:
                if found.state in states or (not states and found.state not in PASSING):
                    return found
                if found.state is MachineState.FAILED:
                    why = f"see `mulligan machine why {found.name}`"
                    raise FailedPrecondition(f"{failure_shown(found, found.name)}; {why}")
            left = until - time.monotonic()
            if left <= 0:
                wanted = " or ".join(str(state.name).lower() for state in states) or "at rest"
                raise DeadlineExceeded(
                    f"{found.name} is not {wanted} after {timeout:g} s but "
                    f"{str(found.state.name).lower()}; it goes on by itself"
                )
            await anyio.sleep(min(pause, left))
            pause = min(pause * 1.3, LAST_LOOK)


PASSING = frozenset(
    {
        MachineState.INSPECTING,
        MachineState.CLEANING,
        MachineState.DEPLOYING,
        MachineState.RESCUING,
        MachineState.RESTORING,
    }
)
"""States in which something goes on."""
