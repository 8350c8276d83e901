"""What the pages say of commands, keys, calls, layers and each other is so."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_group

from mulligan.cli.main import NOUNS, app, load
from mulligan.config import Config
from mulligan.projections.models import READ_MODELS
from mulligan.proto.v1 import PERMISSIONS
from mulligan.redfish.faults import HEALS
from mulligan.services.serve import SERVICES
from mulligan.toml_page import Section
from tests.docs.pages import PAGES, ROOT, commands, named, without_fences

DOCS = ROOT / "docs"
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_PUNCTUATION = re.compile(r"[^\w\- ]")
_ROW = re.compile(r"^\| (.+?) \|(.*)$", re.MULTILINE)
_TOLD = re.compile(
    r"(?:`|^|; |then |next: |run )mulligan (?!client$)([a-z][a-z-]*(?: [a-z-]+)?(?: --[a-z-]+)*)"
)
_PLACEHOLDER = re.compile(r"[A-Z]+|…|\[.*|NOUN")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_fences(page.read_text()), re.MULTILINE)
    return {_PUNCTUATION.sub("", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere_from(page: Path) -> None:
    dead = []
    for link in _LINK.findall(without_fences(page.read_text())):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        sound = target.exists() and target.is_relative_to(ROOT)
        if not sound or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


def test_every_page_can_be_found() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in _LINK.findall(page.read_text())
    }
    assert [named(page) for page in PAGES if page not in linked and page.name != "README.md"] == []


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of every `mulligan` command line on a page."""
    lines = [shown.command for shown in commands(text)]
    lines += re.findall(r"^ +(.*\bmulligan .*)$", text, re.MULTILINE)
    lines += [code for code in _CODE.findall(without_fences(text)) if code.startswith("mulligan ")]
    for line in lines:
        for part in re.split(r"[|;&]|\$\(|(?<=\w)\)", line):
            _, found, rest = f" {part}".partition(" mulligan ")
            if found:
                yield shlex.split(rest, comments=True)


def untrue(words: list[str]) -> list[str]:
    """Return what is wrong with a command line: unknown nouns, verbs and options."""
    command: Any = get_group(app)
    path: list[str] = []
    rest = list(words)
    while rest and command is not None:
        word = rest.pop(0)
        if word.startswith("-") and word != "-":
            option = word.partition("=")[0]
            known = {o: p for p in command.params for o in (*p.opts, *p.secondary_opts)}
            if option not in known and option != "--help":
                return [f"{' '.join(path)} {option}"]
            if option in known and not known[option].is_flag and rest and "=" not in word:
                rest.pop(0)
        elif hasattr(command, "commands") and not _PLACEHOLDER.fullmatch(word):
            if (not path and word not in NOUNS) or (path and word not in command.commands):
                return [" ".join([*path, word])]
            command = load(word) if not path else command.commands[word]
            path.append(word)
    return []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_and_options_exist_that_are_named_on(page: Path) -> None:
    assert [wrong for words in command_lines(page.read_text()) for wrong in untrue(words)] == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("machine lst", ["machine lst"]),
        ("machine list --fast", ["machine list --fast"]),
        ("machines", ["machines"]),
        ("--project physics claim make --class machine=1", []),
        ("NOUN VERB", []),
    ],
)
def test_an_untrue_command_line_is_found_out(line: str, wrong: list[str]) -> None:
    assert untrue(line.split()) == wrong


def said(module: Path) -> Iterator[str]:
    """Yield the texts of a module, with X for what is put into them."""
    for node in ast.walk(ast.parse(module.read_text())):
        match node:
            case ast.JoinedStr(values=parts):
                yield "".join(str(p.value) if isinstance(p, ast.Constant) else "X" for p in parts)
            case ast.Constant(value=str() as text):
                yield text


@pytest.mark.parametrize("folder", ["mulligan", "handlers", "projections"])
def test_every_command_that_a_message_tells_to_type_exists(folder: str) -> None:
    wrong = {
        (named(module), command)
        for module in (ROOT / folder).rglob("*.py")
        for text in said(module)
        for command in _TOLD.findall(text)
        if untrue(command.split())
    }
    assert wrong == set()


def test_the_page_of_the_command_line_lists_every_noun_and_verb() -> None:
    text = (DOCS / "cli.md").read_text()
    table = {
        noun: set(_CODE.findall(verbs))
        for nouns, verbs in _ROW.findall(text)
        for noun in _CODE.findall(nouns)
        if noun in NOUNS
    }
    assert set(table) == set(NOUNS) - {"version"}
    for noun, listed in table.items():
        verbs = getattr(load(noun), "commands", {})
        shown = {word for text in listed for word in text.split()}
        assert set(verbs) <= shown, noun
        assert not (verbs and {t.split()[0] for t in listed} - set(verbs)), noun


def keys(section: type[Section], prefix: str = "") -> Iterator[str]:
    """Yield the keys of a configuration, with their section."""
    default = section()
    for name in section.__struct_fields__:
        value = getattr(default, name)
        if isinstance(value, Section):
            yield from keys(type(value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_the_page_of_the_configuration_lists_every_key() -> None:
    rows = _ROW.findall((DOCS / "configuration.md").read_text())
    assert {key for first, _ in rows for key in _CODE.findall(first)} == set(keys(Config))


def test_the_page_of_the_api_lists_every_call_with_its_permission() -> None:
    listed = {}
    for section in (DOCS / "api.md").read_text().split("\n### ")[1:]:
        service = section.split("\n")[0]
        for call, permission in re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|", section, re.MULTILINE):
            listed[f"/mulligan.v1.{service}/{call}"] = permission
    assert listed == PERMISSIONS


def test_the_architecture_shows_the_layers_that_are_enforced() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(c["layers"] for c in contracts["contracts"] if c["id"] == "layers")
    enforced = [re.findall(r"\w+", layer) for layer in layers]
    assert _column(DOCS / "architecture.md", "## Layers") == enforced


def test_the_architecture_names_every_service_and_read_model() -> None:
    page = DOCS / "architecture.md"
    assert _column(page, "## Processes") == [[name] for name in SERVICES]
    assert _column(page, "## Read models") == [[model.schema] for model in READ_MODELS]


def test_every_fault_is_explained_and_whether_it_is_tried_again() -> None:
    rows = _ROW.findall((DOCS / "how-to" / "find-out-why.md").read_text())
    told = {
        fault: rest.split("|")[0].strip() for first, rest in rows for fault in _CODE.findall(first)
    }
    assert {fault: told.get(fault) for fault in HEALS} == {
        fault: "yes" if heals else "no" for fault, heals in HEALS.items()
    }


def _column(page: Path, heading: str) -> list[list[str]]:
    """Return the code words in the first column of the table below a heading."""
    section = page.read_text().partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    return [words for first, _ in _ROW.findall(section) if (words := _CODE.findall(first))]
