"""Compare the ``.proto`` files with those of the last release: what they said, clients rely on.

``python proto/compatibility.py`` exits 1 and names each break with its fix. ``--release 0.2.0``
keeps the protos of today as those of a release, in ``proto/released``. It reads the generated
descriptors and imports nothing of Mulligan's.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

HERE = Path(__file__).resolve().parent
DESCRIPTORS = HERE / "_generated" / "descriptors.binpb"
RELEASED = HERE / "released"
ACCEPTED = "accepted.toml"
PACKAGE = "mulligan.v1"
PERMISSION_OPTION = "mulligan.v1.permission"

_FIELD = descriptor_pb2.FieldDescriptorProto
_READS = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class Field(NamedTuple):
    """A field as it goes over the wire and through JSON."""

    name: str
    number: int
    type: str
    shape: str
    json: str


class Message(NamedTuple):
    """A message: its fields by number, and what must not be used again."""

    fields: Mapping[int, Field]
    reserved_numbers: Sequence[tuple[int, int]]
    reserved_names: frozenset[str]


class Method(NamedTuple):
    """An RPC: what it takes and gives, and who may call it."""

    takes: str
    gives: str
    permission: str
    reads: bool


class Surface(NamedTuple):
    """All that a client can rely on, by full name without the package."""

    messages: Mapping[str, Message]
    enums: Mapping[str, Mapping[int, str]]
    methods: Mapping[str, Method]


def surface(descriptor_set: bytes) -> Surface:
    """Return what a serialized FileDescriptorSet offers; raise KeyError without our options."""
    messages: dict[str, Message] = {}
    enums: dict[str, Mapping[int, str]] = {}
    methods: dict[str, Method] = {}
    for file in _with_options(descriptor_set):
        for name, message in _messages(file.message_type):
            messages[name] = _message(message)
            for enum in message.enum_type:
                enums[f"{name}.{enum.name}"] = {value.number: value.name for value in enum.value}
        for enum in file.enum_type:
            enums[enum.name] = {value.number: value.name for value in enum.value}
        for service in file.service:
            for method in service.method:
                methods[f"{service.name}.{method.name}"] = _method(method)
    return Surface(messages, enums, methods)


def breaks(
    released: Surface, now: Surface, accepted: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Yield what of a release no longer holds, each with what to do about it.

    ``accepted`` are permissions that were changed on purpose, by RPC.
    """
    for name, message in released.messages.items():
        if name not in now.messages:
            yield f"{name}: the message is gone; put it back, for clients send or expect it"
            continue
        yield from _message_breaks(name, message, now.messages[name])
    for name, values in released.enums.items():
        if name not in now.enums:
            yield f"{name}: the enum is gone; put it back"
            continue
        yield from _enum_breaks(name, values, now.enums[name])
    for name, method in released.methods.items():
        if name not in now.methods:
            yield f"{name}: the RPC is gone; put it back, for clients of the release call it"
            continue
        yield from _method_breaks(name, method, now.methods[name], accepted or {})


def _message_breaks(name: str, old: Message, new: Message) -> Iterator[str]:
    numbers = {field.name: field.number for field in new.fields.values()}
    for number, field in old.fields.items():
        where = f"{name}.{field.name}"
        found = new.fields.get(number)
        if found is None or found.name != field.name:
            yield _missing(where, field, found, numbers)
            continue
        if found.type != field.type:
            yield f"{where}: was {field.type} and is {found.type}; add a new field instead"
        if found.shape != field.shape:
            yield f"{where}: was {field.shape} and is {found.shape}; add a new field instead"
        if found.json != field.json:
            yield f"{where}: its JSON name was {field.json} and is {found.json}; put it back"
    for number, field in new.fields.items():
        if any(first <= number < end for first, end in old.reserved_numbers):
            yield f"{name}.{field.name}: number {number} is reserved; take a free one"
        if field.name in old.reserved_names:
            yield f"{name}.{field.name}: the name is reserved; take another one"


def _missing(where: str, field: Field, found: Field | None, numbers: Mapping[str, int]) -> str:
    if field.name in numbers:
        number = numbers[field.name]
        return f"{where}: was number {field.number} and is {number}; give it its number back"
    if found is not None:
        return f"{where}: number {field.number} is {found.name} now; give it its name back"
    return f"{where}: the field is gone; put it back (mark it [deprecated = true] if it is unused)"


def _enum_breaks(name: str, old: Mapping[int, str], new: Mapping[int, str]) -> Iterator[str]:
    for number, value in old.items():
        if number not in new:
            yield f"{name}.{value}: the value is gone; put it back"
        elif new[number] != value:
            yield f"{name}.{value}: number {number} is {new[number]} now; give it its name back"


def _method_breaks(
    name: str, old: Method, new: Method, accepted: Mapping[str, str]
) -> Iterator[str]:
    if new.takes != old.takes:
        yield f"{name}: took {old.takes} and takes {new.takes}; add another RPC instead"
    if new.gives != old.gives:
        yield f"{name}: gave {old.gives} and gives {new.gives}; add another RPC instead"
    if old.reads and not new.reads:
        yield f"{name}: had no side effects, so it could be asked of the past; keep it so"
    if new.permission != old.permission and accepted.get(name) != new.permission:
        yield (
            f"{name}: asked for {old.permission} and asks for {new.permission}; who could call it"
            f' may be refused. If that is meant, say so: `"{name}" = "{new.permission}"` under'
            " [permissions] in proto/released/accepted.toml, and in the changelog"
        )


def _with_options(descriptor_set: bytes) -> Iterator[Any]:
    """Yield our own files, with our options read."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file:
        pool.Add(file)
    pool.FindExtensionByName(PERMISSION_OPTION)
    of_set = pool.FindMessageTypeByName("google.protobuf.FileDescriptorSet")
    files: Any = message_factory.GetMessageClass(of_set).FromString(descriptor_set)
    yield from (file for file in files.file if file.package == PACKAGE)


def _messages(found: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for message in found:
        name = f"{above}{message.name}"
        yield name, message
        yield from _messages(message.nested_type, f"{name}.")


def _message(message: Any) -> Message:
    return Message(
        fields={field.number: _field(message, field) for field in message.field},
        reserved_numbers=[(span.start, span.end) for span in message.reserved_range],
        reserved_names=frozenset(message.reserved_name),
    )


def _field(message: Any, field: Any) -> Field:
    shape = "repeated" if field.label == _FIELD.LABEL_REPEATED else "single"
    if field.proto3_optional:
        shape = "optional"
    elif field.HasField("oneof_index"):
        shape = f"one of {message.oneof_decl[field.oneof_index].name}"
    kind = str(_FIELD.Type.Name(field.type)).removeprefix("TYPE_").lower()
    type_ = field.type_name.lstrip(".").removeprefix(f"{PACKAGE}.") or kind
    return Field(field.name, field.number, type_, shape, field.json_name)


def _method(method: Any) -> Method:
    pool = type(method.options).DESCRIPTOR.file.pool
    option = pool.FindExtensionByName(PERMISSION_OPTION)
    return Method(
        takes=_streamed(method.input_type, method.client_streaming),
        gives=_streamed(method.output_type, method.server_streaming),
        permission=method.options.Extensions[option],
        reads=method.options.idempotency_level == _READS,
    )


def _streamed(type_: str, streaming: bool) -> str:
    name = type_.lstrip(".").removeprefix(f"{PACKAGE}.")
    return f"a stream of {name}" if streaming else name


def releases(folder: Path) -> list[str]:
    """Return the versions whose protos are kept, the last one last."""
    found = [path.stem for path in folder.glob("*.binpb")]
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description="Compare the protos with the last release's.")
    parser.add_argument("--release", metavar="VERSION", help="keep today's protos as this release")
    parser.add_argument("--descriptors", type=Path, default=DESCRIPTORS, help="today's protos")
    parser.add_argument("--released", type=Path, default=RELEASED, help="folder of releases")
    chosen = parser.parse_args(arguments)
    today = chosen.descriptors.read_bytes()
    known = releases(chosen.released)
    if chosen.release and not _VERSION.fullmatch(chosen.release):
        parser.error(f"{chosen.release} is no version; write it like 0.2.0")
    if chosen.release in known:
        parser.error(f"{chosen.release} is released already; what was released never changes")
    if known:
        last = surface((chosen.released / f"{known[-1]}.binpb").read_bytes())
        broken = list(breaks(last, surface(today), _accepted(chosen.released)))
        for line in broken:
            print(line, file=sys.stderr)
        if broken:
            print(f"{len(broken)} things that {known[-1]} promised are broken", file=sys.stderr)
            return 1
    if chosen.release:
        (chosen.released / f"{chosen.release}.binpb").write_bytes(today)
        print(f"kept the protos of {chosen.release} in {chosen.released}")
    return 0


def _accepted(folder: Path) -> Mapping[str, str]:
    path = folder / ACCEPTED
    if not path.exists():
        return {}
    return dict(tomllib.loads(path.read_text(encoding="utf-8")).get("permissions", {}))


if __name__ == "__main__":
    sys.exit(main())
