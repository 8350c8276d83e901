"""`mulligan certificate`, on a region's folder: it needs nothing that runs."""

import json
from pathlib import Path

import pytest

from mulligan.cli.main import main
from mulligan.embedded.region import RegionPaths, init_region
from mulligan.tls import certificates_in, fingerprint, hosts_of, issued_by


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegionPaths:
    monkeypatch.setenv("MULLIGAN_STATE", str(tmp_path / "region"))
    monkeypatch.chdir(tmp_path)
    return init_region(tmp_path / "region", "lab")


def certificate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run a verb; return its exit code and what it printed, errors after the rest."""
    code = main(["certificate", *arguments])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_certificates_are_listed_with_what_an_operator_asks(
    paths: RegionPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = json.loads(certificate(capsys, "list", "-o", "json")[1])
    assert [one["name"] for one in listed] == ["ca", "etcd", "service"]
    service = listed[2]
    assert service["fingerprint"] == fingerprint(paths.tls("service").cert.read_bytes())
    assert {"localhost", "127.0.0.1"} <= set(service["hosts"])
    table = certificate(capsys, "list", "-o", "wide")[1]
    assert "service.lab.mulligan" in table
    assert "364 days" in table


def test_a_renewal_keeps_the_hosts_and_adds_those_named(
    paths: RegionPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert certificate(capsys, "renew") == (0, "nothing ends within 30 days\n")
    assert certificate(capsys, "renew", "--host", "media.example")[1] == "renewed etcd, service\n"
    assert certificate(capsys, "renew", "--all")[1] == "renewed etcd, service\n"
    assert {"localhost", "media.example"} <= set(hosts_of(paths.tls("service").cert.read_bytes()))


def test_a_certificate_for_an_account_comes_with_the_line_that_binds_it(
    paths: RegionPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = certificate(capsys, "issue", "ci", "--out", str(tmp_path / "out"))
    issued = tmp_path / "out" / "ci.pem"
    assert code == 0
    assert fingerprint(issued.read_bytes()) in printed
    assert f"mulligan account add-certificate ci --file {issued}" in printed
    assert issued_by(paths.tls("ca").cert.read_bytes(), issued.read_bytes())
    assert "ci" in certificate(capsys, "list", "-o", "name")[1].split()


def test_a_host_s_certificate_needs_its_names(
    paths: RegionPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = certificate(capsys, "issue", "rack7", "--server")
    assert code != 0
    assert "--host" in printed
    assert certificate(capsys, "issue", "rack7", "--server", "--host", "r7.example")[0] == 0
    named = ("r7.example", "services.lab.mulligan")
    assert hosts_of(Path("rack7.pem").read_bytes()) == named
    code, printed = certificate(capsys, "issue", "ci", "--host", "services.lab.mulligan")
    assert code != 0
    assert not Path("ci.pem").exists(), "an account's certificate must not pass for a service's"


@pytest.mark.parametrize("name", ["ca", "service", "../ca", "", "a/b", "-x"])
def test_a_name_that_would_reach_other_files_is_refused(
    paths: RegionPaths, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = certificate(capsys, "issue", "--", name)
    assert code != 0
    assert "cannot be the name of a certificate" in printed


def test_the_ca_changes_in_two_steps_and_the_second_waits_for_all(
    paths: RegionPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate(capsys, "issue", "ci")
    before = certificates_in(paths.tls("ca").cert.read_bytes())
    assert certificate(capsys, "renew-ca", "--finish")[0] != 0
    code, printed = certificate(capsys, "renew-ca")
    assert code == 0
    assert "issued anew: etcd, service" in printed
    assert certificates_in(paths.tls("ca").cert.read_bytes())[1:] == before
    assert "finish" in certificate(capsys, "renew-ca")[1]
    assert "still certified by the old CA: ci" in certificate(capsys, "renew-ca", "--finish")[1]
    assert "the old CA" in certificate(capsys, "list")[1]
    certificate(capsys, "issue", "ci")
    assert certificate(capsys, "renew-ca", "--finish")[0] == 0
    assert len(certificates_in(paths.tls("ca").cert.read_bytes())) == 1


def test_a_folder_without_the_ca_s_key_says_where_to_run(
    paths: RegionPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    paths.tls("ca").key.unlink()
    code, printed = certificate(capsys, "issue", "ci")
    assert code != 0
    assert "run this on the host where the region was set up" in printed
