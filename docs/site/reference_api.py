"""The reference of the gRPC API, from the ``.proto`` files and the comments in them."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
)

from mulligan.proto.v1 import PERMISSIONS

_PACKAGE = ".mulligan.v1."
_MESSAGE, _ENUM, _SERVICE = 4, 5, 6
_FIELD, _VALUE, _METHOD, _NESTED = 2, 2, 2, 3
"""Numbers of fields of the descriptors, of which the paths to comments are made."""

Path_ = tuple[int, ...]
_SCALARS = {
    number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()
}


def write(protos: Path, folder: Path) -> None:
    """Write a page for each ``.proto`` file below ``protos``."""
    folder.mkdir(parents=True)
    files = [file for file in compiled(protos).file if file.package == "mulligan.v1"]
    pages = {
        f"{_PACKAGE}{one.name}": Path(file.name).stem
        for file in files
        for one in (*file.message_type, *file.enum_type)
    }
    for file in files:
        name = Path(file.name).stem
        if name != "options":
            (folder / f"{name}.md").write_text(_File(file, pages).page())


def compiled(protos: Path) -> FileDescriptorSet:
    """Return the files with their comments."""
    names = sorted(path.relative_to(protos).as_posix() for path in protos.rglob("v1/*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "set"
        subprocess.run(
            [
                sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", "--include_source_info",
                f"--descriptor_set_out={out}", *names,
            ],
            check=True,
            timeout=120,
        )  # fmt: skip
        return FileDescriptorSet.FromString(out.read_bytes())


class _File:
    """One file, as a page of Markdown."""

    def __init__(self, file: FileDescriptorProto, pages: Mapping[str, str]) -> None:
        self._file = file
        self._pages = pages
        self._here = Path(file.name).stem
        self._comments = {
            tuple(place.path): " ".join(
                f"{place.leading_comments} {place.trailing_comments}".split()
            )
            for place in file.source_code_info.location
        }

    def page(self) -> str:
        parts = [f"# {Path(self._file.name).name}"]
        for number, service in enumerate(self._file.service):
            parts += [f"## Service {service.name}", self._said((_SERVICE, number))]
            for index, method in enumerate(service.method):
                parts += self._method(service.name, method, (_SERVICE, number, _METHOD, index))
        for number, message in enumerate(self._file.message_type):
            parts += self._message(message, message.name, (_MESSAGE, number))
        for number, enum in enumerate(self._file.enum_type):
            parts += self._enum(enum, enum.name, (_ENUM, number))
        return "\n\n".join(part for part in parts if part) + "\n"

    def _method(self, service: str, method: MethodDescriptorProto, path: Path_) -> Iterator[str]:
        stream = "stream of " if method.server_streaming else ""
        permission = PERMISSIONS[f"/mulligan.v1.{service}/{method.name}"]
        reads = method.options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS
        yield f"### {service}.{method.name}"
        yield self._said(path)
        yield (
            f"{self._type(method.input_type)} → {stream}{self._type(method.output_type)}; "
            f"permission `{permission}`{'; only reads, at any moment' if reads else ''}."
        )

    def _message(self, message: DescriptorProto, name: str, path: Path_) -> Iterator[str]:
        if message.options.map_entry:
            return
        yield f"## {name}"
        yield self._said(path)
        entries = {f"{one.name}": one for one in message.nested_type if one.options.map_entry}
        if message.field:
            rows = [
                (
                    f"`{field.name}`",
                    self._of_field(field, entries),
                    str(field.number),
                    self._said((*path, _FIELD, index)),
                )
                for index, field in enumerate(message.field)
            ]
            yield _table(("field", "type", "number", "meaning"), rows)
        else:
            yield "Without fields."
        for index, inner in enumerate(message.nested_type):
            yield from self._message(inner, f"{name}.{inner.name}", (*path, _NESTED, index))
        for index, enum in enumerate(message.enum_type):
            yield from self._enum(enum, f"{name}.{enum.name}", (*path, _ENUM - 1, index))

    def _enum(self, enum: EnumDescriptorProto, name: str, path: Path_) -> Iterator[str]:
        yield f"## {name}"
        yield self._said(path)
        rows = [
            (f"`{value.name}`", str(value.number), self._said((*path, _VALUE, index)))
            for index, value in enumerate(enum.value)
        ]
        yield _table(("value", "number", "meaning"), rows)

    def _of_field(self, field: FieldDescriptorProto, entries: Mapping[str, DescriptorProto]) -> str:
        entry = entries.get(field.type_name.rpartition(".")[2])
        if entry is not None:
            key, value = entry.field
            return f"map of {self._one(key)} to {self._one(value)}"
        repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
        return f"repeated {self._one(field)}" if repeated else self._one(field)

    def _one(self, field: FieldDescriptorProto) -> str:
        return self._type(field.type_name) if field.type_name else _SCALARS[field.type]

    def _type(self, name: str) -> str:
        page = self._pages.get(name)
        shown = name.removeprefix(_PACKAGE).removeprefix(".google.protobuf.")
        if page is None:
            return f"`{shown}`"
        anchor = shown.lower()
        return f"[{shown}]({'' if page == self._here else f'{page}.md'}#{anchor})"

    def _said(self, path: Path_) -> str:
        return self._comments.get(path, "").replace("<", "&lt;").replace("|", "\\|")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [tuple(head)]
    lines.append(("---",) * len(lines[0]))
    lines += [tuple(row) for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
