"""Trying out: a verb reads as ever, says what it would send, and sends nothing that changes."""

import json
from pathlib import Path

import anyio.to_thread
import pytest

from mulligan.cli.dry_run import without_secrets
from mulligan.cli.help import every_command
from mulligan.cli.main import main
from mulligan.proto.v1 import READS
from tests.cli.test_every_verb import LOGINS, address, called, region_of_anything

__all__ = ["address", "called", "region_of_anything"]


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("project create physics --dry-run", "Iam.CreateProject"),
        ("image delete a b --dry-run", "Control.DeleteImage"),
        ("claim make --class machine=1 --dry-run", "Resource.MakeClaim"),
        ("machine deploy c --image i --dry-run --wait", "Control.DeployMachine"),
        ("rebuild x --dry-run", "Projector.RebuildProjections"),
    ],
)
async def test_what_would_be_sent_is_shown_and_not_sent(
    line: str,
    call: str,
    region_of_anything: Path,
    called: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = len(called)
    code = await anyio.to_thread.run_sync(main, [*line.split(), "-o", "json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert {one["call"] for one in json.loads(printed.out)} == {call}
    assert "othing was done" in printed.err
    assert {one for one in called[before:] if one not in LOGINS} <= READS


@pytest.mark.parametrize("form", ["table", "wide", "json", "yaml", "name"])
@pytest.mark.parametrize("line", ["account secret ada --secret-file", "passwd --secret-file"])
async def test_secrets_are_not_shown(
    line: str,
    form: str,
    region_of_anything: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MULLIGAN_SECRET", "hunter3hunter3")
    (region_of_anything / "secret").write_text("hunter2hunter2")
    words = [*line.split(), str(region_of_anything / "secret"), "--dry-run", "-o", form]
    code = await anyio.to_thread.run_sync(main, words)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert "hunter" not in printed.out + printed.err


def test_what_is_secret_is_not_shown_however_deep() -> None:
    told = {"name": "a", "old_secret": "x", "more": [{"bmc_password": "y", "secret": ""}]}
    assert without_secrets(told) == {
        "name": "a",
        "old_secret": "***",
        "more": [{"bmc_password": "***", "secret": ""}],
    }


def test_every_verb_that_makes_or_deletes_can_be_tried_out() -> None:
    for path, command in every_command():
        noun, verb = path.split()[0], path.split()[-1]
        if verb in ("create", "delete", "make", "release", "cancel") and noun != "context":
            assert any("--dry-run" in param.opts for param in command.params), path
