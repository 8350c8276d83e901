"""The executor's steps on a real machine: it boots what they insert, and its reports arrive."""

from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from pathlib import Path

import anyio
import msgspec
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream

from mulligan.embedded.ports import free_ports
from mulligan.events.machine import Bmc
from mulligan.handlers import plans
from mulligan.model import CredentialId
from mulligan.redfish.bmc import BmcClient, Login
from mulligan.redfish.media_server import MediaServer
from mulligan.redfish.reports import Report, ReportAnswer
from mulligan.redfish.step import StepContext
from mulligan.redfish.steps import run_step
from tests.embedded.processes import eventually
from tests.qemu.emulator import PASSWORD, USER, Emulator
from tests.qemu.hypervisor import DISK_SERIAL, HOST_SEEN_BY_GUEST, Hypervisor

pytestmark = pytest.mark.qemu

REPORTED_S = 90.0


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """A machine, and an executor's means to work on it."""

    context: StepContext
    reports: MemoryObjectReceiveStream[Report]

    async def run(self, steps: Sequence[str]) -> Report | None:
        """Do the steps in turn; return the report of the one that waits for it."""
        report: Report | None = None
        for number, step in enumerate(steps):
            if step in plans.WAITED:
                with anyio.fail_after(REPORTED_S):
                    report = await self.reports.receive()
                continue
            context = msgspec.structs.replace(self.context, action=f"action-{number}")
            seen = await run_step(step, context, resume=False)
            assert seen.outcome == "done", f"{step}: {seen.message}"
        return report


@pytest.fixture
async def bench(
    hosted: Hypervisor, bmc: Emulator, image: bytes, tmp_path: Path
) -> AsyncIterator[Bench]:
    (tmp_path / "guest.iso").write_bytes(image)
    taken, reports = anyio.create_memory_object_stream[Report](10)

    async def take(report: Report) -> ReportAnswer:
        await taken.send(report)
        return "taken"

    async def user_data(key: str, version: str) -> bytes:
        return b"#cloud-config\n# swordfish\n"

    (port,) = free_ports(1)
    server = MediaServer(
        tmp_path / "cache",
        secret=b"0123456789abcdef",
        port=port,
        machines_url=f"http://{HOST_SEEN_BY_GUEST}:{port}",
        images=tmp_path,
        on_report=take,
    )
    target = Bmc(
        address=bmc.address, system=hosted.machine.uuid, credential=CredentialId("emulator")
    )
    client = BmcClient(target, Login(USER, PASSWORD), limiter=anyio.CapacityLimiter(4))
    async with server, taken, reports:
        yield Bench(
            context=StepContext(
                bmc=client,
                action="",
                machine="m-1",
                operation="o-1",
                params={"image_url": "file:guest.iso", "sha256": sha256(image).hexdigest()},
                media=server,
                read_user_data=user_data,
            ),
            reports=reports,
        )
        await client.close()


def with_params(bench: Bench, **more: str) -> Bench:
    """Return the bench with more parameters for its steps."""
    params = {**bench.context.params, "mode": "bios", **more}
    context = msgspec.structs.replace(bench.context, params=params)
    return msgspec.structs.replace(bench, context=context)


async def test_a_deployed_machine_has_its_user_data_and_phones_home(
    hosted: Hypervisor, bench: Bench
) -> None:
    checksum = sha256(b"#cloud-config\n# swordfish\n").hexdigest()
    told = {"user_data": "u-1", "user_data_version": "v-1", "user_data_sha256": checksum}
    bench = with_params(bench, hostname="node-1", phone_home="yes", **told)
    report = await bench.run(plans.deploy("iso", "phone-home", user_data=True))
    assert report is not None
    assert (report.kind, report.machine, report.operation) == ("phone-home", "m-1", "o-1")
    assert report.fields["instance_id"] == "o-1"
    assert report.fields["hostname"] == "node-1"
    assert "swordfish" in hosted.machine.printed()
    eventually(lambda: "guest: phoned home as o-1" in hosted.machine.printed())


async def test_a_wiped_disk_is_proved_under_its_serial_number(
    hosted: Hypervisor, bench: Bench
) -> None:
    bench = with_params(bench, wipe="yes", disks=DISK_SERIAL)
    # What ran before ends with this; a disk is written to while its machine is off.
    await bench.run(("power_off",))
    hosted.machine.write_disk(b"what a tenant left")
    report = await bench.run(plans.clean(("wipe",)))
    assert report is not None
    (proof,) = report.proofs
    assert (proof.serial, proof.verified) == (DISK_SERIAL, True)
    content = hosted.machine.disk.read_bytes()
    assert proof.bytes == len(content)
    assert not any(content)
