"""Sealed secrets in a file: they come back where they are missing, and change nothing else."""

from pathlib import Path

import pytest

from mulligan.errors import Corrupt, FailedPrecondition, NotFound
from mulligan.log.etcd import Etcd
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.keys import Keys
from mulligan.master_key import MasterKeys
from mulligan.model import RegionName, new_id
from mulligan.secrets import SecretStore
from mulligan.services.secrets.backup import bring_back, read_secrets, require_of, save_secrets
from mulligan.services.secrets.secretkv import EtcdSecretKv

from .conftest import EtcdServer


async def test_lost_secrets_come_back_and_present_ones_stay(
    shared_etcd: EtcdServer, tmp_path: Path
) -> None:
    region = RegionName(f"s{new_id()[-8:]}")
    file = tmp_path / "secrets"
    async with Etcd(shared_etcd.settings) as etcd:
        with pytest.raises(FailedPrecondition, match="no log"):
            await save_secrets(etcd, region, file)
        async with EtcdLog.open(etcd, region):
            pass
        keys = MasterKeys([b"k" * 32])
        store = SecretStore(region, keys, EtcdSecretKv(etcd, Keys(region)))
        versions = [await store.put("bmc", f"c{i}", b"hush %d" % i) for i in range(3)]
        assert await save_secrets(etcd, region, file) == 3
        assert file.stat().st_mode & 0o777 == 0o600
        assert b"hush" not in file.read_bytes()

        await store.delete("bmc", "c1")
        header, secrets = read_secrets(file)
        require_of(header, region)
        assert await bring_back(etcd, region, secrets) == 1
        assert (await store.get("bmc", "c1", versions[1])).reveal() == b"hush 1"

        elsewhere = RegionName("elsewhere")
        with pytest.raises(FailedPrecondition, match="do not open in elsewhere"):
            require_of(header, elsewhere)
        other = SecretStore(elsewhere, keys, EtcdSecretKv(etcd, Keys(elsewhere)))
        with pytest.raises(NotFound):
            await other.get("bmc", "c1", versions[1])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[:-10], "cut off"),
        (lambda text: text.replace(b"bmc/", b"bmd/", 1), "damaged"),
        (lambda text: b"{}\n" + text, "holds no secrets"),
        (lambda text: b"", "holds no secrets"),
    ],
)
async def test_a_damaged_file_is_refused_whole(
    shared_etcd: EtcdServer, tmp_path: Path, damage: object, said: str
) -> None:
    region = RegionName(f"s{new_id()[-8:]}")
    file = tmp_path / "secrets"
    async with Etcd(shared_etcd.settings) as etcd, EtcdLog.open(etcd, region):
        store = SecretStore(region, MasterKeys([b"k" * 32]), EtcdSecretKv(etcd, Keys(region)))
        await store.put("bmc", "cc", b"hush")
        await save_secrets(etcd, region, file)
    assert callable(damage)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(Corrupt, match=said):
        read_secrets(file)
