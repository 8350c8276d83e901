"""The one-time boot override: set it, read it back, compare, and take it away again."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import anyio
import msgspec

from mulligan.redfish.answers import Json, Reply, items, link, reference, section, text
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.digests import note
from mulligan.redfish.faults import BmcFault

DEVICES: Mapping[str, str] = MappingProxyType({"cd": "Cd", "pxe": "Pxe", "disk": "Hdd"})
MODES: Mapping[str, str] = MappingProxyType({"uefi": "UEFI", "bios": "Legacy"})

_PLAIN = ("", "None", "Hdd")
"""Targets that are as good as no override."""


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """A system's boot override as reported; empty where the BMC does not tell.

    ``staged`` is the settings resource whose values apply at the next reset, if there is one.
    """

    enabled: str = ""
    target: str = ""
    mode: str = ""
    http_uri: str = ""
    allowed: tuple[str, ...] = ()
    staged: str = ""


def override_of(system: Json) -> Override:
    """Read the boot override of a system."""
    boot = section(system, "Boot")
    uri = reference(boot.get("HttpBootUri"))
    allowed = items(boot.get("BootSourceOverrideTarget@Redfish.AllowableValues"))
    return Override(
        enabled=text(boot.get("BootSourceOverrideEnabled")),
        target=text(boot.get("BootSourceOverrideTarget")),
        mode=text(boot.get("BootSourceOverrideMode")),
        http_uri="" if uri == "None" else uri,  # sushy-tools writes the word
        allowed=tuple(name for name in map(text, allowed) if name),
        staged=link(system, "@Redfish.Settings", "SettingsObject"),
    )


def is_cleared(now: Override) -> bool:
    """Tell whether the machine boots as it does by itself."""
    return now.enabled == "Disabled" or now.target in _PLAIN


async def boot_once(bmc: BmcClient, device: str, mode: str) -> None:
    """Have the next boot, and only that, come from ``device`` in ``mode``; idempotent.

    Raise ``unsupported`` when the BMC lists its devices without this one, and ``not-applied``
    when it accepts the change and does not make it.
    """
    await _boot(bmc, Override(enabled="Once", target=DEVICES[device], mode=MODES[mode]))


async def boot_http(bmc: BmcClient, uri: str) -> None:
    """Have the next boot, and only that, load ``uri`` by UEFI HTTP boot; idempotent.

    Raises like ``boot_once``.
    """
    await _boot(bmc, Override(enabled="Once", target="UefiHttp", mode="UEFI", http_uri=uri))


async def _boot(bmc: BmcClient, wanted: Override) -> None:
    reply = await bmc.system()
    now = override_of(reply.body)
    if now.allowed and wanted.target not in now.allowed:
        raise BmcFault(
            "unsupported",
            f"{bmc.origin} cannot boot from {wanted.target}; it offers {', '.join(now.allowed)}",
        )
    if now.enabled == "Once" and _matches(now, wanted) and now.mode in ("", wanted.mode):
        note("the boot override was set already")
        return
    change = {
        "BootSourceOverrideEnabled": wanted.enabled,
        "BootSourceOverrideTarget": wanted.target,
    }
    if wanted.http_uri:
        change["HttpBootUri"] = wanted.http_uri
    seen = await _apply(bmc, reply, _with_mode(now, wanted, change), wanted)
    _compare(bmc, seen, wanted)


def _with_mode(now: Override, wanted: Override, change: dict[str, str]) -> list[dict[str, Any]]:
    """Return the changes to try in turn: the mode is left out where it is set or not known."""
    if not now.mode:
        return [change]
    with_mode = {**change, "BootSourceOverrideMode": wanted.mode}
    return [with_mode, change] if now.mode == wanted.mode else [with_mode]


async def _apply(
    bmc: BmcClient, reply: Reply, changes: list[dict[str, Any]], wanted: Override
) -> Override:
    """Change the system, else its settings resource, and return what is reported then."""
    seen = override_of(reply.body)
    staged = seen.staged
    refused: BmcFault | None = None
    try:
        await _change(bmc, reply, changes)
        seen = await _settled(bmc, reply.path, wanted)
        if _matches(seen, wanted) or not staged:
            return seen
    except BmcFault as fault:
        if fault.status not in (400, 405) or not staged:
            raise
        refused = fault
    settings = await bmc.get_optional(staged)
    if settings is None:
        if refused is not None:
            raise refused
        return seen
    note(f"boot override: staged in {staged}, as the BMC does not change the system itself")
    await _change(bmc, settings, changes)
    seen = await _settled(bmc, reply.path, wanted, limit=bmc.timings.poll)
    return seen if _matches(seen, wanted) else await _settled(bmc, staged, wanted)


async def _change(bmc: BmcClient, reply: Reply, changes: list[dict[str, Any]]) -> None:
    for number, change in enumerate(changes, 1):
        try:
            await bmc.patch(reply.path, {"Boot": change}, etag=reply.etag)
            return
        except BmcFault as fault:
            if fault.fault != "refused" or number == len(changes):
                raise
        note(_FEWER.format(", ".join(sorted(changes[number]))))


_FEWER = "boot override: the BMC refused the change and was sent another: {}"


async def _settled(
    bmc: BmcClient, path: str, wanted: Override, limit: float | None = None
) -> Override:
    """Read the override until it is as wanted or has had its time: some show the old for a bit."""
    now = Override()
    deadline = anyio.current_time() + (bmc.timings.look_for if limit is None else limit)
    while True:
        now = override_of((await bmc.get(path)).body)
        if _matches(now, wanted) or anyio.current_time() >= deadline:
            return now
        await anyio.sleep(bmc.timings.poll)


def _matches(now: Override, wanted: Override) -> bool:
    if wanted.enabled == "Disabled":
        return is_cleared(now) and not now.http_uri
    # sushy-tools boots what it loaded by HTTP from a drive, and says so.
    as_drive = bool(wanted.http_uri) and (now.target, now.http_uri) == ("Cd", wanted.http_uri)
    return (
        (now.target == wanted.target or as_drive)
        and now.enabled not in ("Disabled", "")
        and (not wanted.http_uri or now.http_uri in ("", wanted.http_uri))
    )


def _compare(bmc: BmcClient, now: Override, wanted: Override) -> None:
    if not _matches(now, wanted):
        other = now.http_uri if wanted.http_uri and now.target == wanted.target else ""
        raise BmcFault(
            "not-applied",
            f"{bmc.origin} accepted a boot from {wanted.target} and reports "
            f"{now.target or 'no target'}, {now.enabled or 'not enabled'}"
            + (f", {other[:200]}" if other else ""),
        )
    if now.target != wanted.target:
        note(f"boot override: asked for {wanted.target}, the BMC reports {now.target}")
    if now.enabled != "Once":
        note(f"boot override: asked for Once, the BMC reports {now.enabled}; cleared after boot")
    if now.mode and now.mode != wanted.mode:
        note(f"boot override: asked for {wanted.mode}, the BMC reports {now.mode}")
    if wanted.http_uri and not now.http_uri:
        note("boot override: the BMC does not show the URI that it boots from")


async def clear_boot(bmc: BmcClient) -> None:
    """Take the boot override away, and the URI of HTTP boot; idempotent.

    Raise ``not-applied`` when it stays.
    """
    reply = await bmc.system()
    now = override_of(reply.body)
    await _clear_staged(bmc, now)
    if now.enabled == "Disabled" and not now.http_uri:
        return
    off = Override(enabled="Disabled", target="None")
    try:
        seen = await _apply(bmc, reply, _clearing(now), off)
    except BmcFault as fault:
        if fault.fault != "refused" or not is_cleared(now):
            raise
        note(f"boot override: {now.enabled} {now.target} cannot be cleared and has no effect")
        return
    if not is_cleared(seen):
        raise BmcFault(
            "not-applied",
            f"{bmc.origin} accepted to drop its boot override and reports {seen.target}, "
            f"{seen.enabled}",
        )
    if seen.enabled not in ("Disabled", ""):
        note(f"boot override: asked for Disabled, the BMC reports {seen.enabled} {seen.target}")
    if seen.http_uri:
        note("boot override: the BMC keeps its URI of HTTP boot")


async def _clear_staged(bmc: BmcClient, now: Override) -> None:
    """Take back an override that waits for the next reset, and does not show before."""
    settings = await bmc.get_optional(now.staged) if now.staged and is_cleared(now) else None
    if settings is None:
        return
    pending = msgspec.structs.replace(override_of(settings.body), allowed=now.allowed)
    if pending.http_uri or not is_cleared(pending):
        await _change(bmc, settings, _clearing(pending))


def _clearing(now: Override) -> list[dict[str, Any]]:
    """Return the changes to try in turn: some want a target too, some take only a target."""
    target = "None" if not now.allowed or "None" in now.allowed else "Hdd"
    off: dict[str, Any] = {"BootSourceOverrideEnabled": "Disabled"}
    changes = [off, {**off, "BootSourceOverrideTarget": target}]
    if now.http_uri:
        changes.insert(0, {**off, "HttpBootUri": None})
    return changes
