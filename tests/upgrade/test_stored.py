"""What earlier releases stored is read, verified, folded, restored and replayed by this one."""

import base64
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mulligan.commands.redeciding import Redeciding
from mulligan.config import Dsn
from mulligan.embedded.etcd import EmbeddedEtcd
from mulligan.events.codec import Codec
from mulligan.events.formats import RELEASED
from mulligan.handlers.kinds import KINDS
from mulligan.log.depot import FolderDepot
from mulligan.log.etcd import Etcd, EtcdSettings, prefix_end
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.holding import survey
from mulligan.log.keys import Keys
from mulligan.log.offline import OfflineLog, archived_log, exported_log
from mulligan.log.restore_plan import Wish, look, plan_restore
from mulligan.log.restoring import Restore
from mulligan.log.segment import signed_with
from mulligan.log.verify import verify, verify_files
from mulligan.log.vouching import LogKey
from mulligan.master_key import MasterKeys
from mulligan.model import RegionName, Seq, StreamId, stream_kind
from mulligan.projections.models import READ_MODELS
from mulligan.projections.replaying import replay
from mulligan.secrets import SecretStore
from mulligan.services.secrets.backup import bring_back, read_secrets, require_of
from mulligan.services.secrets.secretkv import EtcdSecretKv
from tests.events.test_recorded_log import keeps
from tests.log.commits import write
from tests.upgrade.record import DATA
from tests.upgrade.recording import (
    ARCHIVE,
    EVERY,
    LIVED,
    MASTER_KEY,
    REGION,
    SECRETS,
    STATES,
    USER_DATA,
)


def heard(what: str, done: int, total: int) -> None:
    """Hear of progress."""


@pytest.fixture(params=sorted(DATA.iterdir()), ids=lambda folder: folder.name)
def stored(request: pytest.FixtureRequest) -> Path:
    """What one release has left behind."""
    folder: Path = request.param
    return folder


@pytest.fixture(params=[EVERY, LIVED, ARCHIVE])
async def log(request: pytest.FixtureRequest, stored: Path) -> OfflineLog:
    """A log of that release, as an export or as its archive."""
    if request.param == ARCHIVE:
        return await archived_log(FolderDepot(stored / ARCHIVE))
    return await exported_log([stored / request.param])


async def states_of(log: OfflineLog) -> dict[StreamId, Any]:
    """Fold every stream, as the services do."""
    codec, states = Codec(), dict[StreamId, Any]()
    async with aclosing(log.read(Seq(1), log.head.seq)) as batches:
        async for batch in batches:
            for entry in batch:
                for commit in entry.entry.commits:
                    for record in commit.events:
                        evolve = KINDS[stream_kind(record.stream)].evolve
                        before = states.get(record.stream)
                        states[record.stream] = evolve(before, codec.event(record), commit.at)
    return states


async def types_of(log: OfflineLog) -> set[tuple[str, int]]:
    """Return the types of the log's events, with their schema versions."""
    async with aclosing(log.read(Seq(1), log.head.seq)) as batches:
        return {
            (record.type, record.v)
            async for batch in batches
            for entry in batch
            for commit in entry.entry.commits
            for record in commit.events
        }


async def test_every_event_that_a_release_could_write_is_kept(stored: Path) -> None:
    number = sorted(DATA.iterdir()).index(stored)
    found = await types_of(await exported_log([stored / EVERY]))
    assert found >= RELEASED[number]


@pytest.mark.parametrize("name", [EVERY, LIVED])
async def test_what_a_release_folded_is_folded_alike(stored: Path, name: str) -> None:
    before = msgspec.json.decode((stored / STATES).read_bytes())[name]
    now = await states_of(await exported_log([stored / name]))
    assert now.keys() == before.keys()
    for stream, state in now.items():
        assert keeps(before[stream], msgspec.to_builtins(state)), stream


async def test_the_read_models_take_every_event(log: OfflineLog, database: Dsn) -> None:
    async with aclosing(replay(log, database)) as steps:
        ends = {step.name: step async for step in steps if step.finished}
    assert ends.keys() == {model.name for model in READ_MODELS}
    assert {end.phase for end in ends.values()} == {"swapped"}, ends


async def test_every_decision_is_the_same(stored: Path) -> None:
    log, deciding = await exported_log([stored / LIVED]), Redeciding()
    async with aclosing(log.read(Seq(1), log.head.seq)) as batches:
        async for batch in batches:
            deciding.take(batch)
    found = deciding.findings()
    assert found.sound, [*found.differing, *found.unfolded]
    assert found.same == found.commits > 20


async def test_an_export_proves_itself(stored: Path) -> None:
    found = verify_files([stored / LIVED], None, {})
    assert (found.region, found.first) == (REGION, 1)
    assert found.vouched is not None


async def test_segments_and_copy_bear_the_signature_of_the_log_s_key(stored: Path) -> None:
    holding = await survey(FolderDepot(stored / ARCHIVE))
    log = await exported_log([stored / LIVED])
    states = await states_of(log)
    keys = {k.kid: LogKey(kid=k.kid, x=k.x) for s, k in states.items() if s.startswith("key/")}
    assert len(holding.segments) > 1
    assert holding.copy is not None
    for manifest in (*holding.segments, holding.copy.manifest):
        assert signed_with(keys[manifest.kid], manifest), manifest.name


async def test_a_region_comes_back_from_the_archive_and_the_saved_secrets(
    stored: Path, etcd_server: EmbeddedEtcd, tmp_path: Path
) -> None:
    region, depot = RegionName(REGION), FolderDepot(stored / ARCHIVE)
    async with Etcd(EtcdSettings(endpoints=(str(etcd_server.address),))) as etcd:
        start = Keys(region).prefix
        await etcd.delete(start, prefix_end(start))
        holding, found = await survey(depot), await look(etcd, region)
        plan = await plan_restore(found, depot, holding, Wish(region=region), heard)
        assert plan.vouched is not None
        target = FolderDepot(tmp_path / "archive")
        await Restore(etcd, region, depot, target, heard).run(found, holding, plan)
        async with EtcdLog.open(etcd, region) as log:
            assert (await verify(log, plan.first)).sound
            await write(log, "machine/1")
            assert log.head.seq == plan.last + 1
        header, secrets = read_secrets(stored / SECRETS)
        require_of(header, region)
        assert await bring_back(etcd, region, secrets) == len(secrets) > 3
        keys = MasterKeys([base64.b64decode(MASTER_KEY)])
        store = SecretStore(region, keys, EtcdSecretKv(etcd, Keys(region)))
        opened = [
            (await store.get(name.kind, name.id, name.version)).reveal()
            async for name in store.names()
        ]
        assert len(opened) == len(secrets)
        assert USER_DATA in opened
