"""A region under attack: who calls it, how, and what would count as harm."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.const import Cardinality
from grpclib.encoding.proto import ProtoCodec
from grpclib.exceptions import StreamTerminatedError
from grpclib.protocol import H2Protocol

from mulligan.proto import v1
from mulligan.services.serve import SERVICES
from mulligan.tls import client_context
from tests.e2e.region import RunningRegion
from tests.fuzz.grammar import STOCK, Rpc
from tests.services.edge import Edge

HARM = {Status.UNKNOWN, Status.INTERNAL, Status.DATA_LOSS}
ANSWER_S = 15.0
"""Every call is answered so soon, on a machine with other things to do."""
MOST_HARM = 50
_STREAM_S = 0.1
"""A stream may go on for ever; so long is it listened to."""
_SECRET = "a-secret-that-is-not-guessed"


class RawCodec(ProtoCodec):
    """Sends and takes bytes as they are."""

    def encode(self, message: Any, message_type: Any) -> bytes:
        assert isinstance(message, bytes)
        return message

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data


class Elsewhere(Channel):
    """A connection from another address, whose failed logins are not counted with the others."""

    async def _create_connection(self) -> H2Protocol:
        _, protocol = await self._loop.create_connection(
            self._protocol_factory,
            self._host,
            self._port,
            ssl=self._ssl,
            local_addr=("127.0.0.2", 0),
        )
        return protocol


class Victim:
    """Calls the region as an administrator, as a tenant, and as nobody."""

    def __init__(self, region: RunningRegion) -> None:
        self.region = region
        self.edge = Edge(region)
        address, ca = region.config.listen.iam, region.config.tls.ca
        assert ca is not None
        self.edge._channels["iam"] = Elsewhere(address.host, address.port, ssl=client_context(ca))
        self.answers: Counter[str] = Counter()
        self.sent = 0
        self._refused = False
        self._configured: set[str] = set()
        self.harm: dict[str, str] = {}
        self.warm: dict[str, float] = {}
        self.tokens: dict[str, str] = {"nobody": ""}
        self._channels: dict[str, Channel] = {}
        self._tenants = 0
        self._pids = {name: region.pid(name) for name in SERVICES}

    def close(self) -> None:
        self.edge.close()
        for channel in self._channels.values():
            channel.close()

    async def prepare(self) -> None:
        """Make an administrator of our own, whom no message names, a tenant, and some objects."""
        boss = await self.edge.admin()
        made = v1.CreateAccountRequest(name="fuzz-master", secret=_SECRET)
        await self.edge.call("iam.create_account", made, boss)
        binding = v1.RoleBinding(role="admin")
        await self.edge.call(
            "iam.bind_role", v1.BindRoleRequest(account="fuzz-master", binding=binding), boss
        )
        await self._log_in("admin", "fuzz-master")
        await self._new_tenant()
        await self._stock()

    async def keep_calling(self) -> None:
        """Get tokens anew where the old ones were ended, and put settings right."""
        if not await self._knows("admin"):
            await self._log_in("admin", "fuzz-master")
        if not await self._knows("tenant"):
            await self._new_tenant()

    async def put_right(self) -> None:
        """See to it that the next messages are not refused for what the last ones did."""
        if (
            self._refused or self._configured
        ):  # the token may be ended, and nobody have met that yet
            await self.keep_calling()
        for service in self._configured:
            await self._reset(service)
        self._refused = False
        self._configured.clear()

    async def _reset(self, service: str) -> None:
        usual = v1.ConfigureRequest(log_level="info", rate=2000, burst=4000, in_flight=1024)
        await self.edge.call(f"{service}.{service}_configure", usual, self.tokens["admin"])

    async def call(self, rpc: Rpc, body: bytes, caller: str) -> None:
        """Send one message; note it if the answer is harm."""
        self.sent += 1
        began = time.monotonic()
        status: Status | None = Status.OK
        message = ""
        try:
            await self._call(rpc, body, caller)
        except GRPCError as error:
            status, message = error.status, error.message or ""
        except (StreamTerminatedError, OSError) as error:
            status, message = None, str(error)
        seconds = time.monotonic() - began
        self.answers[status.name if status else "BROKEN"] += 1
        if caller != "nobody" and status is Status.UNAUTHENTICATED:
            self._refused = True
        if status is Status.OK and rpc.path.endswith("Configure"):
            self._configured.add(rpc.service)
        if status is None or status in HARM or seconds >= ANSWER_S:
            self._note(rpc, body, caller, f"{status} after {seconds:.1f} s: {message}")

    def _note(self, rpc: Rpc, body: bytes, caller: str, what: str) -> None:
        """Keep the first of each kind of harm, with what the service says of it."""
        lines = self.region.paths.log(rpc.service).read_text(errors="replace").splitlines()
        at = max((i for i, line in enumerate(lines) if line.startswith("Traceback")), default=-1)
        trace = "\n".join(lines[at : at + 60]) if at >= 0 else ""
        kind = f"{rpc}: {what} {trace[-100:]}"
        if len(self.harm) < MOST_HARM:
            self.harm.setdefault(kind, f"{rpc} by {caller}, {body[:2000]!r}: {what}\n{trace}")

    async def _call(self, rpc: Rpc, body: bytes, caller: str) -> None:
        token = self.tokens[caller]
        metadata = {"authorization": f"Bearer {token}"} if token else {}
        kind = Cardinality.UNARY_STREAM if rpc.streaming else Cardinality.UNARY_UNARY
        channel = self._channel(rpc.service)
        timeout = None if rpc.streaming else ANSWER_S * 2
        with anyio.move_on_after(_STREAM_S if rpc.streaming else None):
            async with channel.request(
                rpc.path, kind, bytes, bytes, timeout=timeout, metadata=metadata
            ) as stream:
                await stream.send_message(body, end=True)
                async for _ in stream:
                    pass

    async def require_unharmed(self) -> None:
        """Fail unless every service serves, is who it was, and has logged no surprise."""
        assert not self.harm, "\n\n".join(self.harm.values())
        await self.keep_calling()
        for service in SERVICES:
            began = time.monotonic()
            name = f"{service}.{service}_configure"
            await self.edge.call(name, v1.ConfigureRequest(), self.tokens["admin"])
            assert time.monotonic() - began < ANSWER_S
        assert {name: self.region.pid(name) for name in SERVICES} == self._pids
        for service in SERVICES:
            text = self.region.paths.log(service).read_text(errors="replace")
            at = text.find("Traceback")
            assert at < 0, f"{service}: {text[max(0, at - 500) : at + 3000]}"

    def resident_mb(self) -> dict[str, float]:
        """Return the resident memory of every service."""
        found = {}
        for name in SERVICES:
            status = Path(f"/proc/{self.region.pid(name)}/status").read_text()
            line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
            found[name] = int(line.split()[1]) / 1024
        return found

    def _channel(self, service: str) -> Channel:
        # Every service answers the catalog; any of them will do.
        service = "meta" if service == "catalog" else service
        if service not in self._channels:
            channel = self.region.channel(service)
            channel._codec = RawCodec()
            self._channels[service] = channel
        return self._channels[service]

    async def _knows(self, caller: str) -> bool:
        try:
            await self.edge.call("iam.who_am_i", v1.WhoAmIRequest(), self.tokens[caller])
        except GRPCError as error:
            if error.status is Status.UNAUTHENTICATED:
                return False
            raise
        return True

    async def _log_in(self, caller: str, account: str, project: str = "") -> None:
        self.tokens[caller] = await self.edge.token(account, _SECRET, project)

    async def _new_tenant(self) -> None:
        """Make a project and an account in it; messages may name both and so end them."""
        self._tenants += 1
        admin, name = self.tokens["admin"], f"fuzz-tenant-{self._tenants:06}"
        made = v1.CreateProjectRequest(name=name)
        project = (await self.edge.call("iam.create_project", made, admin)).project
        account = v1.CreateAccountRequest(name=name, secret=_SECRET)
        uuid = (await self.edge.call("iam.create_account", account, admin)).account.uuid
        binding = v1.RoleBinding(role="owner", project=name)
        bound = v1.BindRoleRequest(account=name, binding=binding)
        await self.edge.call("iam.bind_role", bound, admin)
        await self._log_in("tenant", name, name)
        # In place, and of the same lengths: what is drawn must not depend on what went before.
        STOCK[:3] = [name, project.uuid, uuid]

    async def _stock(self) -> None:
        """Make one object of most kinds, for messages to name."""
        admin, tenant = self.tokens["admin"], self.tokens["tenant"]
        call = self.edge.call
        names = []
        provider = v1.CreateProviderRequest(
            name="shelf",
            type="compute",
            inventories=[v1.Inventory(resource_class="memory", total=10_000)],
        )
        names.append((await call("resource.create_provider", provider, admin)).provider.uuid)
        group = v1.CreateGroupRequest(name="rack")
        names.append((await call("resource.create_group", group, admin)).group.uuid)
        claim = v1.ClaimExactRequest(
            name="held", allocations=[v1.Allocation(provider="shelf", amounts={"memory": 10})]
        )
        names.append((await call("resource.claim_exact", claim, tenant)).claim.uuid)
        image = v1.CreateImageRequest(name="iso", url="file:a.iso", sha256="0" * 64)
        names.append((await call("control.create_image", image, admin)).image.uuid)
        STOCK.extend([*names, "shelf", "rack", "held", "iso"])
