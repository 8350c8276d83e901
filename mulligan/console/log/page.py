"""The log as it grows: followed, filtered by a line, held, and read back as far as one likes."""

import anyio
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import Input, Static

from mulligan.console.links import GoToHistory, GoToMoment, GoToWhy
from mulligan.console.log.entry import EntryScreen
from mulligan.console.log.feed import LogFeed, RegionLog
from mulligan.console.log.filter import (
    EVERYTHING,
    GRAMMAR,
    Filter,
    parse_filter,
    passing,
)
from mulligan.console.log.lines import LogLines, columns
from mulligan.console.log.rows import ROOM, LoggedCommit, LogRow, LogWindow, rows_of
from mulligan.console.source import Source
from mulligan.console.theme import DIM, FAINT, GOOD, WARN
from mulligan.console.trouble import PASSES
from mulligan.console.view import View
from mulligan.errors import InvalidArgument

DRAW_S = 0.1
"""Seconds between two drawings of what has come."""
FIRST_LOOK = 400
"""Entries that are read back when the log is first shown."""
STRETCH = 500
"""Entries that are read at once when one scrolls back; doubled while nothing of them passes."""
FARTHEST = 64_000
AGAIN_S = 2.0


class LogView(View):
    """Page ``log``."""

    FOLLOWS = True

    DEFAULT_CSS = """
    LogView #log-bar { height: 1; background: $panel; }
    LogView #log-filter { height: 1; border: none; padding: 0 1; width: 1fr; background: $panel; }
    LogView #log-filter:focus { background: $boost; }
    LogView #log-state { width: auto; min-width: 18; padding: 0 1; }
    LogView #log-heads { height: 1; background: $surface; }
    """
    BINDINGS = [
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("space", "hold", "Hold/follow", key_display="space"),
        Binding("g", "entry", "Go to #"),
        Binding("h", "history", "History"),
        Binding("w", "why", "Why"),
        Binding("y", "why", show=False),
        Binding("m", "moment", "That moment"),
        Binding("escape", "lines", "Back to the lines", show=False),
    ]

    def __init__(self, source: Source, feed: LogFeed | None = None) -> None:
        super().__init__(source)
        self.feed: LogFeed = feed or RegionLog(source)
        self.window = LogWindow()
        self.filter: Filter = EVERYTHING
        self._arrived: list[LoggedCommit] = []
        self._room = anyio.Event()
        self._away = ""
        self._passes = passing(EVERYTHING, self.feed.called)
        self._rows: list[LogRow] = []
        self._wanted_entry = 0
        self._sifted = False
        """Whether the window lacks what a filter left out when it was read."""

    def compose(self) -> ComposeResult:
        """Lay out the filter's line, the heads of the columns and the lines."""
        with Horizontal(id="log-bar"):
            yield Input(placeholder=GRAMMAR, id="log-filter", compact=True, select_on_focus=False)
            yield Static(id="log-state")
        yield Static(id="log-heads")
        yield LogLines(self.feed.called, id="log-lines")

    @property
    def lines(self) -> LogLines:
        """The lines on the screen."""
        return self.query_one(LogLines)

    def on_mount(self) -> None:
        """Draw what has come ten times a second, and put the keys to the lines."""
        self.set_interval(DRAW_S, self._draw)
        self._say("reading…")
        self.lines.focus()

    def on_resize(self) -> None:
        """Head the columns that there is room for."""
        heads = columns(self.size.width).heads()
        self.query_one("#log-heads", Static).update(Text(heads, style=FAINT, no_wrap=True))

    async def renew(self) -> None:
        """Begin at the newest entry again, or at the entry that was asked for."""
        if self._wanted_entry:
            wanted, self._wanted_entry = self._wanted_entry, 0
            await self._load_around(wanted)
            return
        await self._load_newest()

    def show_entry(self, seq: int) -> None:
        """Show an entry in the midst of those around it."""
        self._wanted_entry = seq
        self.ask(self.renew, group="renew")

    async def _load_newest(self) -> None:
        """Show the end of the log, and follow it from there if it is the present's."""
        self.workers.cancel_group(self, "follow")
        head = await self.feed.head()
        past = self.feed.until > 0
        commits = await self._back_from(head + 1)
        self._sifted = bool(self.filter.terms)
        self._arrived.clear()
        self.window.replace(commits, held=past)
        self.window.head = head
        self._show(len(self.window.rows))
        if not past:
            self._follow(head)

    async def _load_around(self, seq: int) -> None:
        head = await self.feed.head()
        if not 1 <= seq <= head:
            raise InvalidArgument("entry", f"#{seq} is not in the log, which ends at #{head}")
        first = max(1, seq - STRETCH // 2)
        commits = await self.feed.read(first, min(head, seq + STRETCH // 2))
        self._set_filter(EVERYTHING)
        self._sifted = False
        self.window.replace(commits, held=True)
        self.window.head = max(self.window.head, head)
        at = next((n for n, row in enumerate(self.window.rows) if row.commit.seq >= seq), 0)
        self._show(0)
        self.lines.cursor = at
        self.lines.scroll_to(y=max(0, at - self.lines.size.height // 2), animate=False)
        if not self.feed.until and not self.at_work("follow"):
            self._follow(head)

    async def _back_from(self, before: int) -> list[LoggedCommit]:
        """Return older commits that pass: of one stretch, or of more while nothing does."""
        stretch, last = STRETCH if self.window.rows else FIRST_LOOK, before - 1
        while last >= 1:
            first = max(1, last - stretch + 1)
            found = await self.feed.read(first, last, self.filter)
            if any(self._passes(LogRow(one, event)) for one in found for event in one.events):
                return found
            last, stretch = first - 1, min(stretch * 2, FARTHEST)
            self._say(f"nothing down to #{first}")
        return []

    def _follow(self, after: int) -> None:
        self.ask(lambda: self._gather(after), group="follow")

    async def _gather(self, after: int) -> None:
        """Take what is appended, no faster than it is drawn; go on when the region is back."""
        last: set[str] = set()
        while True:
            try:
                async for commit in self.feed.follow(after):
                    if commit.seq > after + 1 or not last:
                        after, last = commit.seq - 1, set()
                    if commit.commit not in last:
                        last.add(commit.commit)
                        await self._take(commit)
            except PASSES as error:
                self._away = error.message
                self._say_state()
            await anyio.sleep(AGAIN_S)

    async def _take(self, commit: LoggedCommit) -> None:
        self._away = ""
        self._arrived.append(commit)
        if len(self._arrived) >= ROOM:
            self._room = anyio.Event()
            await self._room.wait()

    def _draw(self) -> None:
        """Take over what has come since the last drawing."""
        arrived, self._arrived = self._arrived, []
        self._room.set()
        if not arrived:
            return
        at_end = self.lines.cursor >= len(self.lines.rows) - 1
        self.window.arrive(arrived)
        if self.window.held:
            self._say_state()
            return
        fresh = [LogRow(one, event) for one in arrived for event in one.events]
        self._rows += [row for row in fresh if self._passes(row)]
        del self._rows[:-ROOM]
        self.lines.show(self._rows, len(self._rows) if at_end else self.lines.cursor)
        self._say_state()
        self._learn()

    def _show(self, cursor: int) -> None:
        """Show the window's lines that pass."""
        self._rows = [row for row in self.window.rows if self._passes(row)]
        self.lines.show(self._rows, cursor)
        self._say_state()
        self._learn()

    def _learn(self) -> None:
        """Ask what the objects and accounts in sight are called."""
        rows = self.lines.in_sight()
        keys = [row.event.stream.partition("/")[2] for row in rows]
        keys += [row.commit.account for row in rows]
        if self.feed.called.missing(keys) and self.is_running:
            self.ask(lambda: self._learn_names(keys), group="names")

    async def _learn_names(self, keys: list[str]) -> None:
        if await self.feed.called.learn(keys):
            self.lines.refresh()

    def _say_state(self) -> None:
        window = self.window
        count = f"{len(self._rows):,} lines"
        if self._away:
            text = Text(f"✖ {count}, the log is away, trying again", style=WARN)
        elif self.feed.until:
            text = Text(f"◀ {count} up to #{self.feed.until:,}", style=WARN)
        elif window.held:
            waiting = f", {window.waiting:,} new" if window.waiting else ""
            text = Text(f"‖ held{waiting}; space follows", style=WARN)
        else:
            text = Text(f"● following  {count}", style=GOOD)
        self.query_one("#log-state", Static).update(text)

    def _say(self, words: str) -> None:
        self.query_one("#log-state", Static).update(Text(words, style=DIM))

    @on(LogLines.Moved)
    def _moved(self, message: LogLines.Moved) -> None:
        """Hold the log while somebody reads further up."""
        if not message.at_end and not self.window.held and len(self._rows) > self.lines.size.height:
            self.window.held = True
        self._say_state()
        self._learn()

    @on(LogLines.TopReached)
    def _older(self) -> None:
        if self.window.first > 1:
            self.window.held = True
            self.ask(self._load_older, group="older")

    async def _load_older(self) -> None:
        if self.window.first <= 1:
            return
        older = await self._back_from(self.window.first)
        self._sifted = self._sifted or bool(self.filter.terms)
        self.window.prepend(older)
        added = sum(1 for row in rows_of(older) if self._passes(row))
        self._show(max(0, added - 1))

    def action_hold(self) -> None:
        """Hold the log where it is, or follow it again from its end."""
        if self.feed.until:
            return
        if self.window.held:
            self.ask(self._load_newest, group="renew")
        else:
            self.window.held = True
            self._say_state()

    def action_filter(self) -> None:
        """Type a filter."""
        self.query_one("#log-filter", Input).focus()

    def action_entry(self) -> None:
        """Type the number of an entry to go to."""
        field = self.query_one("#log-filter", Input)
        field.value = "#"
        field.focus()
        field.cursor_position = 1

    def action_lines(self) -> None:
        """Give the keys back to the lines."""
        self.lines.focus()

    @on(Input.Submitted, "#log-filter")
    def _filtered(self, message: Input.Submitted) -> None:
        try:
            wanted = parse_filter(message.value)
        except InvalidArgument as error:
            self.console.tell(error)
            return
        self.lines.focus()
        if wanted.go_to:
            self.show_entry(wanted.go_to)
            return
        self._set_filter(wanted)
        if self._sifted:  # what the filter before left out is not there
            self.ask(self._load_newest, group="renew")
            return
        self._show(len(self.window.rows))
        if len(self._rows) < self.lines.size.height:
            self.ask(self._load_newest, group="renew")

    def _set_filter(self, wanted: Filter) -> None:
        self.filter = wanted
        self._passes = passing(wanted, self.feed.called)
        self.query_one("#log-filter", Input).value = wanted.text

    @on(LogLines.Opened)
    def _opened(self, message: LogLines.Opened) -> None:
        self.app.push_screen(EntryScreen(message.row.commit, self.feed.called, self))

    def action_history(self) -> None:
        """Show the history of the line's stream."""
        row = self.lines.chosen
        if row is not None:
            self.post_message(GoToHistory(row.event.stream))

    def action_why(self) -> None:
        """Show why the line's machine or claim is as it is."""
        row = self.lines.chosen
        if row is not None and row.event.stream.partition("/")[0] in ("machine", "claim"):
            self.post_message(GoToWhy(row.event.stream))

    def action_moment(self) -> None:
        """Show the whole console as of the line's entry."""
        row = self.lines.chosen
        if row is not None:
            self.post_message(GoToMoment(row.commit.seq))
