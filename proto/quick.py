"""Reading and writing of messages, where betterproto2 does it slowly.

Its results are ours, byte for byte: a field that is not of the usual kinds is left to it. What is
done to each field of a kind of message is worked out once, when one is first read or written.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, NamedTuple

VARINT, FIXED_64, LENGTH_DELIMITED, FIXED_32 = 0, 1, 2, 5
_FIXED = {FIXED_64: 8, FIXED_32: 4}
_SIGNED = {"int32": 32, "int64": 64}
_UNSIGNED = {"uint32": 32, "uint64": 64}
_NUMBERS = frozenset(("enum", "bool", *_SIGNED, *_UNSIGNED))
_PACKED = frozenset(
    (
        *(*_NUMBERS, "sint32", "sint64", "float", "double"),
        *("fixed32", "sfixed32", "fixed64", "sfixed64"),
    )
)
_SECONDS, _NANOS = 1 << 3, 2 << 3
"""Keys of a Timestamp's fields on the wire."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BYTES = tuple(bytes((number,)) for number in range(0x80))

Read = Callable[[Any], Any]
Write = Callable[[list[bytes], Any], None]


class _Reading(NamedTuple):
    """How a kind of message is read: its defaults, and by key of the wire what to do with values.

    ``fresh`` are fields whose default is made for each message, as it may be changed.
    """

    defaults: dict[str, Any]
    fresh: tuple[tuple[str, Callable[[], Any]], ...]
    fields: dict[int, tuple[str, bool, Read]]


def default_of(message: Any, field: str) -> Any:
    """Return the default of a field, without a look at what is deprecated: nothing of ours is."""
    return message._betterproto.default_gen[field]()


def parse(kind: Any, data: bytes) -> Any:
    """Return the message of a kind that some bytes hold; raise what betterproto2 raises."""
    plan = kind.__dict__.get("_reading")
    if plan is None:
        plan = _reading_of(kind)
    message = kind.__new__(kind)
    values = message.__dict__
    values.update(plan.defaults)
    for name, make in plan.fresh:
        values[name] = make()
    fields = plan.fields
    place, end = 0, len(data)
    while place < end:
        start = place
        key = data[place]
        if key < 0x80:
            place += 1
        else:
            try:
                key, place = _varint(data, place)
            except EOFError:
                break
        wire = key & 7
        value: Any = None
        if wire == LENGTH_DELIMITED:
            if place < end and (length := data[place]) < 0x80:
                place += 1
            else:
                length, place = _varint(data, place)
            begin, place = place, place + length
            value = data[begin:place]
            if place > end:
                place = end
        elif wire == VARINT:
            value, place = _varint(data, place)
        elif wire in _FIXED:
            place = min(end, place + _FIXED[wire])
        known = fields.get(key)
        if known is None:
            message.load(BytesIO(data[start:place]))
            continue
        name, repeated, read = known
        if repeated:
            values[name].append(read(value))
        else:
            values[name] = read(value)
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


def _reading_of(kind: Any) -> _Reading:
    blank = vars(kind())
    known = kind._betterproto
    kept = {name: value for name, value in blank.items() if not isinstance(value, list | dict)}
    fresh = tuple((name, type(value)) for name, value in blank.items() if name not in kept)
    fields = {}
    for name, meta in known.meta_by_field_name.items():
        read = _read_of(meta, known.cls_by_field[name])
        if read is not None and not meta.map_meta:
            wire = VARINT if meta.proto_type in _NUMBERS else LENGTH_DELIMITED
            fields[meta.number << 3 | wire] = (name, bool(meta.repeated), read)
    plan = _Reading(kept, fresh, fields)
    kind._reading = plan
    return plan


def _read_of(meta: Any, kind: Any) -> Read | None:
    """Return what makes a value of what is on the wire; None for what is left to betterproto2."""
    match meta.proto_type:
        case "string":
            return _text
        case "bytes":
            return _as_it_is
        case "bool":
            return bool
        case "enum":
            return _enum_reader(kind)
        case "message" if meta.unwrap is not None:
            return _unwrapping_reader(meta.unwrap, kind)
        case "message":
            return lambda value: kind.parse(value)
        case number if number in _SIGNED:
            return _signed_reader(_SIGNED[number])
        case number if number in _UNSIGNED:
            mask = (1 << _UNSIGNED[number]) - 1
            return lambda value: value & mask
    return None


def _text(value: bytes) -> str:
    return str(value, "utf-8")


def _as_it_is(value: bytes) -> bytes:
    return value


def _signed_reader(bits: int) -> Read:
    mask, sign = (1 << bits) - 1, 1 << (bits - 1)
    return lambda value: ((value & mask) ^ sign) - sign


def _enum_reader(kind: Any) -> Read:
    known, signed = kind._value2member_map_, _signed_reader(64)

    def read(value: int) -> Any:
        member = known.get(value)
        return kind(signed(value)) if member is None else member

    return read


def _unwrapping_reader(unwrap: Any, kind: Any) -> Read:
    def slowly(value: bytes) -> Any:
        return unwrap().parse(value).to_wrapped()

    def time(value: bytes) -> Any:
        found = {_SECONDS: 0, _NANOS: 0}
        place = 0
        while place < len(value):
            key = value[place]
            if key not in found:
                return slowly(value)
            found[key], place = _varint(value, place + 1)
        if found[_SECONDS] >> 63 or found[_NANOS] >> 31:  # negative
            return slowly(value)
        return _EPOCH + timedelta(0, found[_SECONDS], found[_NANOS] // 1000)

    return time if kind is datetime else slowly


def write(message: Any) -> bytes:
    """Return the bytes of a message; raise what betterproto2 raises."""
    kind = type(message)
    plan = kind.__dict__.get("_writing")
    if plan is None:
        plan = _writing_of(kind)
    values = message.__dict__
    out: list[bytes] = []
    for name, default, put in plan:
        value = values[name]
        if value is None or (default is not None and value == default):
            continue
        put(out, value)
    out.append(values["_unknown_fields"])
    return b"".join(out)


def number_bytes(value: int) -> bytes:
    """Return a number as a varint; raise ValueError for one that has no 64 bits."""
    if 0 <= value < 0x80:
        return _BYTES[value]
    if value < -(1 << 63):
        raise ValueError("a number below -2^63 has no varint of 10 bytes")
    rest = int(value) if value >= 0 else int(value) + (1 << 64)
    found = bytearray()
    while rest > 0x7F:
        found.append(0x80 | rest & 0x7F)
        rest >>= 7
    found.append(rest)
    return bytes(found)


def _writing_of(kind: Any) -> tuple[tuple[str, Any, Write], ...]:
    blank = vars(kind())
    known = kind._betterproto
    plan = tuple(
        (name, blank[name], _write_of(meta, known.cls_by_field[name]))
        for name, meta in known.meta_by_field_name.items()
    )
    kind._writing = plan
    return plan


def _write_of(meta: Any, kind: Any) -> Write:
    """Return what writes a field."""
    if meta.map_meta:
        return _map_writer(meta)
    if meta.repeated and meta.proto_type in _PACKED:
        return _packed_writer(meta)
    one = _one_writer(meta.number, meta.proto_type, meta.unwrap, kind)
    if not meta.repeated:
        return one

    def put_each(out: list[bytes], values: Any) -> None:
        for value in values:
            one(out, value)

    return put_each


def _one_writer(number: int, proto_type: str, unwrap: Any = None, kind: Any = None) -> Write:
    """Return what writes one value."""
    if proto_type in _NUMBERS:
        key = number_bytes(number << 3)
        return lambda out, value: out.append(key + number_bytes(value))
    body = _body_of(proto_type, unwrap, kind)
    if body is None:
        from betterproto2 import _serialize_single

        return lambda out, value: out.append(_serialize_single(number, proto_type, value))
    key = number_bytes(number << 3 | LENGTH_DELIMITED)

    def put(out: list[bytes], value: Any) -> None:
        data = body(value)
        out += (key, number_bytes(len(data)), data)

    return put


def _body_of(proto_type: str, unwrap: Any, kind: Any) -> Callable[[Any], bytes] | None:
    """Return what makes the bytes that follow a length; None for what is left to betterproto2."""
    match proto_type:
        case "string":
            return lambda value: value.encode("utf-8")
        case "bytes":
            return lambda value: value
        case "message" if unwrap is None:
            return bytes
        case "message" if kind is datetime:
            return _time_bytes
        case "message":
            return lambda value: bytes(unwrap().from_wrapped(value))
    return None


def _time_bytes(value: datetime) -> bytes:
    if value.tzinfo is None:
        raise ValueError("datetime must be timezone aware")
    since = value - _EPOCH
    seconds, nanos = since.days * 86400 + since.seconds, since.microseconds * 1000
    found = b"\x08" + number_bytes(seconds) if seconds else b""
    return found + b"\x10" + number_bytes(nanos) if nanos else found


def _packed_writer(meta: Any) -> Write:
    from betterproto2 import _preprocess_single

    put = _one_writer(meta.number, "bytes")
    return lambda out, values: put(
        out, b"".join(_preprocess_single(meta.proto_type, None, one) for one in values)
    )


def _map_writer(meta: Any) -> Write:
    key_meta, value_meta = meta.map_meta
    put_key = _one_writer(1, key_meta.proto_type)
    put_value = _one_writer(2, value_meta.proto_type, value_meta.unwrap)
    put = _one_writer(meta.number, "bytes")

    def put_items(out: list[bytes], values: Any) -> None:
        for key, value in values.items():
            item: list[bytes] = []
            put_key(item, key)
            put_value(item, value)
            put(out, b"".join(item))

    return put_items
