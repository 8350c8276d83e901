import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mulligan.config import load
from mulligan.embedded.ports import free_ports, is_free
from mulligan.embedded.region import OtherRegion, init_region
from mulligan.secrets import load_master_keys
from mulligan.tls import (
    begins,
    client_context,
    issue,
    read_pair,
    server_context,
    write_pair,
)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_region_s_folder_holds_all_that_its_services_need(tmp_path: Path) -> None:
    paths = init_region(tmp_path / "r", "east-1", hosts=("rack7.example", "192.0.2.7"))
    config = load(paths.config, {})
    assert config.region == "east-1"
    assert config.state_dir == tmp_path / "r"
    assert config.tls.enabled
    assert len(paths.admin_secret.read_text().strip()) >= 32
    load_master_keys(config.secrets.key_file, {})
    server_context(paths.tls("service"), client_certs=True)
    client_context(paths.tls("ca").ca, paths.tls("service"))
    modes = {stat.S_IMODE(p.stat().st_mode) for p in paths.state_dir.rglob("*") if p.is_file()}
    assert modes == {0o600}


def test_a_second_init_changes_nothing_and_a_lost_file_is_made_again(tmp_path: Path) -> None:
    paths = init_region(tmp_path, "r1")
    before = contents(tmp_path)
    init_region(tmp_path, "r1")
    assert contents(tmp_path) == before
    paths.tls("service").cert.unlink()
    init_region(tmp_path, "r1")
    after = contents(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {
        str(paths.tls("service").cert),
        str(paths.tls("service").key),
    }


def test_a_certificate_of_a_clock_that_was_ahead_is_made_again(tmp_path: Path) -> None:
    paths = init_region(tmp_path, "r1")
    ca, service = paths.tls("ca"), paths.tls("service")
    ahead = datetime.now(UTC) + timedelta(days=60)
    made = issue(read_pair(ca.cert, ca.key), "service", ips=["127.0.0.1"], server=True, now=ahead)
    write_pair(made, service.cert, service.key)
    init_region(tmp_path, "r1")
    assert begins(service.cert.read_bytes()) < datetime.now(UTC)


@pytest.mark.parametrize("lost", ["config.toml", None])
def test_a_folder_of_another_region_is_refused(tmp_path: Path, lost: str | None) -> None:
    init_region(tmp_path, "r1")
    if lost:
        (tmp_path / lost).unlink()
    with pytest.raises(OtherRegion, match="holds region 'r1', not 'r2'"):
        init_region(tmp_path, "r2")


def test_every_port_of_a_region_is_its_own(tmp_path: Path) -> None:
    config = load(init_region(tmp_path, "r1", usual_ports=False).config, {})
    listen = [getattr(config.listen, name) for name in config.listen.__struct_fields__]
    ports = [a.port for a in (*listen, config.media.listen, *config.etcd.endpoints)]
    assert len(set(ports)) == len(ports)
    assert all(map(is_free, ports))


def test_a_folder_that_moves_takes_its_paths_along(tmp_path: Path) -> None:
    init_region(tmp_path / "old", "r1")
    (tmp_path / "old").rename(tmp_path / "new")
    config = load(tmp_path / "new" / "config.toml", {})
    assert config.tls.cert == tmp_path / "new" / "tls" / "service.pem"
    assert f"host={tmp_path}/new/postgres" in config.postgres.dsn


def test_free_ports_differ_and_avoid_what_is_named() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert not set(free_ports(20, avoid=ports)) & set(ports)
