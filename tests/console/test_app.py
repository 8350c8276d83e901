"""The shell: trouble, time, and an end without traces."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from mulligan.console.app import ConsoleApp
from mulligan.console.banner import TabLine, banner
from mulligan.console.fleet.map import FleetMap
from mulligan.console.moment.slider import Rail
from mulligan.console.moment.steps import UNITS, share, stepped, wanted
from mulligan.console.source import Moment, Pulse
from mulligan.console.trouble import harmless, next_step, shown
from mulligan.diagnosis.found import Status
from mulligan.errors import InvalidArgument, PermissionDenied, Unavailable
from tests.console.fakes import NOON, FakeSource
from tests.console.feeds import screen_text
from tests.console.test_fleet import settled


def plain(app: ConsoleApp) -> str:
    return banner(app.pulse, app.moment, 160).plain


async def test_the_console_stays_when_the_region_goes_and_comes_back_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mulligan.console.app.PULSE_S", 0.05)
    source = FakeSource(40)
    app = ConsoleApp(source)
    async with app.run_test(size=(120, 30)) as pilot:
        fleet = app.query_one(FleetMap)
        await settled(pilot, lambda: len(fleet.machines) == 40)
        source.away = "nothing listens at 127.0.0.1:7001"
        await settled(pilot, lambda: "no answer: nothing listens" in plain(app))
        await pilot.press("r")
        source.fleet.pop("m-0")
        source.away = ""
        await settled(pilot, lambda: len(fleet.machines) == 39)
        assert "live" in plain(app)
    assert app.failure is None


async def test_a_console_that_begins_without_a_region_shows_it_once_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mulligan.console.app.PULSE_S", 0.05)
    source = FakeSource(10)
    source.away = "no route to host"
    app = ConsoleApp(source)
    async with app.run_test() as pilot:
        await settled(pilot, lambda: "no route to host" in plain(app))
        source.away = ""
        await settled(pilot, lambda: len(app.query_one(FleetMap).machines) == 10)


async def test_a_page_that_cannot_be_read_is_read_once_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mulligan.console.app.AGAIN_S", 0.05)
    source = FakeSource(10)
    source.lists_away = "the read models are away"
    app = ConsoleApp(source)
    async with app.run_test() as pilot:
        await settled(pilot, lambda: len(app._notifications) == 1)
        assert "live" in plain(app)  # for the log is there
        source.lists_away = ""
        await settled(pilot, lambda: len(app.query_one(FleetMap).machines) == 10)
        assert len(app._notifications) == 1
    assert app.failure is None


async def test_the_region_is_looked_after_also_below_a_dialog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mulligan.console.app.PULSE_S", 0.05)
    source = FakeSource(10)
    app = ConsoleApp(source)
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot, lambda: len(app.query_one(FleetMap).machines) == 10)
        await pilot.press("question_mark")
        source.away = "gone [/bold] wrong"
        await settled(pilot, lambda: "gone [/bold] wrong" in plain(app))
        source.fleet.pop("m-0")
        source.away = ""
        await settled(pilot, lambda: "live" in plain(app))
        fleet = app.base.query_one(FleetMap)
        await settled(pilot, lambda: len(fleet.machines) == 9)
        source.away = "again"
        await settled(pilot, lambda: "again" in plain(app))
    assert app.failure is None


async def test_the_keys_of_the_page_and_of_the_console_are_shown() -> None:
    app = ConsoleApp(FakeSource(10))
    async with app.run_test(size=(120, 50)) as pilot:
        await settled(pilot, lambda: len(app.query_one(FleetMap).machines) == 10)
        await pilot.press("question_mark")
        text = screen_text(pilot)
        for line in ("FLEET", "Next match", "EVERYWHERE", "1 2 3 4 5 6", "Read anew"):
            assert line in text
        assert "Copy selected text" not in text  # Textual's own
        await pilot.press("escape")
        assert len(app.screen_stack) == 1


async def test_going_on_while_a_moment_is_made_leads_to_where_one_went(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mulligan.console.moment.slider.SETTLE_S", 0.01)
    source = FakeSource(10)
    source.made = anyio.Event()
    source.making = ["it is still being made"]
    app = ConsoleApp(source)
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot, lambda: app.pulse.head == 1000)
        rail = app.query_one(Rail)
        await pilot.press("t", "left")
        await settled(pilot, lambda: "still being made" in rail.told)
        await pilot.press("left")
        await settled(pilot, lambda: "still being made" in rail.told)
        source.made.set()
        await settled(pilot, lambda: app.moment is not None)
        assert app.moment is not None and app.moment.seq == 998
    assert not app._notifications


async def test_the_slider_shows_the_whole_console_at_a_moment_and_goes_back() -> None:
    source = FakeSource(40)
    app = ConsoleApp(source)
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot, lambda: app.pulse.head == 1000)
        source.making = ["the read model machines as of entry 998 is still being made"]
        await pilot.press("t", "left", "left")
        await settled(pilot, lambda: app.moment is not None)
        assert app.moment is not None and app.moment.seq == 998
        assert not source.live and "AS OF #998" in plain(app)
        await pilot.press("g", *"12", "enter")
        await settled(pilot, lambda: app.moment == Moment(12, NOON - timedelta(minutes=988)))
        await pilot.press("l")
        assert "live" in plain(app)


async def test_nothing_is_done_in_the_past() -> None:
    app = ConsoleApp(FakeSource(5), at="900")
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot, lambda: app.moment is not None)
        await pilot.press("escape", "a")
        await pilot.pause()
        assert len(app.screen_stack) == 1  # no menu of actions


async def test_a_moment_that_never_was_is_a_toast_and_nothing_moves() -> None:
    app = ConsoleApp(FakeSource(5), at="99999")
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot, lambda: bool(app._notifications))
        assert app.moment is None


async def test_a_defect_ends_in_one_line_rather_than_in_a_trace() -> None:
    app = ConsoleApp(FakeSource(5))
    with pytest.raises(ZeroDivisionError):
        async with app.run_test() as pilot:
            app.call_later(lambda: 1 // 0)
            await pilot.pause()
    assert isinstance(app.ended_by, ZeroDivisionError)
    assert not app._exit_renderables


async def test_q_ends_at_once_while_a_question_is_open() -> None:
    source = FakeSource(5)
    source.away = "away"
    app = ConsoleApp(source)
    async with app.run_test() as pilot:
        await pilot.press("q")
    assert app.return_code == 0


@pytest.mark.parametrize(
    ("text", "target"),
    [("812", "812"), ("#1,812", "1812"), ("-20", "980"), ("-2000", "1")],
)
def test_entries_are_typed_by_number_or_back_from_the_head(text: str, target: str) -> None:
    assert wanted(text, NOON, 1000) == target


def test_times_are_typed_as_everywhere() -> None:
    assert wanted("-2h", NOON, 1000) == "2027-03-01T10:00:00+00:00"
    with pytest.raises(InvalidArgument, match="ahead"):
        wanted("+2h", NOON, 1000)


def test_steps_stay_within_the_log() -> None:
    entry, minute = UNITS[:2]
    assert stepped(Moment(1, NOON), entry, -1, 1000) == "1"
    assert stepped(Moment(1000, NOON), entry, 1, 1000) == "1000"
    assert (
        stepped(Moment(5, NOON), minute, -1, 9)
        == datetime(2027, 3, 1, 11, 59, tzinfo=UTC).isoformat()
    )
    assert share(1, 1) == 1.0 and share(1, 9) == 0.0 and share(9, 9) == 1.0


def test_errors_name_the_next_step_and_are_harmless() -> None:
    assert "whoami" in next_step(PermissionDenied("no"))
    assert next_step(Unavailable("see `mulligan status`")) == ""
    assert "defect" in next_step(ValueError("x"))
    assert "\x1b" not in shown(Unavailable("\x1b[2Jgone")) + harmless("a\x07b")


def test_the_banner_fits_a_narrow_screen() -> None:
    pulse = Pulse(region="east-with-a-long-name", head=1234567, lag=5000, trouble="x" * 300)
    assert banner(pulse, None, 60).cell_len <= 60


def test_the_banner_says_what_is_wrong_and_of_which_region() -> None:
    pulse = Pulse(region="east", head=12, trouble="'ann' has no session", what="not logged in")
    assert "east" in banner(pulse, None, 80).plain
    assert "not logged in: 'ann' has no session" in banner(pulse, None, 80).plain
    past = banner(Pulse(region="east", head=12), Moment(7, NOON), 80).plain
    assert "AS OF #7" in past and "back to now" in past


async def test_the_line_of_pages_counts_what_is_wrong() -> None:
    source = FakeSource(5)

    async def status() -> Status:
        return Status(unknown="no iam service is registered")

    source.status = status  # type: ignore[method-assign]
    app = ConsoleApp(source)
    async with app.run_test(size=(80, 24)) as pilot:
        line = app.query_one(TabLine)
        await settled(pilot, lambda: line.problems > 0 and line.critical)
        await settled(pilot, lambda: f"Problems {line.problems}" in screen_text(pilot))


async def test_entries_before_the_head_are_found_also_before_it_is_known() -> None:
    source = FakeSource(5)

    async def pulse() -> Pulse:
        return Pulse(region="east")

    source.pulse = pulse  # type: ignore[method-assign]
    app = ConsoleApp(source)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("t", "left", "g", *"-20", "enter")
        await settled(pilot, lambda: app.moment is not None)
        assert app.moment is not None and app.moment.seq == 980
