"""What cannot be learnt from a service itself, by manufacturer: data only, and little of it."""

import msgspec

from mulligan.handlers.serial import FILLERS


class Quirk(msgspec.Struct, frozen=True, kw_only=True):
    """What to know of one manufacturer's BMCs.

    ``own_nics`` are network interfaces that lead to the BMC itself; ``drive_roots`` the keys that
    lead from a system to storage that its standard resources leave out.
    ``override_used_at_power_on`` tells that a boot override may be dropped at once after that.
    """

    manufacturer: str
    own_nics: tuple[str, ...] = ()
    drive_roots: tuple[tuple[str, ...], ...] = ()
    override_used_at_power_on: bool = False


QUIRKS = (
    Quirk(manufacturer="sushy", override_used_at_power_on=True),
    Quirk(manufacturer="lenovo", own_nics=("ToManager",)),
    Quirk(
        manufacturer="hpe",
        drive_roots=(
            ("Oem", "Hpe", "Links", "SmartStorage"),
            ("Oem", "Hp", "links", "SmartStorage"),
        ),
    ),
)
_NONE = Quirk(manufacturer="")

RAID_WORDS = ("raid", "perc", "smart array")
"""What the names of RAID controllers have in them where their levels are not listed."""

NO_RAID_WORDS = ("hba", "raid-less")
"""What names that look like it have in them when they do no RAID."""

VENDORS = {
    "Intel": ("intel", "xeon"),
    "AMD": ("amd", "advanced micro", "epyc"),
    "NVIDIA": ("nvidia", "10de"),
    "Ampere": ("ampere", "altra"),
    "IBM": ("ibm",),
    "Xilinx": ("xilinx",),
    "Arm": ("arm limited", "arm ltd"),
}
"""The short name of a chip's maker by what its full names have in them, in lower case."""


def quirk_of(manufacturer: str) -> Quirk:
    """Return what is to be known of a manufacturer's BMCs, nothing of most."""
    name = manufacturer.lower()
    name = "hpe" if name.startswith(("hp", "hewlett")) else name
    return next((quirk for quirk in QUIRKS if name.startswith(quirk.manufacturer)), _NONE)


def vendor_of(*names: str) -> str:
    """Return the short name of a chip's maker from the first name that tells it.

    Where none does, it is the first name as it is.
    """
    for name in names:
        for vendor, words in VENDORS.items():
            if any(word in name.lower() for word in words):
                return vendor
    return "" if not names or names[0].lower() in FILLERS else names[0]
