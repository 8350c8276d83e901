"""The log's page: it follows, filters, holds, reads back and opens commits."""

from collections.abc import AsyncIterator

import anyio
import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from mulligan.console.called import Called
from mulligan.console.log.entry import EntryScreen
from mulligan.console.log.lines import columns
from mulligan.console.log.page import LogView
from mulligan.console.log.rows import ROOM, LogWindow
from mulligan.errors import PermissionDenied
from tests.console.fakes import FakeSource
from tests.console.feeds import (
    ANN,
    BEGAN,
    NODE,
    FakeLog,
    Stage,
    commit,
    event,
    screen_text,
    settled,
)


@pytest.fixture
async def log() -> FakeLog:
    return FakeLog(1000)


@pytest.fixture
async def view(log: FakeLog) -> LogView:
    return LogView(FakeSource(), log)


@pytest.fixture
async def pilot(view: LogView) -> AsyncIterator[Pilot[None]]:
    async with Stage(view, view.source).run_test(size=(140, 30)) as pilot:
        await settled(pilot, lambda: view.lines.rows, "the newest entries are shown")
        yield pilot


def seqs(view: LogView) -> list[int]:
    return [row.commit.seq for row in view.lines.rows]


def state(view: LogView) -> str:
    return str(view.query_one("#log-state", Static).render())


def stage(pilot: Pilot[None]) -> Stage:
    assert isinstance(pilot.app, Stage)
    return pilot.app


async def type_filter(pilot: Pilot[None], view: LogView, text: str) -> None:
    await pilot.press("slash")
    view.query_one("#log-filter", Input).value = text
    await pilot.press("enter")


async def test_it_begins_at_the_end_of_the_log_and_follows_it(
    pilot: Pilot[None], view: LogView, log: FakeLog
) -> None:
    assert seqs(view)[-1] == 1000
    log.grow(50)
    await settled(pilot, lambda: seqs(view)[-1] == 1050, "what is appended is shown")
    assert view.lines.cursor == len(view.lines.rows) - 1
    assert "following" in state(view)
    assert seqs(view) == list(range(601, 1051))


async def test_what_comes_while_somebody_reads_further_up_waits_and_is_not_lost(
    pilot: Pilot[None], view: LogView, log: FakeLog
) -> None:
    await pilot.press("pageup")
    shown = seqs(view)
    log.grow(20)
    await settled(pilot, lambda: "20 new" in state(view), "the new lines are counted")
    assert seqs(view) == shown
    await pilot.press("space")
    await settled(pilot, lambda: seqs(view)[-1:] == [1020], "the end is shown again")
    log.grow(1)
    await settled(pilot, lambda: seqs(view)[-1] == 1021, "it follows again")


async def test_older_entries_are_read_when_one_scrolls_beyond_the_first(
    pilot: Pilot[None], view: LogView
) -> None:
    assert seqs(view)[0] == 601
    await pilot.press("home", "up")
    await settled(pilot, lambda: seqs(view)[0] == 101, "older lines come")
    assert seqs(view) == list(range(101, 1001))
    assert view.lines.chosen is not None
    assert 595 <= view.lines.chosen.commit.seq <= 601, "the cursor stays where it was"


async def test_only_what_passes_the_line_is_shown_also_of_what_comes(
    pilot: Pilot[None], view: LogView, log: FakeLog
) -> None:
    await type_filter(pilot, view, "type:claim.* -stream:claim/node-3")
    await settled(pilot, lambda: len(seqs(view)) < 130, "other lines are left out")
    log.grow(40)
    await settled(pilot, lambda: seqs(view)[-1] > 1030, "what passes is appended")
    assert all(row.event.type == "claim.made" for row in view.lines.rows)
    await type_filter(pilot, view, "actor:ann power")
    await settled(pilot, lambda: len(seqs(view)) > 400, "accounts pass by name")


async def test_a_filter_looks_back_until_something_passes(
    pilot: Pilot[None], view: LogView, log: FakeLog
) -> None:
    log.commits[9] = commit(10, event(10, "brake.applied"))
    await type_filter(pilot, view, "kind:brake")
    await settled(pilot, lambda: seqs(view) == [10], "the only one is found")


async def test_a_line_that_is_no_filter_is_told_and_changes_nothing(
    pilot: Pilot[None], view: LogView
) -> None:
    before = seqs(view)
    await type_filter(pilot, view, "colour:red")
    await settled(pilot, lambda: stage(pilot).told, "the error is told")
    assert "colour:" in stage(pilot).told[0] and "kind:" in stage(pilot).told[0]
    assert seqs(view) == before


async def test_an_entry_is_gone_to_by_its_number(pilot: Pilot[None], view: LogView) -> None:
    await pilot.press("g", "4", "2", "enter")
    await settled(
        pilot,
        lambda: view.lines.chosen is not None and view.lines.chosen.commit.seq == 42,
        "the cursor is on the entry",
    )
    assert "held" in state(view)
    await pilot.press("g", "9", "9", "9", "9", "enter")
    await settled(pilot, lambda: stage(pilot).told, "an entry beyond the head is refused")
    assert "#9999 is not in the log, which ends at #1000" in stage(pilot).told[0]


async def test_enter_opens_the_whole_commit(
    pilot: Pilot[None], view: LogView, log: FakeLog
) -> None:
    log.append(
        commit(
            1001,
            event(1001, "claim.made", 1, name="web"),
            event(1002, "provider.cordoned", 2, note="leaks"),
            command="claim.make",
        )
    )
    await settled(pilot, lambda: seqs(view)[-1] == 1001, "the commit is shown")
    await pilot.press("enter")
    await settled(pilot, lambda: isinstance(pilot.app.screen, EntryScreen), "it is opened")
    text = screen_text(pilot)
    for part in ("claim.make", "claim.made", "provider.cordoned", "leaks", f"{1001:032x}", "ann"):
        assert part in text
    await pilot.press("h")
    await settled(pilot, lambda: stage(pilot).asked, "its history is asked for")
    assert stage(pilot).asked == [("history", f"claim/{NODE.format(1)}")]


async def test_it_goes_on_where_it_was_when_the_log_comes_back(
    pilot: Pilot[None], view: LogView, log: FakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mulligan.console.log.page.AGAIN_S", 0.01)
    log.grow(1)
    await settled(pilot, lambda: seqs(view)[-1] == 1001, "it follows")
    log.break_off("etcd is away")
    await settled(pilot, lambda: "away" in state(view), "it says that the log is away")
    log.break_off("")
    log.grow(5)
    await settled(pilot, lambda: seqs(view)[-1] == 1006, "it goes on", within=10)
    assert seqs(view)[-7:] == [*range(1000, 1007)]


async def test_the_window_is_bounded_and_drawing_does_not_fall_behind(
    pilot: Pilot[None], view: LogView, log: FakeLog
) -> None:
    log.grow(2 * ROOM)
    await settled(pilot, lambda: seqs(view)[-1] == 1000 + 2 * ROOM, "the newest line is shown")
    assert len(view.lines.rows) == ROOM
    assert len(view.window.rows) == ROOM
    assert seqs(view) == list(range(1001 + ROOM, 1001 + 2 * ROOM))


async def test_in_the_past_nothing_after_the_moment_is_shown(log: FakeLog) -> None:
    log.until = 500
    view = LogView(FakeSource(), log)
    async with Stage(view, view.source).run_test(size=(140, 30)) as pilot:
        await settled(pilot, lambda: view.lines.rows, "the log is shown")
        log.grow(10)
        await pilot.press("space")
        assert seqs(view)[-1] == 500
        assert "up to #500" in state(view)


def test_the_names_of_accounts_and_objects_are_known_by_uuid_only() -> None:
    log = FakeLog()
    assert log.called.missing([ANN, "service:control", ANN]) == [ANN]


async def test_a_wider_filter_shows_what_a_narrower_one_left_out(
    pilot: Pilot[None], view: LogView, log: FakeLog
) -> None:
    log.append(*(commit(n, event(n, "claim.made")) for n in range(1001, 1101)))
    await type_filter(pilot, view, "kind:provider")
    await settled(pilot, lambda: seqs(view) and seqs(view)[-1] == 999, "few lines pass")
    log.append(*(commit(n, event(n, "provider.cordoned")) for n in range(1101, 1151)))
    await settled(pilot, lambda: seqs(view)[-1] == 1150, "what comes is shown")
    await type_filter(pilot, view, "")
    await settled(pilot, lambda: len(seqs(view)) > 300, "all is read again")
    shown = seqs(view)
    assert shown == list(range(shown[0], 1151)), "nothing is left out"


async def test_reading_back_in_a_full_window_keeps_the_place(
    pilot: Pilot[None], view: LogView, log: FakeLog
) -> None:
    log.grow(ROOM + 500)
    await settled(pilot, lambda: seqs(view)[-1] == 1500 + ROOM, "all has come")
    first = seqs(view)[0]
    await pilot.press("home", "up")
    await settled(pilot, lambda: seqs(view)[0] < first, "older lines come")
    assert view.lines.chosen is not None
    assert first - 2 <= view.lines.chosen.commit.seq <= first


def test_a_window_gives_up_whole_entries_so_that_none_is_lost_between() -> None:
    window = LogWindow(room=10)
    entries = [commit(n, *(event(n, node=one) for one in range(4))) for n in range(1, 6)]
    window.replace(entries, held=False)
    assert [row.commit.seq for row in window.rows] == [4] * 4 + [5] * 4
    window.arrive([commit(6, *(event(6, node=one) for one in range(4)))])
    assert window.first == 5


async def test_following_is_the_pages_own(log: FakeLog) -> None:
    view = LogView(FakeSource(), log)
    async with Stage(view, view.source).run_test(size=(120, 24)) as pilot:
        pilot.app.run_worker(anyio.sleep(60), group="follow")
        view.show_entry(500)
        await settled(pilot, lambda: 500 in seqs(view), "the entry is shown")
        log.grow(5)
        await settled(pilot, lambda: "5 new" in state(view), "what comes is counted")


@pytest.mark.parametrize("width", [60, 80, 110, 200])
def test_columns_leave_room_for_what_happened(width: int) -> None:
    found = columns(width)
    assert width < 80 or found.heads().index("WHAT") <= width - 12
    assert len(found.at(BEGAN)) < found.time


async def test_who_may_not_see_names_is_not_asked_again_and_again() -> None:
    asked: list[list[str]] = []

    async def names(uuids: list[str]) -> dict[str, str]:
        asked.append(uuids)
        raise PermissionDenied("no")

    called = Called(names)
    assert not await called.learn([ANN])
    assert not await called.learn([ANN])
    assert asked == [[ANN]]
    assert called.get(ANN, "?") == "?"
