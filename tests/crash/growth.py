"""What the processes of a region hold open, and how much memory they take."""

import os
from pathlib import Path
from typing import NamedTuple

from tests.embedded.processes import descendants

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


def processes_below(supervisor: int) -> int:
    """Return how many processes a supervisor has below it."""
    return len(descendants(supervisor))
