"""The one-time boot override: set it, read it back, compare, and take it away again."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from mulligan.redfish.answers import Json, items, section, text
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.digests import note
from mulligan.redfish.faults import BmcFault

DEVICES: Mapping[str, str] = MappingProxyType({"cd": "Cd", "pxe": "Pxe", "disk": "Hdd"})
MODES: Mapping[str, str] = MappingProxyType({"uefi": "UEFI", "bios": "Legacy"})


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """A system's boot override as reported; empty where the BMC does not tell."""

    enabled: str = ""
    target: str = ""
    mode: str = ""
    allowed: tuple[str, ...] = ()


def override_of(system: Json) -> Override:
    """Read the boot override of a system."""
    boot = section(system, "Boot")
    allowed = items(boot.get("BootSourceOverrideTarget@Redfish.AllowableValues"))
    return Override(
        enabled=text(boot.get("BootSourceOverrideEnabled")),
        target=text(boot.get("BootSourceOverrideTarget")),
        mode=text(boot.get("BootSourceOverrideMode")),
        allowed=tuple(name for name in map(text, allowed) if name),
    )


def is_cleared(now: Override) -> bool:
    """Tell whether the machine boots as it does by itself."""
    return now.enabled == "Disabled" or now.target in ("None", "Hdd", "")


async def boot_once(bmc: BmcClient, device: str, mode: str) -> None:
    """Have the next boot, and only that, come from ``device`` in ``mode``; idempotent.

    Raise ``unsupported`` when the BMC lists its devices without this one, and ``not-applied``
    when it accepts the change and does not make it.
    """
    reply = await bmc.system()
    now = override_of(reply.body)
    target, wanted_mode = DEVICES[device], MODES[mode]
    if now.allowed and target not in now.allowed:
        raise BmcFault(
            "unsupported",
            f"{bmc.origin} cannot boot from {target}; it offers {', '.join(now.allowed)}",
        )
    if (now.enabled, now.target) == ("Once", target) and now.mode in ("", wanted_mode):
        note("the boot override was set already")
        return
    change = {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": target}
    try:
        with_mode = {**change, "BootSourceOverrideMode": wanted_mode} if now.mode else change
        await bmc.patch(reply.path, {"Boot": with_mode}, etag=reply.etag)
    except BmcFault as fault:
        if fault.fault != "refused" or now.mode != wanted_mode:
            raise
        note("the BMC refused the boot mode, which it has already: sent without")
        await bmc.patch(reply.path, {"Boot": change}, etag=reply.etag)
    _compare(bmc, override_of((await bmc.system()).body), target, wanted_mode)


def _compare(bmc: BmcClient, now: Override, target: str, mode: str) -> None:
    if now.target != target or now.enabled in ("Disabled", ""):
        raise BmcFault(
            "not-applied",
            f"{bmc.origin} accepted a boot from {target} and reports "
            f"{now.target or 'no target'}, {now.enabled or 'not enabled'}",
        )
    if now.enabled != "Once":
        note(f"boot override: asked for Once, the BMC reports {now.enabled}; cleared after boot")
    if now.mode and now.mode != mode:
        note(f"boot override: asked for {mode}, the BMC reports {now.mode}")


async def clear_boot(bmc: BmcClient) -> None:
    """Take the boot override away; idempotent. Raise ``not-applied`` when it stays."""
    reply = await bmc.system()
    now = override_of(reply.body)
    if now.enabled == "Disabled":
        return
    off: dict[str, Any] = {"BootSourceOverrideEnabled": "Disabled"}
    try:
        await bmc.patch(reply.path, {"Boot": off}, etag=reply.etag)
    except BmcFault as fault:
        if fault.fault != "refused":
            raise
        off["BootSourceOverrideTarget"] = (
            "None" if not now.allowed or "None" in now.allowed else "Hdd"
        )
        note(f"the BMC wants a target with it: {off['BootSourceOverrideTarget']}")
        await bmc.patch(reply.path, {"Boot": off}, etag=reply.etag)
    now = override_of((await bmc.system()).body)
    if not is_cleared(now):
        raise BmcFault(
            "not-applied",
            f"{bmc.origin} accepted to drop its boot override and reports {now.target}, "
            f"{now.enabled}",
        )
    if now.enabled not in ("Disabled", ""):
        note(f"boot override: asked for Disabled, the BMC reports {now.enabled} {now.target}")
