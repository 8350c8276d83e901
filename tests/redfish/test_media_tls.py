"""Images over HTTPS: what BMCs are told of whom to trust, on the emulator and on scripted BMCs."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from mulligan.embedded.fleet import EmulatedFleet
from mulligan.events.machine import Bmc
from mulligan.model import CredentialId
from mulligan.redfish import media, media_trust
from mulligan.redfish.bmc import BmcClient, Login, Timings
from mulligan.redfish.digests import recording
from mulligan.redfish.drives import Slot, slot_of, slots
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.media_server import MediaServer
from mulligan.redfish.media_trust import MediaTrust
from mulligan.tls import KeyPair, TlsFiles, certificates_in, client_context, issue, make_ca
from mulligan.tls import write_pair as write
from tests.redfish.scripted_bmc import ScriptedBmc, status

IMAGE = b"an image" * 500
SHA = hashlib.sha256(IMAGE).hexdigest()
TIMINGS = Timings(poll=0.1, get_pauses=(0.05,), media_pause=0.05, look_for=3)


class Server:
    """A media server over HTTPS, and the CA that vouches for it."""

    def __init__(self, folder: Path, ca: KeyPair, *, verify: bool = True) -> None:
        (folder / "images").mkdir(parents=True)
        (folder / "images" / "os.iso").write_bytes(IMAGE)
        self.files = TlsFiles(ca=folder / "ca.pem", cert=folder / "s.pem", key=folder / "s.key")
        self.renew(ca)
        self.media = MediaServer(
            folder / "cache",
            secret=b"0123456789abcdef",
            images=folder / "images",
            tls=self.files,
            verify=verify,
        )

    def renew(self, ca: KeyPair) -> None:
        self.files.ca.write_bytes(ca.cert)
        write(issue(ca, "media", ips=["127.0.0.1"], server=True), self.files.cert, self.files.key)

    async def image(self, attempt: str = "a-1") -> str:
        await self.media.stage("file:os.iso", SHA)
        return self.media.publish("file:os.iso", SHA, attempt)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    one = Server(tmp_path / "one", make_ca("lab.mulligan"))
    async with one.media:
        yield one


@pytest.fixture
async def bmc_client(fleet: EmulatedFleet) -> AsyncIterator[BmcClient]:
    system = fleet.systems[-2].uuid
    address = Bmc(address=fleet.address, credential=CredentialId("lab"), system=system)
    login = Login("admin", "password")
    client = BmcClient(address, login, limiter=anyio.CapacityLimiter(4), timings=TIMINGS)
    yield client
    await media.eject_all(client)
    await client.close()


async def drive(client: BmcClient, path: str = "") -> Slot:
    """Return the drive at a path, else the first."""
    return next(slot for slot in await slots(client) if path in ("", slot.path))


async def kept(client: BmcClient, slot: Slot) -> list[bytes]:
    """Return the certificates that a drive keeps."""
    members = (await client.get(slot.certificates)).body["Members"]
    bodies = [(await client.get(member["@odata.id"])).body for member in members]
    return [certificates_in(body["CertificateString"].encode())[0] for body in bodies]


async def test_an_image_is_served_over_https_to_who_trusts_the_ca(server: Server) -> None:
    url = await server.image()
    assert url.startswith("https://127.0.0.1:")
    trusting = client_context(server.files.ca)
    trusting.set_alpn_protocols(["http/1.1"])
    async with aiohttp.ClientSession() as session, session.get(url, ssl=trusting) as answer:
        assert await answer.read() == IMAGE
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(url)


async def test_a_bmc_is_given_the_ca_and_told_to_check_and_then_fetches(
    server: Server, bmc_client: BmcClient
) -> None:
    url = await server.image()
    slot = await media.insert(bmc_client, url, server.media.trust)
    assert server.media.fetched(url).complete
    now = await drive(bmc_client, slot.path)
    assert now.verify is True
    assert await kept(bmc_client, now) == [server.files.ca.read_bytes()]


async def test_a_bmc_that_checks_refuses_a_server_of_another_ca_and_the_fault_says_what_to_do(
    server: Server, bmc_client: BmcClient
) -> None:
    url, trust = await server.image(), server.media.trust
    server.renew(make_ca("other"))
    assert server.media._live is not None
    assert server.media._live.reload()
    with pytest.raises(BmcFault) as caught:
        await media.insert(bmc_client, url, trust)
    assert "media.verify = false" in caught.value.message
    assert "media.tls = false" in caught.value.message
    assert server.media.fetched(url).bytes == 0


async def test_a_bmc_gets_the_new_ca_in_the_place_of_the_old_one(
    server: Server, bmc_client: BmcClient
) -> None:
    slot = await media.insert(bmc_client, await server.image(), server.media.trust)
    await media.eject_all(bmc_client)
    server.renew(make_ca("lab.mulligan"))
    assert server.media._live is not None
    server.media._live.reload()
    await media.insert(bmc_client, await server.image("a-2"), server.media.trust)
    assert await kept(bmc_client, slot) == [server.files.ca.read_bytes()]


async def test_a_bmc_is_told_not_to_check_where_the_configuration_says_so(
    server: Server, bmc_client: BmcClient
) -> None:
    await media_trust.prepare(bmc_client, await drive(bmc_client), trust_of(server))
    assert (await drive(bmc_client)).verify is True
    unchecked = MediaTrust(ca=trust_of(server).ca, verify=False)
    await media_trust.prepare(bmc_client, await drive(bmc_client), unchecked)
    assert (await drive(bmc_client)).verify is False
    await media.insert(bmc_client, await server.image("a-3"), unchecked)


def trust_of(server: Server) -> MediaTrust:
    trust = server.media.trust
    assert trust is not None
    return trust


@pytest.mark.parametrize(
    ("shown", "remark"),
    [
        ({}, "does not tell whether it checks"),
        ({"VerifyCertificate": False}, "does not check the media server's certificate and cannot"),
        ({"VerifyCertificate": True}, "checks the media server's certificate and cannot"),
    ],
)
async def test_a_bmc_that_keeps_no_certificates_stays_as_it_was_set(
    client: BmcClient, shown: dict[str, Any], remark: str
) -> None:
    with recording() as record:
        slot = slot_of("/redfish/v1/x", shown)
        await media_trust.prepare(client, slot, MediaTrust(ca=make_ca("lab").cert.decode()))
    assert remark in record.notes[0]
    assert not record.exchanges


async def test_a_bmc_that_takes_no_certificate_is_not_told_to_check(
    bmc: ScriptedBmc, client: BmcClient
) -> None:
    for code in (400, 405, 409, 500, 501):
        bmc.script("POST", "/redfish/v1/none", status(code))
        slot = slot_of("/redfish/v1/x", {"Certificates": {"@odata.id": "/redfish/v1/none"}})
        with recording() as record:
            await media_trust.prepare(client, slot, MediaTrust(ca=make_ca("lab").cert.decode()))
        assert "did not take the region's CA" in record.notes[-1]
        assert "PATCH" not in {exchange.method for exchange in record.exchanges}
