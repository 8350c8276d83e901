"""Stream ``image/<uuid>``: what can be booted."""

from typing import ClassVar

import msgspec

from mulligan.model import ImageId


class ImageCreated(msgspec.Struct, frozen=True, kw_only=True):
    """``kind`` is ``iso`` or ``http-boot``; ``firmware`` ``uefi`` or ``bios``.

    ``ready_when`` is ``power-on``, or ``phone-home`` for a system that reports when it is up.

    ``url`` is http(s), or ``file:<name>`` for a file in the media server's image folder;
    ``sha256`` is hex.
    """

    TYPE: ClassVar = "image.created"
    image: ImageId
    name: str
    url: str
    sha256: str
    kind: str = "iso"
    firmware: str = "uefi"
    ready_when: str = "power-on"


class ImageDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The image may no longer be deployed."""

    TYPE: ClassVar = "image.deleted"


Event = ImageCreated | ImageDeleted
