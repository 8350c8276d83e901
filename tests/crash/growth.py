"""What the processes of a region hold open, and how much memory they take."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

MORE_FILES = 25
MORE_BYTES = 150 * 2**20
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Held(NamedTuple):
    """Open files and resident bytes of one process."""

    files: int
    bytes: int


def held(pid: int) -> Held:
    """Return what one process holds; nothing when it is gone."""
    try:
        files = len(os.listdir(f"/proc/{pid}/fd"))
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return Held(0, 0)
    return Held(files, pages * _PAGE)


def held_by_parts(run: Path, supervisor: int) -> dict[str, Held]:
    """Return what each part holds by its name, and the supervisor."""
    parts = {path.stem: int(path.read_text()) for path in run.glob("*.pid")}
    return {name: held(pid) for name, pid in parts.items()} | {"supervisor": held(supervisor)}


def grown(first: Mapping[str, Held], last: Mapping[str, Held]) -> Iterator[str]:
    """Name what holds many more files than it did under the same load, or much more memory."""
    for name, now in last.items():
        before = first.get(name, now)
        if now.files > before.files + MORE_FILES:
            yield f"{name} holds {now.files} files open, {before.files} before"
        if now.bytes > before.bytes + MORE_BYTES:
            yield f"{name} takes {now.bytes >> 20} MiB, {before.bytes >> 20} MiB before"
