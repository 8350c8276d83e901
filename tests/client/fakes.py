"""Small services over real TLS, as the client expects the real ones to behave."""

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import anyio
import grpclib
from grpclib import Status
from grpclib.events import RecvRequest, listen
from grpclib.protocol import H2Protocol
from grpclib.server import Server

from mulligan.client.context import Context
from mulligan.proto import v1
from mulligan.tls import TlsFiles, issue, make_ca, server_context, write_pair

REGION = "here"
SECRET = "correct horse"


class FakeRegion:
    """The state that all fake instances share, and what they were asked.

    ``fates`` are those of the next claims: ``lost`` before they are made, ``unanswered`` after.
    ``away`` has claims neither looked up nor released.
    ``known`` are the other regions that it was told of; ``silent`` makes it answer nothing about
    regions for as long as it is set. ``traces`` are the traceparents of its calls.
    """

    def __init__(self, name: str = REGION) -> None:
        self.name = name
        self.known: list[v1.Region] = []
        self.silent = False
        self.endpoints: list[v1.Endpoint] = []
        self.watches = 0
        self.capacity = 1
        self.claims: dict[str, v1.Claim] = {}
        self.fates: list[str] = []
        self.away = False
        self.requests: list[tuple[str, object]] = []
        self.failures: list[grpclib.GRPCError] = []
        self.logins = 0
        self.refreshes = 0
        self.valid_tokens: set[str] = set()
        self.token_life = 900.0
        self.traces: list[str] = []
        self.seq = 0
        self.machines: dict[str, v1.Machine] = {}
        self.images: dict[str, v1.Image] = {}
        self.metadefs: dict[str, v1.Metadef] = {}
        self.records: list[v1.LogRecord] = []
        self.break_log_after: list[int] = []

    def position(self) -> v1.Position:
        return v1.Position(region=self.name, seq=self.seq)

    @property
    def held(self) -> list[v1.Claim]:
        """The claims that last."""
        return [one for one in self.claims.values() if one.state is v1.ClaimState.ACTIVE]

    @property
    def free(self) -> int:
        return self.capacity - len(self.held)

    def regions(self, *, all_of_them: bool) -> list[v1.Region]:
        """Return this region and those that it knows, with or without internal ones."""
        own = v1.Region(name=self.name, home=True, visibility="public")
        told = [one for one in self.known if all_of_them or one.visibility != "internal"]
        return [*told, own]

    def take(self, instance: str, request: object) -> None:
        """Note the request and fail as the script says."""
        self.requests.append((instance, request))
        if self.failures:
            raise self.failures.pop(0)

    def tokens(self) -> v1.LoginResponse:
        token = f"token-{self.logins}-{self.refreshes}"
        self.valid_tokens = {token}
        return v1.LoginResponse(
            access_token=token,
            refresh_token="refresh-1",
            expires_at=datetime.now(UTC) + timedelta(seconds=self.token_life),
            account="a-1",
        )


class Named(Protocol):
    """What has a UUID and a name."""

    uuid: str
    name: str


One = TypeVar("One", bound=Named)


def by_ref(held: Mapping[str, One], ref: str) -> One:
    """Return the object of this UUID or name."""
    for one in held.values():
        if ref in (one.uuid, one.name):
            return one
    raise grpclib.GRPCError(Status.NOT_FOUND, f"{ref!r} was not found")


class FakeCatalog(v1.CatalogBase):
    def __init__(self, region: FakeRegion) -> None:
        self.region = region

    async def list_endpoints(self, message: v1.ListEndpointsRequest) -> v1.ListEndpointsResponse:
        while self.region.silent:
            await anyio.sleep(0.05)
        return self._answer()

    async def watch_endpoints(
        self, message: v1.ListEndpointsRequest
    ) -> AsyncIterator[v1.ListEndpointsResponse]:
        self.region.watches += 1
        sent: v1.ListEndpointsResponse | None = None
        while True:
            now = self._answer()
            if now != sent:
                yield now
                sent = now
            await anyio.sleep(0.02)

    def _answer(self) -> v1.ListEndpointsResponse:
        return v1.ListEndpointsResponse(
            region=self.region.name,
            endpoints=list(self.region.endpoints),
            regions=self.region.regions(all_of_them=False),
        )


class FakeMeta(v1.MetaBase):
    def __init__(self, region: FakeRegion) -> None:
        self.region = region

    async def list_regions(self, message: v1.ListRegionsRequest) -> v1.ListRegionsResponse:
        while self.region.silent:
            await anyio.sleep(0.05)
        return v1.ListRegionsResponse(regions=self.region.regions(all_of_them=True))

    async def get_metadef(self, message: v1.GetMetadefRequest) -> v1.MetadefResponse:
        return v1.MetadefResponse(metadef=by_ref(self.region.metadefs, message.metadef))

    async def create_metadef(self, message: v1.CreateMetadefRequest) -> v1.MetadefResponse:
        self.region.take("meta", message)
        made = v1.Metadef(
            uuid=message.request_id,
            name=message.name,
            description=message.description,
            kinds=message.kinds,
            etag="1",
        )
        self.region.metadefs.setdefault(made.uuid, made)
        return v1.MetadefResponse(metadef=made)

    async def update_metadef(self, message: v1.UpdateMetadefRequest) -> v1.MetadefResponse:
        self.region.take("meta", message)
        held = by_ref(self.region.metadefs, message.metadef)
        for field in message.update_mask:
            setattr(held, field, getattr(message, field))
        return v1.MetadefResponse(metadef=held)


class FakeIam(v1.IamBase):
    def __init__(self, region: FakeRegion) -> None:
        self.region = region

    async def login(self, message: v1.LoginRequest) -> v1.LoginResponse:
        self.region.logins += 1
        if message.secret != SECRET:
            raise grpclib.GRPCError(Status.UNAUTHENTICATED, "wrong account or secret")
        return self.region.tokens()

    async def refresh(self, message: v1.RefreshRequest) -> v1.LoginResponse:
        self.region.refreshes += 1
        if message.refresh_token != "refresh-1":
            raise grpclib.GRPCError(Status.UNAUTHENTICATED, "unknown refresh token")
        return self.region.tokens()

    async def logout(self, message: v1.LogoutRequest) -> v1.PositionResponse:
        self.region.take("iam", message)
        self.region.valid_tokens = set()
        return v1.PositionResponse(position=self.region.position())

    async def who_am_i(self, message: v1.WhoAmIRequest) -> v1.WhoAmIResponse:
        return v1.WhoAmIResponse(
            account="a-1", account_name="ada", region=self.region.name, roles=["admin"]
        )


class FakeControl(v1.ControlBase):
    def __init__(self, region: FakeRegion, instance: str) -> None:
        self.region = region
        self.instance = instance

    async def enroll_machine(self, message: v1.EnrollMachineRequest) -> v1.MachineResponse:
        self.region.take(self.instance, message)
        self.region.seq += 1
        machine = v1.Machine(uuid="m-1", name=message.name, state=v1.MachineState.ENROLLED)
        self.region.machines[message.name] = machine
        return v1.MachineResponse(machine=machine, position=self.region.position())

    async def get_machine(self, message: v1.GetMachineRequest) -> v1.MachineResponse:
        self.region.take(self.instance, message)
        machine = self.region.machines.get(message.machine)
        if machine is None:
            raise grpclib.GRPCError(Status.NOT_FOUND, f"machine {message.machine!r} was not found")
        return v1.MachineResponse(machine=machine, position=self.region.position())

    async def list_machines(self, message: v1.ListMachinesRequest) -> v1.ListMachinesResponse:
        self.region.take(self.instance, message)
        return v1.ListMachinesResponse(
            machines=list(self.region.machines.values()), position=self.region.position()
        )

    async def inspect_machine(self, message: v1.MachineRequest) -> v1.MachineResponse:
        self.region.take(self.instance, message)
        machine = self.region.machines[message.machine]
        machine.state = v1.MachineState.MANAGEABLE
        return v1.MachineResponse(machine=machine, position=self.region.position())

    async def get_image(self, message: v1.GetImageRequest) -> v1.ImageResponse:
        return v1.ImageResponse(image=by_ref(self.region.images, message.image))

    async def create_image(self, message: v1.CreateImageRequest) -> v1.ImageResponse:
        self.region.take(self.instance, message)
        if any(image.name == message.name for image in self.region.images.values()):
            raise grpclib.GRPCError(Status.ALREADY_EXISTS, "the name is taken")
        image = v1.Image(
            uuid=message.request_id, name=message.name, url=message.url, sha256=message.sha256
        )
        self.region.images[image.uuid] = image
        return v1.ImageResponse(image=image)

    async def why_machine(self, message: v1.WhyMachineRequest) -> v1.WhyMachineResponse:
        self.region.take(self.instance, message)
        return v1.WhyMachineResponse(
            summary="node-1 is manageable and rests",
            chain=[v1.Cause(actor="ada", what="InspectMachine", detail="asked")],
        )


class FakeLog(v1.LogBase):
    def __init__(self, region: FakeRegion) -> None:
        self.region = region

    async def watch_log(self, message: v1.WatchLogRequest) -> AsyncIterator[v1.LogRecord]:
        self.region.take("log", message)
        limit = self.region.break_log_after.pop(0) if self.region.break_log_after else None
        for number, record in enumerate(
            r for r in self.region.records if r.position and r.position.seq > message.after
        ):
            if number == limit:
                raise grpclib.GRPCError(Status.UNAVAILABLE, "stopping")
            yield record


class FakeResource(v1.ResourceBase):
    """Claims of one class: as many as there is capacity for; a request id makes one claim."""

    def __init__(self, region: FakeRegion) -> None:
        self.region = region

    async def dry_run(self, message: v1.DryRunResourceRequest) -> v1.DryRunResponse:
        self.region.take("resource", message)
        assert message.make_claim is not None, "the only command that it knows"
        record = v1.LogRecord(command="claim.make", commit=message.make_claim.request_id)
        return v1.DryRunResponse(position=self.region.position(), records=[record])

    async def list_candidates(self, message: v1.ListCandidatesRequest) -> v1.ListCandidatesResponse:
        if not self.region.free:
            return v1.ListCandidatesResponse(why_not=v1.WhyNot(text="all are taken"))
        left = v1.ProviderSummary(uuid="p", free={"machine": self.region.free, "disk": 999})
        return v1.ListCandidatesResponse(candidates=[v1.Candidate()], providers=[left])

    async def make_claim(self, message: v1.MakeClaimRequest) -> v1.ClaimResponse:
        """Carry it out, unless it is to be lost on its way here; answer unless that is lost."""
        fate = self.region.fates.pop(0) if self.region.fates else "answered"
        if fate == "lost":
            raise grpclib.GRPCError(Status.UNAVAILABLE, "lost on the way")
        claim = self.region.claims.get(message.request_id)
        if claim is None:
            if not self.region.free:
                raise grpclib.GRPCError(Status.RESOURCE_EXHAUSTED, "all are taken")
            claim = v1.Claim(uuid=message.request_id, state=v1.ClaimState.ACTIVE)
            self.region.claims[claim.uuid] = claim
        if fate == "unanswered":
            raise grpclib.GRPCError(Status.UNAVAILABLE, "the answer is lost")
        return v1.ClaimResponse(claim=claim)

    async def get_claim(self, message: v1.GetClaimRequest) -> v1.ClaimResponse:
        self._look()
        if message.claim not in self.region.claims:
            raise grpclib.GRPCError(Status.NOT_FOUND, "no such claim")
        return v1.ClaimResponse(claim=self.region.claims[message.claim])

    async def release_claim(self, message: v1.ReleaseClaimRequest) -> v1.ClaimResponse:
        self._look()
        claim = self.region.claims[message.claim]
        claim.state = v1.ClaimState.RELEASED
        return v1.ClaimResponse(claim=claim)

    def _look(self) -> None:
        if self.region.away:
            raise grpclib.GRPCError(Status.UNAVAILABLE, "away")


class MortalServer(Server):
    """A server whose connections end with it, as those of a process do."""

    def __init__(self, services: Sequence[Any]) -> None:
        super().__init__(services)
        self._protocols: list[H2Protocol] = []

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._protocols.append(protocol)
        return protocol

    def close(self) -> None:
        super().close()
        for protocol in self._protocols:
            if hasattr(protocol, "processor"):  # it is connected
                protocol.processor.close()


class Instance:
    """One running process of the fake region: where it is, and how to stop it."""

    def __init__(self, server: Server, address: str) -> None:
        self.server = server
        self.address = address

    async def stop(self) -> None:
        self.server.close()
        await self.server.wait_closed()


class Cluster:
    """Starts and stops instances of the fake region on free ports."""

    def __init__(self, region: FakeRegion, tls: TlsFiles) -> None:
        self.region = region
        self.tls = tls
        self.instances: list[Instance] = []

    async def start(self, *, port: int = 0) -> Instance:
        """Start one process that serves everything, and register it."""
        number = len(self.instances)
        listener = listen_locally(port)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        server = MortalServer(
            [
                FakeCatalog(self.region),
                FakeIam(self.region),
                FakeMeta(self.region),
                FakeResource(self.region),
                FakeControl(self.region, f"i{number}"),
                FakeLog(self.region),
            ]
        )
        listen(server, RecvRequest, self._check)
        await server.start(sock=listener, ssl=server_context(self.tls))
        instance = Instance(server, address)
        self.instances.append(instance)
        self.region.endpoints += [
            v1.Endpoint(
                service=service, instance=f"i{number}", address=address, region=self.region.name
            )
            for service in ("iam", "meta", "resource", "control", "log")
        ]
        return instance

    async def stop(self, instance: Instance, *, unregister: bool = True) -> None:
        """Stop a process as a crash would: nobody is told but, at last, the registry."""
        await instance.stop()
        if unregister:
            self.region.endpoints = [
                endpoint
                for endpoint in self.region.endpoints
                if endpoint.address != instance.address
            ]

    async def close(self) -> None:
        for instance in self.instances:
            await instance.stop()

    def context(self, *instances: Instance) -> Context:
        """Return a context that knows the given instances only."""
        addresses = tuple(instance.address for instance in instances or self.instances)
        return Context(address=addresses, ca=str(self.tls.ca), account="ada")

    async def _check(self, event: RecvRequest) -> None:
        self.region.traces.append(str(event.metadata.get("traceparent", "")))
        if v1.PERMISSIONS[event.method_name] == "public":
            return
        token = str(event.metadata.get("authorization", "")).removeprefix("Bearer ")
        if token not in self.region.valid_tokens:
            raise grpclib.GRPCError(Status.UNAUTHENTICATED, "the token is not valid")


def listen_locally(port: int = 0) -> socket.socket:
    """Listen on a port of 127.0.0.1, a free one for 0.

    The protocol must be named: asyncio turns Nagle's algorithm off only where it sees TCP, and with
    it on every answer waits 40 ms for a delayed acknowledgement.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


def throwaway_tls(folder: Path) -> TlsFiles:
    """Make a CA and a certificate for 127.0.0.1."""
    files = TlsFiles(ca=folder / "ca.pem", cert=folder / "cert.pem", key=folder / "key.pem")
    ca = make_ca("throw-away")
    files.ca.write_bytes(ca.cert)
    write_pair(issue(ca, "fake", ips=["127.0.0.1"], server=True), files.cert, files.key)
    return files
