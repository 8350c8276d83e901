"""What the clients' tests need, and how it gets there: ``python -m tests.clients.parts``.

Node's packages come by npm, as the lock file says; Go's compiler and libraries are Debian's, where
this is Debian. Programs are built below build/clients.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bringing import PartsMissing, install, run

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
FOLDER = ROOT / "build" / "clients"
TYPESCRIPT = ROOT / "proto" / "clients" / "typescript"
GO = ROOT / "proto" / "clients" / "go"
GO_MODULE = "mulligan.example/client"
GO_PACKAGES = (
    "golang-go",
    "golang-github-golang-protobuf-1-5-dev",  # 1.3 does not know messages of today
    "golang-google-genproto-dev",
    "golang-google-grpc-dev",
    "golang-google-protobuf-dev",
    "protoc-gen-go",
)
GO_LIBRARIES = Path("/usr/share/gocode")
GO_DRIVER = FOLDER / "go-driver"
GO_EXAMPLE = FOLDER / "go-example"


def driver(language: str) -> Sequence[str | Path]:
    """Return the command of a language's driver; raise PartsMissing if it has not been built."""
    commands: dict[str, tuple[str | Path, ...]] = {
        "typescript": (
            "node",
            HERE / "typescript" / "driver.mjs",
            TYPESCRIPT / "dist" / "index.js",
            TYPESCRIPT / "node_modules" / "@bufbuild" / "protobuf" / "dist" / "esm" / "index.js",
        ),
        "go": (GO_DRIVER,),
    }
    command = commands[language]
    absent = [part for part in command if isinstance(part, Path) and not part.exists()]
    if absent:
        raise PartsMissing(f"{absent[0]} is not there: run `nox -s clients`")
    return command


def prepare_typescript() -> None:
    """Bring Node's packages and compile; raise PartsMissing where there is no Node."""
    if shutil.which("npm") is None:
        raise PartsMissing("npm is not installed; Node 20 or newer has it")
    _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=TYPESCRIPT)
    _run("npm", "run", "--silent", "build", folder=TYPESCRIPT)


def prepare_go() -> None:
    """Bring Go, vet the client and build its driver; raise PartsMissing where that fails."""
    for built in (GO_DRIVER, GO_EXAMPLE):
        built.unlink(missing_ok=True)  # nobody tests what was built of other sources
    if shutil.which("dpkg-query") and _not_installed(GO_PACKAGES):
        install(GO_PACKAGES, ROOT)
    source = FOLDER / "gopath" / "src" / GO_MODULE
    source.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_symlink():
        source.symlink_to(GO)
    link = source.parent / "driver"
    if not link.is_symlink():
        link.symlink_to(HERE / "go" / "driver")
    example = f"{GO_MODULE}/examples/get_a_machine"
    _run("go", "vet", GO_MODULE, example, "mulligan.example/driver", go=True)
    _run("go", "build", "-o", str(GO_DRIVER), "mulligan.example/driver", go=True)
    _run("go", "build", "-o", str(GO_EXAMPLE), example, go=True)


def _not_installed(names: Sequence[str]) -> list[str]:
    form = "-f=${Package} ${db:Status-Status}\n"
    shown = subprocess.run(
        ["dpkg-query", "--show", form, *names], capture_output=True, text=True, check=False
    ).stdout
    there = {line.split()[0] for line in shown.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in there]


def _run(*command: str, folder: Path = ROOT, go: bool = False) -> None:
    path = f"{FOLDER / 'gopath'}{os.pathsep}{GO_LIBRARIES}"
    for_go = {"GO111MODULE": "off", "GOPATH": path, "GOFLAGS": "", "GOCACHE": f"{FOLDER}/go-cache"}
    run(*command, folder=folder, environment=for_go if go else None)


def main() -> int:
    """Prepare what can be, and say what cannot; fail only where both languages do."""
    failed = 0
    for prepare in (prepare_typescript, prepare_go):
        try:
            prepare()
        except PartsMissing as error:
            sys.stderr.write(f"{error}\n")
            failed += 1
    return int(failed == 2)


if __name__ == "__main__":
    sys.exit(main())
