"""A log that comes back from its archive: whole or not at all, and never mixed with another."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mulligan.errors import Corrupt, FailedPrecondition, MulliganError, Unavailable
from mulligan.events.codec import GENESIS_HASH, entry_hash
from mulligan.log.accepting import accept_loss
from mulligan.log.depot import Depot, FolderDepot
from mulligan.log.etcd import Delete, Etcd, Put
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.export_file import Header
from mulligan.log.holding import longest_chain, survey
from mulligan.log.identity import identity_of
from mulligan.log.keys import Keys
from mulligan.log.restore_plan import Found, Plan, Wish, look, plan_restore
from mulligan.log.restoring import Restore
from mulligan.log.segment import (
    COPY,
    OWNER,
    Owner,
    manifest_name,
    pack,
    signed,
)
from mulligan.log.store import HeadRecord
from mulligan.log.verify import verify
from mulligan.log.vouching import Vouching
from mulligan.model import RegionName, Seq, new_id

from .commits import write
from .conftest import EtcdServer
from .proof import BEGAN, LOG_ID, REGION, Chain, Signing


def nothing(what: str, done: int, total: int) -> None:
    """Hear of progress."""


class Ready:
    """A log key at hand."""

    def __init__(self, signing: Signing) -> None:
        self.kid = signing.kid
        self._private = signing.private

    async def ready(self) -> None:
        """Nothing is to be waited for."""

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data)


KEY = Signing("1")


async def put_piece(depot: Depot, entries: Sequence[bytes], first: int, last: int) -> None:
    """Seal [first, last] of a log; up to its very end, as the copy."""
    prev = entry_hash(entries[first - 2]) if first > 1 else GENESIS_HASH
    header = Header(region=REGION, log_id=LOG_ID, first=Seq(first), last=Seq(last), prev=prev)
    some = enumerate(entries[first - 1 : last], first)
    packed = pack(header, some, BEGAN, COPY if last == len(entries) else "")
    name = packed.manifest.name
    await depot.put(name, packed.data)
    manifest = signed(packed.manifest, Ready(KEY))
    await depot.put(manifest_name(name), msgspec.json.encode(manifest))


@pytest.fixture
async def etcd(shared_etcd: EtcdServer) -> AsyncIterator[Etcd]:
    """A client of an etcd in which every test has a region of its own."""
    async with Etcd(shared_etcd.settings) as client:
        for part in ("west", "east"):
            start = Keys(RegionName(part)).prefix
            await client.delete(start, start + "\uffff")
        yield client


@pytest.fixture
def chain() -> Chain:
    """A log of 40 entries with a key and two checkpoints."""
    made = Chain()
    made.announce(KEY)
    made.work(18)
    made.sign(KEY)
    made.work(18)
    made.sign(KEY)
    made.work(1)
    return made


@pytest.fixture
async def depot(tmp_path: Path, chain: Chain) -> Depot:
    """The log's archive: two segments, and the copy, which begins within the second."""
    made = FolderDepot(tmp_path / "archive")
    await made.put(OWNER, msgspec.json.encode(Owner(region=REGION, log_id=LOG_ID)))
    await put_piece(made, chain.entries, 1, 15)
    await put_piece(made, chain.entries, 16, 30)
    await put_piece(made, chain.entries, 26, 40)
    return made


async def restored(
    etcd: Any, source: Depot, target: Depot | None = None, **wish: Any
) -> tuple[Found, Plan]:
    """Restore as the command does; return what was found and what was done."""
    asked = Wish(**{"region": RegionName(REGION), **wish})
    found = await look(etcd, asked.region)
    holding = await survey(source)
    plan = await plan_restore(found, source, holding, asked, nothing)
    restore = Restore(etcd, asked.region, source, target or source, nothing)
    await restore.require_room(holding, plan)
    await restore.run(found, holding, plan)
    return found, plan


async def values(etcd: Etcd, region: str = REGION) -> list[bytes]:
    found = await etcd.range_prefix(Keys(RegionName(region)).log)
    return [kv.value for kv in found.kvs]


async def test_the_archive_alone_brings_the_log_back_byte_for_byte_under_its_own_id(
    etcd: Etcd, depot: Depot, chain: Chain
) -> None:
    _, plan = await restored(etcd, depot)
    assert (plan.mode, plan.first, plan.last, plan.fork) == ("fill", 1, 40, False)
    assert plan.vouched is not None
    assert plan.vouched.seq == 38
    assert await values(etcd) == chain.entries
    async with EtcdLog.open(etcd, RegionName(REGION)) as log:
        assert (log.head.log_id, log.head.seq, log.head.hash) == (LOG_ID, 40, chain.head)
        assert (await verify(log)).sound
        await write(log, "machine/1")
        assert log.head.seq == 41


async def test_old_entries_stay_in_the_archive_and_are_listed_in_etcd(
    etcd: Etcd, depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mulligan.log.restore_plan.KEEP_ENTRIES", 5)
    _, plan = await restored(etcd, depot)
    assert plan.first == 31, "what is in no segment goes into etcd, however much that is"
    keys = Keys(RegionName(REGION))
    assert [kv.key for kv in (await etcd.range_prefix(keys.archive)).kvs] == [
        keys.segment(Seq(1)),
        keys.segment(Seq(16)),
    ]


class Dying:
    """An etcd whose client dies before its nth transaction."""

    def __init__(self, etcd: Etcd, lives: int) -> None:
        self._etcd = etcd
        self._lives = lives

    def __getattr__(self, name: str) -> Any:
        return getattr(self._etcd, name)

    async def txn(self, *args: Any, **more: Any) -> Any:
        if not self._lives:
            raise Unavailable("killed")
        self._lives -= 1
        return await self._etcd.txn(*args, **more)


async def test_a_restore_that_is_killed_leaves_nothing_usable_and_is_done_anew(
    etcd: Etcd, depot: Depot, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mulligan.log.restoring._CHUNK_ENTRIES", 12)
    for lives in range(5):
        with pytest.raises(Unavailable, match="killed"):
            await restored(Dying(etcd, lives), depot)
        if lives:
            with pytest.raises(Unavailable, match="being restored to entry 40"):
                async with EtcdLog.open(etcd, RegionName(REGION)):
                    pass
    await restored(etcd, depot)
    assert await values(etcd) == chain.entries


async def rewind(etcd: Etcd, chain: Chain, to: int) -> None:
    """Put a restored log back to where it stood at an earlier entry."""
    keys = Keys(RegionName(REGION))
    head = HeadRecord(
        seq=Seq(to),
        hash=entry_hash(chain.entries[to - 1]),
        log_id=LOG_ID,
        writer="w",
        batch_id=new_id(),
    )
    await etcd.txn(
        [],
        [
            Delete(keys.entry(to + 1), keys.entry(2**60)),
            Put(keys.entry(to), chain.entries[to - 1]),
            Put(keys.head, msgspec.json.encode(head)),
            Delete(keys.segment(Seq(16))),
        ],
    )


async def test_a_log_that_was_put_back_gets_its_lost_entries_from_the_archive(
    etcd: Etcd, depot: Depot, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    await restored(etcd, depot)
    await rewind(etcd, chain, 20)
    monkeypatch.setattr("mulligan.log.restoring._CHUNK_ENTRIES", 3)
    with pytest.raises(Unavailable):
        await restored(Dying(etcd, 3), depot)
    half = await look(etcd, RegionName(REGION))
    assert half.head is not None
    assert 20 < half.head.seq < 40, "what is there is a log at every moment"
    _, plan = await restored(etcd, depot)
    assert (plan.mode, plan.first) == ("extend", half.head.seq + 1)
    assert await values(etcd) == chain.entries
    assert (await etcd.get(Keys(RegionName(REGION)).segment(Seq(16)))) is not None
    assert (await restored(etcd, depot))[1].mode == "nothing"
    async with EtcdLog.open(etcd, RegionName(REGION)) as log:
        await write(log, "machine/1")


async def test_a_log_that_went_on_after_it_was_put_back_is_refused(
    etcd: Etcd, depot: Depot, chain: Chain
) -> None:
    await restored(etcd, depot)
    await rewind(etcd, chain, 20)
    async with EtcdLog.open(etcd, RegionName(REGION)) as log:
        await write(log, "machine/1")
    before = await etcd.range_prefix(Keys(RegionName(REGION)).prefix)
    with pytest.raises(FailedPrecondition, match="two histories"):
        await restored(etcd, depot)
    assert (await etcd.range_prefix(Keys(RegionName(REGION)).prefix)).kvs == before.kvs


async def test_a_region_that_has_another_log_is_refused(etcd: Etcd, depot: Depot) -> None:
    async with EtcdLog.open(etcd, RegionName(REGION)) as log:
        await write(log, "machine/1")
    with pytest.raises(FailedPrecondition, match="two logs are never mixed"):
        await restored(etcd, depot)


async def test_somebody_who_writes_meanwhile_is_noticed(
    etcd: Etcd, depot: Depot, chain: Chain
) -> None:
    await restored(etcd, depot)
    await rewind(etcd, chain, 20)
    found = await look(etcd, RegionName(REGION))
    holding = await survey(depot)
    plan = await plan_restore(found, depot, holding, Wish(region=RegionName(REGION)), nothing)
    async with EtcdLog.open(etcd, RegionName(REGION)) as log:
        await write(log, "machine/1")
    with pytest.raises(MulliganError, match="stop every service"):
        await Restore(etcd, RegionName(REGION), depot, depot, nothing).run(found, holding, plan)


async def test_another_region_begins_where_the_archived_one_was_and_names_it(
    etcd: Etcd, depot: Depot, chain: Chain, tmp_path: Path
) -> None:
    with pytest.raises(FailedPrecondition, match="a place of its own"):
        await restored(etcd, depot, region=RegionName("east"))
    target = FolderDepot(tmp_path / "elsewhere")
    _, plan = await restored(etcd, depot, target, region=RegionName("east"))
    assert plan.fork
    identity = await identity_of(etcd, RegionName("east"))
    assert identity is not None
    (ancestor,) = identity.seeded
    assert (ancestor.region, ancestor.log_id, ancestor.seq) == (REGION, LOG_ID, 40)
    assert identity.log_id not in ("", LOG_ID)
    async with EtcdLog.open(etcd, RegionName("east")) as log:
        vouching = Vouching("east", log.head.log_id, [KEY.public], seeded=identity.seeded)
        assert (await verify(log, vouching=vouching)).sound
        assert vouching.vouched is not None, "what the first region signed counts on"
        stranger = Vouching("east", log.head.log_id, [KEY.public])
        assert not (await verify(log, vouching=stranger)).sound
    copied = await survey(target)
    assert [one.name for one in copied.segments] == [
        one.name for one in (await survey(depot)).segments
    ]
    assert copied.owner.seeded == identity.seeded


@pytest.mark.parametrize("to", [20, BEGAN + timedelta(seconds=19)])
async def test_a_cut_makes_another_log_of_it(
    etcd: Etcd, depot: Depot, chain: Chain, tmp_path: Path, to: Any
) -> None:
    _, plan = await restored(etcd, depot, FolderDepot(tmp_path / "cut"), to=to)
    assert (plan.last, plan.fork, len(plan.segments)) == (20, True, 1)
    assert await values(etcd) == chain.entries[:20]


async def test_a_damaged_archive_restores_nothing(etcd: Etcd, depot: Depot, tmp_path: Path) -> None:
    (_, second) = (await survey(depot)).segments
    file = tmp_path / "archive" / second.name
    whole = file.read_bytes()
    file.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    with pytest.raises(Corrupt, match="log entry 16"):
        await restored(etcd, depot)
    file.unlink()
    (tmp_path / "archive" / manifest_name(second.name)).unlink()
    with pytest.raises(Corrupt, match="log entry 16 is missing"):
        await restored(etcd, depot)
    assert not (await etcd.range_prefix(Keys(RegionName(REGION)).prefix)).kvs


async def test_keys_that_are_not_trusted_restore_nothing(etcd: Etcd, depot: Depot) -> None:
    with pytest.raises(Corrupt, match="trusted"):
        await restored(etcd, depot, keys=(Signing("9").public,))
    await restored(etcd, depot, keys=(KEY.public,))


async def test_an_append_needs_the_newest_entry_and_not_the_revision_alone(etcd: Etcd) -> None:
    region = RegionName(REGION)
    keys = Keys(region)
    async with EtcdLog.open(etcd, region) as log:
        await write(log, "machine/1")
        entry = await etcd.get(keys.entry(1))
        assert entry is not None
        await etcd.put(keys.entry(1), entry.value)
        with pytest.raises(Corrupt, match="put back"):
            await write(log, "machine/2")


async def test_of_segments_that_were_cut_twice_those_count_that_reach_furthest(
    chain: Chain, tmp_path: Path
) -> None:
    depot = FolderDepot(tmp_path)
    await depot.put(OWNER, msgspec.json.encode(Owner(region=REGION, log_id=LOG_ID)))
    for first, last in ((1, 10), (1, 12), (11, 20), (21, 30)):
        await put_piece(depot, chain.entries, first, last)
    holding = await survey(depot)
    assert [one.last for one in holding.segments] == [10, 20, 30]
    assert longest_chain(()) == []


async def test_a_loss_is_accepted_by_going_on_as_another_log(
    etcd: Etcd, depot: Depot, chain: Chain
) -> None:
    region = RegionName(REGION)
    await restored(etcd, depot)
    with pytest.raises(FailedPrecondition, match="bring them back"):
        await rewind(etcd, chain, 20)
        await accept_loss(etcd, region, depot)
    await restored(etcd, depot)
    identity = await accept_loss(etcd, region, depot)
    assert identity.log_id != LOG_ID
    assert [one.seq for one in identity.seeded] == [40]
    holding = await survey(depot)
    assert holding.owner.log_id == identity.log_id
    async with EtcdLog.open(etcd, region) as log:
        assert log.head.log_id == identity.log_id
        await write(log, "machine/1")
        vouching = Vouching(REGION, log.head.log_id, [KEY.public], seeded=identity.seeded)
        assert (await verify(log, vouching=vouching)).sound


async def test_a_loss_that_was_accepted_halfway_is_accepted_once(etcd: Etcd, depot: Depot) -> None:
    region = RegionName(REGION)
    await restored(etcd, depot)
    before = await depot.get(OWNER)
    first = await accept_loss(etcd, region, depot)
    await depot.put(OWNER, before)
    assert await accept_loss(etcd, region, depot) == first
    assert (await survey(depot)).owner.log_id == first.log_id
