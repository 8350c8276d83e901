"""Sealing, copying and pruning on a real etcd: what is kept where, and what a kill leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path

import anyio
import msgspec
import pytest

from mulligan.errors import Corrupt, Exhausted, FailedPrecondition, Unavailable
from mulligan.events.codec import entry_hash
from mulligan.log.archive_files import manifests_in, the_copy
from mulligan.log.etcd import prefix_end
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.holding import longest_chain
from mulligan.log.protocol import Fenced, TailTooShort
from mulligan.log.pruning import Pruner
from mulligan.log.sealing import Rewound
from mulligan.log.segment import COPY, OWNER, Owner, entries_of, read_archived, signed_with
from mulligan.log.store import HeadRecord
from mulligan.log.verify import verify, verify_files
from mulligan.log.view import BrokenChain
from mulligan.model import Seq

from .archiving import SMALL, Breaking, Killed, World, archiving, beside
from .conftest import EtcdServer

EVERYTHING = msgspec.structs.replace(SMALL, keep_bytes=0)


@pytest.fixture
async def world(shared_etcd: EtcdServer, tmp_path: Path) -> AsyncIterator[World]:
    opened, done = asyncio.get_running_loop().create_future(), anyio.Event()

    async def hold() -> None:  # opened and closed by one task, as its cancel scopes want it
        async with archiving(shared_etcd, tmp_path / "archive") as made:
            opened.set_result(made)
            await done.wait()

    task = asyncio.create_task(hold())
    await asyncio.wait([opened, task], return_when=asyncio.FIRST_COMPLETED)
    if not opened.done():
        await task
    yield opened.result()
    done.set()
    await task


async def test_full_segments_are_sealed_and_the_rest_is_copied(world: World) -> None:
    await world.grow(40)
    before = await world.values()
    sealer = await world.sealer()
    made = await sealer.seal()
    assert made >= 3
    assert await sealer.copy()
    manifests = longest_chain(await manifests_in(world.depot))
    assert len(manifests) == made
    sealed = [
        entry for one in manifests for entry in entries_of(one, await world.depot.get(one.name))
    ]
    copy = await the_copy(world.depot)
    assert copy is not None
    assert sealed + list(entries_of(copy.manifest, copy.data)) == before
    assert all(one.raw_bytes <= SMALL.segment_bytes for one in manifests)
    assert all(signed_with(world.key.signing.public, one) for one in [*manifests, copy.manifest])
    assert sealer.copied.seq == world.log.head.seq
    assert not await sealer.copy(), "nothing changed"


async def test_files_are_for_their_owner_alone(world: World) -> None:
    await world.grow(20)
    await (await world.sealer()).seal()
    for path in world.folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


async def test_etcd_has_the_manifest_that_lies_beside_the_segment(world: World) -> None:
    await world.grow(20)
    await (await world.sealer()).seal()
    (beside_it, *_) = await manifests_in(world.depot)
    found = await world.etcd.get(world.keys.segment(Seq(1)))
    assert found
    archived = read_archived(found.value, found.key)
    assert (archived.location, archived.manifest) == (str(world.folder), beside_it)


async def test_little_is_sealed_once_it_is_old_or_when_that_is_asked(world: World) -> None:
    await world.grow(3)
    sealer = await world.sealer()
    assert await sealer.seal() == 0
    world.now.ahead = timedelta(days=8)
    assert await sealer.seal() == 1
    await world.grow(2)
    assert await sealer.seal(everything=True) == 1
    assert [(one.first, one.last) for one in await manifests_in(world.depot)] == [(1, 3), (4, 5)]


async def test_a_segment_is_an_export_that_proves_itself(world: World) -> None:
    await world.grow(20)
    sealer = await world.sealer()
    await sealer.seal(everything=True)
    paths = sorted((world.folder / "segments").glob("*.zst"))
    verdict = verify_files(paths, None, {world.log.head.seq: world.log.head.hash})
    assert (verdict.first, verdict.last) == (1, 20)


async def test_what_is_pruned_is_read_on_from_the_archive(world: World) -> None:
    await world.grow(60)
    before = await world.values()
    await (await world.sealer()).seal()
    pruned = await (await world.pruner(EVERYTHING)).prune()
    assert 0 < pruned <= 60 - SMALL.leave
    assert await world.oldest() == pruned + 1
    assert await world.values() == before
    async with beside(world) as other:
        assert (await verify(other)).hash == world.log.head.hash
        assert [s.value async for b in other.read(Seq(pruned), Seq(pruned + 2)) for s in b] == (
            before[pruned - 1 : pruned + 2]
        )
        seen = []
        async for batch in other.tail(Seq(0)):
            seen += [stored.value for stored in batch]
            if len(seen) == len(before):
                break
        assert seen == before
        await world.grow(3)
        await other.wait(world.log.head.seq)
    async with beside(world, archived=False) as without:
        with pytest.raises(TailTooShort):
            await verify(without)


async def test_old_entries_leave_whatever_room_there_is(world: World) -> None:
    await world.grow(60)
    await (await world.sealer()).seal()
    pruner = await world.pruner()
    assert await pruner.prune() == 0
    world.now.ahead = timedelta(days=8)
    assert await pruner.prune() > 40


async def test_no_more_leaves_than_makes_room(own_etcd: EtcdServer, tmp_path: Path) -> None:
    async with archiving(own_etcd, tmp_path / "archive") as world:
        keeping = msgspec.structs.replace(SMALL, segment_bytes=100_000)
        await world.grow(1000)
        await (await world.sealer(keeping)).seal()
        used = (await world.etcd.status()).db_size_in_use
        pruner = await world.pruner(msgspec.structs.replace(keeping, keep_bytes=used - 1))
        first = (await manifests_in(world.depot))[0]
        assert await pruner.prune() == first.last
        assert await pruner.prune() == first.last, "what is deleted counts as room at once"


async def test_pruned_and_compacted_etcd_is_smaller(own_etcd: EtcdServer, tmp_path: Path) -> None:
    async with archiving(own_etcd, tmp_path / "archive") as world:
        keeping = msgspec.structs.replace(EVERYTHING, segment_bytes=100_000, delete_at_once=1000)
        await world.grow(3000)
        await (await world.sealer(keeping)).seal()
        before = (await world.etcd.status()).db_size_in_use
        pruner = await world.pruner(keeping)
        assert await pruner.prune() > 2000
        await pruner.compact()
        await pruner.compact()
        after = (await world.etcd.status()).db_size_in_use
        assert after < before / 2
        assert pruner.compacted > 0
        assert (await verify(world.log)).entries == 3000


async def test_nothing_is_pruned_that_cannot_be_read_again(world: World) -> None:
    await world.grow(40)
    await (await world.sealer()).seal()
    (first, *_) = await manifests_in(world.depot)
    good = await world.depot.get(first.name)
    pruner = await world.pruner(EVERYTHING)
    await world.depot.put(first.name, good[:-1])
    with pytest.raises(Corrupt, match=first.name):
        await pruner.prune()
    await world.depot.delete(first.name)
    with pytest.raises(Corrupt, match="missing"):
        await pruner.prune()
    assert await world.oldest() == 1
    await world.depot.put(first.name, good)
    assert await pruner.prune() > 0


async def test_a_kill_at_any_call_of_the_depot_is_harmless(world: World) -> None:
    await world.grow(25)
    before = await world.values()
    for after in (False, True):
        for step in count(1):
            depot = Breaking(world.depot, step, after=after)
            sealer = await world.sealer(depot=depot)
            try:
                await sealer.seal(everything=True)
                await sealer.copy()
            except Killed:
                await world.grow(1)
                continue
            break
        assert step > 3
    before += (await world.values())[len(before) :]
    sealer = await world.sealer()
    await sealer.seal(everything=True)
    await (await world.pruner(EVERYTHING)).prune()
    async with beside(world) as other:
        assert (await verify(other)).sound
    assert await world.values() == before
    manifests = longest_chain(await manifests_in(world.depot))
    assert manifests[-1].last == world.log.head.seq


async def test_what_a_killed_archiver_left_is_taken_up_and_not_written_twice(world: World) -> None:
    await world.grow(12)
    sealer = await world.sealer(depot=Breaking(world.depot, 8, after=True))
    with pytest.raises(Killed):
        await sealer.seal(everything=True)
    left = await manifests_in(world.depot)
    assert len(left) == 1
    assert await world.etcd.get(world.keys.segment(Seq(1))) is None
    await world.grow(3)
    await (await world.sealer()).seal(everything=True)
    assert (await manifests_in(world.depot))[0] == left[0]


async def test_two_archivers_at_once_seal_one_archive(world: World) -> None:
    await world.grow(50)
    one, other = await world.sealer(), await world.sealer()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: one.seal(everything=True))
        tasks.start_soon(lambda: other.seal())
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            pruner = await world.pruner(EVERYTHING)
            tasks.start_soon(pruner.prune)
    async with beside(world) as log:
        assert (await verify(log)).sound
    assert longest_chain(await manifests_in(world.depot))[-1].last == 50


async def test_an_archiver_without_its_lease_writes_nothing_into_etcd(world: World) -> None:
    await world.grow(40)
    fence = await world.fence()
    sealer = await world.sealer(fence=fence)
    await world.etcd.delete(fence.key)
    with pytest.raises(Fenced):
        await sealer.seal()
    assert await world.etcd.get(world.keys.segment(Seq(1))) is None
    await (await world.sealer()).seal()
    with pytest.raises(Fenced):
        await (await world.pruner(EVERYTHING, fence)).prune()
    assert await world.oldest() == 1


@pytest.mark.parametrize("harm", ["flipped", "cut", "swapped", "missing"])
async def test_a_segment_that_was_tampered_with_stops_who_reads_it(world: World, harm: str) -> None:
    await world.grow(60)
    await (await world.sealer()).seal()
    pruned = await (await world.pruner(EVERYTHING)).prune()
    one, other = (await manifests_in(world.depot))[1:3]
    assert pruned >= other.last
    data = bytearray(await world.depot.get(one.name))
    match harm:
        case "flipped":
            data[len(data) // 2] ^= 1
            await world.depot.put(one.name, bytes(data))
        case "cut":
            await world.depot.put(one.name, bytes(data[:-9]))
        case "swapped":
            await world.depot.put(one.name, await world.depot.get(other.name))
        case _:
            await world.depot.delete(one.name)
    async with beside(world) as log:
        with pytest.raises(BrokenChain, match=one.name) as raised:
            async for _ in log.read(Seq(1), log.head.seq):
                pass
        assert raised.value.seq == one.first
        verdict = await verify(log)
        assert (verdict.bad, verdict.hash) == (one.first, one.prev)
        later = [s.seq async for b in log.read(other.first, log.head.seq) for s in b]
        assert later[0] == other.first, "what lies elsewhere is served"
        assert log.failure is None
        await world.grow(1)
        await log.wait(world.log.head.seq)


async def test_an_archive_that_is_away_is_no_broken_chain(world: World) -> None:
    await world.grow(40)
    await (await world.sealer()).seal()
    await (await world.pruner(EVERYTHING)).prune()
    world.folder.rename(world.folder.with_name("moved"))
    world.folder.write_text("this is no folder")
    async with beside(world) as log:
        assert log.head.seq == 40
        with pytest.raises(Unavailable, match="archive"):
            await verify(log)
        assert log.failure is None


async def test_an_archive_that_was_moved_is_found_where_the_configuration_says(
    world: World,
) -> None:
    await world.grow(40)
    before = await world.values()
    await (await world.sealer()).seal()
    await (await world.pruner(EVERYTHING)).prune()
    moved = world.folder.with_name("moved")
    world.folder.rename(moved)
    world.folder = moved
    async with beside(world) as log:
        assert [s.value async for b in log.read(Seq(1), log.head.seq) for s in b] == before


async def test_the_archive_of_another_log_is_left_alone(world: World) -> None:
    owner = Owner(region="east", log_id="another")
    await world.depot.put(OWNER, msgspec.json.encode(owner))
    await world.grow(20)
    sealer = await world.sealer()
    with pytest.raises(FailedPrecondition, match="archive of east"):
        await sealer.seal()
    assert [file.name for file in await world.depot.list()] == [OWNER]


async def test_an_etcd_that_was_set_back_is_not_archived_over(world: World) -> None:
    await world.grow(20)
    sealer = await world.sealer()
    await sealer.seal()
    await world.grow(2)
    await sealer.copy()
    copy = await world.depot.get(COPY)
    async with archiving_set_back(world, to=15) as back:
        again = await back.sealer()
        with pytest.raises(Rewound, match="set back"):
            await again.seal()
        with pytest.raises(Rewound, match="archive restore"):
            await again.copy()
    assert await world.depot.get(COPY) == copy


@asynccontextmanager
async def archiving_set_back(world: World, to: int) -> AsyncIterator[World]:
    """Open the same region as it is in an etcd that was restored from an older state."""
    values, keys = await world.values(), world.keys
    head = HeadRecord(
        seq=Seq(to),
        hash=entry_hash(values[to - 1]),
        log_id=world.log.head.log_id,
        writer="",
        batch_id="",
    )
    await world.etcd.delete(keys.archive, prefix_end(keys.archive))
    await world.etcd.delete(keys.entry(to + 1), prefix_end(keys.log))
    await world.etcd.put(keys.head, msgspec.json.encode(head))
    async with EtcdLog.open(world.etcd, world.log.region) as log:
        yield World(world.etcd, log, world.archive, world.folder, world.now)


async def pruned_at_last(pruner: Pruner) -> Seq:
    """Prune, as rounds do: before etcd has raised its alarm it refuses deletions as well."""
    with anyio.fail_after(10):
        while True:
            try:
                return await pruner.prune()
            except Exhausted:
                await anyio.sleep(0.05)


async def test_an_etcd_without_space_is_pruned_and_compacted_and_waits_for_an_operator(
    tmp_path: Path,
) -> None:
    server = EtcdServer(tmp_path, quota=16 * 2**20)
    server.start()
    try:
        async with archiving(server, tmp_path / "archive") as world:
            await world.grow(60)
            await (await world.sealer()).seal()
            pruner = await world.pruner(EVERYTHING)
            with pytest.raises(Exhausted):
                for number in range(64):
                    await world.etcd.put(f"/junk/{number % 2}", bytes(2**19))
            assert await pruned_at_last(pruner) > 40
            await pruner.compact()
            await pruner.compact()
            with pytest.raises(Exhausted):
                await world.grow(1)
            await world.etcd.defragment()
            assert (await world.etcd.status()).db_size < 8 * 2**20
            await world.etcd.disarm()
            await world.grow(1)
            assert (await verify(world.log)).entries == 61
    finally:
        server.kill()
