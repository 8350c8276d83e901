"""The documentation as text: its pages, the commands they show, and what they say comes out."""

import re
import textwrap
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


PROGRAMS = frozenset(
    {
        *("apt", "cd", "createdb", "curl", "docker", "etcdctl", "export", "for", "helm", "kubectl"),
        *("make", "mulligan", "nox", "openssl", "printf", "psql", "python", "python3", "sudo"),
        *("systemctl", ".venv/bin/python", "/opt/mulligan/bin/pip", "/opt/mulligan/bin/mulligan"),
    }
)
"""With what a line begins that is typed into a shell."""

_ASSIGNED = re.compile(r"^(?:\w+=\S+ )+")
_SHELLS = frozenset({"sh", "bash", "console"})


def typed(text: str) -> list[Shown]:
    """Return all commands of a page in order: of console and shell blocks, and indented ones."""
    found: list[Shown] = []
    for language, block in _blocks(text):
        if language == "console":
            found.extend(commands(f"```console\n{block}```"))
        elif language in _SHELLS or (not language and is_typed(block)):
            lines = re.sub(r"\\\n\s*", "", block).splitlines()
            if lines[0].startswith("for "):
                lines = ["\n".join(lines)]
            found.extend(Shown(line, "") for line in lines if not line.startswith("#"))
    return found


def is_typed(block: str) -> bool:
    """Return whether an indented block is for a shell, rather than the text of a file."""
    words = _ASSIGNED.sub("", block).split(maxsplit=1)
    return bool(words) and words[0] in PROGRAMS


def blocks(text: str) -> Iterator[str]:
    """Yield the fenced and the indented blocks of a page."""
    return (block for _, block in _blocks(text))


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the fenced blocks of a page with their language, and the indented ones with none."""
    fence: str | None = None
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("```") or (fence is None and not line.startswith("    ")):
            if fence is not None or block:
                yield fence or "", textwrap.dedent("".join(block))
            fence = line.removeprefix("```") if line.startswith("```") and fence is None else None
            block = []
        else:
            block.append(f"{line}\n")
