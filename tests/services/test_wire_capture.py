"""No secret passes a wire in the clear: all of the loopback is captured while secrets are in use.

The region has TLS on every link, Postgres over TCP included.
"""

import base64
import secrets
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
from grpclib.client import Channel
from grpclib.server import Server

from mulligan.client import Client
from mulligan.config import insecure_links, load
from mulligan.proto import v1
from mulligan.redfish.tokens import TokenMaker
from mulligan.tls import server_context
from tests.client.fakes import FakeCatalog, FakeRegion, listen_locally
from tests.e2e.fleet import Fleet, machine, rests
from tests.e2e.region import RunningRegion, short_folder, until
from tests.services.edge import Edge
from tests.services.postgres_front import postgres_front
from tests.services.test_planted_secrets import forms_of
from tests.services.wire import Wire, huffman, open_wire
from tests.services.yard import exact

IMAGE = "calls-home"
IN_THE_CLEAR = {"a marker", "a bearer"}


def permitted() -> str:
    """Return why packets cannot be captured here; nothing if they can."""
    try:
        open_wire().close()
    except OSError as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(permitted()), reason=f"no capture here: {permitted()}")


class Guarded(Wire):
    """A capture that looks for what is planted, in every form that a secret can have."""

    def plant(self, what: str, secret: str | bytes = "") -> str:
        """Return a secret, a new one unless it is given, that is looked for from now on."""
        text = secret or f"Pl4nted-{secrets.token_urlsafe(18)}"
        raw = text.encode() if isinstance(text, str) else text
        shown = raw.decode("latin-1")
        self.look_for(what, [*forms_of(raw), huffman(shown), huffman(f"Bearer {shown}")])
        return shown


class Seen(NamedTuple):
    """What was captured, and what the services said meanwhile."""

    wire: Guarded
    machines: list[str]
    logs: str


@asynccontextmanager
async def tls_everywhere(folder: Path) -> AsyncIterator[RunningRegion]:
    """A region of its own, every link of which is TLS over TCP."""
    region = RunningRegion(folder)
    service = region.paths.tls("service")
    socket = region.paths.postgres / ".s.PGSQL.5432"
    context = server_context(service, client_certs=True)
    context.set_alpn_protocols(["postgresql"])
    async with postgres_front(socket, context) as port:
        files = f"sslrootcert={service.ca}&sslcert={service.cert}&sslkey={service.key}"
        dsn = f"postgresql://postgres@127.0.0.1:{port}/mulligan?sslmode=verify-full&{files}"
        more = {"MULLIGAN_POSTGRES_DSN": dsn, "MULLIGAN_OBSERVE_POLL_S": "5"}
        region.environment = {**region.environment, **more}
        assert not insecure_links(load(region.paths.config, more))
        async with region:
            yield region


@pytest.fixture(scope="module")
async def seen() -> Seen:
    """Every kind of secret was given and used, and a machine deployed, under a capture."""
    with short_folder() as folder, Guarded() as wire:
        await in_the_clear(wire)
        async with tls_everywhere(folder) as region:
            machines = await work(region, wire)
            files = region.paths.state_dir.glob("logs/*.log")
            logs = "".join(path.read_text(errors="replace") for path in files)
    return Seen(wire, machines, logs)


async def in_the_clear(wire: Guarded) -> None:
    """Send markers in plain text: over two packets, and Huffman-coded in a header of gRPC."""
    marker, bearer = wire.plant("a marker"), wire.plant("a bearer")
    listener = listen_locally()
    port = listener.getsockname()[1]
    server = Server([FakeCatalog(FakeRegion())])
    await server.start(sock=listener)
    channel = Channel("127.0.0.1", port)
    said = {"authorization": f"Bearer {bearer}"}
    await v1.CatalogStub(channel).list_endpoints(v1.ListEndpointsRequest(), metadata=said)
    channel.close()
    server.close()
    await server.wait_closed()
    plain = socket.create_server(("127.0.0.1", 0))
    with plain, socket.create_connection(plain.getsockname()) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in (marker[:10], marker[10:]):
            stream.sendall(part.encode())


async def work(region: RunningRegion, wire: Guarded) -> list[str]:
    """Give and use every kind of secret; return the machines that are listed in the end."""
    edge = Edge(region)
    wire.plant("the administrator's secret", region.admin_secret)
    (master, *_) = region.paths.master_key.read_text().split()
    wire.plant("the master key", base64.b64decode(master))
    wire.plant("the master key as text", master)
    fleet = Fleet(region, region.paths.state_dir.parent / "fleet", 1, slowest=1)
    fleet.emulator.password = password = wire.plant("a BMC password")
    wire.plant("a BMC login", f"{fleet.emulator.user}:{password}")
    async with fleet.emulator:
        red = await tenant(region, edge, wire)
        await deploy(region, fleet, red, wire)
    edge.close()
    listed = await red.control.list_machines(v1.ListMachinesRequest())
    return [found.name for found in listed.machines]


async def tenant(region: RunningRegion, edge: Edge, wire: Guarded) -> Client:
    """Make an account with a secret, log in, refresh, keep user data; return its client."""
    admin, secret = await edge.admin(), wire.plant("an account's secret")
    wire.plant("an administrator's token", admin)
    await edge.call("iam.create_project", v1.CreateProjectRequest(name="red"), admin)
    await edge.call(
        "iam.create_account", v1.CreateAccountRequest(name="rita", secret=secret), admin
    )
    binding = v1.RoleBinding(role="member", project="red")
    await edge.call("iam.bind_role", v1.BindRoleRequest(account="rita", binding=binding), admin)
    login = v1.LoginRequest(account="rita", secret=secret, project="red")
    answer = await edge.call("iam.login", login)
    wire.plant("a token", answer.access_token)
    wire.plant("a refresh token", answer.refresh_token)
    content = wire.plant("user data").encode()
    made = v1.CreateUserDataRequest(name="first-boot", content=b"#cloud-config\n# " + content)
    await edge.call("control.create_user_data", made, answer.access_token)
    await edge.call("iam.refresh", v1.RefreshRequest(refresh_token=answer.refresh_token))
    return region.client("rita", secret, "red")


async def deploy(region: RunningRegion, fleet: Fleet, red: Client, wire: Guarded) -> None:
    """Enrol, inspect, provide and deploy a machine; report in its name."""
    admin, (name,) = region.client(), fleet.names
    await fleet.prepare(admin)
    tiny = (await admin.control.get_image(v1.GetImageRequest(image="tiny"))).image
    assert tiny is not None
    image = v1.CreateImageRequest(
        name=IMAGE, url=tiny.url, sha256=tiny.sha256, ready_when="phone-home"
    )
    await admin.control.create_image(image)
    await fleet.enrol(admin, fleet.names)
    await fleet.provide(admin, fleet.names)
    claim = await exact(red, "wired", name)
    asked = v1.DeployMachineRequest(claim=claim, image=IMAGE, user_data="first-boot")
    await red.control.deploy_machine(asked)

    async def awaited() -> bool:
        operation = (await machine(admin, name)).operation
        return operation is not None and operation.step == "phone_home"

    await until(awaited, "the machine is waited for to phone home", 30)
    found = await machine(admin, name)
    assert found.operation is not None
    await report(region, wire, found.uuid, found.operation.id)
    await rests(admin, name, v1.MachineState.ACTIVE)


async def report(region: RunningRegion, wire: Guarded, uuid: str, operation: str) -> None:
    """Phone home as the machine's system would, trusting the region's CA alone."""
    secret = (region.paths.state_dir / "media.key").read_bytes()
    token = wire.plant("a report's address", TokenMaker(secret).make("phone-home", uuid, operation))
    url = f"https://{region.config.media.listen}/phone-home/{uuid}/{operation}/{token}"
    trusting = ssl.create_default_context(cafile=str(region.paths.tls("ca").ca))
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data={"instance_id": operation}, ssl=trusting) as answer,
    ):
        assert answer.status == 204


def test_the_capture_sees_what_is_sent_in_the_clear(seen: Seen) -> None:
    assert seen.wire.found >= IN_THE_CLEAR


def test_no_secret_is_on_any_wire(seen: Seen) -> None:
    assert seen.wire.found == IN_THE_CLEAR
    assert seen.wire.packets > 1000, "the region's links are among what was captured"
    assert seen.wire.dropped == 0, "the kernel left nothing out"


def test_the_region_worked_and_knew_of_no_link_in_plain_text(seen: Seen) -> None:
    assert seen.machines == ["node-00"]
    assert "in plain text" not in seen.logs
