"""Generate the Python side of the ``.proto`` files into ``proto/_generated``.

``python proto/generate.py`` replaces the folder; ``--check`` exits 1 when it is not what the
``.proto`` files say. It needs the ``dev`` dependency group. It imports nothing of Mulligan's, so
it works while the generated code is missing or broken.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor

SOURCES = Path(__file__).resolve().parent
GENERATED = SOURCES / "_generated"
PACKAGE = "mulligan.v1"
PERMISSION_OPTION = "mulligan.v1.permission"
PLUGIN_OPTIONS = ("client_generation=async", "server_generation=async")
PROTOC_DEADLINE = 120.0
"""Seconds that one run of the compiler may take."""


class GenerationError(Exception):
    """The ``.proto`` files cannot be turned into code; the message says which and why."""


def generate(sources: Path, target: Path) -> None:
    """Write the code for every ``.proto`` file below ``sources`` into the empty folder ``target``.

    The same input gives the same bytes. Raise GenerationError when the compiler refuses a file or
    an RPC names no permission.
    """
    found = (path.relative_to(sources) for path in sources.rglob("*.proto"))
    # What clients in other languages are built with has .proto files of its own.
    protos = sorted(path.as_posix() for path in found if path.parts[0] != "clients")
    if not protos:
        raise GenerationError(f"no .proto file below {sources}")
    with tempfile.TemporaryDirectory(prefix="mulligan-proto-") as scratch:
        # The plugin formats with ruff, which takes its settings from the nearest folder above, and
        # looks in the current one for __init__.py files it need not write: both must be ours.
        Path(scratch, "ruff.toml").write_text('line-length = 100\ntarget-version = "py311"\n')
        output = Path(scratch, "output")
        output.mkdir()
        options = [f"--python_betterproto2_opt={option}" for option in PLUGIN_OPTIONS]
        _protoc(sources, output, ["--python_betterproto2_out=.", *options, *protos])
        _protoc(
            sources,
            output,
            ["--include_imports", "--descriptor_set_out=descriptors.binpb", *protos],
        )
        _defer(output)
        descriptors = (output / "descriptors.binpb").read_bytes()
        permissions = read_permissions(descriptors)
        (output / "permissions.py").write_text(_permissions_module(permissions))
        (output / "reads.py").write_text(_reads_module(read_reads(descriptors)))
        shutil.copytree(output, target, dirs_exist_ok=True)


def _defer(folder: Path) -> None:
    """Let messages and fields be made when they are used: a command uses a few of hundreds.

    Google's own messages are imported when one of them is used.
    """
    for module in folder.rglob("__init__.py"):
        text = module.read_text()
        text = text.replace(
            "from dataclasses import dataclass\n",
            "from mulligan.proto.deferred import Later, dataclass, field as __field__\n",
        )
        text = text.replace("= betterproto2.field(", "= __field__(")
        text = text.replace(
            "\nfrom ...google import protobuf as __google__protobuf__\n",
            "\nif TYPE_CHECKING:\n"
            "    from ...google import protobuf as __google__protobuf__\n"
            "else:\n"
            '    __google__protobuf__ = Later("mulligan.proto._generated.google.protobuf")\n',
        )
        module.write_text(text)


def read_permissions(descriptor_set: bytes) -> dict[str, str]:
    """Map the path of each RPC of ``mulligan.v1`` to the permission its option names.

    Raise GenerationError naming every RPC that has none.
    """
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file:
        pool.Add(file)
    try:
        option = pool.FindExtensionByName(PERMISSION_OPTION)
        options_type = message_factory.GetMessageClass(
            pool.FindMessageTypeByName("google.protobuf.FileDescriptorSet")
        )
    except KeyError as error:
        raise GenerationError(f"no .proto file defines the option {PERMISSION_OPTION}") from error
    found = dict(_rpcs(options_type.FromString(descriptor_set), option))
    bare = sorted(path for path, permission in found.items() if not permission)
    if bare:
        raise GenerationError(
            f"these RPCs have no permission; give each `option ({PERMISSION_OPTION}) = "
            '"<kind>.<verb>";`:\n  ' + "\n  ".join(bare)
        )
    return dict(sorted(found.items()))


def read_reads(descriptor_set: bytes) -> list[str]:
    """Return the paths of the RPCs of ``mulligan.v1`` that are marked as without side effects."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file
    return sorted(
        f"/{file.package}.{service.name}/{method.name}"
        for file in files
        if file.package == PACKAGE
        for service in file.service
        for method in service.method
        if method.options.idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
    )


def _rpcs(descriptor_set: Any, option: FieldDescriptor) -> Iterator[tuple[str, str]]:
    for file in descriptor_set.file:
        if file.package != PACKAGE:
            continue
        for service in file.service:
            for method in service.method:
                path = f"/{file.package}.{service.name}/{method.name}"
                yield path, method.options.Extensions[option]


def _permissions_module(permissions: dict[str, str]) -> str:
    rows = "".join(f'    "{path}": "{permission}",\n' for path, permission in permissions.items())
    table = f"{{\n{rows}}}" if rows else "{}"
    return (
        "# Generated by proto/generate.py from the permission options of the RPCs. DO NOT EDIT!\n\n"
        f"PERMISSIONS: dict[str, str] = {table}\n"
        '"""The permission that each RPC demands, by its full path."""\n'
    )


def _reads_module(reads: Sequence[str]) -> str:
    rows = "".join(f'        "{path}",\n' for path in reads)
    table = f"frozenset(\n    {{\n{rows}    }}\n)" if rows else "frozenset()"
    return (
        "# Generated by proto/generate.py from the idempotency of the RPCs. DO NOT EDIT!\n\n"
        f"READS: frozenset[str] = {table}\n"
        '"""The RPCs that only read and can be asked of an earlier moment, by full path."""\n'
    )


def _protoc(sources: Path, folder: Path, arguments: Sequence[str]) -> None:
    tools = Path(sys.executable).parent
    run = subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={sources}", *arguments],
        cwd=folder,
        env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROTOC_DEADLINE,
        check=False,
    )
    if run.returncode != 0:
        raise GenerationError(f"protoc failed:\n{run.stderr.strip()}")


def stale_files(expected: Path, actual: Path) -> list[str]:
    """Return the paths that differ between two generated folders, or that only one has."""
    wanted, present = _contents(expected), _contents(actual)
    return sorted(
        path for path in wanted.keys() | present.keys() if wanted.get(path) != present.get(path)
    )


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description="Generate proto/_generated from the .proto files.")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    parser.add_argument("--sources", type=Path, default=SOURCES, help="folder of the .proto files")
    parser.add_argument("--target", type=Path, default=GENERATED, help="folder to write")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mulligan-proto-") as scratch:
        fresh = Path(scratch, "fresh")
        fresh.mkdir()
        try:
            generate(chosen.sources.resolve(), fresh)
        except GenerationError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        stale = stale_files(fresh, chosen.target)
        if chosen.check:
            for path in stale:
                print(f"{chosen.target / path} is out of date", file=sys.stderr)
            if stale:
                print("run `make generate` and commit the result", file=sys.stderr)
            return 1 if stale else 0
        if stale:
            shutil.rmtree(chosen.target, ignore_errors=True)
            shutil.copytree(fresh, chosen.target)
        print(f"{len(stale)} files changed in {chosen.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
