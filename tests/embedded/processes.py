"""What runs, seen through /proc."""

import time
from collections.abc import Callable
from pathlib import Path


def descendants(pid: int) -> set[int]:
    """Return every process below ``pid``."""
    below: set[int] = set()
    waiting = [pid]
    while waiting:
        for children in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            try:
                found = {int(word) for word in children.read_text().split()} - below
            except (FileNotFoundError, ProcessLookupError):
                continue
            below |= found
            waiting += found
    return below


def alive(pid: int) -> bool:
    """Tell whether ``pid`` runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def eventually(holds: Callable[[], object], within: float = 15.0) -> None:
    """Return as soon as ``holds`` does; fail after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"did not come true in {within} s"
        time.sleep(0.02)
