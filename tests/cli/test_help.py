"""The help: every verb explains itself, examples are sound, topics and man page whole."""

import re
import shlex
from typing import Any

import pytest
import typer
from typer.main import get_command

from mulligan.cli.examples import EXAMPLES, examples_of
from mulligan.cli.help import every_command, man_page
from mulligan.cli.main import NOUNS, app, load, main
from mulligan.cli.report import EXIT_CODES, LISTED, describe
from mulligan.cli.topics import TOPICS
from mulligan.cli.verbs import _COMMON
from mulligan.errors import NotFound

LINES = [line for line in EXAMPLES.split("\n") if line]


def test_every_command_has_a_description_and_an_example() -> None:
    for path, command in every_command():
        assert command.help, path
        shown = " ".join(path.split()[:1]) if path.startswith("completion") else path
        assert examples_of(shown), f"no example of {path}"


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_what_the_grammar_takes(line: str) -> None:
    words = shlex.split(line)
    command: Any = load(words[0])
    context = typer.Context(get_command(app), info_name="mulligan")
    rest = words[1:]
    while hasattr(command, "commands"):
        assert rest and rest[0] in command.commands, line
        command = command.commands[rest.pop(0)]
    command.make_context(words[0], rest, parent=context)


def test_the_help_of_a_verb_has_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["machine", "list", "--help"]) == 0
    text = capsys.readouterr().out
    for part in ("List machines.", "Options:", "Common options:", "Examples:", "See also:"):
        assert part in text
    assert "MULLIGAN_CONTEXT" in text


def test_help_shows_a_command_and_a_topic(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "machine", "wait"]) == 0
    assert "Usage: mulligan machine wait" in capsys.readouterr().out
    for topic, (line, _) in TOPICS.items():
        assert main(["help", topic]) == 0
        assert line in capsys.readouterr().out
    assert main(["help"]) == 0
    assert "exit-codes" in capsys.readouterr().out


def test_a_word_that_is_unknown_is_guessed_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "machin"]) == 3
    assert "Did you mean machine" in capsys.readouterr().err
    assert main(["machne"]) == 2
    assert "Did you mean 'machine'" in capsys.readouterr().err
    assert main(["machine", "lst"]) == 2
    assert "Did you mean 'list'" in capsys.readouterr().err
    assert main(["machine", "list", "--stte", "x"]) == 2
    assert "--state" in capsys.readouterr().err


def test_every_exit_code_is_told() -> None:
    told = {int(code) for code in re.findall(r"^ *(\d+)  ", TOPICS["exit-codes"][1], re.MULTILINE)}
    assert {code for _, code in EXIT_CODES} | {0, 1, 130, 141} == told


def test_every_common_option_that_the_environment_sets_is_told() -> None:
    text = TOPICS["environment"][1]
    for name, (annotation, _) in _COMMON.items():
        found = re.search(r"\[env (\w+)\]", annotation.__metadata__[0].help)
        if found:
            assert f"{found[1]} " in text, name


def test_the_man_page_names_every_command_and_topic() -> None:
    page = "\n".join(man_page())
    for noun in NOUNS:
        assert f'"mulligan {noun.replace("-", chr(92) + "-")}' in page
    assert page.startswith(".TH MULLIGAN 1")
    assert "completion words" not in page, "it is for shells"
    shared = page.partition("OPTIONS OF EVERY COMMAND")[2].partition(".SH COMMANDS")[0]
    for option in ("address", "stale", "trace", "verbose"):
        assert f"\\-\\-{option}" in shared
    assert all(name.upper().replace("-", "\\-") in page for name in TOPICS)


def test_what_is_not_found_is_looked_for_with_a_command_that_there_is() -> None:
    for noun in LISTED.values():
        assert "list" in load(noun).commands, noun
    told = describe(NotFound("userdata", "x"))
    assert told[-1] == "  next: see what there is with `mulligan user-data list`"


def test_lists_of_commands_cut_no_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["machine", "--help"], ["claim", "--help"]):
        assert main(words) == 0
        assert "..." not in capsys.readouterr().out.partition("Commands:")[2]
