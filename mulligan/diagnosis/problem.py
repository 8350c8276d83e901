"""Something that is wrong, and how bad that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "warning"]


@dataclass(frozen=True)
class Problem:
    """Something that is wrong: what, in one line, about what, and the command that helps.

    ``stream`` is the object that it is about, such as ``machine/<uuid>``; empty where it is none.
    """

    severity: Severity
    subject: str
    what: str
    next: str
    stream: str = ""


@dataclass(frozen=True)
class Note:
    """Something that is to be done and is no problem yet: what, about what, and the command."""

    subject: str
    what: str
    next: str


def critical(subject: str, what: str, next: str, stream: str = "") -> Problem:
    """Return a problem that stops something."""
    return Problem("critical", subject, _one_line(what), next, stream)


def warning(subject: str, what: str, next: str, stream: str = "") -> Problem:
    """Return a problem that will, or might."""
    return Problem("warning", subject, _one_line(what), next, stream)


def _one_line(text: str) -> str:
    """Fold a text: Postgres and BMCs say what they have to say in several lines."""
    return " ".join(text.split())


def exit_code(problems: Sequence[Problem]) -> int:
    """Return what ``--exit-code`` makes of problems: 0 none, 10 warnings, 11 something critical."""
    if not problems:
        return 0
    return 11 if any(one.severity == "critical" for one in problems) else 10
