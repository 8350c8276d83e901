"""What happened in a seed, to be read when it failed."""

from collections.abc import Iterator

import msgspec

from mulligan.events.codec import decode_entry
from mulligan.log.store import Raw

from .virtual import now


class Line(msgspec.Struct, frozen=True):
    """Something happened at a virtual time, in seconds."""

    at: float
    who: str
    what: str


class Trace:
    """Keeps what is told, in order."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._entries: list[tuple[float, Raw]] = []

    def tell(self, who: str, what: str) -> None:
        """Keep a line."""
        self._lines.append(Line(now(), who, what))

    def wrote(self, raw: Raw) -> None:
        """Keep an entry; it is described only when somebody reads."""
        self._entries.append((now(), raw))

    def lines(self) -> Iterator[str]:
        """Everything, by time."""
        told = [(line.at, 1, f"{line.who:<14} {line.what}") for line in self._lines]
        wrote = [(at, 0, _entry(raw)) for at, raw in self._entries]
        for at, _, text in sorted(told + wrote, key=lambda one: one[:2]):
            yield f"{at:10.4f}  {text}"


def _entry(raw: Raw) -> str:
    commits = (
        f"{commit.command} by {commit.actor.account} ["
        + ", ".join(f"{e.stream} {e.type}" for e in commit.events)
        + "]"
        for commit in decode_entry(raw.value).commits
    )
    return f"entry {raw.seq:<8} {'; '.join(commits)}"
