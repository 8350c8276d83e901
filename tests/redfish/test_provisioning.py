"""A machine's life with everything real but its BMC and what boots on it."""

import hashlib
import io
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anyio
import pycdlib
import yaml

from mulligan.errors import NotFound
from mulligan.events.machine import Bmc
from mulligan.handlers import deployment, image, userdata
from mulligan.handlers import operations as ops
from mulligan.handlers.claim_ends import ReleaseClaim
from mulligan.handlers.credential import CreateCredential
from mulligan.handlers.decision import Command
from mulligan.handlers.enrolment import EnrolMachine
from mulligan.handlers.machine import Machine
from mulligan.log.memory import MemoryDisk
from mulligan.model import (
    CommitId,
    CredentialId,
    ImageId,
    MachineId,
    ProjectId,
    Seq,
    UserDataId,
    new_id,
    stream_id,
)
from mulligan.reconcile.machines import MachineReconciler
from mulligan.redfish.auth import Login
from mulligan.redfish.executor import Executor
from mulligan.redfish.media_server import MediaServer
from mulligan.redfish.report_recorder import ReportRecorder
from mulligan.tls import fingerprint, issue, make_ca, write_pair
from tests.commands.region import Process, process, request
from tests.handlers.given import MACHINE, claim_of
from tests.redfish.conftest import QUICK
from tests.redfish.two_drives import TwoDriveBmc

M1, OS, DATA, ROOT = MachineId("m1"), ImageId("os"), UserDataId("data"), CredentialId("root")
IMAGE, CONTENT = b"a bootable image", b"#cloud-config\nhostname: mine\n"


async def nobody() -> Iterable[str]:
    return ()


class Lab:
    """A region in memory whose executor works on one scripted BMC."""

    def __init__(self, p: Process, bmc: TwoDriveBmc, media: MediaServer) -> None:
        self.p, self.bmc, self.media = p, bmc, media

    async def do(self, *commands: Command) -> None:
        for command in commands:
            await self.p.commands.execute(command, request())

    async def machine(self) -> Machine:
        state: Machine = (await self.p.commands.state(stream_id("machine", M1))).state
        return state

    async def rests(self) -> Machine:
        with anyio.fail_after(10):
            while (machine := await self.machine()).operation is not None:
                await self.p.log.wait(Seq(self.p.log.head.seq + 1))
        return machine

    async def awaits(self, step: str) -> None:
        with anyio.fail_after(10):
            while (operation := (await self.machine()).operation) is None or operation.step != step:
                await self.p.log.wait(Seq(self.p.log.head.seq + 1))


@asynccontextmanager
async def lab(bmc: TwoDriveBmc, folder: Path) -> AsyncIterator[Lab]:
    disk = MemoryDisk()
    control, worker = disk.grant("control"), disk.grant("executor")

    async def read_login(credential: str, version: str) -> Login:
        return Login(bmc.user, bmc.password)

    async def read_user_data(key: str, version: str) -> bytes:
        if (key, version) != (DATA, "v-1"):
            raise NotFound("userdata secret", key)
        return CONTENT

    async with process(disk) as p, anyio.create_task_group() as tasks:
        recorder = ReportRecorder(p.commands, instance="executor-1", fence=lambda: worker)
        async with MediaServer(
            folder / "cache",
            secret=b"0123456789abcdef",
            images=folder / "images",
            on_report=recorder.take,
        ) as media:
            executor = Executor(
                p.commands,
                instance="executor-1",
                mine=lambda key: True,
                alive=lambda instance: True,
                fence=lambda: worker,
                find_busy=nobody,
                read_login=read_login,
                read_user_data=read_user_data,
                media=media,
                limiter=anyio.CapacityLimiter(10),
                timings=QUICK,
            )
            reconciler = MachineReconciler(
                p.commands, mine=lambda key: True, fence=lambda: control, find_busy=nobody
            )
            tasks.start_soon(reconciler.run)
            tasks.start_soon(executor.run)
            yield Lab(p, bmc, media)
            tasks.cancel_scope.cancel()


def operation() -> CommitId:
    return CommitId(new_id())


async def fetch(url: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.read()


async def boot(drives: list[str]) -> dict[str, Any]:
    """Read the media as a booting system would, and return what the seed tells it."""
    contents = [await fetch(url) for url in drives]
    assert contents[0] == (200, IMAGE)
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(contents[1][1]))
    told: dict[str, Any] = {}
    for name in ("meta-data", "user-data", "vendor-data"):
        out = io.BytesIO()
        iso.get_file_from_iso_fp(out, joliet_path=f"/{name}")
        told[name] = yaml.safe_load(out.getvalue())
    return told


async def phone(url: str) -> int:
    form = {"instance_id": "i", "hostname": "mine", "pub_key_rsa": "N/A"}
    async with aiohttp.ClientSession() as session, session.post(url, data=form) as response:
        return response.status


async def test_a_machine_is_pinned_deployed_phones_home_once_and_is_cleaned(
    tmp_path: Path,
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "os.iso").write_bytes(IMAGE)
    pair = issue(make_ca("nobody knows"), "bmc", ips=["127.0.0.1"], server=True)
    write_pair(pair, tmp_path / "bmc.pem", tmp_path / "bmc.key")
    bmc = TwoDriveBmc()
    await bmc.start()
    await bmc.serve_tls(str(tmp_path / "bmc.pem"), str(tmp_path / "bmc.key"))
    async with lab(bmc, tmp_path) as lab_:
        await _life(lab_, fingerprint(pair.cert))
    await bmc.stop()


async def _life(lab: Lab, pin: str) -> None:
    sha = hashlib.sha256(IMAGE).hexdigest()
    await lab.do(
        CreateCredential(credential=ROOT, name="root", version="1"),
        image.CreateImage(
            image=OS, name="os", url="file:os.iso", sha256=sha, ready_when="phone-home"
        ),
        userdata.CreateUserData(
            user_data=DATA,
            name="mine",
            project=ProjectId("web"),
            version="v-1",
            sha256=hashlib.sha256(CONTENT).hexdigest(),
            size=len(CONTENT),
        ),
        EnrolMachine(
            machine=M1, name="m1", bmc=Bmc(address=lab.bmc.address, credential=ROOT, pin=True)
        ),
        ops.InspectMachine(machine=M1, operation=operation()),
    )
    machine = await lab.rests()
    assert (machine.state, machine.bmc.fingerprint) == ("manageable", pin)
    await lab.do(ops.ProvideMachine(machine=M1, operation=operation()))
    assert (await lab.rests()).state == "available"

    claim = claim_of({M1: {MACHINE: 1}})
    deploy = operation()
    await lab.do(
        claim,
        deployment.DeployMachine(
            claim=claim.claim, image=OS, operation=deploy, user_data=DATA, hostname="node-1"
        ),
    )
    await lab.awaits("phone_home")
    assert lab.bmc.power == "On"
    media = lab.bmc.inside
    told = await boot(media)
    assert told["meta-data"]["instance-id"] == deploy
    assert told["meta-data"]["local-hostname"] == "node-1"
    assert told["user-data"] == {"hostname": "mine"}
    home = told["vendor-data"]["phone_home"]["url"]
    assert urlsplit(home).netloc == urlsplit(lab.media.url).netloc
    assert await phone(home) == 204
    assert await phone(home) == 410
    machine = await lab.rests()
    assert (machine.state, machine.claim) == ("active", claim.claim)
    assert not lab.bmc.inside
    assert [(await fetch(url))[0] for url in media] == [404, 404]
    assert await phone(home) == 410

    await lab.do(ReleaseClaim(claim=claim.claim))
    assert (await lab.rests()).state == "available"
    assert lab.bmc.power == "Off"
    assert await phone(lab.media.report_url("phone-home", "nobody", deploy)) == 410
