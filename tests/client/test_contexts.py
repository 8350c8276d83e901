"""Which folder a path is relative to: the file's, or where a variable or an option is read."""

from pathlib import Path

import pytest

from mulligan.client.context import Context, Settings, choose_context, save_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    lab = Context(address=("192.0.2.1:7001",), ca="ca.pem", cert="me.pem", key="me.key")
    path = tmp_path / "settings" / "config.toml"
    save_settings(path, Settings(current="lab", contexts={"lab": lab}))
    return path


def test_paths_of_the_file_are_relative_to_it(file: Path) -> None:
    lab = choose_context(file, environ={}).context
    assert (lab.ca, lab.cert) == (str(file.parent / "ca.pem"), str(file.parent / "me.pem"))


def test_paths_of_a_variable_or_an_option_are_relative_to_where_we_are(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = choose_context(file, overrides={"key": "b.key"}, environ={"MULLIGAN_CA": "a/ca.pem"})
    lab = chosen.context
    assert (lab.ca, lab.key) == (str(tmp_path / "a/ca.pem"), str(tmp_path / "b.key"))
    assert lab.cert == str(file.parent / "me.pem")
