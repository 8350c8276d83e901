"""What a machine needs to run these tests, and how it gets there: ``python -m tests.qemu.parts``.

Debian packages come by apt-get. The guest's kernel is only unpacked, not installed. The emulator
gets an environment of its own, because libvirt's Python binding is built for Debian's Python.
"""

import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.bringing import PartsMissing, install, main, run

PACKAGES = (
    "busybox-static",
    "isolinux",
    "libvirt-daemon",
    "python3-libvirt",
    "qemu-system-x86",
    "syslinux-common",
)
KERNEL_PACKAGE = "linux-image-amd64"

LIBVIRTD = Path("/usr/sbin/libvirtd")
QEMU = Path("/usr/bin/qemu-system-x86_64")
BUSYBOX = Path("/bin/busybox")
ISOLINUX = Path("/usr/lib/ISOLINUX/isolinux.bin")
LDLINUX = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")
DEBIAN_PYTHON = Path("/usr/bin/python3")

FOLDER = Path(__file__).parents[2] / "build" / "qemu"
KERNEL = FOLDER / "kernel"
EMULATOR_PYTHON = FOLDER / "emulator" / "bin" / "python"

_UV = {"UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never"}


def missing() -> list[str]:
    """Return what is not there yet, in words."""
    absent = [f"the Debian package {name}" for name in _not_installed()]
    if not KERNEL.is_dir():
        absent.append(f"the kernel of {KERNEL_PACKAGE} in {KERNEL}")
    if not EMULATOR_PYTHON.exists():
        absent.append(f"sushy-emulator with libvirt's driver in {EMULATOR_PYTHON.parent}")
    return absent


def prepare() -> None:
    """Bring here what is missing; raise PartsMissing where that fails."""
    if not shutil.which("apt-get") or _output("dpkg", "--print-architecture").strip() != "amd64":
        raise PartsMissing("the guest is made of Debian packages: Debian on amd64 is needed")
    FOLDER.mkdir(parents=True, exist_ok=True)
    if absent := _not_installed():
        install(absent, FOLDER)
    if not KERNEL.is_dir():
        _unpack_kernel()
    if not EMULATOR_PYTHON.exists():
        _make_emulator()


def _not_installed() -> list[str]:
    form = "-f=${binary:Package} ${db:Status-Status}\n"
    try:
        shown = subprocess.run(
            ["dpkg-query", "--show", form, *PACKAGES], capture_output=True, text=True, check=False
        ).stdout
    except FileNotFoundError:
        return list(PACKAGES)
    there = {
        re.split("[: ]", line)[0] for line in shown.splitlines() if line.endswith(" installed")
    }
    return [name for name in PACKAGES if name not in there]


def _unpack_kernel() -> None:
    """Unpack the kernel that Debian's metapackage stands for."""
    shown = _output("apt-cache", "depends", "--important", KERNEL_PACKAGE)
    found = re.search(r"Depends: (linux-image-[0-9]\S*)", shown)
    if found is None:
        raise PartsMissing(f"apt knows no {KERNEL_PACKAGE}; as root: apt-get update")
    downloads = FOLDER / "downloads"
    shutil.rmtree(downloads, ignore_errors=True)
    downloads.mkdir()
    _run("apt-get", "download", "--quiet=2", found[1], folder=downloads)
    (package,) = downloads.glob("*.deb")
    _run("dpkg-deb", "--extract", str(package), str(downloads / "kernel"))
    (downloads / "kernel").rename(KERNEL)
    shutil.rmtree(downloads)


def _make_emulator() -> None:
    """Make an environment with the emulator's version from the lock and Debian's libvirt."""
    fresh = FOLDER / "emulator.new"
    shutil.rmtree(fresh, ignore_errors=True)
    uv = str(Path(sys.executable).with_name("uv"))
    pins = [f"{name}=={version(name)}" for name in ("sushy-tools", "bcrypt")]
    python = str(fresh / "bin" / "python")
    _run(
        uv, "venv", "--quiet", "--python", str(DEBIAN_PYTHON), "--system-site-packages", str(fresh)
    )
    _run(uv, "pip", "install", "--quiet", "--python", python, *pins)
    _run(python, "-c", "import libvirt, sushy_tools.emulator.main")
    fresh.rename(FOLDER / "emulator")


def _run(*command: str, folder: Path = FOLDER) -> None:
    run(*command, folder=folder, environment=_UV)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


if __name__ == "__main__":
    sys.exit(main(prepare))
