"""The history's page: a stream's events in order, and what each of them changed."""

from collections.abc import AsyncIterator

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from mulligan.console.history.feed import back_from
from mulligan.console.history.page import HistoryView
from mulligan.console.log.filter import EVERYTHING, Filter
from mulligan.console.log.rows import ROOM, LoggedCommit
from tests.console.fakes import FakeSource
from tests.console.feeds import NODE, FakeHistory, FakeLog, Stage, event, screen_text, settled
from tests.console.feeds import commit as committed

STREAM = f"machine/{NODE.format(3)}"


@pytest.fixture
async def feed() -> FakeHistory:
    log = FakeLog(5000)
    for seq in range(50, 5000, 100):
        log.commits[seq - 1] = committed(seq, event(seq, "machine.power_observed", 3))
    return FakeHistory(log)


@pytest.fixture
async def view(feed: FakeHistory) -> HistoryView:
    return HistoryView(FakeSource(), feed)


@pytest.fixture
async def pilot(view: HistoryView) -> AsyncIterator[Pilot[None]]:
    async with Stage(view, view.source).run_test(size=(150, 30)) as pilot:
        view.query_one("#history-stream", Input).value = "machine/node-3"
        await pilot.press("slash", "enter")
        await settled(pilot, lambda: view.lines.rows, "the events are shown")
        yield pilot


async def test_only_the_streams_events_are_shown_in_their_order_the_newest_chosen(
    pilot: Pilot[None], view: HistoryView
) -> None:
    rows = view.lines.rows
    assert {row.event.stream for row in rows} == {STREAM}
    seqs = [row.commit.seq for row in rows]
    assert seqs == sorted(seqs)
    assert view.lines.chosen is rows[-1]


async def test_beside_the_chosen_event_stands_what_it_changed(
    pilot: Pilot[None], view: HistoryView, feed: FakeHistory
) -> None:
    chosen = view.lines.rows[-1].commit.seq
    await settled(pilot, lambda: chosen in feed.asked, "what the newest changed is asked for")
    await settled(pilot, lambda: "off → on" in screen_text(pilot), "old and new are shown")
    assert view.lines.rows[-1].commit.commit in screen_text(pilot)


async def test_moving_fast_asks_only_for_where_the_cursor_rests(
    pilot: Pilot[None], view: HistoryView, feed: FakeHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mulligan.console.history.page.LATER_S", 0.7)
    await settled(pilot, lambda: feed.asked, "the newest is asked for")
    await pilot.press(*["up"] * 5)
    wanted = view.lines.rows[-6].commit.seq
    await settled(pilot, lambda: wanted in feed.asked, "the one at rest is asked for")
    assert len(feed.asked) < 6


async def test_keys_lead_to_the_entry_the_moment_and_why(
    pilot: Pilot[None], view: HistoryView
) -> None:
    stage, seq = view.app, view.lines.rows[-1].commit.seq
    assert isinstance(stage, Stage)
    await pilot.press("m", "y", "g")
    await settled(pilot, lambda: len(stage.asked) == 3, "the page asks for each")
    assert stage.asked == [("moment", seq), ("why", STREAM), ("entry", seq)]


async def test_a_name_that_nothing_has_is_told(pilot: Pilot[None], view: HistoryView) -> None:
    stage = view.app
    assert isinstance(stage, Stage)
    await pilot.press("slash")
    view.query_one("#history-stream", Input).value = "machine/nobody"
    await pilot.press("enter")
    await settled(pilot, lambda: stage.told, "it is told")
    assert stage.told == ["machine 'nobody' was not found"]


async def test_looking_back_stops_at_the_streams_first_event_and_once_there_is_enough() -> None:
    log = FakeLog(3000)
    found, reached = await back_from(log, f"claim/{NODE.format(2)}", 3001, first=2990)
    assert reached == 2990
    assert all(one.seq >= 2990 for one in found)
    assert log.reads == [(2990, 3000)]


async def test_older_events_come_above_the_one_under_the_cursor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mulligan.console.history.feed.ENOUGH", 5)
    monkeypatch.setattr("mulligan.console.history.feed.FIRST_STRETCH", 500)
    log = FakeLog(5000)
    for seq in range(50, 5000, 100):  # each commit is also of other streams
        others = (event(seq, "claim.made", node) for node in range(5))
        log.commits[seq - 1] = committed(seq, event(seq, "machine.power_observed", 3), *others)
    view = HistoryView(FakeSource(), FakeHistory(log))
    async with Stage(view, view.source).run_test(size=(150, 30)) as pilot:
        view.show_stream(STREAM)
        await settled(pilot, lambda: view.lines.rows, "the newest are shown")
        first = view.lines.rows[0].commit.seq
        await pilot.press("home")
        await settled(pilot, lambda: view.lines.rows[0].commit.seq < first, "older ones come")
        await settled(pilot, lambda: view.lines.chosen is not None, "one is chosen")
        assert view.lines.chosen is not None and view.lines.chosen.commit.seq == first


async def test_what_a_full_answer_cut_off_is_not_taken_for_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = FakeLog()
    log.commits = [committed(n, event(n, "machine.power_observed", 3)) for n in range(1, 6001)]
    read = log.read

    async def newest(first: int, last: int, wanted: Filter = EVERYTHING) -> list[LoggedCommit]:
        return (await read(first, last, wanted))[-ROOM:]

    log.read = newest  # type: ignore[method-assign]
    monkeypatch.setattr("mulligan.console.history.feed.FIRST_STRETCH", 10_000)
    found, reached = await back_from(log, STREAM, 6001)
    assert [one.seq for one in found] == list(range(reached, 6001))
