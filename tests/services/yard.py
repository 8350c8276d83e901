"""Emulated machines for tests that share one region: each test takes some for itself."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import anyio
import bcrypt

from mulligan.client import Client
from mulligan.model import new_id
from mulligan.proto import v1
from tests.e2e.fleet import Fleet, machine, rests
from tests.e2e.region import until


class Yard:
    """A fleet whose machines are taken from one after another, and the clients of its users."""

    def __init__(self, fleet: Fleet, admin: Client, red: Client) -> None:
        self.fleet, self.admin, self.red = fleet, admin, red
        self._left = list(fleet.names)

    async def enrolled(self, count: int = 1, rack: str = "") -> list[str]:
        """Enrol machines, in a rack of that name if one is given."""
        names, self._left = self._left[:count], self._left[count:]
        assert len(names) == count, "the fleet is too small"
        if rack:
            made = v1.CreateProviderRequest(name=rack, type="component")
            await self.admin.resource.create_provider(made)
        await self.fleet.enrol(self.admin, names, rack)
        return names

    async def manageable(self, count: int = 1, rack: str = "") -> list[str]:
        """Enrol machines and inspect them, all at once."""
        names = await self.enrolled(count, rack)
        await self.ask("inspect_machine", names, v1.MachineState.MANAGEABLE)
        return names

    async def adopted(self, count: int = 1, rack: str = "") -> list[str]:
        """Enrol machines that are in use by the project red already: none of them is switched."""
        names = await self.enrolled(count, rack)
        for name in names:
            await self.adopt(name, "red")
        for name in names:
            await rests(self.admin, name, v1.MachineState.ACTIVE)
        return names

    async def adopt(self, name: str, project: str) -> str:
        """Begin to adopt a machine; return the id of its claim to be."""
        claim = new_id()
        asked = v1.AdoptMachineRequest(request_id=claim, machine=name, project=project)
        await self.admin.control.adopt_machine(asked)
        return claim

    async def ask(
        self, method: str, names: Sequence[str], then: v1.MachineState, within: float = 60.0
    ) -> None:
        """Ask the same of machines, all at once, until they rest in a state."""

        async def one(name: str) -> None:
            await getattr(self.admin.control, method)(v1.MachineRequest(machine=name))
            await rests(self.admin, name, then, within)

        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(one, name)

    async def failed(self, name: str, within: float = 30.0) -> v1.Fault:
        """Return why a machine failed, once it has."""

        async def has_failed() -> bool:
            return (await self.machine(name)).state is v1.MachineState.FAILED

        await until(has_failed, f"{name} fails", within)
        fault = (await self.machine(name)).fault
        assert fault is not None
        return fault

    async def machine(self, name: str) -> v1.Machine:
        """Return a machine as an operator sees it."""
        return await machine(self.admin, name)

    async def why(self, name: str) -> v1.WhyMachineResponse:
        """Return why a machine is as it is."""
        return await self.admin.control.why_machine(v1.WhyMachineRequest(machine=name))

    def let_in(self, user: str, password: str) -> None:
        """Give the BMCs one account more."""
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()
        with (self.fleet.emulator.log.parent / "accounts").open("a") as accounts:
            accounts.write(f"{user}:{hashed}\n")

    def system(self, name: str) -> str:
        """Return the path of a machine's system at its BMC."""
        number = self.fleet.names.index(name)
        return f"/redfish/v1/Systems/{self.fleet.emulator.systems[number].uuid}"

    def writes(self, name: str) -> int:
        """Count what was written to a machine's system at its BMC."""
        counted = self.fleet.writes()
        return sum(n for (_, path), n in counted.items() if path.startswith(self.system(name)))


async def exact(client: Client, name: str, *nodes: str, start: datetime | None = None) -> str:
    """Claim machines by name for a day from ``start`` on; return the claim's UUID."""
    begins = start or datetime.now(UTC)
    window = v1.Window(start=start, end=begins + timedelta(days=1))
    allocations = [v1.Allocation(provider=node, amounts={"machine": 1}) for node in nodes]
    asked = v1.ClaimExactRequest(name=name, allocations=allocations, window=window)
    claim = (await client.resource.claim_exact(asked)).claim
    assert claim is not None
    return claim.uuid
