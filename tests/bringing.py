"""How sessions bring what their tests need to a machine: commands that say what they are."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LIMIT_S = 900


class PartsMissing(Exception):
    """Something is not there and cannot be brought here; the message says what, and what to do."""


def run(*command: str, folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Print a command and run it to its end; raise PartsMissing with what it printed if it fails.

    It gets this process's environment with ``environment`` over it, but no virtual environment.
    """
    sys.stdout.write(f"$ {' '.join(command)}\n")
    sys.stdout.flush()
    own = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    try:
        ended = subprocess.run(
            command,
            cwd=folder,
            env={**own, "DEBIAN_FRONTEND": "noninteractive", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PartsMissing(f"{' '.join(command)} took longer than {LIMIT_S} s") from None
    if ended.returncode != 0:
        raise PartsMissing(f"{' '.join(command)} failed:\n{ended.stdout[-2000:].strip()}")


def install(packages: Sequence[str], folder: Path) -> None:
    """Install Debian packages, as root; raise PartsMissing where that cannot be."""
    command = ("apt-get", "install", "--yes", "--no-install-recommends", *packages)
    if not shutil.which("apt-get"):
        raise PartsMissing(f"this is no Debian; install by its own means: {' '.join(packages)}")
    if os.geteuid() != 0:
        raise PartsMissing(f"Debian packages are missing; as root: {' '.join(command)}")
    run("apt-get", "update", "--quiet=2", folder=folder)
    run(*command, folder=folder)


def main(prepare: Callable[[], None]) -> int:
    """Prepare, and say what is wrong where that fails; return the exit code."""
    try:
        prepare()
    except PartsMissing as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0
