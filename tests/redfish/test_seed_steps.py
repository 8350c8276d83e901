import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import msgspec
import pycdlib
import pytest

from mulligan.errors import NotFound, Unavailable
from mulligan.events.machine import Bmc
from mulligan.model import CredentialId
from mulligan.redfish.bmc import BmcClient, Login
from mulligan.redfish.media_server import MediaServer
from mulligan.redfish.step import Connect
from mulligan.redfish.steps import Observation, StepContext, run_step
from mulligan.tls import fingerprint, issue, make_ca, write_pair
from tests.redfish.conftest import QUICK
from tests.redfish.scripted_bmc import INSERT, MEDIA, SYSTEM, ignored, stall
from tests.redfish.two_drives import MEDIA_2, TwoDriveBmc

IMAGE = b"image" * 1000
SHA = hashlib.sha256(IMAGE).hexdigest()
USER_DATA = b"#cloud-config\npackages: [hello]\n"
GIVEN: dict[str, Any] = {
    "user_data": "u-1",
    "user_data_version": "v-1",
    "user_data_sha256": hashlib.sha256(USER_DATA).hexdigest(),
}


async def user_data(key: str, version: str) -> bytes:
    if key == "away":
        raise Unavailable("etcd is away")
    if (key, version) != ("u-1", "v-1"):
        raise NotFound("userdata secret", key)
    return USER_DATA


@pytest.fixture
async def machine() -> AsyncIterator[TwoDriveBmc]:
    bmc = TwoDriveBmc()
    await bmc.start()
    yield bmc
    await bmc.stop()


class Bench:
    """Runs steps on one machine; clients made meanwhile are closed by ``close``."""

    def __init__(self, machine: TwoDriveBmc, media: MediaServer | None) -> None:
        self.machine = machine
        self.media = media
        self.limiter = anyio.CapacityLimiter(10)
        self.made: list[BmcClient] = []
        self.password = machine.password
        self.divert: Connect = self.connect

    def connect(self, bmc: Bmc) -> BmcClient:
        login = Login(self.machine.user, self.password)
        self.made.append(BmcClient(bmc, login, limiter=self.limiter, timings=QUICK))
        return self.made[-1]

    async def run(
        self, step: str, action: str = "a-1", *, resume: bool = False, **params: Any
    ) -> Observation:
        bmc = Bmc(address=self.machine.address, credential=CredentialId("lab"))
        context = StepContext(
            bmc=self.connect(bmc),
            action=action,
            machine="m-1",
            operation="o-1",
            params=params,
            media=self.media,
            connect=self.divert,
            read_user_data=user_data,
        )
        return await run_step(step, context, resume=resume)


@pytest.fixture
async def bench(machine: TwoDriveBmc, media: MediaServer, tmp_path: Path) -> AsyncIterator[Bench]:
    (tmp_path / "images" / "small.iso").write_bytes(IMAGE)
    bench = Bench(machine, media)
    yield bench
    for client in bench.made:
        await client.close()


async def fetch(url: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.read()


async def files_at(url: str) -> dict[str, bytes]:
    """Read a seed as the machine would, through the URL in its drive."""
    status, image = await fetch(url)
    assert status == 200
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(image))
    files: dict[str, bytes] = {}
    for _, _, names in iso.walk(rr_path="/"):
        for name in names:
            out = io.BytesIO()
            iso.get_file_from_iso_fp(out, rr_path=f"/{name}")
            files[name] = out.getvalue()
    return files


async def test_the_seed_goes_in_beside_the_image_and_says_where_to_phone_home(
    machine: TwoDriveBmc, bench: Bench, media: MediaServer
) -> None:
    await bench.run("insert_media", image_url="file:small.iso", sha256=SHA)
    seen = await bench.run("insert_seed", "a-2", hostname="node-1", phone_home="yes", **GIVEN)
    assert (seen.outcome, MEDIA_2 in seen.message) == ("done", True)
    image, seed = machine.inside
    assert await fetch(image) == (200, IMAGE)
    files = await files_at(seed)
    assert files["user-data"] == USER_DATA
    assert media.report_url("phone-home", "m-1", "o-1").encode() in files["vendor-data"]
    assert b"node-1" in files["meta-data"]
    assert not any(USER_DATA.decode() in str(exchange) for exchange in seen.exchanges)


async def test_ejecting_withdraws_the_image_and_the_seed(
    machine: TwoDriveBmc, bench: Bench
) -> None:
    await bench.run("insert_media", image_url="file:small.iso", sha256=SHA)
    await bench.run("insert_seed", "a-2")
    urls = machine.inside
    assert (await bench.run("eject_media", "a-3")).message == "ejected 2"
    assert [(await fetch(url))[0] for url in urls] == [404, 404]


async def test_a_wipe_seed_names_disks_and_its_report(
    machine: TwoDriveBmc, bench: Bench, media: MediaServer
) -> None:
    assert (await bench.run("insert_seed", wipe="yes", disks="S1, S2,")).outcome == "done"
    files = await files_at(machine.inside[0])
    assert msgspec.json.decode(files["mulligan-wipe.json"]) == {
        "report_url": media.report_url("wipe-report", "m-1", "o-1"),
        "disks": ["S1", "S2"],
    }
    assert b"phone_home" not in files["vendor-data"]


async def test_a_second_try_takes_the_place_of_the_first_ones_seed_alone(
    machine: TwoDriveBmc, bench: Bench
) -> None:
    machine.drives[MEDIA] = "http://10.0.0.9/other.iso"
    await bench.run("insert_seed", "a-1")
    first = machine.inside[1]
    seen = await bench.run("insert_seed", "a-2")
    assert seen.notes == ("the seed of an earlier attempt was ejected",)
    assert machine.inside[0] == "http://10.0.0.9/other.iso"
    assert machine.inside[1] != first
    assert (await fetch(first))[0] == 404
    assert (await bench.run("insert_seed", "a-2")).message == "was inserted already"


async def test_a_seed_that_has_no_drive_left_says_so(machine: TwoDriveBmc, bench: Bench) -> None:
    machine.drives = {MEDIA: "http://10.0.0.9/a.iso", MEDIA_2: "http://10.0.0.9/b.iso"}
    seen = await bench.run("insert_seed")
    assert (seen.outcome, seen.fault) == ("fatal", "unsupported")
    assert "in use" in seen.message


async def test_an_insert_of_the_seed_that_timed_out_is_found(
    machine: TwoDriveBmc, bench: Bench
) -> None:
    machine.script("POST", INSERT, stall(5, apply=True))
    seen = await bench.run("insert_seed")
    assert (seen.outcome, seen.recovered) == ("done", True)
    assert machine.count("POST", INSERT) == 1


async def test_after_a_crash_the_seed_is_looked_for_never_sent_and_served_again(
    machine: TwoDriveBmc, bench: Bench, tmp_path: Path
) -> None:
    lost = await bench.run("insert_seed", resume=True)
    assert (lost.outcome, lost.fault) == ("retry", "not-applied")
    assert not machine.sent
    await bench.run("insert_seed", **GIVEN)
    # Another executor with the same key takes over.
    async with MediaServer(tmp_path / "other", secret=b"0123456789abcdef") as other:
        bench.media = other
        seen = await bench.run("insert_seed", resume=True, **GIVEN)
        assert (seen.outcome, seen.recovered) == ("done", True)
        assert (await fetch(other.seed_url("m-1", "o-1", "a-1")))[0] == 200
    assert machine.count("POST", INSERT) == 1


@pytest.mark.parametrize(
    ("params", "outcome", "fault"),
    [
        ({"user_data_sha256": "0" * 64}, "fatal", "checksum-mismatch"),
        ({"user_data_version": "v-2"}, "fatal", "image-missing"),
        ({"user_data": "away"}, "retry", "image-unavailable"),
        ({"user_data_version": ""}, "fatal", "bad-params"),
        ({"hostname": "no name"}, "fatal", "bad-params"),
        ({"wipe": "perhaps"}, "fatal", "bad-params"),
    ],
)
async def test_a_seed_that_cannot_be_made_inserts_nothing(
    machine: TwoDriveBmc, bench: Bench, params: dict[str, Any], outcome: str, fault: str
) -> None:
    seen = await bench.run("insert_seed", **{**GIVEN, **params})
    assert (seen.outcome, seen.fault) == (outcome, fault)
    assert not machine.sent


async def test_http_boot_is_told_a_url_with_the_images_own_suffix(
    machine: TwoDriveBmc, bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "images" / "shim.efi").write_bytes(IMAGE)
    params: dict[str, Any] = {"image_url": "file:shim.efi", "sha256": SHA}
    seen = await bench.run("boot_http", **params)
    assert seen.outcome == "done"
    uri = machine.boot["HttpBootUri"]
    assert uri.endswith("/boot.efi")
    assert machine.boot["BootSourceOverrideTarget"] == "UefiHttp"
    assert await fetch(uri) == (200, IMAGE)
    again = await bench.run("boot_http", **params)
    assert (again.outcome, machine.boot["HttpBootUri"]) == ("done", uri)
    await bench.run("eject_media", "a-2")
    assert (await fetch(uri))[0] == 404


async def test_http_boot_of_an_image_that_is_not_what_it_should_be_changes_nothing(
    machine: TwoDriveBmc, bench: Bench
) -> None:
    seen = await bench.run("boot_http", image_url="file:small.iso", sha256="0" * 64)
    assert (seen.outcome, seen.fault) == ("fatal", "checksum-mismatch")
    assert not machine.sent


async def test_http_boot_that_is_ignored_is_not_applied_and_one_not_offered_unsupported(
    machine: TwoDriveBmc, bench: Bench
) -> None:
    params: dict[str, Any] = {"image_url": "file:small.iso", "sha256": SHA}
    machine.script("PATCH", SYSTEM, ignored)
    assert (await bench.run("boot_http", **params)).fault == "not-applied"
    machine.boot["BootSourceOverrideTarget@Redfish.AllowableValues"] = ["Cd"]
    seen = await bench.run("boot_http", **params)
    assert (seen.outcome, seen.fault) == ("fatal", "unsupported")


async def test_a_machine_without_virtual_drives_has_nothing_to_eject(
    machine: TwoDriveBmc, bench: Bench, media: MediaServer
) -> None:
    machine.resources[f"{SYSTEM}/VirtualMedia"] = {"Members": []}
    url = media.publish_seed("m-1", "o-1", "a-0", b"seed")
    seen = await bench.run("eject_media")
    assert (seen.outcome, seen.message) == ("done", "all drives were empty")
    assert (await fetch(url))[0] == 404


async def test_bios_settings_are_reset_where_the_bmc_can(
    machine: TwoDriveBmc, bench: Bench
) -> None:
    assert (await bench.run("bios_reset")).outcome == "done"
    assert machine.bios_resets == 1
    del machine.resources[f"{SYSTEM}/Bios"]
    seen = await bench.run("bios_reset")
    assert (seen.outcome, seen.fault) == ("fatal", "unsupported")


@pytest.mark.parametrize("target", ["Nmi", "PowerCycle"])
async def test_a_running_machine_is_told_to_reset_in_the_way_asked_for(
    machine: TwoDriveBmc, bench: Bench, target: str
) -> None:
    off = await bench.run("reset", target=target)
    assert (off.outcome, off.fault) == ("fatal", "refused")
    machine.power = "On"
    missing = await bench.run("reset", target=target)
    assert (missing.outcome, missing.fault) == ("fatal", "unsupported")
    assert not machine.sent
    action = machine._system()["Actions"]
    action["#ComputerSystem.Reset"]["ResetType@Redfish.AllowableValues"].append(target)
    machine.system_extra["Actions"] = action
    assert (await bench.run("reset", target=target)).outcome == "done"
    assert [body["ResetType"] for _, body in machine.sent] == [target]


# -- first contact ---------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, str]:
    """A certificate that no authority vouches for, beside its key, and its fingerprint."""
    pair = issue(make_ca("nobody knows"), "bmc", ips=["127.0.0.1"], server=True)
    write_pair(pair, tmp_path / "bmc.pem", tmp_path / "bmc.key")
    return tmp_path / "bmc.pem", fingerprint(pair.cert)


async def test_the_first_certificate_is_pinned_and_the_bmc_asked_under_that_pin(
    machine: TwoDriveBmc, bench: Bench, certificate: tuple[Path, str]
) -> None:
    pem, expected = certificate
    await machine.serve_tls(str(pem), str(pem.with_suffix(".key")))
    refused = await bench.run("check")
    assert (refused.outcome, refused.fault) == ("fatal", "tls")
    seen = await bench.run("check", pin="yes")
    assert (seen.outcome, seen.fingerprint, seen.power) == ("done", expected, "off")
    assert any(expected in note for note in seen.notes)
    assert bench.made[-1].bmc.fingerprint == expected
    assert not machine.tokens, "the session of the first contact was left open"


async def test_a_wrong_password_at_first_contact_pins_nothing(
    machine: TwoDriveBmc, bench: Bench, certificate: tuple[Path, str]
) -> None:
    pem, _ = certificate
    await machine.serve_tls(str(pem), str(pem.with_suffix(".key")))
    bench.password = "wrong"
    seen = await bench.run("check", pin="yes")
    assert (seen.outcome, seen.fault) == ("fatal", "bad-credentials")
    assert not seen.fingerprint


async def test_who_shows_another_certificate_the_second_time_gets_no_credential(
    machine: TwoDriveBmc, bench: Bench, certificate: tuple[Path, str], tmp_path: Path
) -> None:
    pem, _ = certificate
    await machine.serve_tls(str(pem), str(pem.with_suffix(".key")))
    first = machine.address
    other = issue(make_ca("somebody else"), "bmc", ips=["127.0.0.1"], server=True)
    write_pair(other, tmp_path / "other.pem", tmp_path / "other.key")
    await machine.serve_tls(str(tmp_path / "other.pem"), str(tmp_path / "other.key"))
    second, machine.address = machine.address, first
    straight = bench.connect

    def diverted(bmc: Bmc) -> BmcClient:
        pinned = bool(bmc.fingerprint)
        return straight(msgspec.structs.replace(bmc, address=second) if pinned else bmc)

    bench.divert = diverted
    seen = await bench.run("check", pin="yes")
    assert (seen.outcome, seen.fault, seen.fingerprint) == ("fatal", "tls", "")
    assert not machine.log


async def test_what_speaks_no_tls_cannot_be_pinned_and_gets_no_credential(
    machine: TwoDriveBmc, bench: Bench
) -> None:
    assert (await bench.run("check", pin="yes")).outcome == "fatal"
    machine.address = machine.address.replace("http:", "https:")
    seen = await bench.run("check", pin="yes")
    assert (seen.outcome, seen.fault) == ("fatal", "tls")
    machine.address = "https://127.0.0.1:9"
    seen = await bench.run("check", pin="yes")
    assert (seen.outcome, seen.fault) == ("retry", "unreachable")
    assert not machine.log


async def test_a_bmc_that_says_nothing_at_first_contact_is_given_up(bench: Bench) -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        bench.machine.address = f"https://127.0.0.1:{port}"
        seen = await bench.run("check", pin="yes")
    assert (seen.outcome, seen.fault) == ("retry", "timeout")
