"""No space: etcd at its quota, etcd and Postgres on a disk that is full; and how it ends well."""

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from grpclib import GRPCError, Status

from mulligan.errors import Exhausted
from mulligan.log.etcd import Etcd, EtcdSettings
from mulligan.model import new_id
from mulligan.proto import v1
from tests.crash import parts
from tests.crash.reading import read_commits
from tests.crash.small_disk import MIB, filled, small_disk
from tests.e2e.history import read_models_differ
from tests.e2e.region import RunningRegion, short_folder, until
from tests.services.edge import Edge, explained

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

AT_ONCE = 3.0
BACK_WITHIN = 60.0


class Writer:
    """Makes groups and remembers which were acknowledged, and which were refused."""

    def __init__(self, edge: Edge, token: str) -> None:
        self.acked: dict[str, int] = {}
        self.refused: set[str] = set()
        self._edge = edge
        self._token = token

    async def write(self, notes: int = 0, timeout: float = 10.0) -> GRPCError | None:
        """Make a group with so many kilobytes in it; return how that was refused."""
        request_id = new_id()
        text = base64.b64encode(os.urandom(750)).decode()
        request = v1.CreateGroupRequest(
            request_id=request_id,
            name=f"group-{request_id}",
            attributes={f"note-{n}": text for n in range(notes)},
        )
        try:
            answer = await self._edge.call(
                "resource.create_group", request, self._token, timeout=timeout
            )
        except GRPCError as error:
            if error.status is Status.RESOURCE_EXHAUSTED:
                self.refused.add(request_id)
            return error
        self.acked[request_id] = answer.position.seq
        return None

    async def works(self) -> bool:
        """Tell whether a command goes through."""
        try:
            return await self.write() is None
        except (OSError, TimeoutError):
            return False

    async def check(self, region: RunningRegion) -> None:
        """Fail unless all that was acknowledged is there, and nothing that was refused."""
        admin = region.client(patience=BACK_WITHIN)
        commits = {one.id: one.seq for one in await read_commits(admin)}
        assert {i: commits.get(i) for i in self.acked} == self.acked
        assert not self.refused & commits.keys()
        assert await read_models_differ(admin) == {}
        assert (await region.cli("status")).stdout.splitlines()[-1] == "all is well"


@asynccontextmanager
async def at_work(region: RunningRegion) -> AsyncIterator[tuple[Edge, str, Writer]]:
    """Log in and write a little."""
    edge = Edge(region)
    try:
        token = await edge.admin()
        writer = Writer(edge, token)
        for _ in range(20):
            assert await writer.write() is None
        yield edge, token, writer
    finally:
        edge.close()


async def reads(edge: Edge, token: str) -> Any:
    """List groups and look at one: what there is must be seen whatever cannot be written."""
    return await edge.call("resource.list_groups", v1.ListGroupsRequest(), token, timeout=AT_ONCE)


def etcd_of(region: RunningRegion) -> EtcdSettings:
    """Return how to reach a region's own etcd as its services do."""
    etcd = region.config.etcd
    return EtcdSettings(
        endpoints=tuple(f"https://{one}" for one in etcd.endpoints),
        ca=str(etcd.ca),
        cert=str(etcd.cert),
        key=str(etcd.key),
    )


async def run_etcdctl(region: RunningRegion, *words: str) -> str:
    """Run etcdctl as docs/durability.md writes it."""
    program = parts.etcdctl()
    if program is None:
        pytest.skip("etcdctl is not here: `python -m tests.crash.parts` brings it from Debian")
    etcd = region.config.etcd
    tls = (f"--cacert={etcd.ca}", f"--cert={etcd.cert}", f"--key={etcd.key}")
    endpoints = ",".join(f"https://{one}" for one in etcd.endpoints)
    command = [program, f"--endpoints={endpoints}", *tls, *words]
    ended = await anyio.run_process(command, check=False, env={"ETCDCTL_API": "3", "PATH": ""})
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode()


async def test_at_its_quota_etcd_refuses_commands_at_once_and_goes_on_with_room_again() -> None:
    settings = {"MULLIGAN_ETCD_QUOTA_BYTES": str(16 * MIB)}
    with short_folder() as folder:
        async with RunningRegion(folder, settings=settings) as region, at_work(region) as work:
            edge, token, writer = work
            async with Etcd(etcd_of(region)) as etcd:
                with pytest.raises(Exhausted):
                    for n in range(400):
                        await etcd.put(f"/neighbour/{n}", b"x" * 100_000)
            for _ in range(3):
                with anyio.fail_after(AT_ONCE):
                    refused = await writer.write()
                assert refused is not None
                assert refused.status is Status.RESOURCE_EXHAUSTED, explained(refused)
                assert explained(refused).retry_after
            assert len((await reads(edge, token)).groups) == len(writer.acked)
            old = region.pid("resource")
            os.kill(old, 9)
            await until(lambda: restarted(region, old), "resource is started again", 20)
            assert "NOSPACE" in await run_etcdctl(region, "alarm", "list")
            await run_etcdctl(region, "del", "--prefix", "/neighbour/")
            status = await run_etcdctl(region, "endpoint", "status", "--write-out=fields")
            revision = status.partition('"Revision" : ')[2].split()[0]
            await run_etcdctl(region, "compact", revision)
            await run_etcdctl(region, "defrag")
            await run_etcdctl(region, "alarm", "disarm")
            await until(writer.works, "commands are carried out again", BACK_WITHIN)
            await until(lambda: is_well(region), "all is well", BACK_WITHIN)
            await writer.check(region)


async def restarted(region: RunningRegion, old: int) -> bool:
    return region.pid("resource") not in {0, old}


async def is_well(region: RunningRegion) -> bool:
    return (await region.cli("status")).stdout.splitlines()[-1:] == ["all is well"]


async def test_on_a_full_disk_etcd_loses_nothing_and_goes_on_when_there_is_room_again() -> None:
    with short_folder() as folder:
        region = RunningRegion(folder)
        region.paths.etcd.mkdir(mode=0o700, exist_ok=True)
        with small_disk(region.paths.etcd, 256 * MIB):
            async with region, at_work(region) as (edge, token, writer):
                with filled(region.paths.etcd):
                    refused: list[GRPCError | OSError | TimeoutError] = []
                    with anyio.fail_after(120):
                        while len(refused) < 5:
                            try:
                                error = await writer.write(4)
                            except (OSError, TimeoutError) as broken:
                                refused.append(broken)
                                continue
                            if error is not None:
                                refused.append(error)
                    assert (await reads(edge, token)).groups
                await until(writer.works, "commands are carried out again", BACK_WITHIN)
                await until(lambda: is_well(region), "all is well", BACK_WITHIN)
                await writer.check(region)


async def test_on_a_full_disk_postgres_stands_still_and_goes_on_when_there_is_room_again() -> None:
    with short_folder() as folder:
        region = RunningRegion(folder)
        async with region:
            pass
        postgres: Path = region.paths.postgres
        with small_disk(postgres, 192 * MIB):
            async with region, at_work(region) as (edge, token, writer):
                with filled(postgres):
                    with anyio.fail_after(120):
                        while not await falls_behind(region, edge, token, writer):
                            pass
                    for _ in range(5):
                        assert await writer.write() is None, "commands do not need its disk"
                await until(lambda: is_well(region), "all is well", BACK_WITHIN)
                await writer.check(region)


async def falls_behind(region: RunningRegion, edge: Edge, token: str, writer: Writer) -> bool:
    """Write some more; tell whether lists say that they cannot follow."""
    for _ in range(20):
        assert await writer.write(8) is None
    try:
        newest = v1.Position(region=region.config.region, seq=max(writer.acked.values()))
        fresh = v1.Freshness(at_least=newest)
        await edge.call("resource.list_groups", v1.ListGroupsRequest(freshness=fresh), token)
    except GRPCError as error:
        if error.status is Status.UNAVAILABLE:
            return True
        raise
    return False
