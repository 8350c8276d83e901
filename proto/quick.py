"""Reading and writing of messages, where betterproto2 does it slowly.

Its results are ours, byte for byte: a field that is not of the usual kinds is left to it.
"""

from io import BytesIO
from typing import Any

VARINT, FIXED_64, LENGTH_DELIMITED, FIXED_32 = 0, 1, 2, 5
_FIXED = {FIXED_64: 8, FIXED_32: 4}
_PACKED = frozenset(
    (
        *("enum", "bool", "int32", "int64", "uint32", "uint64", "sint32", "sint64"),
        *("float", "double", "fixed32", "sfixed32", "fixed64", "sfixed64"),
    )
)


def default_of(message: Any, field: str) -> Any:
    """Return the default of a field, without a look at what is deprecated: nothing of ours is."""
    return message._betterproto.default_gen[field]()


def parse(kind: Any, data: bytes) -> Any:
    """Return the message of a kind that some bytes hold; raise what betterproto2 raises."""
    message = kind()
    known = message._betterproto
    place, end = 0, len(data)
    while place < end:
        start = place
        try:
            key, place = _varint(data, place)
        except EOFError:
            break
        wire = key & 7
        value: Any = None
        if wire == VARINT:
            value, place = _varint(data, place)
        elif wire == LENGTH_DELIMITED:
            length, place = _varint(data, place)
            value = data[place : place + length]
            place = min(end, place + length)
        elif wire in _FIXED:
            value = data[place : place + _FIXED[wire]]
            place = min(end, place + _FIXED[wire])
        field = known.field_name_by_number.get(key >> 3)
        meta = known.meta_by_field_name[field] if field else None
        if meta is None or meta.map_meta or (meta.proto_type in _PACKED and wire == 2):
            message.load(BytesIO(data[start:place]))
            continue
        read = message._postprocess_single(wire, meta, field, value)
        if meta.repeated:
            getattr(message, field).append(read)
        else:
            setattr(message, field, read)
    return message


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return the number that begins at a place, and the place after it."""
    try:
        byte = data[place]
        if byte < 0x80:
            return byte, place + 1
        found = byte & 0x7F
        for shift in range(7, 64, 7):
            place += 1
            byte = data[place]
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return found, place + 1
    except IndexError:
        raise EOFError("Stream ended unexpectedly while attempting to load varint.") from None
    raise ValueError("Too many bytes when decoding varint.")
