"""Messages in other languages: each language's own plugin of protoc, where it is installed."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from google.rpc import error_details_pb2

PROTOC_DEADLINE = 120.0
"""Seconds that one run of the compiler may take."""
COMMON = Path(error_details_pb2.__file__).parents[2]
"""Where ``google/rpc`` lies."""
DETAILS = ("google/rpc/error_details.proto", "google/rpc/status.proto")
GO_MODULE = "mulligan.example/client"
"""The Go module's path; it names no host, so a build says where it is with ``replace``."""
GO_MESSAGES = "mulliganv1"
GO_PLUGIN = "protoc-gen-go v1.28.1"


class PluginFailed(Exception):
    """The compiler or a plugin of it refuses; the message is its own."""


class PluginMissing(Exception):
    """A plugin is not installed; the message says which, and how to get it."""


def protos(sources: Path) -> list[str]:
    """Return every ``.proto`` file below ``sources``, as an import names it."""
    packages = (sources / "mulligan").rglob("*.proto")
    return sorted(path.relative_to(sources).as_posix() for path in packages)


def describe(sources: Path, output: Path) -> bytes:
    """Return the FileDescriptorSet of all files, with comments; ``output`` is for scratch."""
    path = output / "descriptors.binpb"
    flags = ("--include_imports", "--include_source_info", f"--descriptor_set_out={path}")
    _protoc(sources, *flags, *protos(sources))
    return path.read_bytes()


def digest(descriptors: bytes) -> str:
    """Return what tells one state of the ``.proto`` files from another."""
    return hashlib.sha256(descriptors).hexdigest()


def typescript_messages(sources: Path, package: Path, target: Path) -> None:
    """Write ``src/gen`` below ``target`` by the plugin in the ``package`` folder's node_modules."""
    plugin = package / "node_modules" / ".bin" / "protoc-gen-es"
    if not plugin.exists():
        raise PluginMissing(f"protoc-gen-es is not installed: run `npm ci` in {package}")
    output = target / "src" / "gen"
    output.mkdir(parents=True)
    _protoc(
        sources,
        f"--plugin=protoc-gen-es={plugin}",
        f"--es_out={output}",
        "--es_opt=target=ts,import_extension=js",
        *protos(sources),
        *DETAILS,
    )


def go_messages(sources: Path, target: Path) -> None:
    """Write the package of messages below ``target`` by Go's plugin on the PATH."""
    _require_go_plugin()
    package = f"{GO_MODULE}/{GO_MESSAGES}"
    named = [f"--go_opt=M{name}={package}" for name in protos(sources)]
    _protoc(sources, f"--go_out={target}", f"--go_opt=module={GO_MODULE}", *named, *protos(sources))
    for path in (target / GO_MESSAGES).glob("*.go"):
        # The compiler's version is this machine's, and no part of what the code says.
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not line.startswith("// \tprotoc ")))


def _require_go_plugin() -> None:
    """Another version writes other code, which would look like a change."""
    plugin = shutil.which("protoc-gen-go")
    shown = ""
    if plugin is not None:
        version = subprocess.run([plugin, "--version"], capture_output=True, text=True, check=False)
        shown = version.stdout.strip()
    if shown != GO_PLUGIN:
        raise PluginMissing(
            f"{GO_PLUGIN} is not installed (found: {shown or 'none'}); Debian 12 has it: "
            "`apt-get install protoc-gen-go`"
        )


def _protoc(sources: Path, *arguments: str) -> None:
    tools = Path(sys.executable).parent
    paths: Sequence[str] = (f"--proto_path={sources}", f"--proto_path={COMMON}")
    run = subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", *paths, *arguments],
        env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROTOC_DEADLINE,
        check=False,
    )
    if run.returncode != 0:
        raise PluginFailed(f"protoc failed:\n{run.stderr.strip()}")
