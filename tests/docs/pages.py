"""The documentation as text: its pages, the commands they show, and what they say comes out."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Shown(msgspec.Struct, frozen=True):
    """One command of a page and the output that the page shows for it."""

    command: str
    output: str


def named(page: Path) -> str:
    """Return the page's path in the repository."""
    return str(page.relative_to(ROOT))


def fences(text: str, language: str) -> Iterator[str]:
    """Yield the fenced blocks of a language."""
    return (found[2] for found in _FENCE.finditer(text) if found[1] == language)


def without_fences(text: str) -> str:
    """Return the prose of a page."""
    return _FENCE.sub("", text)


def commands(text: str) -> list[Shown]:
    """Return the commands of a page's console blocks, in order."""
    found: list[Shown] = []
    for block in fences(text, "console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Shown(line.removeprefix("$ "), ""))
            else:
                assert found, f"a console block begins with output: {line}"
                before = found.pop()
                found.append(Shown(before.command, f"{before.output}{line}\n"))
    return found
