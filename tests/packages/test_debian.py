"""The Debian package, as an administrator meets it."""

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mulligan import __version__
from mulligan.services.serve import SERVICES
from tests.packages.debian import USER_HOME, Debian

pytestmark = [pytest.mark.packages, pytest.mark.timeout(300)]

UNITS = (
    "mulligan-up.service",
    "mulligan.target",
    *(f"mulligan@{name}.service" for name in SERVICES),
)
READY_S = 60.0


def test_the_command_is_there_for_everybody(debian: Debian) -> None:
    assert debian.run("mulligan", "version", user="nobody") == f"mulligan {__version__}\n"


def test_it_owns_nothing_that_others_import(debian: Debian) -> None:
    debian.run("/usr/bin/python3", "-c", "import mulligan", code=1)


def test_the_services_have_a_user_of_their_own(debian: Debian) -> None:
    assert re.search(r"uid=\d+\(mulligan\) gid=\d+\(mulligan\)", debian.run("id", "mulligan"))
    shown = debian.run("stat", "-c", "%a %U %G", "/etc/mulligan", USER_HOME)
    assert shown.splitlines() == ["750 root mulligan", "711 mulligan mulligan"]


def test_systemd_finds_no_fault_with_the_units(debian: Debian) -> None:
    assert debian.run("systemd-analyze", "verify", "--man=no", *UNITS) == ""


@pytest.mark.parametrize("unit", ["mulligan-up.service", "mulligan@iam.service"])
def test_the_units_keep_to_themselves(debian: Debian, unit: str) -> None:
    shown = debian.run("systemd-analyze", "security", "--offline=true", unit)
    found = re.search(r"exposure level for \S+: ([\d.]+)", shown)
    assert found is not None and float(found[1]) < 4.0


def test_manual_completions_dashboards_and_alerts_come_with_it(debian: Debian) -> None:
    assert debian.run("bash", "-n", "/usr/share/bash-completion/completions/mulligan") == ""
    manual = debian.run("gzip", "-dc", "/usr/share/man/man1/mulligan.1.gz")
    assert ".TH" in manual and "machine" in manual
    assert debian.exists("/usr/share/mulligan/grafana/mulligan.json")
    assert debian.exists("/usr/share/mulligan/prometheus/alerts.yml")


def test_no_file_says_where_it_was_built(debian: Debian, package: Path) -> None:
    built_in = str(package.parent)
    found = subprocess.run(
        ["grep", "-rl", built_in, str(debian.root / "usr/lib/mulligan")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout == ""


def test_a_region_runs_as_the_unit_says_and_ends_when_told(debian: Debian, tmp_path: Path) -> None:
    unit = (debian.root / "lib/systemd/system/mulligan-up.service").read_text()
    (start,) = re.findall(r"^ExecStart=(.+)$", unit, re.MULTILINE)
    state = re.findall(r"^Environment=(.+)$", unit, re.MULTILINE)
    printed = tmp_path / "printed"
    with printed.open("wb") as file, subprocess.Popen(
        debian.command("env", *state, *start.split(), user="mulligan"),
        stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            until = time.monotonic() + READY_S
            while "is ready" not in printed.read_text():
                assert process.poll() is None and time.monotonic() < until, printed.read_text()
                time.sleep(0.1)
            assert "all is well" in debian.run("mulligan", "status", user="mulligan")
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert debian.exists(f"{USER_HOME}/config.toml")


def test_an_upgrade_keeps_what_was_set_and_what_was_stored(debian: Debian, package: Path) -> None:
    settings = debian.root / "etc/default/mulligan"
    settings.write_text("MULLIGAN_LOG_FORMAT=json\n")
    stored = debian.root / USER_HOME.lstrip("/") / "stored"
    stored.write_text("a log")
    debian.install(package)
    assert settings.read_text() == "MULLIGAN_LOG_FORMAT=json\n"
    assert stored.read_text() == "a log"


def test_what_is_removed_leaves_the_log_and_says_so(debian: Debian, package: Path) -> None:
    stored = debian.root / USER_HOME.lstrip("/") / "stored"
    stored.write_text("a log")
    debian.run("dpkg", "--remove", "mulligan")
    assert not debian.exists("/usr/lib/mulligan") and not debian.exists("/usr/bin/mulligan")
    assert "/var/lib/mulligan" in debian.run("dpkg", "--purge", "mulligan")
    assert stored.read_text() == "a log"
    debian.install(package)
