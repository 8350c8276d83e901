"""Whatever is typed, and whatever files and streams are like: a message and a code, no trace."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mulligan.cli.examples import EXAMPLES
from mulligan.cli.help import every_command
from mulligan.cli.main import main
from mulligan.cli.report import EXIT_CODES, report
from mulligan.client.status import Untrusted
from mulligan.embedded.process import StartFailed

CODES = {0, 1, 130, 141} | {code for _, code in EXIT_CODES}
SEED = 20270131
LINES = 120
ODD = (
    *("", "-", "--", "---", "=", "x=y", "0", "-1", "99999999999999999999", "1e400", "nan", "\x00"),
    *("\ud800", "é\u202e", "a" * 5000, "../../etc/passwd", "/", "/dev/null", "+2h", "-2h", "#1"),
    *("--watch", "--dry-run", "--yes", "-q", "-o", "json", "--limit", "--at", "--state", "name=1"),
    *("{n:99999}", "%s", "[", "'", '"', "2027-99-99", "all", "active", "--context", "--help"),
)
STARTING = ("up", "demo", "serve", "init", "console", "backup", "certificate", "archive restore")
"""What would start a region, or writes to one's folder."""
BROKEN = (
    b"",
    b"\xff\xfe\x00",
    b"current = 1",
    b"[contexts]\nlab = 3\n",
    b'[contexts.lab]\naddress = ["not an address"]\nca = "/nowhere"\n',
    b'current = "lab"\n[contexts.lab]\naddress = ["127.0.0.1:1"]\naccount = "a"\n',
    b"[" * 3000,
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, no control plane, and no patience."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MULLIGAN_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MULLIGAN_PATIENCE", "0")
    monkeypatch.setenv("MULLIGAN_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    return tmp_path


def command_lines(dice: random.Random) -> Iterator[list[str]]:
    """Yield command lines, most of them nearly right."""
    paths = [path for path, _ in every_command() if not path.startswith(STARTING)]
    examples = [line.split() for line in EXAMPLES.split("\n") if line]
    examples = [words for words in examples if not " ".join(words).startswith(STARTING)]
    for _ in range(LINES):
        words = list(dice.choice(examples)) if dice.random() < 0.5 else dice.choice(paths).split()
        for _ in range(dice.randrange(4)):
            place = dice.randrange(len(words) + 1)
            if dice.random() < 0.3 and place < len(words):
                del words[place]
            else:
                words.insert(place, dice.choice(ODD))
        if not " ".join(words).startswith(STARTING):
            yield words


def sound(code: int, printed: str, what: object) -> None:
    assert code in CODES, f"exit code {code} of {what}\n{printed}"
    assert "Traceback" not in printed, f"{what}\n{printed}"
    assert "this is a defect" not in printed, f"{what}\n{printed}"


def test_odd_command_lines_are_answered_with_a_message(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in command_lines(random.Random(SEED)):
        code = main(words)
        printed = capsys.readouterr()
        sound(code, printed.err + printed.out[:2000], words)


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_of_contexts_is_named(
    content: bytes, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MULLIGAN_ADDRESS")
    (here / "config.toml").write_bytes(content)
    for line in ("context list", "context show", "machine list", "context use lab", "status"):
        code = main(line.split())
        printed = capsys.readouterr()
        sound(code, printed.err, (line, content[:40]))


def test_a_file_of_contexts_that_is_a_folder_is_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "config.toml").mkdir()
    assert main(["machine", "list"]) == 2
    assert "config.toml" in capsys.readouterr().err


def test_streams_that_are_closed_or_unreadable_are_no_trace(here: Path) -> None:
    shell = f"{sys.executable} -m mulligan.cli.start"
    for line in (
        f"{shell} help --man | head -n 1",
        f"{shell} version >&-",
        f"{shell} help >/dev/full",
        f"{shell} machine show - <&-",
        f"{shell} machine delete - --reason x --yes < /",
        f"{shell} apply -f - --yes </dev/null",
    ):
        done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=30, check=False)
        sound(done.returncode, done.stderr.decode(), line)


@pytest.mark.parametrize("after", [0.0, 0.02, 0.05, 0.09, 0.14, 0.2])
def test_ctrl_c_at_any_moment_is_no_trace(after: float, here: Path) -> None:
    environment = {**os.environ, "MULLIGAN_PATIENCE": "30"}
    command = [sys.executable, "-m", "mulligan.cli.start", "machine", "list"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)
    assert process.stderr is not None
    with process:
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        printed = process.stderr.read().decode()
        code = process.wait(30)
    assert code in {130, -signal.SIGINT, *CODES}
    if "/mulligan/cli/" in printed:  # else it is Python itself that was about to start
        assert "Traceback" not in printed, printed


def test_a_server_that_is_not_there_is_no_defect(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(StartFailed("found no etcd; install etcd 3.4 or newer")) == 1
    assert capsys.readouterr().err == "error: found no etcd; install etcd 3.4 or newer\n"


def test_a_certificate_that_is_not_trusted_says_where_the_ca_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report(Untrusted("the CA is not set; get the control plane's ca.pem")) == 8
    assert "--ca" in capsys.readouterr().err.splitlines()[1]
