"""Requests as the wire brings them: what is malformed is refused before any service sees it.

The bytes are read by the protobuf library first, which is exact and quick, and what services get
is made from its canonical form: no wrong wire types, no text that is not UTF-8, no unknown fields,
each field of a oneof at most once, nesting at most 100 deep.
"""

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from mulligan.errors import FieldViolation, InvalidArgument
from mulligan.proto.descriptors import descriptor_set, full_name

UNREADABLE = "the message cannot be read"
MAX_ELEMENTS = 50_000
"""Values in one message: reading more would keep every other caller waiting."""
_FEW_BYTES = 8_192
"""A message of so few bytes has few values."""
_EARLIEST, _LATEST = 0, 221_845_392_000
"""Seconds since 1970: the years 1970 to 8999, so that there is room to reckon from any time."""
_LONGEST = 1000 * 366 * 86_400
"""Seconds: a thousand years, for the same reason."""
_MAX_INT = 2**63 - 1

_NUMBERS = {FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT}
_UNSIGNED = {FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_FIXED64}


class Shape(NamedTuple):
    """How messages of one type are read: ``risky`` if values of it can be out of bounds."""

    read: Callable[[bytes], Message]
    risky: bool


def canonical(data: bytes, message_type: type) -> bytes:
    """Return the message's canonical form; raise InvalidArgument, naming the field, if it has none.

    Types that are not of betterproto, such as gRPC's own, are returned as they are.
    """
    name = full_name(message_type)
    if not name:
        return data
    shape = _shape(name)
    try:
        message = shape.read(data)
    except DecodeError as error:
        raise InvalidArgument("request", UNREADABLE) from error
    message.DiscardUnknownFields()
    if len(data) > _FEW_BYTES and _count(message, MAX_ELEMENTS) > MAX_ELEMENTS:
        raise InvalidArgument("request", f"it has more than {MAX_ELEMENTS} values; send fewer")
    if shape.risky or b"\0" in data:
        problems = [problem for problem, _ in zip(_problems(message, ""), range(16), strict=False)]
        if problems:
            first, *more = map(_of_command, problems) if _is_dry_run(name) else problems
            raise InvalidArgument(first.field, first.description, *more)
    return message.SerializeToString()


def _is_dry_run(name: str) -> bool:
    return name.rpartition(".")[2].startswith("DryRun")


def _of_command(problem: FieldViolation) -> FieldViolation:
    """Return what is wrong with a dry run's command as it is told of the command itself."""
    return FieldViolation(problem.field.partition(".")[2] or problem.field, problem.description)


def parsed(data: bytes, message_type: Any) -> Any:
    """Return the message; raise InvalidArgument if it cannot be read."""
    try:
        return message_type.FromString(canonical(data, message_type))
    except InvalidArgument:
        raise
    except Exception as error:  # whatever a parser says of hostile bytes, the sender sent them
        raise InvalidArgument("request", UNREADABLE) from error


@cache
def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(descriptor_set()).file:
        pool.Add(file)
    return pool


@cache
def _shape(name: str) -> Shape:
    descriptor = _pool().FindMessageTypeByName(name)
    return Shape(GetMessageClass(descriptor).FromString, _is_risky(descriptor, set()))


def _is_risky(descriptor: Descriptor, seen: set[str]) -> bool:
    if descriptor.full_name in seen:
        return False
    seen.add(descriptor.full_name)
    for field in descriptor.fields:
        if field.type in _NUMBERS | _UNSIGNED or field.enum_type is not None:
            return True
        if field.message_type is not None and _is_risky(field.message_type, seen):
            return True
    return descriptor.full_name in _CHECKS


def _count(message: Message, most: int) -> int:
    """Count the values in a message, giving up when there are more than ``most``."""
    count = 0
    for field, value in message.ListFields():
        if field.is_repeated:
            count += len(value)
            if count > most:
                return count
        if field.message_type is not None:
            for item in _items(field, value):
                count += 1 + (_count(item, most - count) if isinstance(item, Message) else 0)
                if count > most:
                    return count
        count += 1
    return count


def _items(field: FieldDescriptor, value: Any) -> Iterator[Any]:
    if not field.is_repeated:
        yield value
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        yield from value.values()
    else:
        yield from value


def _problems(message: Message, path: str) -> Iterator[FieldViolation]:
    check = _CHECKS.get(message.DESCRIPTOR.full_name)
    if check is not None:
        problem = check(message)
        if problem:
            yield FieldViolation(path or "request", problem)
        return
    for field, value in message.ListFields():
        name = f"{path}.{field.name}" if path else field.name
        if not field.is_repeated:
            yield from _problem(field, value, name)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            keys, values = field.message_type.fields
            for key in value:
                shown = str(key)[:64]
                yield from _problem(keys, key, f"{name}[{shown}]")
                yield from _problem(values, value[key], f"{name}[{shown}]")
        else:
            for index, item in enumerate(value):
                at = name if field.enum_type is not None else f"{name}[{index}]"
                yield from _problem(field, item, at)


def _problem(field: FieldDescriptor, value: Any, name: str) -> Iterator[FieldViolation]:
    if field.message_type is not None:
        yield from _problems(value, name)
    elif field.type == FieldDescriptor.TYPE_STRING:
        if "\0" in value:
            yield FieldViolation(name, "it has a NUL character; leave it out")
    elif field.type in _NUMBERS:
        if not math.isfinite(value):
            yield FieldViolation(name, "give a finite number")
    elif field.type in _UNSIGNED:
        if value > _MAX_INT:
            yield FieldViolation(name, f"give at most {_MAX_INT}")
    elif field.enum_type is not None and value not in field.enum_type.values_by_number:
        known = ", ".join(v.name for v in field.enum_type.values)
        yield FieldViolation(name, f"{value} is none of {known}")


def _check_timestamp(message: Any) -> str:
    if not (_EARLIEST <= message.seconds < _LATEST and 0 <= message.nanos < 10**9):
        return "give a time between the years 1970 and 8999"
    return ""


def _check_duration(message: Any) -> str:
    signs_differ = message.seconds * message.nanos < 0
    if abs(message.seconds) > _LONGEST or abs(message.nanos) >= 10**9 or signs_differ:
        return "give at most a thousand years"
    return ""


_CHECKS: dict[str, Callable[[Message], str]] = {
    "google.protobuf.Timestamp": _check_timestamp,
    "google.protobuf.Duration": _check_duration,
}
