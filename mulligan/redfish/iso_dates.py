"""Give an ISO 9660 image one date throughout, so that the same content is the same bytes.

``pycdlib`` writes the present, in local time, wherever the format has a date; it has no setting for
it. The offsets are those of ECMA-119 (volume descriptors, directory records) and of SUSP and Rock
Ridge (``CE``, ``TF``). Images with directories below the root are not meant.
"""

import struct
from collections.abc import Iterator
from datetime import datetime

_SECTOR = 2048
_FIRST_DESCRIPTOR = 16
_PRIMARY, _SUPPLEMENTARY, _LAST = 1, 2, 255
_VOLUME_DATES = (813, 830, 864)
"""Creation, modification and effective date of a volume; that of expiry is left unset."""


def set_dates(image: bytearray, at: datetime) -> None:
    """Write ``at``, an aware UTC time, over every date of the image's volumes and root entries."""
    volume = at.strftime("%Y%m%d%H%M%S00").encode() + b"\0"
    entry = bytes([at.year - 1900, at.month, at.day, at.hour, at.minute, at.second, 0])
    for descriptor in _descriptors(image):
        for offset in _VOLUME_DATES:
            image[descriptor + offset : descriptor + offset + len(volume)] = volume
        root = descriptor + 156
        image[root + 18 : root + 25] = entry
        for record in _records(image, root):
            image[record + 18 : record + 25] = entry
            for stamp in _stamps(image, record):
                image[stamp : stamp + 7] = entry


def _descriptors(image: bytearray) -> Iterator[int]:
    """Yield where the primary and the supplementary (Joliet) volume descriptors begin."""
    for start in range(_FIRST_DESCRIPTOR * _SECTOR, len(image), _SECTOR):
        if image[start] == _LAST:
            return
        if image[start] in (_PRIMARY, _SUPPLEMENTARY):
            yield start


def _records(image: bytearray, directory: int) -> Iterator[int]:
    """Yield where each record of a directory begins; none crosses a sector."""
    extent, length = _number(image, directory + 2), _number(image, directory + 10)
    for sector in range(extent * _SECTOR, extent * _SECTOR + length, _SECTOR):
        at = sector
        while at < sector + _SECTOR and image[at]:
            yield at
            at += image[at]


def _stamps(image: bytearray, record: int) -> Iterator[int]:
    """Yield where each Rock Ridge time stamp of a directory record begins."""
    name = image[record + 32]
    system_use = record + 33 + name + (1 - name % 2)
    areas = [(system_use, record + image[record])]
    while areas:
        at, end = areas.pop()
        while at + 4 <= end and image[at + 2] >= 4:
            kind, length = bytes(image[at : at + 2]), image[at + 2]
            if kind == b"TF":
                yield from range(at + 5, at + length, 7)
            elif kind == b"CE":
                start = _number(image, at + 4) * _SECTOR + _number(image, at + 12)
                areas.append((start, start + _number(image, at + 20)))
            at += length


def _number(image: bytearray, at: int) -> int:
    return int(struct.unpack_from("<I", image, at)[0])
