"""Tables on a terminal fit it; elsewhere they are whole."""

import io
from datetime import UTC, datetime, timedelta

import pytest

from mulligan.cli.output import Column, Format, Output, Screen, screen_of
from mulligan.cli.screen import ago, fit
from mulligan.quantities import format_time

NOW = datetime(2027, 1, 31, tzinfo=UTC)
COLUMNS = (
    Column("NAME", lambda one: one),
    Column("STATE", lambda one: "failed"),
    Column("WHEN", lambda one: format_time(datetime.now(UTC) - timedelta(hours=5))),
)


def printed(form: Format, screen: Screen | None) -> str:
    out = io.StringIO()
    Output(form, out=out, screen=screen).rows(["n" * 60], COLUMNS)
    return out.getvalue()


def test_long_cells_are_cut_on_a_terminal_alone() -> None:
    narrow = printed(Format.TABLE, Screen(40, colours=False))
    assert max(map(len, narrow.splitlines())) <= 40
    assert "…" in narrow
    assert "5h ago" in narrow
    for whole in (printed(Format.WIDE, Screen(40, colours=False)), printed(Format.TABLE, None)):
        assert "n" * 60 in whole
        assert "ago" not in whole


def test_states_have_colours_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[31mfailed" in printed(Format.TABLE, Screen(100, colours=True))
    assert "\x1b" not in printed(Format.TABLE, Screen(100, colours=False))

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    found = screen_of(Terminal())
    assert found is not None
    assert not found.colours
    assert screen_of(io.StringIO()) is None


def test_columns_are_cut_from_the_widest_down_to_what_can_be_read() -> None:
    assert fit([10, 50, 20], 100) == [10, 50, 20]
    assert sum(fit([10, 50, 20], 60)) + 4 == 60
    assert fit([10, 50, 20], 5) == [8, 8, 8]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(5, "5s ago"), (150, "2m ago"), (7300, "2h ago"), (-7300, "in 2h"), (200_000, "2d ago")],
)
def test_times_are_told_from_now(seconds: int, told: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == told
