"""Power: read it twice, change it by allowed reset types only, and never guess."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import anyio

from mulligan.events.machine import Power
from mulligan.redfish.answers import Json, items, link, reference, section, text
from mulligan.redfish.bmc import BmcClient
from mulligan.redfish.digests import note
from mulligan.redfish.faults import BmcFault

STATES: Mapping[str, Power] = MappingProxyType(
    {
        "On": "on",
        "Off": "off",
        "PoweringOn": "powering_on",
        "PoweringOff": "powering_off",
    }
)

_CHANGING = ("powering_on", "powering_off")

ON = ("On", "ForceOn")
OFF = ("ForceOff",)
GRACEFUL_OFF = ("GracefulShutdown",)
RESTARTS = ("ForceRestart", "GracefulRestart", "PowerCycle", "Nmi")
"""What a running machine can be told; ``Nmi`` is for its kernel to dump, and never sent to off."""


def power_of(system: Json) -> Power:
    """Return a system's power; whatever is not clearly another state is ``unknown``."""
    return STATES.get(text(system.get("PowerState")), "unknown")


def reset_target(system: Json) -> str:
    """Return the path of the Reset action, empty when there is none."""
    return reference(section(system, "Actions", "#ComputerSystem.Reset").get("target"))


def allowed_in_action(system: Json) -> tuple[str, ...]:
    """Return the reset types that the action lists, empty when it lists none."""
    action = section(system, "Actions", "#ComputerSystem.Reset")
    return _names(action.get("ResetType@Redfish.AllowableValues"))


def allowed_in_info(info: Json) -> tuple[str, ...]:
    """Return the reset types that an ActionInfo resource lists."""
    for parameter in items(info.get("Parameters")):
        if section(parameter).get("Name") == "ResetType":
            return _names(section(parameter).get("AllowableValues"))
    return ()


def _names(value: object) -> tuple[str, ...]:
    return tuple(name for name in map(text, items(value)) if name)


def choose(wanted: tuple[str, ...], allowed: tuple[str, ...]) -> str | None:
    """Return the first wanted reset type that is allowed; the first, when nothing is listed."""
    if not allowed:
        return wanted[0]
    return next((name for name in wanted if name in allowed), None)


async def read_power(bmc: BmcClient) -> Power:
    """Return the power as the BMC reports it now."""
    return power_of((await bmc.system()).body)


async def stable_power(bmc: BmcClient, limit: float | None = None) -> Power:
    """Return the power once two reads in a row agree, ``unknown`` if they never did.

    A machine that is powering on or off is waited for: for ``limit`` seconds at most,
    ``timings.settle`` by default, and then this is what it is said to be.
    """
    previous: Power | None = None
    agreed: Power = "unknown"
    with anyio.move_on_after(bmc.timings.settle if limit is None else limit):
        while True:
            power = await read_power(bmc)
            if power == previous and power not in _CHANGING:
                return power
            agreed = power if power == previous else "unknown"
            previous = power
            await anyio.sleep(bmc.timings.poll)
    return agreed


async def wait_for_power(bmc: BmcClient, wanted: Power, limit: float) -> Power:
    """Wait until two reads in a row say ``wanted``; return the last power seen, if it never came.

    A BMC that is away or busy meanwhile is waited for.
    """
    seen = 0
    power: Power = "unknown"
    trouble: BmcFault | None = None
    with anyio.move_on_after(limit):
        while True:
            try:
                power = await read_power(bmc)
                trouble = None
            except BmcFault as fault:
                if not fault.heals:
                    raise
                power, trouble = "unknown", fault
            seen = seen + 1 if power == wanted else 0
            if seen == 2:
                return power
            await anyio.sleep(bmc.timings.poll)
    if trouble is not None:
        raise trouble
    # One matching read is not a state.
    return "unknown" if power == wanted else power


async def reset(bmc: BmcClient, wanted: tuple[str, ...]) -> str:
    """Send the first of the ``wanted`` reset types that is allowed, and return which it was.

    Raise ``unsupported`` when none is, Ambiguous when the outcome is open.
    """
    system = (await bmc.system()).body
    if "Nmi" in wanted and power_of(system) != "on":
        raise BmcFault(
            "refused", f"{bmc.origin} reports power {power_of(system)}; Nmi is for one that is on"
        )
    target = reset_target(system)
    if not target:
        raise BmcFault("unsupported", f"{bmc.origin}: the system has no Reset action")
    allowed = await _allowed(bmc, system)
    kind = choose(wanted, allowed)
    if kind is None:
        raise BmcFault(
            "unsupported",
            f"{bmc.origin} does not offer {' or '.join(wanted)}; it offers {', '.join(allowed)}",
        )
    await bmc.post(target, {"ResetType": kind})
    return kind


async def _allowed(bmc: BmcClient, system: dict[str, Any]) -> tuple[str, ...]:
    allowed = allowed_in_action(system)
    where = section(system, "Actions", "#ComputerSystem.Reset").get("@Redfish.ActionInfo")
    path = reference(where) or link({"info": where}, "info")
    if not allowed and path:
        info = await bmc.get_optional(path)
        allowed = allowed_in_info(info.body) if info is not None else ()
    if not allowed:
        note("the BMC does not list its reset types: the standard ones are assumed")
    return allowed
