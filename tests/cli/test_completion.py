"""What TAB offers: words of the grammar, values, and names; never an error."""

import shutil
import subprocess
from pathlib import Path

import anyio.to_thread
import pytest

from mulligan.cli.completion import SCRIPTS, offered
from mulligan.cli.main import main
from tests.cli.test_every_verb import address, called, region_of_anything

__all__ = ["address", "called", "region_of_anything"]


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        (["mach"], "machine"),
        (["machine", "li"], "list"),
        (["machine", "list", "--st"], "--state"),
        (["machine", "list", "--state", "av"], "available"),
        (["machine", "list", "-o", "js"], "json"),
        (["-o", "json", "machine", "sh"], "show"),
        (["help", "exit"], "exit-codes"),
        (["iam", "key", "ro"], "rotate"),
    ],
)
def test_words_and_values_are_offered(typed: list[str], word: str) -> None:
    assert word in offered(typed)
    assert all(one.startswith(typed[-1]) for one in offered(typed))


async def test_names_come_from_the_server(
    region_of_anything: Path, called: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for line in ("machine show ", "image show ", "claim make --group ", "project show "):
        words = ["completion", "words", "--", *line.split(" ")]
        assert await anyio.to_thread.run_sync(main, words) == 0
        assert capsys.readouterr().out == "x\n", line
    before = len(called)
    await anyio.to_thread.run_sync(main, ["completion", "words", "--", "machine", "show", ""])
    assert capsys.readouterr().out == "x\n"
    assert len(called) == before, "the second time they are remembered"


async def test_contexts_are_offered(
    region_of_anything: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in ("--context ", "context use "):
        await anyio.to_thread.run_sync(main, ["completion", "words", "--", *line.split(" ")])
        assert capsys.readouterr().out == "lab\n", line


def test_without_a_server_there_is_silence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MULLIGAN_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for place in ("127.0.0.1:1", ""):
        monkeypatch.setenv("MULLIGAN_ADDRESS", place)
        assert main(["completion", "words", "--", "machine", "show", ""]) == 0
        assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_is_one_of_its_shell(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(SCRIPTS[shell])
    subprocess.run([shell, "-n", str(script)], check=True, timeout=20)
