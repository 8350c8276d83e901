"""A log that was put back is found out by what others have seen of it, and by nothing else."""

from pathlib import Path

import pytest

from mulligan.errors import Corrupt
from mulligan.log.depot import FolderDepot
from mulligan.log.etcd import Etcd
from mulligan.log.etcdlog import EtcdLog
from mulligan.log.segment import COPY, manifest_name
from mulligan.log.witness import PutBack, Witness, archive_witness, hear
from mulligan.model import RegionName, Seq, new_id

from .commits import write
from .conftest import EtcdServer


async def test_what_a_witness_has_seen_must_be_in_the_log(shared_etcd: EtcdServer) -> None:
    region = RegionName(f"w{new_id()[-8:]}")
    async with Etcd(shared_etcd.settings) as etcd, EtcdLog.open(etcd, region) as log:
        for number in range(3):
            await write(log, f"machine/{number}")

        def seen(seq: int, hash: str, log_id: str = log.head.log_id) -> Witness:
            return Witness(who="the archive", log_id=log_id, seq=Seq(seq), hash=hash)

        await hear(etcd, log, seen(3, log.head.hash))
        await hear(etcd, log, seen(9, "ab" * 32, log_id="of another log"))
        with pytest.raises(PutBack, match=r"head 3 lies before 5.* 2 entries are gone.*restore"):
            await hear(etcd, log, seen(5, "ab" * 32))
        with pytest.raises(PutBack, match="two histories"):
            await hear(etcd, log, seen(2, "ab" * 32))
        assert log.failure is None, "who asked decides"


async def test_an_archive_is_a_witness_once_it_has_a_copy(tmp_path: Path) -> None:
    depot = FolderDepot(tmp_path)
    assert await archive_witness(depot) is None
    await depot.put(manifest_name(COPY), b"{")
    with pytest.raises(Corrupt, match="cannot be read") as raised:
        await archive_witness(depot)
    assert not isinstance(raised.value, PutBack), "damage is no proof of a lost past"
