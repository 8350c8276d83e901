"""The steps on a real Redfish emulator, whose power changes take up to eleven seconds."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from mulligan.embedded.fleet import EmulatedFleet, emulated_systems
from mulligan.events.machine import Bmc
from mulligan.model import CredentialId
from mulligan.redfish.bmc import BmcClient, Login, Timings
from mulligan.redfish.first_contact import certificate_fingerprint
from mulligan.redfish.media_server import MediaServer
from mulligan.redfish.steps import Observation, StepContext, run_step
from tests.redfish.certificates import self_signed

REAL = Timings(poll=0.2, get_pauses=(0.05, 0.05), media_pause=0.1, look_for=13, power=30, ready=30)
IMAGE = b"not really an ISO" * 1000
SHA = hashlib.sha256(IMAGE).hexdigest()


def client_of(fleet: EmulatedFleet, number: int = 0, **changes: object) -> BmcClient:
    fields: dict[str, object] = {
        "address": fleet.address,
        "credential": CredentialId("lab"),
        "system": fleet.systems[number].uuid,
        **changes,
    }
    return BmcClient(
        Bmc(**fields),  # type: ignore[arg-type]
        Login("admin", "password"),
        limiter=anyio.CapacityLimiter(20),
        timings=REAL,
    )


@pytest.fixture(scope="session")
def machine(fleet: EmulatedFleet) -> Callable[[], BmcClient]:
    """Make clients, each of a system that no other test uses."""
    numbers = iter(range(len(fleet.systems)))
    return lambda: client_of(fleet, next(numbers))


async def run(
    client: BmcClient,
    name: str,
    media: MediaServer | None = None,
    *,
    resume: bool = False,
    action: str = "action-1",
    **params: Any,
) -> Observation:
    context = StepContext(bmc=client, action=action, params=params, media=media)
    return await run_step(name, context, resume=resume)


async def test_check_and_inventory(machine: Callable[[], BmcClient]) -> None:
    client = machine()
    seen = await run(client, "check")
    assert (seen.outcome, seen.power) == ("done", "off")
    assert "the BMC offers no session: HTTP basic is used" in seen.notes
    facts = (await run(client, "inventory")).facts
    assert facts is not None
    assert facts.manufacturer == "Sushy Emulator"
    assert {nic.mac for nic in facts.nics} == set(emulated_systems(1)[0].macs)
    assert len(facts.disks) == 2
    assert {"Memory", "Processors"} <= set(facts.missing)


async def test_a_deploy_by_its_steps(
    machine: Callable[[], BmcClient], media: MediaServer, tmp_path: Path
) -> None:
    (tmp_path / "images" / "os.iso").write_bytes(IMAGE)
    image: dict[str, Any] = {"image_url": "file:os.iso", "sha256": SHA}
    client = machine()
    steps: list[tuple[str, dict[str, Any]]] = [
        ("stage_image", image),
        ("power_off", {}),
        ("eject_media", {}),
        ("insert_media", image),
        ("boot_once", {"device": "cd", "mode": "uefi"}),
        ("power_on", {}),
        ("wait_ready", {"ready_when": "power-on"}),
    ]
    for name, params in steps:
        seen = await run(client, name, media, **params)
        assert seen.outcome == "done", (name, seen)
        if name == "boot_once":
            assert "Continuous" in seen.notes[0]
    url = media.publish("file:os.iso", SHA, "action-1")
    assert media.fetched(url).complete
    # A crash after the insert: the next executor finds it by looking.
    seen = await run(client, "insert_media", media, resume=True, **image)
    assert (seen.outcome, seen.recovered) == ("done", True)
    assert (await run(client, "clear_boot")).outcome == "done"
    assert (await run(client, "eject_media", media)).message == "ejected 1"
    assert media.fetched(url).requests == 0, "an ejected image is withdrawn"


async def test_an_image_that_the_bmc_cannot_fetch_is_refused_with_its_reason(
    machine: Callable[[], BmcClient], media: MediaServer
) -> None:
    seen = await run(machine(), "insert_media", url=f"{media.url}/media/x/none.iso")
    assert seen.outcome == "fatal"
    assert "Cannot download virtual media" in seen.message


async def test_power_on_sent_before_a_crash_is_recovered(
    machine: Callable[[], BmcClient],
) -> None:
    client = machine()
    path = await client.system_path()
    await client.post(f"{path}/Actions/ComputerSystem.Reset", {"ResetType": "On"})
    seen = await run(client, "power_on", resume=True)
    assert (seen.outcome, seen.recovered, seen.power) == ("done", True, "on")
    assert (await run(client, "reset")).outcome == "done"


async def test_a_reset_the_emulator_does_not_offer_is_fatal(
    machine: Callable[[], BmcClient],
) -> None:
    client = machine()
    path = await client.system_path()
    target = f"{path}/Actions/ComputerSystem.Reset"
    await client.post(target, {"ResetType": "On"})
    assert (await run(client, "wait_ready")).outcome == "done"
    seen = await run(client, "reset", target="PowerCycle")
    assert (seen.outcome, seen.fault) == ("fatal", "unsupported")


async def test_a_wrong_password_and_an_unknown_system(fleet: EmulatedFleet) -> None:
    wrong = BmcClient(
        Bmc(address=fleet.address, credential=CredentialId("lab")),
        Login("admin", "no"),
        limiter=anyio.CapacityLimiter(2),
    )
    seen = await run(wrong, "check")
    assert (seen.outcome, seen.fault) == ("fatal", "bad-credentials")
    seen = await run(client_of(fleet, system="nobody"), "check")
    assert (seen.outcome, seen.fault) == ("fatal", "no-such-system")
    seen = await run(client_of(fleet, system=""), "check")
    assert (seen.outcome, seen.fault) == ("fatal", "ambiguous-system")


async def test_tls_by_authority_by_pin_and_by_opting_out(tmp_path: Path) -> None:
    pem, key = self_signed(tmp_path)
    async with EmulatedFleet(tmp_path / "fleet", 1, certificate=pem, key=key) as fleet:
        refused = await run(client_of(fleet), "check")
        assert (refused.outcome, refused.fault) == ("fatal", "tls")
        pin = await certificate_fingerprint(fleet.address)
        pinned = await run(client_of(fleet, fingerprint=pin), "check")
        assert pinned.outcome == "done"
        wrong = await run(client_of(fleet, fingerprint="0" * 64), "check")
        assert (wrong.outcome, wrong.fault) == ("fatal", "tls")
        unchecked = await run(client_of(fleet, verify=False), "check")
        assert "not checked" in " ".join(unchecked.notes)
        trusting = BmcClient(
            Bmc(address=fleet.address, credential=CredentialId("lab")),
            Login("admin", "password"),
            limiter=anyio.CapacityLimiter(2),
            ca_file=str(pem),
        )
        assert (await run(trusting, "check")).outcome == "done"


async def test_a_fleet_ends_with_its_context_and_keeps_its_state(tmp_path: Path) -> None:
    async with EmulatedFleet(tmp_path, 1) as fleet:
        pid = fleet.pid
        assert pid is not None
        client = client_of(fleet)
        await client.patch(await client.system_path(), {"Boot": {"BootSourceOverrideTarget": "Cd"}})
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    async with EmulatedFleet(tmp_path, 1) as fleet:
        boot = (await client_of(fleet).system()).body["Boot"]
        assert boot["BootSourceOverrideTarget"] == "Cd"
