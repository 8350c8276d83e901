"""`mulligan archive restore` and `mulligan backup` on a region's folder, where they must refuse."""

from pathlib import Path

import pytest

from mulligan.cli.main import main
from mulligan.embedded.region import init_region


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A region that nothing runs of."""
    folder = tmp_path / "region"
    init_region(folder, "lab", usual_ports=False)
    monkeypatch.setenv("MULLIGAN_STATE", str(folder))
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must fail; return what it says."""
    assert main(list(words)) != 0
    return capsys.readouterr().err


def test_a_restore_refuses_what_cannot_be(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not a time" in said(capsys, "archive", "restore", "--to", "yesterday-ish")
    assert "is no entry" in said(capsys, "archive", "restore", "--to", "0")
    assert "--from" in said(capsys, "archive", "restore", "--from", "ftp://x")
    assert "Nobody is there to ask" in said(capsys, "archive", "restore", "--accept-loss")
    missing = said(capsys, "archive", "restore", "--secrets", str(state / "none"))
    assert "cannot be read" in missing
    assert "there is no archive of a log" in said(capsys, "archive", "restore", "--dry-run")


def test_there_is_nothing_to_save_of_a_region_that_never_ran(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secrets"
    assert "there is no log of lab" in said(capsys, "backup", "secrets", str(file))
    assert not file.exists()
