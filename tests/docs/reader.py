"""A reader of the docs: a home of their own, a shell, and terminals where something goes on."""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.docs.pages import Shown
from tests.e2e.region import using

WITHIN_S = 40.0
SEED = 38329
"""Makes the emulator's first random delays short: each of 1 to 11 s is then 1 or 2 s."""

_VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-\S+"  # a UUID
    r"|\b[0-9a-f]{16,}\b"  # a hash
    r"|\b[a-z]+-\d+-[0-9a-f]{8}\b"  # an instance
    r"|\S*/\S*"  # a path or URL
    r"|\b[KMGT]iB\b"  # how much
    r"|\bnode-\d\b"  # whichever was free
)
_WORD = re.compile(r"[A-Za-z][A-Za-z_]{2,}")


@contextmanager
def home() -> Iterator[Path]:
    """Make a reader's home, with a short path, as sockets want it; no process may use it then."""
    folder = Path(tempfile.mkdtemp(prefix="mlg-"))
    folder.chmod(0o711)
    try:
        yield folder
        left = using(folder)
    finally:
        shutil.rmtree(folder)
    assert not left


def environment(folder: Path) -> Mapping[str, str]:
    """Return the environment of a reader whose home is ``folder``."""
    (folder / "seed").mkdir()
    (folder / "seed" / "sitecustomize.py").write_text(f"import random\nrandom.seed({SEED})\n")
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "COLUMNS": "100",
        "LC_ALL": "C.UTF-8",
    }


class Terminal:
    """A terminal in which one command runs until Ctrl-C, by which it must end well."""

    def __init__(self, shown: Shown, place: Path, environment: Mapping[str, str]) -> None:
        self.shown = shown
        self._environment = environment
        self._name = shown.command.split()[0]
        self._out = place / f"{self._name}.out"
        seeded = {"PYTHONPATH": str(Path(environment["HOME"]) / "seed")}
        with self._out.open("wb") as file:
            self._process = subprocess.Popen(
                ["bash", "-c", f"exec {shown.command}"],
                cwd=place,
                env={**environment, **(seeded if self._name == "sushy-emulator" else {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def await_output(self) -> None:
        """Return once it has printed what is shown of it."""
        deadline = time.monotonic() + WITHIN_S
        while missing := missing_words(self.shown.output, self._out.read_text()):
            assert self._process.poll() is None and time.monotonic() < deadline, (
                f"$ {self.shown.command}\nprints no {missing}, but\n{self._last_words()}"
            )
            time.sleep(0.05)

    def close(self) -> None:
        """Press Ctrl-C; raise AssertionError where it ends with an error, or not at all."""
        self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        assert code == 0 or self._name != "mulligan", (
            f"{self._name} ended with {code}: {self._out.read_text()}"
        )

    def _last_words(self) -> str:
        """Return the last lines that were printed and logged."""
        logs = Path(self._environment["HOME"], ".local", "state", "mulligan", "logs")
        files = (self._out, *sorted(logs.glob("*.log")))
        tails = {file.name: file.read_text().splitlines()[-8:] for file in files}
        return "\n".join(line for name, lines in tails.items() for line in (f"-- {name}", *lines))


@contextmanager
def running(shown: Shown, place: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Run a command as in a terminal of its own, from when it printed what is shown to Ctrl-C."""
    terminal = Terminal(shown, place, environment)
    try:
        terminal.await_output()
        yield
    finally:
        terminal.close()


class Shell:
    """One bash for a whole page, so that variables live on."""

    def __init__(self, process: subprocess.Popen[str], out: Path) -> None:
        self._process = process
        self._out = out

    @classmethod
    @contextmanager
    def opened(cls, place: Path, environment: Mapping[str, str]) -> Iterator["Shell"]:
        """Open a shell in a folder, and close it in the end."""
        with subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-o", "pipefail"],
            cwd=place,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        ) as process:
            try:
                yield cls(process, Path(environment["HOME"]) / "shell.out")
            finally:  # a command that did not end goes, too
                os.killpg(process.pid, signal.SIGKILL)

    def run(self, command: str, within: float = WITHIN_S) -> tuple[int, str]:
        """Run a command and return its exit code and what it printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = f"{{ {command}\n}} </dev/null >{self._out} 2>&1; echo $?\n"
        self._process.stdin.write(line)
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], within)
        assert ready, f"$ {command}\ndoes not end; so far\n{self._out.read_text()}"
        return int(self._process.stdout.readline()), self._out.read_text()


def check(shown: Shown, code: int, printed: str) -> None:
    """Raise AssertionError where a command did not do what its page shows of it."""
    refused = any(line.startswith("error:") for line in shown.output.splitlines())
    told = f"$ {shown.command}\n{printed}"
    assert (code != 0) is refused, f"exit code {code} of\n{told}"
    missing = missing_words(shown.output, printed)
    assert not missing, f"the page shows {missing}, which is not in\n{told}"


def missing_words(shown: str, printed: str) -> list[str]:
    """Return the words that were shown and not printed; what varies does not count."""
    return sorted(_words(shown) - _words(printed))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(_VARYING.sub(" ", text)))
