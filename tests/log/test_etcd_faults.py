"""The log on an etcd that is killed, frozen, wiped, compacted and filled up."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from mulligan.errors import Corrupt, Exhausted, Unavailable
from mulligan.events.envelope import Commit
from mulligan.log.etcd import Etcd, EtcdSettings
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.keys import Keys
from mulligan.log.protocol import Acked
from mulligan.log.verify import verify
from mulligan.model import CommitId, RegionName, Seq

from .commits import commit, read, stored, write
from .conftest import EtcdServer, free_ports

REGION = RegionName("r")
KEYS = Keys(REGION)


@asynccontextmanager
async def opened(settings: EtcdSettings) -> AsyncIterator[EtcdLog]:
    async with Etcd(settings) as etcd, EtcdLog.open(etcd, REGION) as log:
        yield log


async def write_when_possible(log: EtcdLog, *streams: str) -> Acked:
    """Repeat one commit until it is acknowledged, as a client does with its request id."""
    return await repeat_until_acknowledged(log, commit(*streams, digest="d"))


async def repeat_until_acknowledged(log: EtcdLog, one: Commit) -> Acked:
    with anyio.fail_after(30):
        while True:
            try:
                return await log.append(one, read=read(log.head.seq))
            except Unavailable:
                await asyncio.sleep(0.05)


async def test_no_acknowledged_commit_is_lost_or_doubled_when_etcd_is_killed(
    own_etcd: EtcdServer,
) -> None:
    acked: list[Acked] = []
    async with opened(own_etcd.settings) as log:

        async def client(number: int) -> None:
            while len(acked) < 3000:
                acked.append(await write_when_possible(log, f"claim/{number}-{len(acked)}"))

        async def killer() -> None:
            for _ in range(2):
                seen = len(acked)
                while len(acked) < seen + 300:
                    await asyncio.sleep(0.01)
                own_etcd.kill()
                await asyncio.sleep(0.2)
                await asyncio.to_thread(own_etcd.start)

        await asyncio.gather(killer(), *(client(n) for n in range(16)))
        assert log.failure is None
        found = await stored(log)
        assert len(found) == len({i for _, i in found})
        assert {(a.seq, a.commit.id) for a in acked} == set(found)
    async with opened(own_etcd.settings) as later:
        assert (await verify(later)).commits == len(acked)


async def test_appends_fail_soon_while_etcd_is_dead_and_work_again_after(
    own_etcd: EtcdServer,
) -> None:
    async with opened(own_etcd.settings) as log:
        await write(log, "claim/a")
        own_etcd.kill()
        for _ in range(3):
            with anyio.fail_after(4), pytest.raises(Unavailable):
                await write(log, "claim/b")
        await asyncio.to_thread(own_etcd.start)
        assert (await write_when_possible(log, "claim/c")).seq == 2


async def test_an_append_to_a_frozen_etcd_fails_and_is_found_by_its_repeat(
    own_etcd: EtcdServer,
) -> None:
    async with opened(own_etcd.settings) as log:
        await write(log, "claim/a")
        one = commit("claim/b", digest="d")
        own_etcd.freeze()
        with anyio.fail_after(4), pytest.raises(Unavailable, match="outcome is not known"):
            await log.append(one, read=read(1))
        own_etcd.thaw()
        ack = await repeat_until_acknowledged(log, one)
        assert [i for _, i in await stored(log, 2)] == [one.id]
        assert ack.seq == 2


async def test_a_tail_survives_compaction_and_a_restart(own_etcd: EtcdServer) -> None:
    async with opened(own_etcd.settings) as log, Etcd(own_etcd.settings) as etcd:
        seen: list[int] = []

        async def follow() -> None:
            async with aclosing(other.tail(Seq(0))) as tail:
                async for batch in tail:
                    seen.extend(s.seq for s in batch)
                    if seen[-1] >= 60:
                        return

        async with opened(own_etcd.settings) as other, anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            for n in range(60):
                await write_when_possible(log, "claim/a")
                if n == 20:
                    await etcd.compact((await etcd.range("x")).revision)
                if n == 40:
                    own_etcd.kill()
                    await asyncio.to_thread(own_etcd.start)
            with anyio.fail_after(10):
                await other.wait(Seq(60))
        assert seen == list(range(1, 61))


async def test_a_dead_endpoint_is_passed_over(own_etcd: EtcdServer) -> None:
    dead = free_ports(1)[0]
    live = own_etcd.settings.endpoints[0]
    async with opened(EtcdSettings(endpoints=(f"127.0.0.1:{dead}", live))) as log:
        with anyio.fail_after(5):
            assert (await write(log, "claim/a")).seq == 1


async def test_a_log_without_etcd_cannot_be_opened() -> None:
    dead = free_ports(1)[0]
    with anyio.fail_after(5), pytest.raises(Unavailable):
        async with opened(EtcdSettings(endpoints=(f"127.0.0.1:{dead}",))):
            pass


async def halted(log: EtcdLog) -> Exception:
    with anyio.fail_after(10):
        while log.failure is None:
            await asyncio.sleep(0.02)
    return log.failure


async def test_a_rewound_head_halts_the_log(own_etcd: EtcdServer) -> None:
    async with opened(own_etcd.settings) as log, Etcd(own_etcd.settings) as etcd:
        await write(log, "claim/a")
        before = await etcd.get(KEYS.head)
        await write(log, "claim/b")
        assert before
        await etcd.put(KEYS.head, before.value)
        assert isinstance(await halted(log), Corrupt)
        with pytest.raises(Corrupt, match="went back"):
            await write(log, "claim/c")
        with pytest.raises(Corrupt):
            await log.wait(Seq(9))


async def test_another_log_under_the_same_keys_halts_the_log(own_etcd: EtcdServer) -> None:
    async with opened(own_etcd.settings) as log:
        await write(log, "claim/a")
        own_etcd.kill()
        own_etcd.wipe()
        await asyncio.to_thread(own_etcd.start)
        async with opened(own_etcd.settings) as other:
            await write(other, "claim/b")
            assert isinstance(await halted(log), Corrupt)


async def test_a_forged_entry_halts_the_log_and_verify_names_it(own_etcd: EtcdServer) -> None:
    async with opened(own_etcd.settings) as log, Etcd(own_etcd.settings) as etcd:
        for _ in range(5):
            await write(log, "claim/a")
        entry = await etcd.get(KEYS.entry(3))
        assert entry
        await etcd.put(KEYS.entry(3), entry.value.replace(b"xxx", b"yyy", 1))
        verdict = await verify(log)
        assert (verdict.sound, verdict.bad) == (False, 4)
        with pytest.raises(Corrupt):
            async with opened(own_etcd.settings):
                pass


async def test_archived_entries_are_told_from_missing_ones(own_etcd: EtcdServer) -> None:
    async with opened(own_etcd.settings) as log, Etcd(own_etcd.settings) as etcd:
        for _ in range(6):
            await write(log, "claim/a")
        await etcd.delete(KEYS.entry(1), KEYS.entry(3))
        from_the_archive = await _problem(log, 1)
        await etcd.delete(KEYS.entry(4))
        assert from_the_archive == "TailTooShort"
        assert await _problem(log, 3) == "BrokenChain"


async def _problem(log: EtcdLog, first: int) -> str:
    try:
        await stored(log, first)
    except Exception as error:
        return type(error).__name__
    return "none"


async def test_a_full_etcd_refuses_appends_loses_nothing_and_recovers(tmp_path: Path) -> None:
    server = EtcdServer(tmp_path, quota=2_000_000, durable=False)
    server.start()
    try:
        async with opened(server.settings) as log, Etcd(server.settings) as etcd:
            acked = [await write(log, "claim/a")]
            with pytest.raises(Exhausted):
                for n in range(200):
                    await etcd.put(f"/filler/{n}", b"x" * 100_000)
            with pytest.raises(Exhausted):
                await write(log, "claim/b")
            assert "NOSPACE" in await etcd.alarms()
            await etcd.delete("/filler/", "/filler0")
            await etcd.compact((await etcd.range("x")).revision)
            await etcd.defragment()
            await etcd.disarm()
            acked.append(await write_when_possible(log, "claim/c"))
            assert {(a.seq, a.commit.id) for a in acked} == set(await stored(log))
    finally:
        server.kill()


_WRITER = """
import asyncio, sys
import msgspec
from mulligan.log.etcd import Etcd, EtcdSettings
from mulligan.log.etcdlog import EtcdLog
from tests.log.commits import write
from tests.log.test_etcd_faults import REGION

async def main():
    settings = msgspec.json.decode(sys.argv[1], type=EtcdSettings)
    async with Etcd(settings) as etcd, EtcdLog.open(etcd, REGION) as log:
        async def client(number):
            for n in range(25):
                ack = await write(log, f"claim/{sys.argv[2]}-{number}-{n}")
                print(ack.commit.id)
        await asyncio.gather(*(client(n) for n in range(8)))

asyncio.run(main())
"""


async def test_several_processes_share_one_dense_log(own_etcd: EtcdServer) -> None:
    settings = msgspec.json.encode(own_etcd.settings).decode()
    writers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WRITER, settings, str(n), stdout=asyncio.subprocess.PIPE
        )
        for n in range(3)
    ]
    with anyio.fail_after(60):
        said = [(await writer.communicate())[0].decode().split() for writer in writers]
    assert [len(ids) for ids in said] == [200] * 3
    async with opened(own_etcd.settings) as log:
        found = [i for _, i in await stored(log)]
        assert len(found) == 600
        assert {CommitId(i) for ids in said for i in ids} == set(found)
        assert (await verify(log)).sound
