"""The virtual machine by itself, driven by plain Redfish calls: what Mulligan's test builds on."""

import io

import pycdlib
import pytest

from tests.embedded.processes import eventually
from tests.qemu.emulator import Emulator
from tests.qemu.hypervisor import Hypervisor
from tests.qemu.site import site

pytestmark = pytest.mark.qemu

BOOTED_S = 90.0
"""Software emulation takes 10 s where nothing else runs."""


def config_drive(files: dict[str, str]) -> bytes:
    """Return an ISO image of ``files`` that a guest takes for its NoCloud data."""
    iso = pycdlib.PyCdlib()
    iso.new(vol_ident="cidata", rock_ridge="1.09", joliet=3)
    for number, (name, text) in enumerate(files.items()):
        content = text.encode()
        iso.add_fp(
            io.BytesIO(content),
            len(content),
            f"/FILE{number}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
        )
    written = io.BytesIO()
    iso.write_fp(written)
    iso.close()
    return written.getvalue()


def test_a_machine_boots_its_media_reads_its_config_drive_and_phones_home(
    hosted: Hypervisor, bmc: Emulator, image: bytes
) -> None:
    machine = hosted.machine
    system = f"/redfish/v1/Systems/{machine.uuid}"
    files = {"/guest.iso": image}
    with site(files) as web:
        files["/seed.iso"] = config_drive(
            {
                "meta-data": "instance-id: i-4711\nlocal-hostname: node-1\n",
                "user-data": "#cloud-config\n# a word that only the user knows: swordfish\n",
                "vendor-data": "#cloud-config\nphone_home:\n"
                f"  url: http://10.0.2.2:{web.port}/home/$INSTANCE_ID\n  post: all\n",
            }
        )
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
    assert call.path == "/home/i-4711"
    assert call.form == {"instance_id": "i-4711", "hostname": "node-1"}
    assert "swordfish" in machine.printed()
    eventually(lambda: "guest: phoned home as i-4711" in machine.printed())
    bmc.post(f"{system}/Actions/ComputerSystem.Reset", {"ResetType": "ForceOff"})
    assert bmc.get(system)["PowerState"] == "Off"
