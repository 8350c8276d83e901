"""Messages of every kind, valid and hostile, derived from the compiled protos."""

import struct
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from mulligan.proto.descriptors import descriptor_set

ABSENT = "018f0000-0000-7000-8000-000000000000"
DEPTH = 4
"""Messages within messages, where the types would allow any number."""

STOCK: list[str] = [ABSENT] * 4
"""Names and UUIDs of objects that exist; the tests put them here before anything is drawn."""


class Rpc:
    """A method: where it is called and what it takes."""

    def __init__(self, path: str, request: Descriptor, streaming: bool) -> None:
        self.path = path
        self.request = request
        self.streaming = streaming
        self.service = path.split("/")[1].rpartition(".")[2].lower()

    def __repr__(self) -> str:
        return self.path


@cache
def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    for file in _files().file:
        pool.Add(file)
    return pool


@cache
def _files() -> FileDescriptorSet:
    return FileDescriptorSet.FromString(descriptor_set())


@cache
def rpcs() -> tuple[Rpc, ...]:
    """Every method of every service."""
    found = []
    for file in _files().file:
        for service in file.service:
            for method in service.method:
                request = _pool().FindMessageTypeByName(method.input_type.lstrip("."))
                path = f"/{file.package}.{service.name}/{method.name}"
                found.append(Rpc(path, request, method.server_streaming))
    return tuple(found)


HOSTILE = (
    "", " ", "\0", "a\0b", "'; DROP TABLE claims; --", "%s%n", "../../etc/passwd", "\u202e",
    "é" * 300, "x" * 5_000, "😀", "\ud7ff", "NaN", "null", "-1", "0", "127.0.0.1/32", "https://127.0.0.1:1",
    "file:none.iso", "machine", "compute", "memory", "cpu.x86", "a.b", "{}", "[" * 2_000, '{"a":',
    "*", "admin", "member", "red", "00000000-0000-0000-0000-000000000000", ABSENT.upper(),
    "0" * 64, "token", "log", "account", "project", "claim", "provider", "userdata", "1" * 400,
    "2026-01-01T00:00:00Z", "application/json", "\r\nheader: x", "local:1", "\x7f\x1b[2J",
)  # fmt: skip

_strings = st.one_of(
    st.integers(0, 10_000).map(lambda n: STOCK[n % len(STOCK)]),
    st.integers(0, 10_000).map(lambda n: STOCK[n % len(STOCK)]),
    st.sampled_from(HOSTILE),
    st.text(max_size=20),
)
_SIGNED = (0, 1, -1, 2, 10, 1000, 2**31 - 1, -(2**31), 2**53, 2**63 - 1, -(2**63))


def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    known = [n for n in (*_SIGNED, 2**64 - 1, 2**32 - 1) if low <= n <= high]
    return st.one_of(
        st.sampled_from(known), st.integers(max(low, -100), 100), st.integers(low, high)
    )


_INT32, _INT64 = _integers(-(2**31), 2**31 - 1), _integers(-(2**63), 2**63 - 1)
_UINT32, _UINT64 = _integers(0, 2**32 - 1), _integers(0, 2**64 - 1)
_floats = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 1e308, 5e-324, float("nan"), float("inf"), -float("inf")]),
    st.floats(),
)
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_DOUBLE: _floats,
    FieldDescriptor.TYPE_FLOAT: _floats.map(lambda v: v if abs(v) < 1e38 else 0.0),
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_SFIXED64: _INT64,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_FIXED64: _UINT64,
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_STRING: _strings,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=64),
}


def _timestamp() -> st.SearchStrategy[dict[str, int]]:
    near = st.integers(1_700_000_000, 2_000_000_000)
    seconds = st.one_of(near, near, _INT64)
    return st.fixed_dictionaries({}, optional={"seconds": seconds, "nanos": _INT32})


def _duration() -> st.SearchStrategy[dict[str, int]]:
    seconds = st.one_of(st.integers(0, 100_000), _INT64)
    return st.fixed_dictionaries({}, optional={"seconds": seconds, "nanos": _INT32})


@cache
def _fields(name: str, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    if name == "google.protobuf.Timestamp":
        return _timestamp()
    if name == "google.protobuf.Duration":
        return _duration()
    descriptor = _pool().FindMessageTypeByName(name)
    optional = {
        field.name: made
        for field in descriptor.fields
        if (made := _field(field, depth)) is not None
    }
    return st.fixed_dictionaries({}, optional=optional)


def _field(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any] | None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        keys, values = field.message_type.fields
        key, value = _one(keys, depth), _one(values, depth)
        if key is None or value is None:
            return None
        return st.dictionaries(key, value, max_size=3)
    one = _one(field, depth)
    if one is None or not field.is_repeated:
        return one
    return st.lists(one, max_size=4)


def _one(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any] | None:
    if field.message_type is not None:
        return _fields(field.message_type.full_name, depth - 1) if depth else None
    if field.enum_type is not None:
        return st.one_of(st.sampled_from([v.number for v in field.enum_type.values]), _INT32)
    return _SCALARS[field.type]


def _encoded(name: str, values: dict[str, Any]) -> bytes:
    kind = GetMessageClass(_pool().FindMessageTypeByName(name))
    message = kind()
    _fill(message, values)
    return message.SerializeToString()


def _fill(message: Any, values: dict[str, Any]) -> None:
    """Set the fields one after the other: of a oneof, the last stays."""
    message.SetInParent()
    for name, value in values.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        target = getattr(message, name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key, item in value.items():
                if isinstance(item, dict):
                    _fill(target[key], item)
                else:
                    target[key] = item
        elif field.is_repeated:
            for item in value:
                if isinstance(item, dict):
                    _fill(target.add(), item)
                else:
                    target.append(item)
        elif isinstance(value, dict):
            _fill(target, value)
        else:
            setattr(message, name, value)


def message_of(rpc: Rpc) -> st.SearchStrategy[bytes]:
    """Requests in the right form, with right and wrong values."""
    name = rpc.request.full_name
    return _fields(name, DEPTH).map(lambda values: _encoded(name, values))


def _nested(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = b"\x0a" + _varint(len(body)) + body
    return body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


BOMBS = (
    _nested(50), _nested(200), _nested(3_000), b"\x0a\x00" * 30_000, b"\x9a\x7f\x00" * 30_000,
    b"\xff" * 20, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe", b"\x0b\x0c", b"\x08\x80",
    struct.pack("<B", 9) + b"\0" * 8, b"\x12" + _varint(60_000) + b"\x01" * 60_000,
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, rpc: Rpc) -> bytes:
    """Requests in the wrong form: a right one with bytes changed, cut, doubled or put in."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.one_of(st.sampled_from(BOMBS), st.binary(max_size=200)))
    data = bytearray(draw(message_of(rpc)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 4)):
            case 0:
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                del data[at : at + draw(st.integers(1, 8))]
            case 2:
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case 3:
                data = data + data
            case _:
                del data[at:]
    return bytes(data[:200_000])


def any_request() -> st.SearchStrategy[tuple[Rpc, bytes]]:
    """A method and what is sent to it."""

    def of(rpc: Rpc) -> st.SearchStrategy[tuple[Rpc, bytes]]:
        body = st.one_of(message_of(rpc), message_of(rpc), mutated(rpc))
        return st.tuples(st.just(rpc), body)

    return st.sampled_from(rpcs()).flatmap(of)
