"""Watching: what changes is printed as it changes, as rows or as lines of JSON."""

import io
import json
from types import SimpleNamespace

import pytest

from mulligan.cli.main import main
from mulligan.cli.output import Column, Format, Output
from mulligan.cli.watch import Changes

COLUMNS = (Column("NAME", lambda one: one.name), Column("STATE", lambda one: one.state))


def thing(name: str, state: str) -> SimpleNamespace:
    return SimpleNamespace(name=name, uuid=f"uuid-of-{name}", state=state)


def changes(form: Format = Format.TABLE) -> tuple[Changes, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Changes(Output(form, out=out, err=err)), out, err


def test_rows_that_changed_are_appended_under_one_title() -> None:
    seen, out, _ = changes()
    seen.rows([thing("a", "up"), thing("b", "up")], COLUMNS)
    seen.rows([thing("a", "up"), thing("b", "up")], COLUMNS)
    seen.rows([thing("a", "up"), thing("b", "down")], COLUMNS)
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert lines == [["NAME", "STATE"], ["a", "up"], ["b", "up"], ["b", "down"]]


def test_what_is_gone_is_noted() -> None:
    seen, _, err = changes()
    seen.rows([thing("a", "up")], COLUMNS)
    seen.rows([], COLUMNS)
    assert err.getvalue() == "gone: uuid-of-a\n"


def test_an_object_is_printed_again_when_it_changed() -> None:
    seen, out, _ = changes()
    for state in ("up", "up", "down"):
        seen.one(thing("a", state), COLUMNS)
    assert out.getvalue().count("name") == 2


def test_lines_of_json_are_what_a_program_gets(capsys: pytest.CaptureFixture[str]) -> None:
    from mulligan.cli.context import Listed

    def listed(account: str) -> Listed:
        return Listed("lab", False, [], "", account, "", "")

    seen, out, _ = changes(Format.JSON)
    seen.rows([listed("ada")], COLUMNS)
    seen.rows([listed("ada")], COLUMNS)
    seen.rows([listed("grace")], COLUMNS)
    assert [json.loads(line)["account"] for line in out.getvalue().splitlines()] == ["ada", "grace"]


def test_the_past_is_not_watched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MULLIGAN_ADDRESS", "127.0.0.1:1")
    assert main(["machine", "list", "--watch", "--at", "12"]) == 2
    assert "leave out --at" in capsys.readouterr().err
