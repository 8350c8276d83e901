"""What keeps a region from starting is said at once, not by eight processes over and over."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mulligan.config import Config, load
from mulligan.embedded.before import PortTaken, require_startable
from mulligan.embedded.region import init_region
from mulligan.embedded.up import prepare
from mulligan.errors import BadConfiguration


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(init_region(tmp_path, "r1", usual_ports=False).config, {})


@pytest.fixture
def taken(config: Config) -> Iterator[str]:
    """The address of the region's iam, where somebody else listens."""
    with socket.socket() as other:
        other.bind((config.listen.iam.host, config.listen.iam.port))
        other.listen()
        yield str(config.listen.iam)


def test_a_region_whose_ports_are_free_may_start(config: Config) -> None:
    require_startable(config)


def test_a_port_that_is_taken_is_named_with_the_key_that_has_it(config: Config, taken: str) -> None:
    with pytest.raises(PortTaken, match=rf"listens on {taken} \(listen.iam\); stop it"):
        require_startable(config, patience=0.0)


def test_a_master_key_that_is_gone_is_not_made_anew(config: Config) -> None:
    key = config.secrets.key_file
    key.unlink()
    with pytest.raises(BadConfiguration, match="bring it back"):
        require_startable(config)
    assert not key.exists()


def run(tmp_path: Path, *words: str) -> tuple[int, list[str]]:
    """Run the command as a user does; return its exit code and what it said was wrong."""
    command = [sys.executable, "-m", "mulligan.cli.start", *words, "--state", str(tmp_path)]
    environment = os.environ | {"XDG_CONFIG_HOME": str(tmp_path / "client")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, [one for one in done.stderr.splitlines() if one.startswith("error: ")]


def test_up_ends_with_one_line_where_it_cannot_start(tmp_path: Path, taken: str) -> None:
    code, (said,) = run(tmp_path, "up", "--region", "r1")
    assert code == 6
    assert taken in said


def test_a_service_tells_a_port_that_is_taken(tmp_path: Path, taken: str) -> None:
    code, (said,) = run(tmp_path, "serve", "iam")
    assert code == 1
    assert said == (
        f"error: it cannot listen on {taken}: another program does; set listen.iam, or stop it"
    )


def test_a_service_tells_a_key_that_is_not_its_certificates(tmp_path: Path, config: Config) -> None:
    assert config.tls.key is not None
    config.tls.key.write_bytes((tmp_path / "tls" / "etcd.key").read_bytes())
    code, (said,) = run(tmp_path, "serve", "iam")
    assert code == 1
    assert f"cannot use {config.tls.cert} with {config.tls.key}" in said


def test_certificates_are_renewed_before_anybody_reads_them(config: Config, taken: str) -> None:
    assert config.tls.cert is not None
    config.tls.cert.unlink()
    with pytest.raises(PortTaken):
        prepare(config)
    assert config.tls.cert.exists()
