"""The steps that an operation on a machine is made of, by name, and how each may be repeated.

``observe`` only reads. ``idempotent`` may be sent again whatever became of the last try. ``once``
is looked for before it is ever sent again. ``mulligan.redfish.steps`` says how each is done; the
two hold the same names, which a test checks.
"""

from collections.abc import Mapping
from types import MappingProxyType

from mulligan.events.machine import Mode

MODES: Mapping[str, Mode] = MappingProxyType(
    {
        "check": "observe",
        "inventory": "observe",
        "observe_power": "observe",
        "wait_ready": "observe",
        "power_on": "once",
        "power_off": "once",
        "reset": "once",
        "stage_image": "idempotent",
        "insert_media": "once",
        "insert_seed": "once",
        "eject_media": "idempotent",
        "boot_once": "idempotent",
        "boot_http": "idempotent",
        "clear_boot": "idempotent",
        "bios_reset": "idempotent",
        "find_password": "observe",
        "change_password": "idempotent",
    }
)
