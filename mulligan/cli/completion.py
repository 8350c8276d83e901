"""``mulligan completion``: what TAB offers, in bash, zsh and fish.

The script of a shell asks ``mulligan completion words`` what may follow. That answers quickly or
not at all: names of objects come from the server within 0.3 s or from a file that is a minute old
at most, and whatever goes wrong, nothing is offered and nothing is printed.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

DEADLINE_S = 0.3
FRESH_S = 60.0
MOST = 500
"""Names of a kind that are offered."""

KINDS = {
    "machine": ("control", "machines"),
    "image": ("control", "images"),
    "credential": ("control", "credentials"),
    "profile": ("control", "profiles"),
    "user-data": ("control", "user_data"),
    "provider": ("resource", "providers"),
    "claim": ("resource", "claims"),
    "group": ("resource", "groups"),
    "project": ("iam", "projects"),
    "account": ("iam", "accounts"),
}
"""Kinds whose names are offered: the service that lists them, and the field of its answer."""
_CALLED = {
    "machines": "machine",
    "claims": "claim",
    "images": "image",
    "parent": "provider",
    "under": "provider",
    "wipe-image": "image",
    "reservation": "claim",
    "on": "project",
    "member": "provider",
}
"""Arguments and options that take names of a kind they are not called after."""

BASH = """\
_mulligan() {
    local IFS=$'\\n'
    COMPREPLY=($(mulligan completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _mulligan mulligan
"""
ZSH = """\
#compdef mulligan
_mulligan() {
    local -a found
    found=("${(@f)$(mulligan completion words -- "${words[@]:1:CURRENT-1}" 2>/dev/null)}")
    compadd -a found
}
compdef _mulligan mulligan
"""
FISH = """\
function __mulligan
    set -l typed (commandline -opc) (commandline -ct)
    mulligan completion words -- $typed[2..-1] 2>/dev/null
end
complete -c mulligan -f -a '(__mulligan)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def _print(shell: str) -> None:
    sys.stdout.write(SCRIPTS[shell])


@app.command("bash")
def bash() -> None:
    """Print the script for bash: `source <(mulligan completion bash)`."""
    _print("bash")


@app.command("zsh")
def zsh() -> None:
    """Print the script for zsh: `source <(mulligan completion zsh)`."""
    _print("zsh")


@app.command("fish")
def fish() -> None:
    """Print the script for fish: `mulligan completion fish | source`."""
    _print("fish")


@app.command("words", hidden=True)
def words(
    typed: Annotated[list[str] | None, typer.Argument(help="What stands there so far.")] = None,
) -> None:
    """Print what may follow, a word a line."""
    with contextlib.suppress(Exception):
        for word in offered(typed or [""]):
            sys.stdout.write(f"{word}\n")


def offered(typed: Sequence[str]) -> list[str]:
    """Return what may stand in place of the last word, of which a part is typed."""
    *before, last = typed
    return sorted({word for word in _possible(before, last) if word.startswith(last)})


def _possible(before: Sequence[str], last: str) -> Iterator[str]:
    from typer.main import get_command

    from mulligan.cli.main import NOUNS, app, load

    root: Any = get_command(app)
    command: Any = root
    waiting: Any = None
    path: list[str] = []
    for word in before:
        if waiting is not None:
            waiting = None
        elif word.startswith("-") and word != "-":
            waiting = _option(command, word)
        elif hasattr(command, "commands") and (word in NOUNS if not path else True):
            command = load(word) if not path else command.commands[word]
            path.append(word)
    if waiting is not None:
        yield from _values(waiting, path)
    elif last.startswith("-"):
        for param in (*command.params, *(root.params if not path else ())):
            yield from (one for one in param.opts if one.startswith("--"))
        yield "--help"
    elif hasattr(command, "commands"):
        yield from (n for n in command.commands if not getattr(command.commands[n], "hidden", 0))
    else:
        for param in command.params:
            if param.param_type_name == "argument":
                yield from _values(param, path)


def _option(command: Any, word: str) -> Any:
    """Return the option that a word is, if it takes a value that has not been given."""
    found = next((one for one in command.params if word in one.opts), None)
    return None if found is None or getattr(found, "is_flag", False) else found


def _values(param: Any, path: Sequence[str]) -> Iterator[str]:
    """Yield what an option or argument may be."""
    choices = param.type_descriptor.choices
    called = str(param.name).replace("_", "-")
    if choices:
        yield from (str(getattr(one, "value", one)) for one in choices)
    elif "--context" in param.opts or (called == "name" and path[:1] == ["context"]):
        from mulligan.client.context import config_path, load_settings

        yield from load_settings(config_path()).contexts
    elif called == "state" and path[:1] == ["machine"]:
        from mulligan.proto.v1 import MachineState
        from mulligan.wording import word

        yield from (word(one) for one in MachineState if int(one))
    elif called == "words" and path[:1] == ["help"]:
        from mulligan.cli.topics import TOPICS

        yield from TOPICS
    else:
        own = called in ("name", "names") and "create" not in path
        kind = path[0] if own and path else _CALLED.get(called, called)
        kind = kind if kind in KINDS else kind.removesuffix("s")
        if kind in KINDS:
            yield from names(kind)


def names(kind: str) -> list[str]:
    """Return the names of objects of a kind, from the server or from what it said of late."""
    import asyncio

    from mulligan.cli.output import Format, Output
    from mulligan.cli.verbs import Common, Session
    from mulligan.client.files import write_private

    session = Session(Common(), Output(Format.NAME))
    kept = cache_folder() / f"{session.chosen.name}-{kind}"
    with contextlib.suppress(OSError):
        if time.time() - kept.stat().st_mtime < FRESH_S:
            return kept.read_text().split("\n")
    found: list[str] = []
    with contextlib.suppress(TimeoutError):
        found = asyncio.run(_ask(session, kind))
        write_private(kept, "\n".join(found))
    return found


async def _ask(session: Any, kind: str) -> list[str]:
    import anyio

    from mulligan.proto import v1

    service, field = KINDS[kind]
    method = f"list_{field}"
    title = "".join(part.title() for part in method.split("_"))
    request = getattr(v1, f"{title}Request")()
    if hasattr(request, "page"):
        request.page = v1.Page(size=MOST)
    try:
        with anyio.fail_after(DEADLINE_S):
            answer = await getattr(getattr(session.client, service), method)(request)
    finally:
        session.close()
    return [one.name for one in getattr(answer, field) if one.name]


def cache_folder() -> Path:
    """Return where names are kept between two TABs."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "mulligan" / "completion"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
