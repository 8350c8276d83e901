"""A virtual machine on its whole way: enrolled, deployed, active, given back, as users type it."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from mulligan.proto import v1
from mulligan.tls import fingerprint, issue, read_pair, write_pair
from tests.e2e.region import RunningRegion, until
from tests.qemu.emulator import PASSWORD, USER, emulator
from tests.qemu.hypervisor import DISK_SERIAL, HOST_SEEN_BY_GUEST, Hypervisor, VirtualMachine

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(900)]

NAME = "node-1"
LAB = ("--project", "lab")
WAIT = ("--wait", "--timeout", "5m")
CLAIM = ("--class", "machine=1", "--for", "1h")


class World(NamedTuple):
    """A region with one machine in it, which is virtual, and images that it boots."""

    region: RunningRegion
    machine: VirtualMachine
    place: Path

    async def run(self, *words: str) -> str:
        """Run a command line and return what it printed; it must succeed."""
        ended = await self.region.cli(*words, within=330)
        assert ended.returncode == 0, f"{words}: {ended.stderr}"
        return ended.stdout

    async def state(self) -> str:
        """Return the machine's state."""
        return str(json.loads(await self.run("machine", "show", NAME, "-o", "json"))["state"])

    async def seen(self) -> v1.Machine:
        """Return the machine with all that is known of it."""
        reply = await self.region.client().control.get_machine(v1.GetMachineRequest(machine=NAME))
        assert reply.machine is not None
        return reply.machine

    async def prints(self, text: str) -> None:
        """Return when the machine's console shows ``text``."""

        async def shown() -> bool:
            return text in self.machine.printed()

        await until(shown, f"the console shows {text!r}", 60)

    def file(self, name: str, content: str) -> str:
        """Write a file and return its path."""
        (self.place / name).write_text(content)
        return str(self.place / name)


@pytest.fixture(scope="module")
async def world(place: Path, hosted: Hypervisor, image: bytes) -> AsyncIterator[World]:
    region = RunningRegion(place)
    seen = f"http://{HOST_SEEN_BY_GUEST}:{region.config.media.listen.port}"
    # The guest's only tool is a busybox without TLS.
    plain = {"MULLIGAN_MEDIA_TLS": "false", "MULLIGAN_MEDIA_MACHINES_URL": seen}
    region.environment = {**region.environment, **plain}
    images = region.config.media.image_dir
    images.mkdir(parents=True, exist_ok=True)
    (images / "guest.iso").write_bytes(image)
    authority = region.paths.tls("ca")
    issuer = read_pair(authority.cert, authority.key)
    certificate, key = place / "bmc.pem", place / "bmc.key"
    write_pair(issue(issuer, "bmc", ips=["127.0.0.1"], server=True), certificate, key)
    world = World(region, hosted.machine, place)
    with emulator(place / "bmc", hosted, certificate=certificate, key=key) as bmc:
        async with region:
            login = ("--username", USER, "--password-file", world.file("password", PASSWORD))
            await world.run("credential", "create", "bmc", *login)
            reached = ("--bmc", bmc.address, "--system", hosted.machine.uuid)
            pin = ("--fingerprint", fingerprint(certificate.read_bytes()))
            await world.run("machine", "enrol", NAME, *reached, *pin, "--credential", "bmc")
            sha256 = hashlib.sha256(image).hexdigest()
            what = ("--url", "file:guest.iso", "--sha256", sha256, "--firmware", "bios")
            await world.run("image", "create", "quiet", *what)
            await world.run("image", "create", "calling", *what, "--ready-when", "phone-home")
            await world.run("project", "create", "lab")
            yield world


@pytest.fixture(scope="module")
async def offered(world: World) -> World:
    """The world when its machine is available."""
    await world.run("machine", "inspect", NAME, *WAIT)
    await world.run("machine", "provide", NAME, *WAIT)
    return world


async def test_a_machine_boots_an_image_that_is_ready_at_power_on(offered: World) -> None:
    await offered.run("claim", "make", *CLAIM, "--name", "quiet", *LAB)
    await offered.run("machine", "deploy", "quiet", "--image", "quiet", *LAB, *WAIT)
    assert await offered.state() == "active"
    await offered.prints("guest: there is no config drive")
    await offered.run("machine", "release", NAME, "--yes", *WAIT)
    assert await offered.state() == "available"


async def test_a_machine_is_active_when_its_system_has_phoned_home(offered: World) -> None:
    content = offered.file("user-data", "#cloud-config\n# only the tenant knows: swordfish\n")
    await offered.run("user-data", "create", "first-boot", "--file", content, *LAB)
    await offered.run("claim", "make", *CLAIM, "--name", "calling", *LAB)
    more = ("--user-data", "first-boot", "--hostname", "web-1")
    await offered.run("machine", "deploy", "calling", "--image", "calling", *more, *LAB, *WAIT)
    assert await offered.state() == "active"
    assert (await offered.seen()).phoned_at
    await offered.prints("guest: phoned home as")
    assert "swordfish" in offered.machine.printed()
    assert '"local-hostname": "web-1"' in offered.machine.printed()
    await offered.run("machine", "release", NAME, "--yes", *WAIT)
    assert await offered.state() == "available"


async def test_a_profile_that_wipes_leaves_nothing_of_a_tenant(offered: World) -> None:
    wiping = ("--clean", "wipe", "--wipe-image", "calling")
    await offered.run("profile", "set", "virtual", "--manufacturer", "Sushy*", *wiping)
    await offered.run("claim", "make", *CLAIM, "--name", "wiped", *LAB)
    await offered.run("machine", "deploy", "wiped", "--image", "calling", *LAB, *WAIT)
    offered.machine.write_disk(b"what a tenant left")
    await offered.run("machine", "release", NAME, "--yes", *WAIT)
    assert await offered.state() == "available"
    assert not any(offered.machine.disk.read_bytes())
    cleaned = (await offered.seen()).cleaned
    assert cleaned is not None
    (proof,) = cleaned.disks
    assert (proof.serial, proof.verified) == (DISK_SERIAL, True)
