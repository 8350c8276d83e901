"""The etcd that the crash suite kills, and how it gets here: ``python -m tests.crash.parts``.

Debian's packages of etcd 3.4.23 are unpacked below build/, not installed. Where they cannot be had,
the suite runs on whatever etcd there is, and says so.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bringing import PartsMissing, run

FOLDER = Path(__file__).parents[2] / "build" / "etcd"
BIN = FOLDER / "usr" / "bin"
PACKAGES = ("etcd-server", "etcd-client")


def search_path() -> str:
    """Return a PATH on which the unpacked etcd comes first."""
    return f"{BIN}{os.pathsep}{os.environ['PATH']}"


def etcdctl() -> str | None:
    """Return the program that operators talk to etcd with, if there is one."""
    return shutil.which("etcdctl", path=search_path())


def bring() -> None:
    """Unpack what is missing; raise PartsMissing where that fails."""
    if (BIN / "etcd").exists() and (BIN / "etcdctl").exists():
        return
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise PartsMissing("there is no apt-get here to get Debian's etcd with")
    downloads = FOLDER / "downloads"
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir(parents=True)
    run("apt-get", "download", "--quiet=2", *PACKAGES, folder=downloads)
    for package in downloads.glob("*.deb"):
        run("dpkg-deb", "--extract", str(package), str(FOLDER), folder=downloads)
    shutil.rmtree(downloads)


def version(binary: str) -> str:
    """Return the version an etcd says it has."""
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    return said.stdout.partition("etcd Version: ")[2].partition("\n")[0].strip() or "unknown"


def main() -> int:
    """Bring etcd here and say which one runs; it is never a reason not to run the suite."""
    try:
        bring()
    except PartsMissing as error:
        sys.stderr.write(f"WARNING: the suite does not run on Debian's etcd 3.4.23: {error}\n")
    found = shutil.which("etcd", path=search_path())
    said = f"{found} {version(found)}" if found else "the wheel's, 3.5.1, run with a batch limit"
    sys.stdout.write(f"etcd: {said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
