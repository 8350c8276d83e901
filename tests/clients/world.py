"""A small region that goes wrong as a scenario says, for clients in every language."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import grpclib
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as rpc
from grpclib import Status
from grpclib.events import RecvRequest, listen
from grpclib.server import Server

from mulligan import tracing
from mulligan.model import AT_HEADER, POSITION_HEADER
from mulligan.proto import v1
from mulligan.tls import TlsFiles, server_context
from tests.client.fakes import (
    Cluster,
    FakeCatalog,
    FakeControl,
    FakeIam,
    FakeLog,
    FakeMeta,
    FakeRegion,
    Instance,
    listen_locally,
)

MEANWHILE_S = 0.3
"""How long a call has been under way when the world changes under it."""


class PagedControl(FakeControl):
    """Lists as many machines in a page as asked for, at most two."""

    async def list_machines(self, message: v1.ListMachinesRequest) -> v1.ListMachinesResponse:
        self.region.take(self.instance, message)
        page = message.page or v1.Page()
        start = int(page.token or 0)
        end = start + min(page.size or 2, 2)
        machines = list(self.region.machines.values())
        return v1.ListMachinesResponse(
            machines=machines[start:end],
            next_page_token=str(end) if end < len(machines) else "",
            position=self.region.position(),
        )


class NamingMeta(FakeMeta):
    """Knows machines by name."""

    async def resolve(self, message: v1.ResolveRequest) -> v1.ResolveResponse:
        self.region.take("meta", message)
        names = [
            v1.Name(uuid=machine.uuid, kind="machine", name=machine.name, slug=machine.name)
            for machine in self.region.machines.values()
            if machine.name in message.names
        ]
        return v1.ResolveResponse(names=names, position=self.region.position())


class World(Cluster):
    """The instances of a fake region; what is asked of them is kept, and done as ``play`` says."""

    def __init__(self, region: FakeRegion, tls: TlsFiles) -> None:
        super().__init__(region, tls)
        self.headers: list[Mapping[str, Any]] = []
        self.answers_lost = 0
        self.beyond: World | None = None
        self._doors: list[asyncio.Server] = []

    async def start(self, *, port: int = 0) -> Instance:
        """Start one process that serves everything, and register it."""
        number = len(self.instances)
        listener = listen_locally(port)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        server = Server(
            [
                FakeCatalog(self.region),
                FakeIam(self.region),
                NamingMeta(self.region),
                PagedControl(self.region, f"i{number}"),
                FakeLog(self.region),
            ]
        )
        listen(server, RecvRequest, self._hear)
        await server.start(sock=listener, ssl=server_context(self.tls))
        instance = Instance(server, address)
        self.instances.append(instance)
        self.region.endpoints += [
            v1.Endpoint(
                service=service, instance=f"i{number}", address=address, region=self.region.name
            )
            for service in ("iam", "meta", "control", "log")
        ]
        return instance

    async def close(self) -> None:
        """Stop everything, the region beyond included."""
        await super().close()
        for door in self._doors:
            door.close()
            await door.wait_closed()
        if self.beyond is not None:
            await self.beyond.close()

    async def reached_at(self, host: str, instance: Instance) -> str:
        """Let an instance be reached at another address of this machine, and return that."""
        port = int(instance.address.rpartition(":")[2])
        door = await asyncio.start_server(partial(_pass_on, port), host, 0)
        self._doors.append(door)
        return f"{host}:{door.sockets[0].getsockname()[1]}"

    async def silent(self) -> str:
        """Return an address where somebody takes connections and never says a word."""

        async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(65_536):
                pass
            writer.close()

        door = await asyncio.start_server(hear, "127.0.0.1", 0)
        self._doors.append(door)
        return f"127.0.0.1:{door.sockets[0].getsockname()[1]}"

    async def play(self, change: Mapping[str, Any]) -> None:
        """Change the world as one entry of a scenario says."""
        region = self.region
        for what, value in change.items():
            match what:
                case "fail":
                    region.failures += [grpc_error(one) for one in value]
                case "lose_answers":
                    self.answers_lost = value
                case "token_life":
                    region.token_life = value
                case "forget_tokens":
                    region.valid_tokens.clear()
                case "records":
                    region.records = [
                        v1.LogRecord(
                            position=v1.Position(region=region.name, seq=seq), commit=commit
                        )
                        for commit, seq in value
                    ]
                case "break_log_after":
                    region.break_log_after = list(value)
                case "machines":
                    region.machines = {
                        name: v1.Machine(uuid=uuid, name=name) for name, uuid in value.items()
                    }
                case "stop":
                    await self.stop(self.instances[value], unregister=False)
                case "stop_and_unregister":
                    await self.stop(self.instances[value])
                case "start_again":
                    port = int(self.instances[value].address.rpartition(":")[2])
                    await self.start(port=port)
                case "unregister":
                    region.endpoints = [e for e in region.endpoints if e.service != value]
                case "region_beyond":
                    await self._begin_beyond(value)
                case _:
                    raise AssertionError(f"no world can {what}")

    async def under(self, changes: Sequence[Mapping[str, Any]]) -> None:
        """Change the world while a call is under way."""
        await anyio.sleep(MEANWHILE_S)
        for change in changes:
            await self.play(change)

    def seen(self) -> dict[str, Any]:
        """Return what the region noticed, in the words of scenarios."""
        region = self.region
        requests: list[Any] = [request for _, request in region.requests]
        ids = {request.request_id for request in requests if getattr(request, "request_id", "")}
        found: dict[str, Any] = {
            "requests": len(requests),
            "request_ids": len(ids),
            "logins": region.logins,
            "refreshes": region.refreshes,
            "instances": sorted({instance for instance, _ in region.requests}),
            "machines": sorted(region.machines),
            "beyond": len(self.beyond.region.requests) if self.beyond else 0,
        }
        if self.headers:
            found["last_position"] = self.headers[-1].get(POSITION_HEADER, "")
            found["last_at"] = self.headers[-1].get(AT_HEADER, "")
            parents = {str(one.get(tracing.HEADER, "")) for one in self.headers}
            found["traceparents"] = sorted(parents - {""})
        freshness = getattr(requests[-1], "freshness", None) if requests else None
        if isinstance(freshness, v1.Freshness):
            found["last_freshness"] = freshness.to_dict()
        return found

    async def _begin_beyond(self, name: str) -> None:
        self.beyond = World(FakeRegion(name), self.tls)
        instance = await self.beyond.start()
        self.region.known.append(
            v1.Region(
                name=name,
                visibility="public",
                addresses=[instance.address],
                ca=self.tls.ca.read_text(),
            )
        )

    async def _hear(self, event: RecvRequest) -> None:
        if v1.PERMISSIONS[event.method_name] != "public":
            self.headers.append(dict(event.metadata))
            if self.answers_lost:
                self.answers_lost -= 1
                event.method_func = Losing(event.method_func)
        await self._check(event)


async def _pass_on(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Connect a caller with a port of 127.0.0.1 until either hangs up."""
    within, without = await asyncio.open_connection("127.0.0.1", port)

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                target.write(data)
        target.close()

    await asyncio.gather(copy(reader, without), copy(within, writer))


class Losing:
    """A method that does as asked, and whose connection breaks before it can say so."""

    def __init__(self, method: Callable[[Any], Awaitable[None]]) -> None:
        self._method = method

    async def __call__(self, stream: Any) -> None:
        await self._method(Mute(stream))


class Mute:
    """A stream of a call that cannot be answered."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def recv_message(self) -> Any:
        return await self._stream.recv_message()

    async def send_message(self, message: object) -> None:
        self._stream._stream._transport.abort()


def grpc_error(said: Mapping[str, Any]) -> grpclib.GRPCError:
    """Return the error that an entry such as ``{"status": "UNAVAILABLE", "retry_s": 3}`` means."""
    details: list[Any] = []
    if "retry_s" in said:
        delay = Duration()
        delay.FromMilliseconds(int(said["retry_s"] * 1000))
        details.append(rpc.RetryInfo(retry_delay=delay))
    if "violations" in said:
        bad = [
            rpc.BadRequest.FieldViolation(field=field, description=problem)
            for field, problem in said["violations"].items()
        ]
        details.append(rpc.BadRequest(field_violations=bad))
    if "facts" in said:
        details.append(rpc.ErrorInfo(reason="NO_FIT", domain="mulligan", metadata=said["facts"]))
    if "resource" in said:
        kind, key = said["resource"]
        details.append(rpc.ResourceInfo(resource_type=kind, resource_name=key))
    return grpclib.GRPCError(Status[said["status"]], said.get("message", "no"), details or None)


class Watch:
    """How long something took, in seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began
