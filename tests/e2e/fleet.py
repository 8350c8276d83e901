"""An emulated fleet that is enrolled in a running region, and what its BMCs were asked."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import anyio

from mulligan.cli.demo import tiny_iso
from mulligan.client import Client
from mulligan.embedded.fleet import EmulatedFleet
from mulligan.errors import AlreadyExists
from mulligan.proto import v1
from mulligan.tls import fingerprint, issue, read_pair, write_pair
from tests.e2e.region import RunningRegion, until

CREDENTIAL = "emulator"
IMAGE = "tiny"
_COLOUR = r"(?:\x1b\[[\d;]*m)*"
_REQUEST = re.compile(rf'"{_COLOUR}(POST|PATCH|DELETE) (\S+)')


class Fleet:
    """Machines of one emulator, by name; ``prefix`` keeps fleets of one region apart.

    Power follows a reset after 1 to ``slowest`` seconds.
    """

    def __init__(
        self,
        region: RunningRegion,
        folder: Path,
        count: int,
        *,
        prefix: str = "node",
        slowest: int = 3,
    ) -> None:
        self.region = region
        authority = region.paths.tls("ca")
        pair = issue(
            read_pair(authority.cert, authority.key), "bmc.e2e", ips=["127.0.0.1"], server=True
        )
        folder.mkdir(exist_ok=True)
        self.certificate, key = folder / "bmc.pem", folder / "bmc.key"
        write_pair(pair, self.certificate, key)
        self.emulator = EmulatedFleet(
            folder / "emulator", count, certificate=self.certificate, key=key, slowest=slowest
        )
        self.names = [f"{prefix}-{n:02d}" for n in range(count)]

    def bmc(self, name: str, credential: str = CREDENTIAL) -> v1.Bmc:
        """Return how the BMC of a machine is reached."""
        system = self.emulator.systems[self.names.index(name)]
        return v1.Bmc(
            address=self.emulator.address,
            credential=credential,
            system=system.uuid,
            fingerprint=fingerprint(self.certificate.read_bytes()),
        )

    async def prepare(self, admin: Client) -> None:
        """Store the BMC login and an image that can be deployed; fleets of a region share them."""
        assert self.emulator.user is not None
        assert self.emulator.password is not None
        login = v1.CreateCredentialRequest(
            name=CREDENTIAL, username=self.emulator.user, password=self.emulator.password
        )
        with suppress(AlreadyExists):
            await admin.control.create_credential(login)
        sha256 = write_image(self.region, f"{IMAGE}.iso")
        image = v1.CreateImageRequest(name=IMAGE, url=f"file:{IMAGE}.iso", sha256=sha256)
        with suppress(AlreadyExists):
            await admin.control.create_image(image)

    async def enrol(self, admin: Client, names: Sequence[str], parent: str = "") -> None:
        """Enrol machines under their names, below a rack if one is given."""
        for name in names:
            await admin.control.enroll_machine(
                v1.EnrollMachineRequest(name=name, bmc=self.bmc(name), parent=parent)
            )

    async def provide(self, admin: Client, names: Sequence[str], within: float = 60.0) -> None:
        """Inspect and clean enrolled machines, all at once, until they can be claimed."""

        async def one(name: str) -> None:
            await admin.control.inspect_machine(v1.MachineRequest(machine=name))
            await rests(admin, name, v1.MachineState.MANAGEABLE, within)
            await admin.control.provide_machine(v1.MachineRequest(machine=name))
            await rests(admin, name, v1.MachineState.AVAILABLE, within)

        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(one, name)

    def writes(self) -> Counter[tuple[str, str]]:
        """Count the writes that the emulator served, by method and path."""
        text = self.emulator.log.read_text(errors="replace")
        return Counter((m[1], m[2]) for m in _REQUEST.finditer(text))


def write_image(region: RunningRegion, name: str) -> str:
    """Put an image into the media server's folder, if none is there; return its sha256."""
    folder = region.config.media.image_dir
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if not path.exists():  # each one differs, and another fleet of the region may use it
        path.write_bytes(tiny_iso())
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()


async def machine(client: Client, name: str) -> v1.Machine:
    """Return a machine as it is now."""
    found = (await client.control.get_machine(v1.GetMachineRequest(machine=name))).machine
    assert found is not None
    return found


async def rests(
    client: Client, name: str, state: v1.MachineState, within: float = 60.0
) -> v1.Machine:
    """Return a machine once it rests in ``state``; fail if it rests in another."""
    found = await machine(client, name)

    async def at_rest() -> bool:
        nonlocal found
        found = await machine(client, name)
        return found.operation is None and found.state in {state, v1.MachineState.FAILED}

    await until(at_rest, f"{name} rests as {state.name}", within)
    fault = found.fault.message if found.fault else ""
    assert found.state is state, f"{name} is {found.state.name}: {fault}"
    return found
