"""A small Control, Executor and Meta over real TLS, that hold machines as the real ones do."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

import grpclib
from grpclib import Status
from grpclib.server import Server

from mulligan.proto import v1
from mulligan.proto.v1 import MachineState as State
from mulligan.tls import TlsFiles, server_context
from tests.client.fakes import listen_locally

SERVICES = ("iam", "meta", "control", "executor")


class Fleet:
    """What the services hold, what they were asked, and what happens before a look."""

    def __init__(self) -> None:
        self.machines: dict[str, v1.Machine] = {}
        self.answers: list[v1.ScannedBmc] = []
        self.asked: list[object] = []
        self.refuse: set[str] = set()
        self.before_look: Callable[[], None] = lambda: None

    def add(self, name: str, state: State, *, model: str = "R1", address: str = "") -> v1.Machine:
        """Put a machine into the fleet."""
        machine = v1.Machine(
            uuid=f"00000000-0000-7000-8000-{len(self.machines):012d}",
            name=name,
            state=state,
            facts=v1.Facts(model=model),
            bmc=v1.Bmc(address=address or f"https://{name}", credential="c"),
            profile="",
        )
        self.machines[machine.uuid] = machine
        return machine

    def named(self, ref: str) -> v1.Machine:
        """Return a machine by name or UUID."""
        for machine in self.machines.values():
            if ref in (machine.name, machine.uuid):
                return machine
        raise grpclib.GRPCError(Status.NOT_FOUND, f"machine {ref!r} was not found")

    def asked_of(self, kind: type[v1.MachineRequest]) -> list[str]:
        """Return the names of the machines of the requests of a kind."""
        return [self.named(one.machine).name for one in self.asked if isinstance(one, kind)]


class Control(v1.ControlBase):
    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    async def list_machines(self, message: v1.ListMachinesRequest) -> v1.ListMachinesResponse:
        found = [
            one
            for one in self.fleet.machines.values()
            if (not message.states or one.state in message.states)
            and fnmatchcase(one.name, message.name or "*")
            and one.facts is not None
            and fnmatchcase(one.facts.model, message.model or "*")
        ]
        copies = [v1.Machine.parse(bytes(one)) for one in found]
        return v1.ListMachinesResponse(machines=copies)

    async def get_machine(self, message: v1.GetMachineRequest) -> v1.MachineResponse:
        self.fleet.before_look()
        return v1.MachineResponse(machine=self.fleet.named(message.machine))

    async def list_credentials(
        self, message: v1.ListCredentialsRequest
    ) -> v1.ListCredentialsResponse:
        return v1.ListCredentialsResponse(credentials=[v1.Credential(uuid="u", name="c")])

    async def list_profiles(self, message: v1.ListProfilesRequest) -> v1.ListProfilesResponse:
        return v1.ListProfilesResponse(profiles=[v1.HardwareProfile(name="dell")])

    async def enroll_machine(self, message: v1.EnrollMachineRequest) -> v1.MachineResponse:
        self.fleet.asked.append(message)
        if message.name in self.fleet.refuse:
            raise grpclib.GRPCError(Status.FAILED_PRECONDITION, "no")
        assert message.bmc is not None
        machine = self.fleet.add(message.name, State.ENROLLED, address=message.bmc.address)
        machine.bmc, machine.profile = message.bmc, message.profile
        return v1.MachineResponse(machine=machine)

    async def inspect_machine(self, message: v1.MachineRequest) -> v1.MachineResponse:
        return self._moved(message, State.MANAGEABLE)

    async def release_machine(self, message: v1.MachineRequest) -> v1.MachineResponse:
        return self._moved(message, State.AVAILABLE)

    async def update_machine(self, message: v1.UpdateMachineRequest) -> v1.MachineResponse:
        machine = self.fleet.named(message.machine)
        self.fleet.asked.append(message)
        machine.bmc = message.bmc or machine.bmc
        machine.profile = machine.profile if message.profile is None else message.profile
        return v1.MachineResponse(machine=machine)

    def _moved(self, message: v1.MachineRequest, state: State) -> v1.MachineResponse:
        machine = self.fleet.named(message.machine)
        self.fleet.asked.append(message)
        if machine.name in self.fleet.refuse:
            raise grpclib.GRPCError(Status.FAILED_PRECONDITION, f"{machine.name} is busy")
        machine.state = state
        return v1.MachineResponse(machine=machine)


class Executor(v1.ExecutorBase):
    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    async def scan_bmcs(self, message: v1.ScanBmcsRequest) -> AsyncIterator[v1.ScannedBmc]:
        self.fleet.asked.append(message)
        for answer in self.fleet.answers:
            yield answer


class Iam(v1.IamBase):
    async def login(self, message: v1.LoginRequest) -> v1.LoginResponse:
        return v1.LoginResponse(
            access_token="token",
            refresh_token="refresh",
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )


class Meta(v1.MetaBase):
    async def resolve(self, message: v1.ResolveRequest) -> v1.ResolveResponse:
        found = [v1.Name(name=name) for name in message.names if name.startswith("rack")]
        return v1.ResolveResponse(names=found)


class Catalog(v1.CatalogBase):
    def __init__(self, address: str) -> None:
        self.address = address

    async def list_endpoints(self, message: v1.ListEndpointsRequest) -> v1.ListEndpointsResponse:
        endpoints = [
            v1.Endpoint(service=name, instance="i", address=self.address, region="here")
            for name in SERVICES
        ]
        return v1.ListEndpointsResponse(region="here", endpoints=endpoints)


@asynccontextmanager
async def served(fleet: Fleet, tls: TlsFiles) -> AsyncIterator[str]:
    """Serve a fleet and yield the address."""
    listener = listen_locally()
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    server = Server([Catalog(address), Iam(), Meta(), Control(fleet), Executor(fleet)])
    await server.start(sock=listener, ssl=server_context(tls))
    try:
        yield address
    finally:
        server.close()
        await server.wait_closed()
