"""Taking a boot override away after a boot that nothing reports but the BMC."""

import anyio

from mulligan.redfish.answers import Json, section, text
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.boot import clear_boot, is_cleared, override_of
from mulligan.redfish.digests import note
from mulligan.redfish.quirks import quirk_of

BOOTED = frozenset({"OSBootStarted", "OSRunning", "SetupEntered"})
"""Values of BootProgress.LastState by which the firmware has chosen what to boot."""


def progress_of(system: Json) -> str:
    """Return how far the boot is; empty when the BMC does not tell."""
    state = text(section(system, "BootProgress").get("LastState"))
    return "" if state == "None" else state


async def clear_boot_after_power_on(bmc: BmcClient) -> str:
    """Drop the override of a machine that was just switched on, not before its firmware used it.

    Return in words what became of it. A BMC that tells the boot's progress is waited for. One
    that keeps ``Once`` until the boot and tells nothing drops it by itself. One that made it
    ``Continuous`` gets the time that firmware takes at most, ``timings.post``.
    """
    system = (await bmc.system()).body
    now = override_of(system)
    if is_cleared(now):
        await clear_boot(bmc)
        return "boots as it does by itself"
    if progress_of(system):
        await _until_booted(bmc)
    elif now.enabled == "Once":
        note("boot override: left to the BMC, which uses it once; cleaning drops it in any case")
        return "boots once from what was asked for"
    elif not quirk_of(text(system.get("Manufacturer"))).override_used_at_power_on:
        note(f"boot override: kept for {bmc.timings.post:.0f} s, while the firmware may need it")
        await anyio.sleep(bmc.timings.post)
    await clear_boot(bmc)
    return "boots as it does by itself"


async def _until_booted(bmc: BmcClient) -> None:
    """Wait until the BMC says that the boot has begun, or has dropped the override."""
    progress = ""
    with anyio.move_on_after(bmc.timings.boot):
        while True:
            system = (await bmc.system()).body
            progress = progress_of(system)
            if progress in BOOTED or is_cleared(override_of(system)):
                return
            await anyio.sleep(bmc.timings.poll)
    note(f"boot override: dropped though the BMC reports {progress or 'no progress'} still")
