"""A virtual machine on its whole way: enrolled, deployed, active, given back, as users type it."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from mulligan.tls import fingerprint, issue, read_pair, write_pair
from tests.e2e.region import RunningRegion, until
from tests.qemu.emulator import PASSWORD, USER, emulator
from tests.qemu.hypervisor import Hypervisor, VirtualMachine

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(600)]

NAME = "node-1"
LAB = ("--project", "lab")
WAIT = ("--wait", "--timeout", "5m")


class World(NamedTuple):
    """A region with one machine in it, whose BMC is an emulator's and which is virtual."""

    region: RunningRegion
    machine: VirtualMachine
    place: Path

    async def run(self, *words: str) -> str:
        """Run a command line and return what it printed; it must succeed."""
        ended = await self.region.cli(*words, within=330)
        assert ended.returncode == 0, f"{words}: {ended.stderr}\n{self.machine.printed()}"
        return ended.stdout

    async def state(self) -> str:
        """Return the machine's state."""
        found = json.loads(await self.run("machine", "show", NAME, "-o", "json"))
        return str(found["state"])

    def file(self, name: str, content: str | bytes) -> str:
        """Write a file and return its path."""
        path = self.place / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)


@pytest.fixture(scope="module")
async def world(place: Path, hosted: Hypervisor) -> AsyncIterator[World]:
    async with RunningRegion(place) as region:
        authority = region.paths.tls("ca")
        issuer = read_pair(authority.cert, authority.key)
        certificate, key = place / "bmc.pem", place / "bmc.key"
        write_pair(issue(issuer, "bmc", ips=["127.0.0.1"], server=True), certificate, key)
        with emulator(place / "bmc", hosted, certificate=certificate, key=key) as bmc:
            world = World(region, hosted.machine, place)
            password = world.file("password", f"{PASSWORD}\n")
            login = ("--username", USER, "--password-file", password)
            await world.run("project", "create", "lab")
            await world.run("credential", "create", "bmc", *login)
            pin = ("--fingerprint", fingerprint(certificate.read_bytes()))
            reached = ("--bmc", bmc.address, "--system", hosted.machine.uuid, *pin)
            await world.run("machine", "enrol", NAME, *reached, "--credential", "bmc")
            yield world


async def test_a_machine_boots_the_image_that_is_deployed(world: World, image: bytes) -> None:
    images = world.region.config.media.image_dir
    images.mkdir(parents=True, exist_ok=True)
    (images / "guest.iso").write_bytes(image)
    sha256 = hashlib.sha256(image).hexdigest()
    made = ("--url", "file:guest.iso", "--sha256", sha256, "--firmware", "bios")
    await world.run("image", "create", "guest", *made)
    await world.run("machine", "inspect", NAME, *WAIT)
    await world.run("machine", "provide", NAME, *WAIT)
    claim = ("--class", "machine=1", "--for", "1h", "--name", "build")
    await world.run("claim", "make", *claim, *LAB)
    await world.run("machine", "deploy", "build", "--image", "guest", *LAB, *WAIT)
    assert await world.state() == "active"

    async def up() -> bool:
        return "guest: Linux" in world.machine.printed()

    await until(up, "the machine's console shows its system", 60)
    await world.run("machine", "release", NAME, "--yes", *WAIT)
    assert await world.state() == "available"
