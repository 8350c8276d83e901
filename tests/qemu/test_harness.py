"""The virtual machine by itself, driven by plain Redfish calls: what Mulligan's tests build on."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mulligan.redfish.config_drive import Seed, build
from mulligan.redfish.reports import read_phone_home, read_wipe_report
from tests.embedded.processes import eventually
from tests.qemu.emulator import Emulator
from tests.qemu.hypervisor import DISK_SERIAL, HOST_SEEN_BY_GUEST, Hypervisor
from tests.qemu.site import Site, site

pytestmark = pytest.mark.qemu

KEYS = ("pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519")
CALLED_S = 90.0
"""Software emulation takes 10 s where nothing else runs."""


@contextmanager
def booted(hosted: Hypervisor, bmc: Emulator, web: Site) -> Iterator[None]:
    """The machine with the web server's two media in it, until it is powered off."""
    system = f"/redfish/v1/Systems/{hosted.machine.uuid}"
    reset = f"{system}/Actions/ComputerSystem.Reset"
    for slot, name in (("Cd", "guest.iso"), ("Floppy", "seed.iso")):
        media = f"{system}/VirtualMedia/{slot}"
        url = f"http://127.0.0.1:{web.port}/{name}"
        bmc.post(f"{media}/Actions/VirtualMedia.InsertMedia", {"Image": url})
        assert bmc.get(media)["Inserted"] is True
    once = {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd"}
    bmc.patch(system, {"Boot": once})
    bmc.post(reset, {"ResetType": "On"})
    assert bmc.get(system)["PowerState"] == "On"
    try:
        yield
    finally:
        bmc.post(reset, {"ResetType": "ForceOff"})
    assert bmc.get(system)["PowerState"] == "Off"


def test_a_machine_boots_its_media_reads_its_config_drive_and_phones_home(
    hosted: Hypervisor, bmc: Emulator, image: bytes
) -> None:
    files = {"/guest.iso": image}
    with site(files) as web:
        seed = Seed(
            machine="m-1",
            operation="i-4711",
            hostname="node-1.example",
            user_data=b"#cloud-config\n# a word that only the user knows: swordfish\n",
            phone_home_url=f"http://{HOST_SEEN_BY_GUEST}:{web.port}/home",
        )
        files["/seed.iso"] = build(seed)
        with booted(hosted, bmc, web):
            call = web.calls.get(timeout=CALLED_S)
            eventually(lambda: "guest: phoned home as i-4711" in hosted.machine.printed())
    assert call.path == "/home"
    told = {"instance_id": "i-4711", "hostname": "node-1", "fqdn": "node-1.example"}
    found = read_phone_home(call.body, call.content_type)
    assert found == told | dict.fromkeys(KEYS, "N/A")
    assert "swordfish" in hosted.machine.printed()


@pytest.mark.parametrize("disks", [(), ("of-another-disk",)])
def test_a_machine_wipes_the_disks_it_is_told_to_and_proves_it(
    hosted: Hypervisor, bmc: Emulator, image: bytes, disks: tuple[str, ...]
) -> None:
    hosted.machine.write_disk(b"what a tenant left")
    files = {"/guest.iso": image}
    with site(files) as web:
        report = f"http://{HOST_SEEN_BY_GUEST}:{web.port}/wiped"
        seed = Seed(machine="m-1", operation="i-1", wipe_report_url=report, disks=disks)
        files["/seed.iso"] = build(seed)
        with booted(hosted, bmc, web):
            call = web.calls.get(timeout=CALLED_S)
    assert call.path == "/wiped"
    proofs = read_wipe_report(call.body)
    content = hosted.machine.disk.read_bytes()
    if disks == ("of-another-disk",):
        assert not proofs
        assert content.startswith(b"what a tenant left")
        return
    (proof,) = proofs
    assert (proof.serial, proof.bytes, proof.verified) == (DISK_SERIAL, len(content), True)
    assert not any(content)
