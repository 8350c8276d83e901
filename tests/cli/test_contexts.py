"""Contexts: added, changed, renamed, used and forgotten, in a file that only its owner reads."""

from pathlib import Path

import pytest

from mulligan.cli.main import main
from mulligan.client.context import load_settings


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "mulligan" / "config.toml"
    monkeypatch.setenv("MULLIGAN_CONFIG", str(file))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MULLIGAN_CONTEXT", raising=False)
    return file


def add(name: str) -> int:
    return main(["context", "add", name, "--address", "192.0.2.1:7001", "--account", "ada"])


def test_what_is_added_is_private_and_can_be_used(config: Path) -> None:
    assert add("lab") == 0
    assert config.stat().st_mode & 0o777 == 0o600
    assert main(["context", "use", "lab"]) == 0
    settings = load_settings(config)
    assert settings.current == "lab"
    assert settings.contexts["lab"].address == ("192.0.2.1:7001",)


def test_a_name_is_not_added_twice_nor_an_address_forgotten(config: Path) -> None:
    add("lab")
    assert add("lab") == 5
    assert main(["context", "add", "home"]) == 2


def test_a_dash_is_the_previous_one(config: Path) -> None:
    add("one")
    add("two")
    assert main(["context", "use", "one"]) == 0
    assert main(["context", "use", "two"]) == 0
    assert main(["context", "use", "-"]) == 0
    assert load_settings(config).current == "one"
    assert main(["context", "use", "-"]) == 0
    assert load_settings(config).current == "two"


def test_without_a_previous_one_a_dash_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add("one")
    assert main(["context", "use", "-"]) == 6
    assert "no previous context" in capsys.readouterr().err


def test_edit_changes_what_is_named_and_leaves_the_rest(config: Path) -> None:
    add("lab")
    assert main(["context", "edit", "lab", "--project", "physics", "--ca", "ca.pem"]) == 0
    lab = load_settings(config).contexts["lab"]
    assert (lab.project, lab.account) == ("physics", "ada")
    assert Path(lab.ca).is_absolute()
    assert main(["context", "edit", "lab"]) == 2
    assert main(["context", "edit", "nix", "--project", "physics"]) == 3


def test_rename_keeps_it_current(config: Path) -> None:
    add("lab")
    main(["context", "use", "lab"])
    assert main(["context", "rename", "lab", "old"]) == 0
    assert load_settings(config).current == "old"
    add("lab")
    assert main(["context", "rename", "lab", "old"]) == 5


def test_deleting_several_is_asked_about(config: Path) -> None:
    add("one")
    add("two")
    assert main(["context", "delete", "one", "two"]) == 6
    assert main(["context", "delete", "one", "two", "--yes"]) == 0
    assert not load_settings(config).contexts
