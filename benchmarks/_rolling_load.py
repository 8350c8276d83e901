"""Load that touches every service, and knows of each call whether it held its promise."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import msgspec

from mulligan.client import Client
from mulligan.errors import MulliganError
from mulligan.model import new_id
from mulligan.proto import v1

Answer = TypeVar("Answer")

PROJECT = "load"
_PAUSE_S = 0.02
_CONTENT = b"#cloud-config\nhostname: "


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call that ended: when, by the monotonic clock, and how long it took, in seconds."""

    name: str
    ended: float
    took: float
    problem: str = ""


class Load:
    """Writers, readers and a watcher of the log, each through its own client."""

    def __init__(self, client: Callable[..., Client], writers: int = 3, readers: int = 2) -> None:
        self.calls: list[Call] = []
        self.made: list[str] = []
        self.seen: list[tuple[int, str]] = []
        self.first = 0
        self._client = client
        self._writers = writers
        self._readers = readers
        self._stop = anyio.Event()

    @property
    def failed(self) -> list[Call]:
        """The calls that failed, or answered what is not so."""
        return [call for call in self.calls if call.problem]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have the load on while the block runs; then compare what was promised with the log."""
        await self._make_project()
        async with self._client() as judge, anyio.create_task_group() as watching:
            head = (await judge.log.get_log_status(v1.GetLogStatusRequest())).head
            assert head is not None
            self.first = head.seq
            watching.start_soon(self._watch)
            async with anyio.create_task_group() as tasks:
                for _ in range(self._writers):
                    tasks.start_soon(self._repeat, self._write)
                for _ in range(self._readers):
                    tasks.start_soon(self._repeat, self._read)
                try:
                    yield
                finally:
                    self._stop.set()
            await self._judge(judge)
            watching.cancel_scope.cancel()

    async def _make_project(self) -> None:
        async with self._client() as client:
            await client.iam.create_project(v1.CreateProjectRequest(name=PROJECT))

    async def _repeat(self, act: Callable[[Client], Awaitable[None]]) -> None:
        async with self._client(project=PROJECT) as client:
            while not self._stop.is_set():
                await act(client)
                await anyio.sleep(_PAUSE_S)

    async def _write(self, client: Client) -> None:
        """Make things by each service that writes, and look whether they are there at once."""
        name = f"n{new_id()[-12:]}"
        await self._timed(
            "iam.create_project", client.iam.create_project(v1.CreateProjectRequest(name=name))
        )
        group = await self._timed(
            "resource.create_group",
            client.resource.create_group(v1.CreateGroupRequest(name=name)),
        )
        if group is not None and group.group is not None:
            self.made.append(group.group.uuid)
            await self._resolved(client, name, group.group.uuid)
        content = _CONTENT + name.encode()
        sealed = v1.CreateUserDataRequest(name=name, content=content)
        if await self._timed("control.create_user_data", client.control.create_user_data(sealed)):
            asked = v1.GetUserDataRequest(user_data=name)
            found = await self._timed("control.get_user_data", client.control.get_user_data(asked))
            if found is not None and found.user_data is not None:
                self._expect("control.get_user_data", found.user_data.content == content)

    async def _resolved(self, client: Client, name: str, uuid: str) -> None:
        """Expect of a read that it tells of what was just written."""
        asked = v1.ResolveRequest(kind="group", names=[name])
        found = await self._timed("meta.resolve", client.meta.resolve(asked))
        if found is not None:
            self._expect("meta.resolve", [one.uuid for one in found.names] == [uuid])

    async def _read(self, client: Client) -> None:
        """Ask each service for what it alone tells."""
        page = v1.Page(size=5)
        await self._timed(
            "resource.list_groups", client.resource.list_groups(v1.ListGroupsRequest(page=page))
        )
        await self._timed(
            "iam.list_projects", client.iam.list_projects(v1.ListProjectsRequest(page=page))
        )
        await self._timed(
            "projector.list_projections",
            client.projector.list_projections(v1.ListProjectionsRequest()),
        )
        await self._timed(
            "archiver.get_archive_status",
            client.archiver.get_archive_status(v1.GetArchiveStatusRequest()),
        )
        await self._timed("log.get_log_status", client.log.get_log_status(v1.GetLogStatusRequest()))

    async def _watch(self) -> None:
        request = v1.WatchLogRequest(after=self.first)
        async with self._client() as client:
            try:
                async for record in client.log.watch_log(request):
                    self.seen.append((_seq(record), record.commit))
            except MulliganError as error:
                self._note("log.watch_log", time.monotonic(), str(error))

    async def _timed(self, name: str, call: Awaitable[Answer]) -> Answer | None:
        began = time.monotonic()
        try:
            answer = await call
        except MulliganError as error:
            self._note(name, began, f"{type(error).__name__}: {error}")
            return None
        self._note(name, began)
        return answer

    def _note(self, name: str, began: float, problem: str = "") -> None:
        now = time.monotonic()
        self.calls.append(Call(name=name, ended=now, took=now - began, problem=problem))

    def _expect(self, name: str, holds: bool) -> None:
        if not holds:
            self._note(name, time.monotonic(), "it does not tell of what was written before")

    async def _judge(self, client: Client) -> None:
        """Hold what was acknowledged, and what the watch brought, against the log."""
        read: list[tuple[int, str]] = []
        async for record in client.log.read_log(v1.ReadLogRequest(first=self.first + 1)):
            read.append((_seq(record), record.commit))
            streams = {event.stream for event in record.events}
            self.made = [uuid for uuid in self.made if f"group/{uuid}" not in streams]
        for uuid in self.made:
            self._note("log.read_log", time.monotonic(), f"group {uuid} was promised and is lost")
        with anyio.move_on_after(10):
            while len(self.seen) < len(read):
                await anyio.sleep(0.05)
        if self.seen[: len(read)] != read:
            told = f"{len(self.seen)} records watched, {len(read)} read: a gap or a repeat"
            self._note("log.watch_log", time.monotonic(), told)


def _seq(record: Any) -> int:
    position: v1.Position = record.position
    return position.seq
