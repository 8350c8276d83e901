"""Stream ``profile/region``: the region's hardware profiles, a small catalogue in one stream."""

from typing import ClassVar

import msgspec

from mulligan.model import ImageId


class ProfileSet(msgspec.Struct, frozen=True, kw_only=True):
    """How machines of this make are treated.

    ``manufacturer`` and ``model`` are patterns with ``*``, compared without case. ``deadlines``
    are seconds by verb; ``clean`` the steps beyond the usual, in order: ``wipe``, ``bios-reset``.
    """

    TYPE: ClassVar = "profile.set"
    name: str
    manufacturer: str = "*"
    model: str = "*"
    deadlines: dict[str, int] = {}
    clean: tuple[str, ...] = ()
    wipe_image: ImageId = ImageId("")


class ProfileDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The profile is gone; operations under way keep what it gave them."""

    TYPE: ClassVar = "profile.deleted"
    name: str


Event = ProfileSet | ProfileDeleted
