"""Types the commands of a page as a reader does, against a region and BMCs of its own."""

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
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mulligan.embedded.ports import free_ports
from mulligan.embedded.region import init_region
from tests.docs.pages import ROOT, Shown, commands
from tests.e2e.region import using

LONG_RUNNING = ("mulligan up", "sushy-emulator")
"""What a reader leaves running in a terminal, until Ctrl-C."""
PORT = "127.0.0.1:8100"
"""Where the pages' BMCs are; here, they get a free port."""
WITHIN_S = 40.0
SEED = 38329
"""Makes the emulator's first random delays short: each of 1 to 11 s is then 1 or 2 s."""

_VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-\S+"  # a UUID
    r"|\b[0-9a-f]{16,}\b"  # a hash
    r"|\b[a-z]+-\d+-[0-9a-f]{8}\b"  # an instance
    r"|\S*/\S*"  # a path or URL
    r"|\bnode-\d\b"  # whichever was free
)
_WORD = re.compile(r"[A-Za-z][A-Za-z_]{2,}")


def walk(page: Path) -> None:
    """Run a page from its first command to its last; raise AssertionError where it is not true."""
    text = page.read_text()
    with ExitStack() as stack:
        home = stack.enter_context(_home())
        address = f"127.0.0.1:{free_ports(1)[0]}"
        place = _checkout(home, address)
        environment = _environment(home)
        init_region(home / ".local" / "state" / "mulligan", "local", usual_ports=False)
        shell = stack.enter_context(_Shell.opened(place, environment))
        for shown in commands(text.replace(PORT, address)):
            if shown.command.startswith(LONG_RUNNING):
                stack.enter_context(_running(shown, place, environment))
            else:
                _check(shown, *shell.run(shown.command))


@contextmanager
def _home() -> Iterator[Path]:
    """Make a reader's home, with a short path, as sockets want it."""
    home = Path(tempfile.mkdtemp(prefix="mlg-"))
    home.chmod(0o711)
    try:
        yield home
        left = using(home)
    finally:
        shutil.rmtree(home)
    assert not left


def _checkout(home: Path, address: str) -> Path:
    place = home / "checkout"
    shutil.copytree(ROOT / "docs" / "tour", place / "docs" / "tour")
    for file in (place / "docs" / "tour").iterdir():
        port = address.rpartition(":")[2]
        file.write_text(file.read_text().replace(PORT, address).replace("= 8100", f"= {port}"))
    (place / "build").mkdir()
    return place


def _environment(home: Path) -> Mapping[str, str]:
    (home / "seed").mkdir()
    (home / "seed" / "sitecustomize.py").write_text(f"import random\nrandom.seed({SEED})\n")
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "COLUMNS": "100",
        "LC_ALL": "C.UTF-8",
    }


@contextmanager
def _running(shown: Shown, place: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Run a command as in a terminal of its own; it ends by Ctrl-C, and well."""
    name = shown.command.split()[0]
    out = place / f"{name}.out"
    seeded = {"PYTHONPATH": str(Path(environment["HOME"]) / "seed")}
    with out.open("wb") as file:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {shown.command}"],
            cwd=place,
            env={**environment, **(seeded if name == "sushy-emulator" else {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    try:
        deadline = time.monotonic() + WITHIN_S
        while missing := missing_words(shown.output, out.read_text()):
            assert process.poll() is None and time.monotonic() < deadline, (
                f"$ {shown.command}\nprints no {missing}, but\n{_ends(out, environment['HOME'])}"
            )
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert code == 0 or name != "mulligan", f"{name} ended with {code}: {out.read_text()}"


def _ends(out: Path, home: str) -> str:
    """Return the last lines that were printed and logged."""
    logs = sorted(Path(home, ".local", "state", "mulligan", "logs").glob("*.log"))
    tails = {file.name: file.read_text().splitlines()[-8:] for file in (out, *logs)}
    return "\n".join(line for name, lines in tails.items() for line in (f"-- {name}", *lines))


class _Shell:
    """One bash for a whole page, so that variables live on."""

    def __init__(self, process: subprocess.Popen[str], out: Path) -> None:
        self._process = process
        self._out = out

    @classmethod
    @contextmanager
    def opened(cls, place: Path, environment: Mapping[str, str]) -> Iterator["_Shell"]:
        with subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-o", "pipefail"],
            cwd=place,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield cls(process, place / "shell.out")
            finally:
                process.kill()

    def run(self, command: str) -> tuple[int, str]:
        """Run a command and return its exit code and what it printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = f"{{ {command}\n}} </dev/null >{self._out} 2>&1; echo $?\n"
        self._process.stdin.write(line)
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], WITHIN_S)
        assert ready, f"$ {command}\ndoes not end; so far\n{self._out.read_text()}"
        return int(self._process.stdout.readline()), self._out.read_text()


def _check(shown: Shown, code: int, printed: str) -> None:
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
