"""Which steps each operation takes, how long it may take, and how often a step is tried.

The media of an image that is ready at power-on stays inserted while the machine is active:
ejecting it would pull the disk from under the system that boots from it. Cleaning ejects it. One
that phones home has what it needs by then: its media are ejected at once.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Literal

from mulligan.events.machine import Verb
from mulligan.model import stream_id

PROFILES = stream_id("profile", "region")
"""The stream of the hardware profiles: every command that starts an operation reads it."""

PowerTarget = Literal["on", "off", "shutdown", "restart", "cycle", "nmi"]

INSPECT = ("check", "inventory")
ROTATE = ("find_password", "change_password")
ADOPT = ("check", "inventory", "observe_power")
POWER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "on": ("power_on",),
        "off": ("power_off",),
        "shutdown": ("power_off",),
        "restart": ("reset",),
        "cycle": ("reset",),
        "nmi": ("reset",),
    }
)

RESET_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "off": "ForceOff",
        "shutdown": "GracefulShutdown",
        "restart": "ForceRestart",
        "cycle": "PowerCycle",
        "nmi": "Nmi",
    }
)
"""The Redfish ResetType of each power target that has one of its own."""

WAITED = frozenset({"phone_home", "wipe_report"})
"""Steps that no executor runs: the machine itself reports them."""

CLEANING: Mapping[str, str] = MappingProxyType(
    {
        "wipe": "boot the profile's wipe image, which proves what it did to each disk",
        "bios-reset": "set the BIOS back to its defaults",
    }
)
"""What a hardware profile may add to cleaning."""

DEADLINES: Mapping[Verb, timedelta] = MappingProxyType(
    {
        "inspect": timedelta(minutes=15),
        "adopt": timedelta(minutes=15),
        "clean": timedelta(hours=1),
        "deploy": timedelta(hours=1),
        "rescue": timedelta(hours=1),
        "restore": timedelta(hours=1),
        "power": timedelta(minutes=15),
    }
)
"""For hardware whose profile does not say otherwise."""

ROTATE_DEADLINE = timedelta(minutes=15)

WIPE_DEADLINE = timedelta(hours=24)
"""Of a cleaning that wipes disks: large ones take most of a day."""

ATTEMPTS = 5
_ATTEMPTS: Mapping[str, int] = MappingProxyType(
    {"power_on": 3, "reset": 3, "stage_image": 8, "find_password": 3, "change_password": 2}
)

_FIRST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 60.0


def attempts(step: str) -> int:
    """Return how often a step is tried before its operation fails."""
    return _ATTEMPTS.get(step, ATTEMPTS)


def _booting(kind: str, *, seed: bool) -> tuple[str, ...]:
    """Return how a machine that is off is made to boot an image, up to its power-on."""
    insert = () if kind == "http-boot" else ("insert_media",)
    override = "boot_http" if kind == "http-boot" else "boot_once"
    return (*insert, *(("insert_seed",) if seed else ()), override, "power_on")


def deploy(kind: str, ready_when: str, *, user_data: bool) -> tuple[str, ...]:
    """Return the steps that boot an image for good."""
    phones = ready_when == "phone-home"
    up = ("phone_home", "eject_media") if phones else ("wait_ready",)
    return (
        "check",
        "stage_image",
        "power_off",
        "eject_media",
        *_booting(kind, seed=user_data or phones),
        *up,
        "clear_boot",
    )


def rescue(kind: str, ready_when: str, *, user_data: bool) -> tuple[str, ...]:
    """Return the steps that boot a rescue image, whose media stay until the machine is restored."""
    phones = ready_when == "phone-home"
    return (
        "check",
        "stage_image",
        "power_off",
        "eject_media",
        *_booting(kind, seed=user_data or phones),
        "phone_home" if phones else "wait_ready",
        "clear_boot",
    )


def restore(kind: str, ready_when: str, *, user_data: bool) -> tuple[str, ...]:
    """Return the steps back from a rescue: to the disk, or to the image that it ran from.

    ``kind`` is empty for an adopted machine, whose system is on its disk.
    """
    if not kind or ready_when == "phone-home":
        return ("check", "power_off", "eject_media", "clear_boot", "power_on", "wait_ready")
    return (
        "check",
        "stage_image",
        "power_off",
        "eject_media",
        *_booting(kind, seed=user_data),
        "wait_ready",
        "clear_boot",
    )


def clean(more: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the steps of cleaning with what a profile adds, some of ``CLEANING``."""
    steps = ["check", "power_off", "eject_media"]
    for what in more:
        if what == "wipe":
            steps += ["stage_image", *_booting("iso", seed=True), "wipe_report"]
            steps += ["power_off", "eject_media"]
        else:
            steps.append("bios_reset")
    return (*steps, "clear_boot", "observe_power")


def backoff(operation: str, step: str, attempt: int) -> timedelta:
    """Return how long to wait after a failed attempt (from 1): doubling, jittered by half.

    The jitter is drawn from the operation's id, so that a replay waits just as long.
    """
    longest = min(_FIRST_BACKOFF_S * 2 ** (attempt - 1), _LONGEST_BACKOFF_S)
    digest = hashlib.sha256(f"{operation}/{step}/{attempt}".encode()).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    return timedelta(seconds=longest * (0.5 + share / 2))
