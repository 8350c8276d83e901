"""Whether the secrets were saved: what is noted of it, and when that is too little."""

from datetime import UTC, datetime, timedelta

import pytest

from mulligan.errors import Corrupt
from mulligan.log.etcd import Etcd
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.keys import Keys
from mulligan.master_key import MasterKeys
from mulligan.model import RegionName, new_id
from mulligan.secrets import SecretStore
from mulligan.services.archive.backups import Backups, Saved, look, note, overdue, revision_of
from mulligan.services.secrets.secretkv import EtcdSecretKv

from .conftest import EtcdServer

NOW = datetime(2027, 1, 31, 8, tzinfo=UTC)


def told(*, age: float, saved: float | None = None, newer: int = 0) -> bool:
    """Tell whether it is too late for a region of some days, saved so many days ago."""
    mark = Saved(at=NOW - timedelta(days=saved), revision=7) if saved is not None else None
    return overdue(Backups(since=NOW - timedelta(days=age), saved=mark, newer=newer), NOW)


def test_a_region_may_be_without_a_backup_for_its_first_day_and_no_longer() -> None:
    assert not told(age=0.9)
    assert told(age=3)


def test_a_backup_is_good_until_a_secret_is_newer_and_it_is_no_daily_one() -> None:
    assert not told(age=300, saved=200)
    assert not told(age=300, saved=1.1, newer=1)
    assert told(age=300, saved=2.5, newer=1)


async def test_a_secret_is_newer_if_it_came_after_what_was_noted(shared_etcd: EtcdServer) -> None:
    region = RegionName(f"s{new_id()[-8:]}")
    async with Etcd(shared_etcd.settings) as etcd:
        assert await look(etcd, region) is None
        async with EtcdLog.open(etcd, region):
            pass
        store = SecretStore(region, MasterKeys([b"k" * 32]), EtcdSecretKv(etcd, Keys(region)))
        await store.put("bmc", "one", b"hush")
        never = await look(etcd, region)
        assert never is not None
        assert (never.saved, never.newer) == (None, 1)

        await note(etcd, region, "secrets", await revision_of(etcd, region))
        saved = await look(etcd, region)
        assert saved is not None
        assert saved.saved is not None
        assert saved.newer == 0

        await store.put("bmc", "two", b"hush")
        newer = await look(etcd, region)
        assert newer is not None
        assert newer.newer == 1

        await note(etcd, region, "etcd", await revision_of(etcd, region))
        whole = await look(etcd, region)
        assert whole is not None
        assert whole.newer == 0, "a snapshot of etcd holds them as well"


async def test_a_mark_that_is_none_says_what_puts_it_right(shared_etcd: EtcdServer) -> None:
    region = RegionName(f"s{new_id()[-8:]}")
    async with Etcd(shared_etcd.settings) as etcd:
        async with EtcdLog.open(etcd, region):
            pass
        await etcd.put(Keys(region).backup + "secrets", b"{}")
        with pytest.raises(Corrupt, match="mulligan backup"):
            await look(etcd, region)
