"""The virtual machine by itself, driven by plain Redfish calls: what Mulligan's test builds on."""

import pytest

from mulligan.redfish.config_drive import Seed, build
from tests.embedded.processes import eventually
from tests.qemu.emulator import Emulator
from tests.qemu.hypervisor import Hypervisor
from tests.qemu.site import site

pytestmark = pytest.mark.qemu

KEYS = ("pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519")
BOOTED_S = 90.0
"""Software emulation takes 10 s where nothing else runs."""


def test_a_machine_boots_its_media_reads_its_config_drive_and_phones_home(
    hosted: Hypervisor, bmc: Emulator, image: bytes
) -> None:
    machine = hosted.machine
    system = f"/redfish/v1/Systems/{machine.uuid}"
    files = {"/guest.iso": image}
    with site(files) as web:
        seed = Seed(
            machine="m-1",
            operation="i-4711",
            hostname="node-1.example",
            user_data=b"#cloud-config\n# a word that only the user knows: swordfish\n",
            phone_home_url=f"http://10.0.2.2:{web.port}/home",
        )
        files["/seed.iso"] = build(seed)
        for slot, name in (("Cd", "guest.iso"), ("Floppy", "seed.iso")):
            media = f"{system}/VirtualMedia/{slot}"
            url = f"http://127.0.0.1:{web.port}/{name}"
            bmc.post(f"{media}/Actions/VirtualMedia.InsertMedia", {"Image": url})
            assert bmc.get(media)["Inserted"] is True
        once = {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd"}
        bmc.patch(system, {"Boot": once})
        bmc.post(f"{system}/Actions/ComputerSystem.Reset", {"ResetType": "On"})
        assert bmc.get(system)["PowerState"] == "On"
        call = web.calls.get(timeout=BOOTED_S)
    assert call.path == "/home"
    told = {"instance_id": "i-4711", "hostname": "node-1", "fqdn": "node-1.example"}
    assert call.form == told | dict.fromkeys(KEYS, "N/A")
    assert "swordfish" in machine.printed()
    eventually(lambda: "guest: phoned home as i-4711" in machine.printed())
    bmc.post(f"{system}/Actions/ComputerSystem.Reset", {"ResetType": "ForceOff"})
    assert bmc.get(system)["PowerState"] == "Off"
