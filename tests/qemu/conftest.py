"""One virtual machine with a BMC, and the image it boots; `nox -s qemu` brings what they need."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.region import short_folder
from tests.qemu import parts
from tests.qemu.emulator import Emulator, emulator
from tests.qemu.guest import guest_iso
from tests.qemu.hypervisor import Hypervisor, hypervisor


@pytest.fixture(scope="session", autouse=True)
def _parts() -> None:
    if missing := parts.missing():
        pytest.fail(f"run `nox -s qemu`; missing here: {', '.join(missing)}")


@pytest.fixture(scope="session")
def image() -> bytes:
    """The ISO image that the machine boots."""
    return guest_iso(parts.KERNEL, parts.BUSYBOX, parts.ISOLINUX, parts.LDLINUX)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder with a short path, as sockets want it; no process may use it in the end."""
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def hosted(place: Path) -> Iterator[Hypervisor]:
    """A hypervisor with one machine, which is off."""
    with hypervisor(place / "vm") as running:
        yield running


@pytest.fixture(autouse=True)
def _console(hosted: Hypervisor) -> Iterator[None]:
    """Have pytest show what the machine printed when a test fails."""
    yield
    sys.stdout.write(hosted.machine.printed())


@pytest.fixture(scope="module")
def bmc(place: Path, hosted: Hypervisor) -> Iterator[Emulator]:
    """The machine's BMC."""
    with emulator(place / "bmc", hosted) as running:
        yield running
