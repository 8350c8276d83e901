"""What these tests need and how it gets there, as root: ``python -m tests.packages.parts``.

A small Debian is unpacked into build/packages/debian, with what the package depends on; and the
tools of Prometheus, which are only unpacked, not installed.
"""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.bringing import PartsMissing, install, main, run

FOLDER = Path(__file__).parents[2] / "build" / "packages"
DEBIAN = FOLDER / "debian"
PROMTOOL = FOLDER / "prometheus" / "usr" / "bin" / "promtool"

RELEASE = "bookworm"
_NEEDED = ("adduser", "python3", "systemd")


def missing() -> list[str]:
    """Return what is not there yet, in words."""
    absent = [] if DEBIAN.is_dir() else [f"a Debian in {DEBIAN}"]
    if not PROMTOOL.exists():
        absent.append(f"promtool in {PROMTOOL.parent}")
    if find_spec("helm_python") is None:
        absent.append("the dependency group `packages`")
    return absent


def prepare() -> None:
    """Bring here what is missing; raise PartsMissing where that fails."""
    if not missing():
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise PartsMissing("a Debian is unpacked and changed into: run this as root, on Debian")
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not DEBIAN.is_dir():
        _unpack_debian()
    if not PROMTOOL.exists():
        _unpack_prometheus()


def _unpack_debian() -> None:
    if not shutil.which("debootstrap"):
        install(("debootstrap",), FOLDER)
    fresh = FOLDER / "debian.new"
    shutil.rmtree(fresh, ignore_errors=True)
    included = f"--include={','.join(_NEEDED)}"
    run("debootstrap", "--variant=minbase", included, RELEASE, str(fresh), folder=FOLDER)
    fresh.rename(DEBIAN)


def _unpack_prometheus() -> None:
    downloads = FOLDER / "downloads"
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir()
    # apt drops root's rights to download, and cannot write here then.
    run(
        *("apt-get", "download", "--quiet=2", "prometheus", "-o=APT::Sandbox::User=root"),
        folder=downloads,
    )
    (package,) = downloads.glob("*.deb")
    run("dpkg-deb", "--extract", str(package), str(FOLDER / "prometheus"), folder=FOLDER)
    shutil.rmtree(downloads)


if __name__ == "__main__":
    sys.exit(main(prepare))
