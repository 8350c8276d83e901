"""Generate the clients in other languages: ``python proto/clients/generate.py``.

``--check`` exits 1 when they are not what the ``.proto`` files, the templates and the Python
client's figures say. Messages are made by each language's own plugin of protoc. Where a plugin is
not installed, the messages stay as they are if the ``.proto`` files have not changed since; what
they were made from, and what they were, is kept in ``messages.json``.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mulligan.proto.clients import golang, typescript
from mulligan.proto.clients.figures import FigureMissing, read_figures
from mulligan.proto.clients.interface import read_services
from mulligan.proto.clients.plugins import (
    GO_MESSAGES,
    PluginFailed,
    PluginMissing,
    describe,
    digest,
    go_messages,
    protos,
    typescript_messages,
)

FOLDER = Path(__file__).resolve().parent
SOURCES = FOLDER.parent
PYTHON = SOURCES.parent / "mulligan"
RECORD = "messages.json"
MESSAGES = {"typescript": "src/gen", "go": GO_MESSAGES}
"""Where each language's messages lie."""


class Stale(NamedTuple):
    """A path that is not as it should be, and why."""

    path: str
    why: str


def core(sources: Path, python: Path, descriptors: bytes) -> dict[str, str]:
    """Return every generated file but the messages, by its path below ``proto/clients``."""
    services = read_services(descriptors)
    figures = read_figures(python)
    templates = FOLDER / "templates"
    files = protos(sources)
    scripts = typescript.sources(services, files, figures, templates)
    go = golang.sources(services, figures, templates)
    return {
        **{f"typescript/{path}": text for path, text in scripts.items()},
        **{f"go/{path}": text for path, text in go.items()},
    }


def differences(target: Path, wanted: Mapping[str, str]) -> list[Stale]:
    """Return which files of the core are out of date, and which should not be there."""
    found = [
        Stale(path, "is out of date")
        for path, text in wanted.items()
        if not (target / path).is_file() or (target / path).read_text() != text
    ]
    present = [*(target / "typescript" / "src").glob("*.ts"), *(target / "go").glob("*.go")]
    names = [path.relative_to(target).as_posix() for path in present]
    left = [Stale(name, "is left over") for name in names if name not in wanted]
    return found + sorted(left)


def read_record(target: Path) -> dict[str, dict[str, str]]:
    """Return what the messages of each language were made from, and what they were."""
    try:
        record: dict[str, dict[str, str]] = json.loads((target / RECORD).read_text())
    except FileNotFoundError:
        return {}
    return record


def contents(folder: Path) -> str:
    """Return what tells one state of a folder of messages from another."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(folder).as_posix()}\0".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def make_messages(language: str, sources: Path, target: Path, scratch: Path) -> Path:
    """Return a fresh folder of a language's messages; raise PluginMissing without its plugin."""
    fresh = scratch / language
    fresh.mkdir()
    makers: Mapping[str, Callable[[], None]] = {
        "typescript": lambda: typescript_messages(sources, target / "typescript", fresh),
        "go": lambda: go_messages(sources, fresh),
    }
    makers[language]()
    return fresh / MESSAGES[language]


def check_messages(
    language: str, sources: Path, target: Path, made_from: str, scratch: Path
) -> list[Stale]:
    """Tell whether a language's messages are what its plugin makes, or made, of the files."""
    present = target / language / MESSAGES[language]
    path = present.relative_to(target).as_posix()
    try:
        fresh = make_messages(language, sources, target, scratch)
    except PluginMissing:
        record = read_record(target).get(language, {})
        if record.get("made_from") != made_from:
            return [Stale(path, "was made from other .proto files")]
        return [] if record.get("contents") == contents(present) else [Stale(path, "was edited")]
    return [] if contents(fresh) == contents(present) else [Stale(path, "is out of date")]


def write_messages(
    language: str, sources: Path, target: Path, made_from: str, scratch: Path
) -> int:
    """Make a language's messages anew; return how many of its folders changed."""
    present = target / language / MESSAGES[language]
    record = read_record(target)
    before = record.get(language)
    try:
        fresh = make_messages(language, sources, target, scratch)
    except PluginMissing:
        if before == {"made_from": made_from, "contents": contents(present)}:
            return 0
        raise
    after = {"made_from": made_from, "contents": contents(fresh)}
    changed = contents(present) != after["contents"]
    if changed:
        shutil.rmtree(present, ignore_errors=True)
        shutil.copytree(fresh, present)
    if before != after:
        record[language] = after
        (target / RECORD).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    return int(changed)


def check(sources: Path, target: Path, wanted: Mapping[str, str], made_from: str) -> int:
    """Say what is out of date; return the exit code."""
    stale = differences(target, wanted)
    with tempfile.TemporaryDirectory(prefix="mulligan-clients-") as scratch:
        for language in MESSAGES:
            stale += check_messages(language, sources, target, made_from, Path(scratch))
    for path, why in stale:
        print(f"{target / path} {why}", file=sys.stderr)
    if stale:
        print("run `make generate` and commit the result", file=sys.stderr)
    return 1 if stale else 0


def write(sources: Path, target: Path, wanted: Mapping[str, str], made_from: str) -> int:
    """Bring everything up to date; return the exit code."""
    stale = differences(target, wanted)
    for path, _ in stale:
        if path in wanted:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(wanted[path])
        else:
            (target / path).unlink()
    changed = len(stale)
    with tempfile.TemporaryDirectory(prefix="mulligan-clients-") as scratch:
        for language in MESSAGES:
            changed += write_messages(language, sources, target, made_from, Path(scratch))
    print(f"{changed} files and folders changed in {target}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description="Generate the clients in other languages.")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    parser.add_argument("--sources", type=Path, default=SOURCES, help="folder of the .proto files")
    parser.add_argument("--target", type=Path, default=FOLDER, help="folder to write")
    chosen = parser.parse_args(arguments)
    sources, target = chosen.sources.resolve(), chosen.target.resolve()
    try:
        with tempfile.TemporaryDirectory(prefix="mulligan-clients-") as scratch:
            descriptors = describe(sources, Path(scratch))
        wanted = core(sources, PYTHON, descriptors)
        task = check if chosen.check else write
        return task(sources, target, wanted, digest(descriptors))
    except (PluginFailed, PluginMissing, FigureMissing) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
