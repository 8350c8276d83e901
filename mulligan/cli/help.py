"""``mulligan help``: of a command, of a topic, and all of it as a man page."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from mulligan import __version__
from mulligan.cli.examples import examples_of
from mulligan.cli.grammar import COMMON, like
from mulligan.cli.topics import TOPICS
from mulligan.errors import NotFound

app = typer.Typer(rich_markup_mode=None)


@app.command("help")
def show_help(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[TOPIC | NOUN [VERB]]", help="What about.")
    ] = None,
    man: Annotated[bool, typer.Option("--man", help="Print all of it as a man page.")] = False,
) -> None:
    """Explain a topic, a noun or a verb."""
    if man:
        sys.stdout.write("\n".join(man_page()) + "\n")
        return
    if not words:
        root = context.find_root()
        sys.stdout.write(f"{root.get_help()}\n\nTopics:\n")
        width = max(map(len, TOPICS))
        for name, (line, _) in TOPICS.items():
            sys.stdout.write(f"  {name:<{width}}  {line}\n")
        return
    if len(words) == 1 and words[0] in TOPICS:
        line, text = TOPICS[words[0]]
        sys.stdout.write(f"{line}\n{text}")
        return
    sys.stdout.write(f"{help_of(context, words)}\n")


def help_of(context: typer.Context, words: list[str]) -> str:
    """Return the help of a command; raise NotFound, with what is alike, for an unknown one."""
    from mulligan.cli.main import NOUNS, load

    inner: Any = context.find_root()
    known: list[str] = [*NOUNS, *TOPICS]
    command: Any = None
    for word in words:
        if word not in known:
            error = NotFound("help of", " ".join(words))
            error.message = f"there is no {word!r}.{like(word, known)} See `mulligan help`"
            raise error
        command = load(word) if command is None else command.commands[word]
        known = list(getattr(command, "commands", {}))
        inner = typer.Context(command, parent=inner, info_name=word)
    return str(command.get_help(inner))


def every_command() -> Iterator[tuple[str, Any]]:
    """Yield every command with its words, without ``mulligan``; hidden ones are left out."""
    from mulligan.cli.main import NOUNS, load

    for noun in NOUNS:
        yield from commands_of(load(noun), noun)


def commands_of(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    """Yield a command, or all those below a noun, each with its words; hidden ones are left out."""
    members = getattr(command, "commands", None)
    if members is None:
        yield words, command
        return
    for name in members:
        if not members[name].hidden:
            yield from commands_of(members[name], f"{words} {name}")


def man_page() -> Iterator[str]:
    """Yield the lines of the man page, in groff's man macros."""
    today = datetime.now(UTC)
    yield f'.TH MULLIGAN 1 "{today:%Y-%m-%d}" "Mulligan {__version__}" "User Commands"'
    yield ".SH NAME\nmulligan \\- provision machines"
    yield ".SH SYNOPSIS\n.B mulligan\n.I NOUN VERB\n[ARGUMENTS] [OPTIONS]"
    yield ".SH DESCRIPTION\nAn inventory of machines, claims over time, and a log of everything."
    yield ".SH OPTIONS OF EVERY COMMAND\nThey stand before the noun or after the verb."
    yield from _shared_options()
    yield ".SH COMMANDS"
    for path, command in every_command():
        yield f'.SS "mulligan {_safe(path)}"'
        yield _safe(command.help or "")
        context = typer.Context(command, info_name=f"mulligan {path}")
        shared = getattr(command.callback, "common", ())
        for param in command.get_params(context):
            if param.name not in shared and param.name != "help":
                yield from _option(param, context)
        for example in examples_of(path):
            yield f".PP\n.RS\n.EX\nmulligan {_safe(example)}\n.EE\n.RE"
    for name, (line, text) in TOPICS.items():
        yield f'.SH "{_safe(name.upper())}"\n{_safe(line)}\n.PP\n.EX\n{_safe(text.strip())}\n.EE'


def _shared_options() -> Iterator[str]:
    from mulligan.cli.main import load

    command = load("name").commands["list"]
    context = typer.Context(command, info_name="mulligan")
    params = {param.name: param for param in command.get_params(context)}
    for name in COMMON:
        yield from _option(params[name], context)


def _option(param: Any, context: typer.Context) -> Iterator[str]:
    record = param.get_help_record(context)
    if record:
        yield f".TP\n.B {_safe(record[0])}\n{_safe(record[1])}"


def _safe(text: str) -> str:
    """Return a text that groff prints as it is."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").split("\n")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)
