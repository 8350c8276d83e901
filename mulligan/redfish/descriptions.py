"""What a BMC's description of a part leaves open: fillers for texts, bays without a part."""

from mulligan.handlers.serial import FILLERS
from mulligan.redfish.answers import Json, section, text, whole


def told(value: object) -> str:
    """Return a text, empty when it is what a board's maker left in place of one."""
    found = text(value)
    return "" if found.lower() in FILLERS else found


def absent(body: Json) -> bool:
    """Tell whether a BMC lists the place of a part that is not there."""
    return section(body, "Status").get("State") == "Absent"


def amount(value: object) -> int:
    """Return a whole number; some BMCs send theirs as text."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 19:
        return int(value)
    return whole(value)


def mebibytes(value: object) -> int:
    """Return MiB as bytes, of a number that may be wrong."""
    return whole(amount(value) * 2**20)
