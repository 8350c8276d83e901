"""The same on the emulator itself, as it is installed."""

import hashlib
from pathlib import Path

import anyio
import pytest

from mulligan.embedded.fleet import EmulatedFleet
from mulligan.events.machine import Bmc
from mulligan.model import CredentialId
from mulligan.redfish import boot, media
from mulligan.redfish.bmc import BmcClient, Login, Timings
from mulligan.redfish.faults import BmcFault
from mulligan.redfish.inspect import inspect
from mulligan.redfish.media_server import MediaServer

_TIMINGS = Timings(poll=0.1, get_pauses=(0.05, 0.05), media_pause=0.1, look_for=3)


def client_of(fleet: EmulatedFleet) -> BmcClient:
    """Return a client of the fleet's last system, which no other test uses."""
    address = Bmc(
        address=fleet.address, credential=CredentialId("lab"), system=fleet.systems[-1].uuid
    )
    login = Login("admin", "password")
    return BmcClient(address, login, limiter=anyio.CapacityLimiter(4), timings=_TIMINGS)


async def test_the_emulator_is_inspected(fleet: EmulatedFleet) -> None:
    facts = await inspect(client_of(fleet))
    assert facts.uuid == fleet.systems[-1].uuid
    assert facts.cd_drives >= 1
    assert "Cd" in facts.boot_targets
    assert facts.serial == "", "its chassis is that of every system"


async def staged(server: MediaServer, images: Path, name: str) -> str:
    """Return the URL of a small image."""
    content = name.encode() * 1000
    (images / name).write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    await server.stage(f"file:{name}", sha256)
    return server.publish(f"file:{name}", sha256, "action-1")


async def test_the_emulator_takes_two_images_and_gives_one_back(
    fleet: EmulatedFleet, media_server: MediaServer, images: Path
) -> None:
    client = client_of(fleet)
    urls = [await staged(media_server, images, name) for name in ("os.iso", "seed.iso")]
    for url in urls:
        await media.insert(client, url)
    assert [await media.find_inserted(client, url) is not None for url in urls] == [True, True]
    await media.eject(client, urls[1])
    assert await media.find_inserted(client, urls[0]) is not None
    assert await media.eject_all(client) == urls[:1]


async def test_the_emulators_fake_driver_offers_an_http_boot_and_refuses_it(
    fleet: EmulatedFleet, media_server: MediaServer, images: Path
) -> None:
    client = client_of(fleet)
    url = await staged(media_server, images, "boot.iso")
    with pytest.raises(BmcFault, match="Failed to save HttpBootUri") as raised:
        await boot.boot_http(client, url)
    assert raised.value.fault == "refused"
    await media.eject_all(client)


async def test_the_emulators_word_for_no_boot_uri_is_nothing_to_wait_for(
    fleet: EmulatedFleet,
) -> None:
    system = (await client_of(fleet).system()).body
    assert system["Boot"]["HttpBootUri"] == "None"
    assert boot.override_of(system).http_uri == ""
