"""The reference of the command line: each verb as ``--help`` tells of it."""

from pathlib import Path
from typing import Any

from mulligan.cli.help import commands_of
from mulligan.cli.main import NOUNS, load

_WIDTH = 100


def write(folder: Path) -> None:
    """Write one page for each first word of a command."""
    folder.mkdir(parents=True)
    for name, (_, text) in NOUNS.items():
        parts = [f"# mulligan {name}", text]
        for words, command in commands_of(load(name), f"mulligan {name}"):
            parts += [f"## {words}"] if words != f"mulligan {name}" else []
            parts.append(f"```text\n{helped(command, words)}\n```")
        (folder / f"{name}.md").write_text("\n\n".join(parts) + "\n")


def helped(command: Any, words: str) -> str:
    """Return what ``--help`` of a command prints."""
    context = command.make_context(
        words, [], resilient_parsing=True, terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    return str(command.get_help(context)).strip()
