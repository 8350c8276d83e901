"""Which steps each operation takes, how long it may take, and how often a step is tried.

The media of an image that is ready at power-on stays inserted while the machine is active:
ejecting it would pull the disk from under the system that boots from it. Cleaning ejects it.
"""

import hashlib
from collections.abc import Mapping
from datetime import timedelta

from mulligan.events.machine import Verb

INSPECT = ("check", "inventory")
CLEAN = ("check", "power_off", "eject_media", "clear_boot", "observe_power")
DEPLOY = (
    "check",
    "stage_image",
    "power_off",
    "eject_media",
    "insert_media",
    "boot_once",
    "power_on",
    "wait_ready",
    "clear_boot",
)
POWER: Mapping[str, tuple[str, ...]] = {
    "on": ("power_on",),
    "off": ("power_off",),
    "shutdown": ("power_off",),
    "restart": ("reset",),
}

RESET_TYPES: Mapping[str, str] = {
    "off": "ForceOff",
    "shutdown": "GracefulShutdown",
    "restart": "ForceRestart",
}
"""The Redfish ResetType of each power target that has one of its own."""

DEADLINES: Mapping[Verb, timedelta] = {
    "inspect": timedelta(minutes=15),
    "clean": timedelta(hours=1),
    "deploy": timedelta(hours=1),
    "power": timedelta(minutes=15),
}

ATTEMPTS = 5
"""A step is tried this often before its operation fails."""

_FIRST_BACKOFF_S = 1.0
_LONGEST_BACKOFF_S = 60.0


def backoff(operation: str, step: str, attempt: int) -> timedelta:
    """Return how long to wait after a failed attempt (from 1): doubling, jittered by half.

    The jitter is drawn from the operation's id, so that a replay waits just as long.
    """
    longest = min(_FIRST_BACKOFF_S * 2 ** (attempt - 1), _LONGEST_BACKOFF_S)
    digest = hashlib.sha256(f"{operation}/{step}/{attempt}".encode()).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    return timedelta(seconds=longest * (0.5 + share / 2))
